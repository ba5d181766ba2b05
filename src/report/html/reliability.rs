//! The reliability diagram: the accuracy of each bin of confidence against its mean confidence.

use std::fmt::Write as _;

use crate::pb::digitd::v1::CalibrationBin;

/// The width of the diagram on the page, in CSS pixels.
const WIDTH: u32 = 440;

/// The side of the square in units of the view box, and the margins around it for labels.
const SIDE: f64 = 300.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// The number of intervals between the labels of an axis: one label for each fifth.
const TICKS: u32 = 5;

/// The diagram in SVG. Bars are accuracies, blue; the gap to the mean confidence of the bin is red. The
/// dashed diagonal is perfect calibration. Lines and labels have the colour of the text around them.
pub fn reliability_diagram(bins: &[CalibrationBin]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" viewBox=\"0 0 {} {}\" role=\"img\" \
         aria-label=\"Reliability diagram: accuracy against confidence\" font-size=\"12\" fill=\"currentColor\">",
        LEFT + SIDE + RIGHT,
        TOP + SIDE + BOTTOM,
    );
    for bin in bins {
        bar(&mut svg, bin);
    }
    let (right, bottom) = (LEFT + SIDE, TOP + SIDE);
    put(
        &mut svg,
        format_args!(
            "<path d=\"M{LEFT} {bottom}L{right} {TOP}\" stroke=\"currentColor\" stroke-dasharray=\"5 4\"/>\
             <path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"currentColor\"/>"
        ),
    );
    for tick in 0..=TICKS {
        let share = f64::from(tick) / f64::from(TICKS);
        let (x, y) = (LEFT + share * SIDE, bottom - share * SIDE);
        put(
            &mut svg,
            format_args!(
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{share:.1}</text>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{share:.1}</text>",
                bottom + 16.0,
                LEFT - 6.0,
                y + 4.0
            ),
        );
    }
    let (middle, centre) = (LEFT + SIDE / 2.0, TOP + SIDE / 2.0);
    put(
        &mut svg,
        format_args!(
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">confidence</text>\
             <text transform=\"translate(14 {centre:.1}) rotate(-90)\" text-anchor=\"middle\">accuracy</text></svg>",
            bottom + 36.0
        ),
    );
    svg
}

fn bar(svg: &mut String, bin: &CalibrationBin) {
    let (Some(confidence), Some(accuracy)) = (bin.confidence, bin.accuracy) else { return };
    let (from, to) = (bin.from.unwrap_or_default(), bin.to.unwrap_or_default());
    let mut block = |low: f64, high: f64, colour: &str| {
        let (x, y) = (LEFT + from * SIDE, TOP + (1.0 - high) * SIDE);
        put(
            svg,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                x + 0.5,
                (to - from) * SIDE - 1.0,
                (high - low) * SIDE
            ),
        );
    };
    block(0.0, accuracy, "rgb(56 120 200 / 75%)");
    block(accuracy.min(confidence), accuracy.max(confidence), "rgb(218 54 51 / 45%)");
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    svg.write_fmt(text).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_is_as_high_as_its_accuracy_and_an_empty_one_is_not_drawn() {
        let empty = CalibrationBin { from: Some(0.0), to: Some(0.5), ..Default::default() };
        let full = CalibrationBin {
            from: Some(0.5),
            to: Some(1.0),
            count: Some(9),
            confidence: Some(0.9),
            accuracy: Some(0.8),
        };
        let svg = reliability_diagram(&[empty, full]);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("x=\"202.5\" y=\"70.0\" width=\"149.0\" height=\"240.0\""), "{svg}");
        assert!(svg.contains("y=\"40.0\" width=\"149.0\" height=\"30.0\""), "{svg}");
    }
}
