//! Pictures as their readers get them.

use plotters::style::RGBColor;

use super::{colour::Map, *};

fn read(png: &Png) -> image::RgbImage {
    let shown = image::load_from_memory(&png.bytes).unwrap().into_rgb8();
    assert_eq!((shown.width(), shown.height()), (png.width, png.height));
    shown
}

fn count(picture: &image::RgbImage, colour: RGBColor) -> usize {
    picture.pixels().filter(|pixel| pixel.0 == [colour.0, colour.1, colour.2]).count()
}

fn tile(values: &[f64], width: usize, paint: Paint) -> Tile {
    Tile { values: values.to_vec(), width, label: "0".to_owned(), paint }
}

fn one(tile: Tile, map: Map) -> Grid {
    Grid {
        title: "Title".to_owned(),
        note: String::new(),
        tiles: vec![tile],
        side: 80,
        map,
        scale_name: "weight".to_owned(),
    }
}

#[test]
fn every_value_is_a_square_of_its_colour() {
    let map = Map::Diverging { bound: 2.0 };
    let picture = read(&grid(&one(tile(&[-2.0, 1.0, 0.5, f64::NAN], 2, Paint::Colours), map)).unwrap());
    for value in [1.0, 0.5] {
        // 40 x 40, and a line or two of the scale.
        let found = count(&picture, map.colour(value));
        assert!((1600..1900).contains(&found), "{value}: {found}");
    }
    assert_eq!(count(&picture, colour::BROKEN), 1600);
    assert!(count(&picture, map.colour(-2.0)) >= 1600);
}

#[test]
fn a_row_that_is_not_full_ends_in_paper() {
    let map = Map::Diverging { bound: 1.0 };
    let full = read(&grid(&one(tile(&[1.0, 1.0, 1.0, 1.0], 2, Paint::Colours), map)).unwrap());
    let short = read(&grid(&one(tile(&[1.0, 1.0, 1.0], 2, Paint::Colours), map)).unwrap());
    assert_eq!(full.dimensions(), short.dimensions());
    let missing = |colour| count(&full, colour).abs_diff(count(&short, colour));
    assert_eq!((missing(map.colour(1.0)), missing(colour::PAPER)), (1600, 1600));
    assert_eq!(count(&short, colour::BROKEN), 0);
}

#[test]
fn a_map_tells_signs_apart_and_shows_the_ends_it_has() {
    let signed = Map::of([-1.0, 3.0, f64::NAN].into_iter());
    assert_eq!(signed, Map::Diverging { bound: 3.0 });
    let (low, high) = (signed.colour(-3.0), signed.colour(3.0));
    assert!(low.2 > low.0 && high.0 > high.2, "blue below and orange above");
    assert_eq!(signed.colour(0.0), colour::PAPER);
    assert_eq!(Map::of([0.0, 5.0].into_iter()), Map::Sequential { low: 0.0, high: 5.0 });
    // Nothing but zeros has one colour, and no division by 0.
    assert_eq!(Map::of([0.0].into_iter()).colour(0.0), RGBColor(68, 1, 84));
    assert_eq!(Map::Diverging { bound: 0.0 }.colour(0.0), colour::PAPER);
    assert_eq!(signed.over(RGBColor(9, 9, 9), 0.0), RGBColor(9, 9, 9));
}

#[test]
fn tiles_that_do_not_fit_beside_each_other_stand_below_and_the_rest_is_told() {
    let mut many = one(tile(&[1.0; 784], 28, Paint::Colours), Map::Sequential { low: 0.0, high: 1.0 });
    many.side = 112;
    let single = grid(&many).unwrap();
    many.tiles = vec![many.tiles[0].clone(); 100];
    let all = grid(&many).unwrap();
    assert!(all.width <= 1300 && all.height > 7 * 112 && all.height < 1400, "{} x {}", all.width, all.height);
    // Dark bars of the note's words are there that the single tile has not.
    assert!(all.bytes.len() > single.bytes.len());
    let shown = read(&all);
    // 64 tiles of 112 x 112, and the end of the scale.
    let bright = count(&shown, RGBColor(253, 231, 37));
    assert!((64 * 112 * 112..65 * 112 * 112).contains(&bright), "{bright}");
}

#[test]
fn bars_are_as_high_as_their_counts() {
    let chart = Bars {
        title: "conv1.weight".to_owned(),
        note: "mean 0.1".to_owned(),
        lower: -1.0,
        upper: 3.0,
        counts: vec![0, 50, 100, 1],
    };
    let picture = read(&bars("Histograms", "", &[chart]).unwrap());
    let blue = count(&picture, RGBColor(0, 114, 178));
    // 49 pixels wide each: half of the height, all of it, and one line.
    assert_eq!(blue, 49 * (48 + 96 + 1));
    assert!(read(&bars("None", "", &[]).unwrap()).width() > 0);
}

#[test]
fn a_number_has_three_digits() {
    let shown = [0.0, 0.25, -1.5, 12.0, 123.4, 56_000.0, 0.00012].map(short);
    assert_eq!(shown, ["0", "0.250", "-1.50", "12.0", "123", "5.6e4", "1.2e-4"]);
}
