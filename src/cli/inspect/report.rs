//! An inspection as a page of HTML: tables and drawings in one file that needs no other.

use std::path::Path;

use crate::{
    cli::{
        Error,
        html::{Cell, Page, Picture, Shade, Table},
        output::{
            CHANGED_COLUMNS, GRADIENT_COLUMNS, HEALTH_COLUMNS, LAYER_COLUMNS, OUTPUT_COLUMNS,
            PARAMETER_COLUMNS, changed_row, changed_title, class_of, difference_title, figure, finding_name,
            gradient_rows, gradient_title, health_row, health_title, layer_row, output_row, parameter_row,
            percent, shape, subject, totals,
        },
    },
    pb::digitd::v1::{
        CompareVersionsResponse, DrawingKind, Histogram, InspectResponse, LayerHealth, NetworkHealth,
    },
};

/// The sections of drawings, in the order of the page.
const DRAWN: [(DrawingKind, &str); 5] = [
    (DrawingKind::Saliency, "Saliency"),
    (DrawingKind::Occlusion, "Occlusion"),
    (DrawingKind::Kernels, "Kernels"),
    (DrawingKind::FeatureMaps, "What the layers make of the picture"),
    (DrawingKind::Histograms, "Histograms"),
];

/// Writes `index.html` into a folder, which is made where it is not there; returns its path.
pub fn write(
    folder: &Path,
    inspected: &InspectResponse,
    compared: Option<&CompareVersionsResponse>,
) -> Result<String, Error> {
    std::fs::create_dir_all(folder).map_err(Error::io("make the folder", folder.display().to_string()))?;
    let path = folder.join("index.html");
    let name = path.display().to_string();
    std::fs::write(&path, page(inspected, compared)).map_err(Error::io("write", name.clone()))?;
    Ok(name)
}

fn page(inspected: &InspectResponse, compared: Option<&CompareVersionsResponse>) -> String {
    let mut page = Page::new(format!("Inspection of {}", subject(inspected)));
    facts(&mut page, inspected);
    if let Some(health) = &inspected.health {
        findings(&mut page, health);
    }
    page.section("Layers");
    table(&mut page, &LAYER_COLUMNS, inspected.layers.iter().map(layer_row));
    for line in totals(inspected) {
        page.paragraph(&line);
    }
    answer(&mut page, inspected);
    for (kind, title) in DRAWN {
        drawings(&mut page, inspected, kind, title);
    }
    if let Some(gradients) = &inspected.gradients {
        page.section("Gradients");
        page.paragraph(&gradient_title(gradients, &inspected.class_names));
        table(&mut page, &GRADIENT_COLUMNS, gradient_rows(gradients).into_iter());
    }
    parameters(&mut page, inspected);
    channels(&mut page, inspected);
    if let Some(health) = &inspected.health {
        page.section("Layers over the whole split");
        table(&mut page, &HEALTH_COLUMNS, health.layers.iter().map(health_row));
        page.section("Channels over the whole split");
        table(&mut page, &CHANNEL_HEALTH, health.layers.iter().flat_map(channel_health));
    }
    if let Some(compared) = compared {
        difference(&mut page, compared);
    }
    page.finish()
}

fn facts(page: &mut Page, it: &InspectResponse) {
    page.fact("network", subject(it));
    if let Some(health) = &it.health {
        page.fact("health", health_title(health));
    }
    if let Some(label) = it.label {
        page.fact("picture", format!("shows {}", class_of(&it.class_names, label)));
    }
}

fn findings(page: &mut Page, health: &NetworkHealth) {
    page.section("What is wrong");
    if health.findings.is_empty() {
        return page.paragraph("Nothing was found.");
    }
    let mut table = Table::new(["finding<", "where<", "numbers<"]);
    for finding in &health.findings {
        let numbers = finding
            .measurements
            .iter()
            .map(|it| format!("{} {}", it.name.replace('_', " "), figure(it.value.unwrap_or_default())));
        let numbers: Vec<String> = numbers.collect();
        let places: Vec<&str> = finding.places.iter().take(5).map(String::as_str).collect();
        let more = if finding.places.len() > 5 { ", …" } else { "" };
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

fn answer(page: &mut Page, it: &InspectResponse) {
    if it.probabilities.is_empty() {
        return;
    }
    page.section("Answer for the picture");
    let mut table = Table::new(["class<", "logit", "probability"]);
    for (number, probability) in it.probabilities.iter().enumerate() {
        let logit = it.logits.get(number).copied().unwrap_or_default();
        table.row([
            Cell::from(class_of(&it.class_names, number as i32)),
            Cell::from(figure(logit)),
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
    page.pictures(drawings.iter().map(|drawing| Picture {
        png: &drawing.png,
        caption: &drawing.title,
        width: drawing.width.unsigned_abs(),
    }));
}

/// What is told of the values of a parameter or a channel.
const STATISTICS: [&str; 9] =
    ["mean", "std", "min", "max", "norm", "zeros", "not a number", "infinite", "spread<"];

fn statistics(numbers: [Option<f64>; 5], shares: [Option<f64>; 3], of: Option<&Histogram>) -> Vec<String> {
    let numbers = numbers.map(|value| value.map(figure).unwrap_or_default());
    numbers.into_iter().chain(shares.map(percent)).chain([spread(of)]).collect()
}

fn parameters(page: &mut Page, it: &InspectResponse) {
    page.section("Parameters");
    let mut table = Table::new(["parameter<", "shape<"].into_iter().chain(STATISTICS));
    for layer in &it.layers {
        for it in layer.parameters.iter().chain(&layer.running_statistics) {
            let told = statistics(
                [it.mean, it.std, it.min, it.max, it.norm],
                [it.zero_fraction, it.nan_fraction, it.infinite_fraction],
                it.histogram.as_ref(),
            );
            table.row([it.name.clone(), shape(&it.shape)].into_iter().chain(told));
        }
    }
    page.table(&table);
}

/// What each channel that is shown gives for the picture.
fn channels(page: &mut Page, it: &InspectResponse) {
    page.section("Channels for the picture");
    let mut table = Table::new(["output of<", "channel"].into_iter().chain(STATISTICS));
    for layer in &it.layers {
        for it in layer.output.iter().flat_map(|output| &output.channels) {
            let told = statistics(
                [it.mean, it.std, it.min, it.max, it.norm],
                [it.zero_fraction, it.nan_fraction, it.infinite_fraction],
                it.histogram.as_ref(),
            );
            let channel = it.channel.unwrap_or_default().to_string();
            table.row([layer.name.clone(), channel].into_iter().chain(told));
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
        [layer.name.clone(), number, percent(Some(*zeros)), figure(*mean), figure(*std), dead.to_owned()]
    })
}

/// A histogram in a line of letters of one width: the lowest where there is nothing.
fn spread(histogram: Option<&Histogram>) -> String {
    let counts = histogram.map(|it| it.counts.as_slice()).unwrap_or_default();
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &i32| match count {
        ..=0 => BARS[0],
        count => BARS[((i64::from(*count) * 7 - 1) / i64::from(most) + 1).clamp(1, 7) as usize],
    };
    counts.iter().map(bar).collect()
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

fn difference(page: &mut Page, it: &CompareVersionsResponse) {
    page.section("Difference");
    page.paragraph(&difference_title(it));
    table(page, &PARAMETER_COLUMNS, it.parameters.iter().map(parameter_row));
    if !it.unmatched_parameters.is_empty() {
        let names = it.unmatched_parameters.join(", ");
        page.paragraph(&format!("Only in one, or of another shape: {names}."));
    }
    table(page, &OUTPUT_COLUMNS, it.outputs.iter().map(output_row));
    page.paragraph(&changed_title(it));
    table(page, &CHANGED_COLUMNS, it.changed_answers.iter().map(|image| changed_row(image, it)));
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
        assert_eq!(spread(Some(&histogram(&[0, 1, 50, 100]))), "▁▂▅█");
        assert_eq!(spread(Some(&histogram(&[7]))), "█");
        assert_eq!(spread(None), "");
    }
}
