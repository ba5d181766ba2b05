//! Pictures as their readers get them: what an SVG says, what a PNG shows.

use super::*;

fn curve(run: usize, kind: Kind, values: &[f64]) -> Curve {
    Curve { run, kind, points: values.iter().enumerate().map(|(x, &y)| (x as f64, y)).collect() }
}

fn picture(runs: &[&str], curves: Vec<Curve>) -> Picture {
    Picture {
        runs: runs.iter().map(|&run| run.to_owned()).collect(),
        train: "training".to_owned(),
        x_name: "epoch",
        panels: vec![
            Panel { title: "Loss".to_owned(), scale: Scale::Linear, curves: curves.clone() },
            Panel { title: "Accuracy (%)".to_owned(), scale: Scale::Percent, curves },
        ],
    }
}

fn count(svg: &str, part: &str) -> usize {
    svg.matches(part).count()
}

#[test]
fn the_picture_names_its_runs_axes_and_lines() {
    let curves = vec![curve(0, Kind::Train, &[0.9, 0.4]), curve(1, Kind::Validation, &[0.8, 0.5])];
    let svg = svg(&picture(&["first & best", "second"], curves)).unwrap();
    for words in ["first &amp; best", "second", "training", "validation", "Loss", "Accuracy (%)", "epoch"] {
        assert!(svg.contains(words), "{words} is not in the picture");
    }
    assert!(svg.contains("width=\"1200\"") && svg.contains("viewBox=\"0 0 3600"), "{}", &svg[..200]);
    assert!(!svg.contains("finite"), "nothing is broken here");
}

#[test]
fn every_run_has_its_colour_and_validation_its_dots() {
    let validation = curve(1, Kind::Validation, &[0.8, 0.5, 0.4]);
    let svg = svg(&picture(&["a", "b"], vec![curve(0, Kind::Train, &[0.9, 0.4]), validation])).unwrap();
    assert!(svg.contains("#0072B2") && svg.contains("#D55E00"));
    // Three dots in each panel and one in the legend.
    assert_eq!(count(&svg, "<circle"), 7);
}

#[test]
fn a_loss_that_is_not_finite_is_marked_and_explained() {
    let svg = svg(&picture(&["a"], vec![curve(0, Kind::Train, &[0.9, f64::NAN, f64::INFINITY])])).unwrap();
    assert!(svg.contains("not a finite number") && svg.contains("<circle"));
    let nothing = picture(&["a"], vec![curve(0, Kind::Train, &[f64::NAN])]);
    assert!(super::svg(&nothing).unwrap().contains("no value that could be shown"));
}

#[test]
fn a_png_shows_each_run_in_its_colour_on_a_machine_without_fonts() {
    let curves = (0..MOST_RUNS).map(|run| curve(run, Kind::Train, &[0.1 + run as f64 / 10.0; 3])).collect();
    let names =
        ["a long name that does not fit into the legend of so many runs, and so on, and on"; MOST_RUNS];
    let bytes = png(&picture(&names, curves)).unwrap();
    let shown = image::load_from_memory(&bytes).unwrap().into_rgb8();
    assert_eq!(shown.width(), 1200);
    for colour in draw::COLOURS {
        let same = |pixel: &&image::Rgb<u8>| pixel.0 == [colour.0, colour.1, colour.2];
        assert!(shown.pixels().filter(same).count() > 300, "{colour:?}");
    }
}
