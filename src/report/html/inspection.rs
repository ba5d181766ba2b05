//! An inspection as a page of HTML: tables and drawings.

use super::page::{Cell, Figure, Page, Shade, Table};
use crate::{
    pb::digitd::v1::{
        CompareVersionsResponse, DrawingKind, Histogram, InspectResponse, LayerHealth, NetworkHealth,
    },
    report::text::{
        CHANGED_COLUMNS, GRADIENT_COLUMNS, HEALTH_COLUMNS, LAYER_COLUMNS, OUTPUT_COLUMNS, PARAMETER_COLUMNS,
        changed_row, changed_title, class_label, comparison_title, finding_name, gradient_rows,
        gradient_title, health_row, health_title, layer_row, output_row, parameter_row, percent, shape,
        significant, subject, totals,
    },
};

/// The sections of drawings, in the order of the page.
const DRAWN: [(DrawingKind, &str); 5] = [
    (DrawingKind::Saliency, "Saliency"),
    (DrawingKind::Occlusion, "Occlusion"),
    (DrawingKind::Kernels, "Kernels"),
    (DrawingKind::FeatureMaps, "Feature maps"),
    (DrawingKind::Histograms, "Histograms"),
];

/// The largest number of places that the row of a finding names.
const MAX_PLACES: usize = 5;

/// The whole inspection, with the comparison of two versions where there is one.
pub fn inspection_page(inspection: &InspectResponse, comparison: Option<&CompareVersionsResponse>) -> String {
    let mut page = Page::new(format!("Inspection of {}", subject(inspection)));
    facts(&mut page, inspection);
    if let Some(health) = &inspection.health {
        findings(&mut page, health);
    }
    page.section("Layers");
    table(&mut page, &LAYER_COLUMNS, inspection.layers.iter().map(layer_row));
    for line in totals(inspection) {
        page.paragraph(&line);
    }
    prediction(&mut page, inspection);
    for (kind, title) in DRAWN {
        drawings(&mut page, inspection, kind, title);
    }
    if let Some(gradients) = &inspection.gradients {
        page.section("Gradients");
        page.paragraph(&gradient_title(gradients, &inspection.class_names));
        table(&mut page, &GRADIENT_COLUMNS, gradient_rows(gradients).into_iter());
    }
    parameters(&mut page, inspection);
    channels(&mut page, inspection);
    if let Some(health) = &inspection.health {
        page.section("Layers over the split");
        table(&mut page, &HEALTH_COLUMNS, health.layers.iter().map(health_row));
        page.section("Channels over the split");
        table(&mut page, &CHANNEL_HEALTH, health.layers.iter().flat_map(channel_health));
    }
    if let Some(comparison) = comparison {
        version_comparison(&mut page, comparison);
    }
    page.finish()
}

fn facts(page: &mut Page, it: &InspectResponse) {
    page.fact("network", subject(it));
    if let Some(health) = &it.health {
        page.fact("health", health_title(health));
    }
    if let Some(label) = it.label {
        page.fact("image", format!("label {}", class_label(&it.class_names, label)));
    }
}

fn findings(page: &mut Page, health: &NetworkHealth) {
    page.section("Findings");
    if health.findings.is_empty() {
        return page.paragraph("There are no findings.");
    }
    let mut table = Table::new(["finding<", "where<", "measurements<"]);
    for finding in &health.findings {
        let numbers = finding
            .measurements
            .iter()
            .map(|it| format!("{} {}", it.name.replace('_', " "), significant(it.value.unwrap_or_default())));
        let numbers: Vec<String> = numbers.collect();
        let places: Vec<&str> = finding.places.iter().take(MAX_PLACES).map(String::as_str).collect();
        let more = if finding.places.len() > MAX_PLACES { ", …" } else { "" };
        table.row([
            Cell::new(finding_name(finding), Shade::Bad(0.5)),
            Cell::from(format!("{}{more}", places.join(", "))),
            Cell::from(numbers.join(", ")),
        ]);
    }
    page.table(&table);
    for finding in &health.findings {
        page.paragraph(&format!("{} {}", finding.message, finding.advice));
    }
}

fn prediction(page: &mut Page, it: &InspectResponse) {
    if it.probabilities.is_empty() {
        return;
    }
    page.section("Prediction for the image");
    let mut table = Table::new(["class<", "logit", "probability"]);
    for (number, probability) in it.probabilities.iter().enumerate() {
        let logit = it.logits.get(number).copied().unwrap_or_default();
        table.row([
            Cell::from(class_label(&it.class_names, number as i32)),
            Cell::from(significant(logit)),
            Cell::new(format!("{:.2} %", probability * 100.0), Shade::Good(*probability)),
        ]);
    }
    page.table(&table);
}

fn drawings(page: &mut Page, it: &InspectResponse, kind: DrawingKind, title: &str) {
    let drawings: Vec<_> = it.drawings.iter().filter(|drawing| drawing.kind() == kind).collect();
    if drawings.is_empty() {
        return;
    }
    page.section(title);
    page.figures(drawings.iter().map(|drawing| Figure {
        png: &drawing.png,
        caption: &drawing.title,
        width: drawing.width.unsigned_abs(),
    }));
}

/// Columns of the statistics of a parameter or a channel.
const STATISTICS: [&str; 9] =
    ["mean", "std", "min", "max", "norm", "zeros", "NaN", "infinite", "distribution<"];

fn statistics(
    numbers: [Option<f64>; 5],
    shares: [Option<f64>; 3],
    histogram: Option<&Histogram>,
) -> Vec<String> {
    let numbers = numbers.map(|value| value.map(significant).unwrap_or_default());
    numbers.into_iter().chain(shares.map(percent)).chain([distribution(histogram)]).collect()
}

fn parameters(page: &mut Page, it: &InspectResponse) {
    page.section("Parameters");
    let mut table = Table::new(["parameter<", "shape<"].into_iter().chain(STATISTICS));
    for layer in &it.layers {
        for it in layer.parameters.iter().chain(&layer.running_statistics) {
            let cells = statistics(
                [it.mean, it.std, it.min, it.max, it.norm],
                [it.zero_fraction, it.nan_fraction, it.infinite_fraction],
                it.histogram.as_ref(),
            );
            table.row([it.name.clone(), shape(&it.shape)].into_iter().chain(cells));
        }
    }
    page.table(&table);
}

/// The output statistics of every channel that is shown.
fn channels(page: &mut Page, it: &InspectResponse) {
    page.section("Channels for the image");
    let mut table = Table::new(["layer<", "channel"].into_iter().chain(STATISTICS));
    for layer in &it.layers {
        for it in layer.output.iter().flat_map(|output| &output.channels) {
            let cells = statistics(
                [it.mean, it.std, it.min, it.max, it.norm],
                [it.zero_fraction, it.nan_fraction, it.infinite_fraction],
                it.histogram.as_ref(),
            );
            let channel = it.channel.unwrap_or_default().to_string();
            table.row([layer.name.clone(), channel].into_iter().chain(cells));
        }
    }
    page.table(&table);
}

const CHANNEL_HEALTH: [&str; 6] = ["layer<", "channel", "zeros", "mean", "std", "dead<"];

fn channel_health(layer: &LayerHealth) -> impl Iterator<Item = [String; 6]> {
    let numbers = layer.zero_fractions.iter().zip(&layer.means).zip(&layer.stds);
    (0..).zip(numbers).map(|(channel, ((zeros, mean), std))| {
        let dead = if layer.dead_channels.contains(&channel) { "dead" } else { "" };
        let number = channel.to_string();
        [
            layer.name.clone(),
            number,
            percent(Some(*zeros)),
            significant(*mean),
            significant(*std),
            dead.to_owned(),
        ]
    })
}

/// A histogram as a line of bars of one width; an empty bin has the lowest bar.
fn distribution(histogram: Option<&Histogram>) -> String {
    let counts = histogram.map(|it| it.counts.as_slice()).unwrap_or_default();
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &i32| match count {
        ..=0 => BARS[0],
        count => BARS[((i64::from(*count) * 7 - 1) / i64::from(most) + 1).clamp(1, 7) as usize],
    };
    counts.iter().map(bar).collect()
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

fn version_comparison(page: &mut Page, it: &CompareVersionsResponse) {
    page.section("Comparison");
    page.paragraph(&comparison_title(it));
    table(page, &PARAMETER_COLUMNS, it.parameters.iter().map(parameter_row));
    if !it.unmatched_parameters.is_empty() {
        let names = it.unmatched_parameters.join(", ");
        page.paragraph(&format!("Parameters without a counterpart of the same shape: {names}."));
    }
    table(page, &OUTPUT_COLUMNS, it.outputs.iter().map(output_row));
    page.paragraph(&changed_title(it));
    table(
        page,
        &CHANGED_COLUMNS,
        it.changed_predictions.iter().map(|image| changed_row(image, &it.class_names)),
    );
}

fn table<const N: usize>(page: &mut Page, columns: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
    let mut table = Table::new(*columns);
    rows.for_each(|row| table.row(row));
    page.table(&table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_a_line_of_bars() {
        let histogram = |counts: &[i32]| Histogram { counts: counts.to_vec(), ..Histogram::default() };
        assert_eq!(distribution(Some(&histogram(&[0, 1, 50, 100]))), "▁▂▅█");
        assert_eq!(distribution(Some(&histogram(&[7]))), "█");
        assert_eq!(distribution(None), "");
    }
}
