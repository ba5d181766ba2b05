//! Plots as their readers get them: the texts of an SVG, the pixels of a PNG.

use super::{
    chart::{Chart, Panel, Scale},
    curve::{Curve, CurveKind},
    draw::{self, MAX_RUNS, png, svg},
};

fn curve(run: usize, kind: CurveKind, values: &[f64]) -> Curve {
    Curve { run, kind, points: values.iter().enumerate().map(|(x, &y)| (x as f64, y)).collect() }
}

fn chart(runs: &[&str], curves: Vec<Curve>) -> Chart {
    Chart {
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
fn the_chart_names_its_runs_axes_and_lines() {
    let curves = vec![curve(0, CurveKind::Train, &[0.9, 0.4]), curve(1, CurveKind::Validation, &[0.8, 0.5])];
    let svg = svg(&chart(&["first & best", "second"], curves)).unwrap();
    for words in ["first &amp; best", "second", "training", "validation", "Loss", "Accuracy (%)", "epoch"] {
        assert!(svg.contains(words), "{words} is not in the chart");
    }
    assert!(svg.contains("width=\"1200\"") && svg.contains("viewBox=\"0 0 3600"), "{}", &svg[..200]);
    assert!(!svg.contains("finite"), "nothing is broken here");
}

#[test]
fn every_run_has_its_colour_and_validation_its_dots() {
    let validation = curve(1, CurveKind::Validation, &[0.8, 0.5, 0.4]);
    let svg = svg(&chart(&["a", "b"], vec![curve(0, CurveKind::Train, &[0.9, 0.4]), validation])).unwrap();
    assert!(svg.contains("#0072B2") && svg.contains("#D55E00"));
    // There are three dots in each panel and one in the legend.
    assert_eq!(count(&svg, "<circle"), 7);
}

#[test]
fn a_loss_that_is_not_finite_is_marked_and_explained() {
    let svg = svg(&chart(&["a"], vec![curve(0, CurveKind::Train, &[0.9, f64::NAN, f64::INFINITY])])).unwrap();
    assert!(svg.contains("not finite") && svg.contains("<circle"));
    let nothing = chart(&["a"], vec![curve(0, CurveKind::Train, &[f64::NAN])]);
    assert!(draw::svg(&nothing).unwrap().contains("no value to show"));
}

#[test]
fn a_png_shows_each_run_in_its_colour_on_a_machine_without_fonts() {
    let curves =
        (0..MAX_RUNS).map(|run| curve(run, CurveKind::Train, &[0.1 + run as f64 / 10.0; 3])).collect();
    let names =
        ["a long name that does not fit into the legend of so many runs, and so on, and on"; MAX_RUNS];
    let bytes = png(&chart(&names, curves)).unwrap();
    let drawing = image::load_from_memory(&bytes).unwrap().into_rgb8();
    assert_eq!(drawing.width(), 1200);
    for color in draw::COLORS {
        let same = |pixel: &&image::Rgb<u8>| pixel.0 == [color.0, color.1, color.2];
        assert!(drawing.pixels().filter(same).count() > 300, "{color:?}");
    }
}
