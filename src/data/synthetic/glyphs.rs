//! How people write digits: reads the styles of `strokes.txt`, which is built into the program.
//! Variation, thickness and size are added elsewhere.

use std::sync::LazyLock;

/// The path of a pen while it touches the paper: points (x, y), y downwards, in a
/// digit 100 high. A repeated point is a corner.
pub type Stroke = Vec<(f64, f64)>;

/// One way to write a digit, and its frequency among the ways of the same digit.
#[derive(Debug, Clone)]
pub struct Style {
    pub weight: f64,
    pub strokes: Vec<Stroke>,
}

/// The styles of each digit, at least one.
pub fn styles(digit: u8) -> &'static [Style] {
    static STYLES: LazyLock<[Vec<Style>; 10]> = LazyLock::new(|| {
        read(include_str!("strokes.txt")).expect("strokes.txt is part of the program and tested")
    });
    &STYLES[usize::from(digit)]
}

/// Parses the styles of a text; none if a line does not have the form that its header describes.
fn read(text: &str) -> Option<[Vec<Style>; 10]> {
    let mut styles: [Vec<Style>; 10] = Default::default();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (digit, rest) = line.split_once(' ')?;
        let (weight, rest) = rest.split_once(' ')?;
        let strokes = rest.split(" / ").map(stroke).collect::<Option<Vec<Stroke>>>()?;
        let style = Style { weight: weight.parse().ok()?, strokes };
        styles.get_mut(digit.parse::<usize>().ok()?)?.push(style);
    }
    Some(styles)
}

fn stroke(text: &str) -> Option<Stroke> {
    let points = text.split(' ').map(|point| {
        let (x, y) = point.split_once(',')?;
        Some((x.parse().ok()?, y.parse().ok()?))
    });
    points.collect::<Option<Stroke>>().filter(|points| points.len() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_has_styles_of_the_expected_size() {
        for digit in 0..10 {
            assert!(styles(digit).len() >= 3, "{digit}");
            for style in styles(digit) {
                assert!(style.weight > 0.0);
                let heights = || style.strokes.iter().flatten().map(|point| point.1);
                let (top, bottom) = (heights().fold(f64::MAX, f64::min), heights().fold(f64::MIN, f64::max));
                assert!(
                    (0.0..=15.0).contains(&top) && (84.0..=100.0).contains(&bottom),
                    "{digit}: {style:?}"
                );
            }
        }
    }

    #[test]
    fn a_malformed_line_is_rejected() {
        assert!(read("# a comment\n\n3 1.5 0,0 1,1 / 2,2 3,3\n").is_some_and(|styles| styles[3].len() == 1));
        for bad in ["10 1 0,0 1,1", "3 1 0,0", "3 1 0,0 1", "3 x 0,0 1,1", "3"] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
