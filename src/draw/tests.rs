//! Drawings as their readers get them.

use plotters::style::RGBColor;

use super::{color::ColorMap, *};

fn read(png: &Png) -> image::RgbImage {
    let pixels = image::load_from_memory(&png.bytes).unwrap().into_rgb8();
    assert_eq!((pixels.width(), pixels.height()), (png.width, png.height));
    pixels
}

fn count(picture: &image::RgbImage, color: RGBColor) -> usize {
    picture.pixels().filter(|pixel| pixel.0 == [color.0, color.1, color.2]).count()
}

fn tile(values: &[f64], width: usize, style: TileStyle) -> Tile {
    Tile { values: values.to_vec(), width, label: "0".to_owned(), style }
}

fn one(tile: Tile, map: ColorMap) -> Grid {
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
fn every_value_is_a_square_of_its_color() {
    let map = ColorMap::Diverging { bound: 2.0 };
    let picture = read(&grid(&one(tile(&[-2.0, 1.0, 0.5, f64::NAN], 2, TileStyle::Colors), map)).unwrap());
    for value in [1.0, 0.5] {
        // The size is 40 x 40, plus a line or two for the scale.
        let found = count(&picture, map.color(value));
        assert!((1600..1900).contains(&found), "{value}: {found}");
    }
    assert_eq!(count(&picture, color::BROKEN), 1600);
    assert!(count(&picture, map.color(-2.0)) >= 1600);
}

#[test]
fn a_partial_row_is_padded_with_background() {
    let map = ColorMap::Diverging { bound: 1.0 };
    let full = read(&grid(&one(tile(&[1.0, 1.0, 1.0, 1.0], 2, TileStyle::Colors), map)).unwrap());
    let short = read(&grid(&one(tile(&[1.0, 1.0, 1.0], 2, TileStyle::Colors), map)).unwrap());
    assert_eq!(full.dimensions(), short.dimensions());
    let missing = |color| count(&full, color).abs_diff(count(&short, color));
    assert_eq!((missing(map.color(1.0)), missing(color::PAPER)), (1600, 1600));
    assert_eq!(count(&short, color::BROKEN), 0);
}

#[test]
fn a_map_distinguishes_signs_and_spans_its_value_range() {
    let signed = ColorMap::of([-1.0, 3.0, f64::NAN].into_iter());
    assert_eq!(signed, ColorMap::Diverging { bound: 3.0 });
    let (low, high) = (signed.color(-3.0), signed.color(3.0));
    assert!(low.2 > low.0 && high.0 > high.2, "blue below and orange above");
    assert_eq!(signed.color(0.0), color::PAPER);
    assert_eq!(ColorMap::of([0.0, 5.0].into_iter()), ColorMap::Sequential { low: 0.0, high: 5.0 });
    // A map of zeros has one color, and does not divide by 0.
    assert_eq!(ColorMap::of([0.0].into_iter()).color(0.0), RGBColor(68, 1, 84));
    assert_eq!(ColorMap::Diverging { bound: 0.0 }.color(0.0), color::PAPER);
    assert_eq!(signed.over(RGBColor(9, 9, 9), 0.0), RGBColor(9, 9, 9));
}

#[test]
fn tiles_that_do_not_fit_wrap_to_the_next_row_and_the_rest_is_counted() {
    let mut many =
        one(tile(&[1.0; 784], 28, TileStyle::Colors), ColorMap::Sequential { low: 0.0, high: 1.0 });
    many.side = 112;
    let single = grid(&many).unwrap();
    many.tiles = vec![many.tiles[0].clone(); 100];
    let all = grid(&many).unwrap();
    assert!(all.width <= 1300 && all.height > 7 * 112 && all.height < 1400, "{} x {}", all.width, all.height);
    // The note's words add dark pixels that the single tile does not have.
    assert!(all.bytes.len() > single.bytes.len());
    let drawing = read(&all);
    // There are 64 tiles of 112 x 112, and the end of the scale.
    let bright = count(&drawing, RGBColor(253, 231, 37));
    assert!((64 * 112 * 112..65 * 112 * 112).contains(&bright), "{bright}");
}

#[test]
fn bars_are_as_high_as_their_counts() {
    let chart = HistogramChart {
        title: "conv1.weight".to_owned(),
        note: "mean 0.1".to_owned(),
        lower: -1.0,
        upper: 3.0,
        counts: vec![0, 50, 100, 1],
    };
    let picture = read(&histograms("Histograms", "", &[chart]).unwrap());
    let blue = count(&picture, RGBColor(0, 114, 178));
    // Each bar is 49 pixels wide: half of the height, all of it, and one line.
    assert_eq!(blue, 49 * (48 + 96 + 1));
    assert!(read(&histograms("None", "", &[]).unwrap()).width() > 0);
}

#[test]
fn a_number_has_three_digits() {
    let texts = [0.0, 0.25, -1.5, 12.0, 123.4, 56_000.0, 0.00012].map(short);
    assert_eq!(texts, ["0", "0.250", "-1.50", "12.0", "123", "5.6e4", "1.2e-4"]);
}
