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
            subject, totals,
        },
    },
    pb::digitd::v1::{
        ChannelReport, CompareVersionsResponse, DrawingKind, Histogram, InspectResponse, LayerHealth,
        LayerReport, NetworkHealth, ParameterReport,
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

fn parameters(page: &mut Page, it: &InspectResponse) {
    page.section("Parameters");
    let columns = [
        "parameter<",
        "shape<",
        "mean",
        "std",
        "min",
        "max",
        "norm",
        "zeros",
        "not a number",
        "infinite",
        "spread<",
    ];
    let row = |parameter: &ParameterReport| {
        [
            parameter.name.clone(),
            crate::cli::output::shape(&parameter.shape),
            number(parameter.mean),
            number(parameter.std),
            number(parameter.min),
            number(parameter.max),
            number(parameter.norm),
            share(parameter.zero_fraction),
            share(parameter.nan_fraction),
            share(parameter.infinite_fraction),
            spread(parameter.histogram.as_ref()),
        ]
    };
    let all = it.layers.iter().flat_map(|layer| layer.parameters.iter().chain(&layer.running_statistics));
    table(page, &columns, all.map(row));
}

/// What each channel that is shown gives for the picture.
fn channels(page: &mut Page, it: &InspectResponse) {
    page.section("Channels for the picture");
    let columns = [
        "output of<",
        "channel",
        "mean",
        "std",
        "min",
        "max",
        "norm",
        "zeros",
        "not a number",
        "infinite",
        "spread<",
    ];
    let row = |(layer, channel): (&LayerReport, &ChannelReport)| {
        [
            layer.name.clone(),
            channel.channel.unwrap_or_default().to_string(),
            number(channel.mean),
            number(channel.std),
            number(channel.min),
            number(channel.max),
            number(channel.norm),
            share(channel.zero_fraction),
            share(channel.nan_fraction),
            share(channel.infinite_fraction),
            spread(channel.histogram.as_ref()),
        ]
    };
    let shown = it.layers.iter().filter_map(|layer| Some((layer, layer.output.as_ref()?)));
    let shown = shown.flat_map(|(layer, output)| output.channels.iter().map(move |channel| (layer, channel)));
    table(page, &columns, shown.map(row));
}

const CHANNEL_HEALTH: [&str; 6] = ["layer<", "channel", "zeros", "mean", "std", "dead<"];

fn channel_health(layer: &LayerHealth) -> impl Iterator<Item = [String; 6]> {
    let numbers = layer.zero_fractions.iter().zip(&layer.means).zip(&layer.stds);
    (0..).zip(numbers).map(|(channel, ((zeros, mean), std))| {
        let dead = if layer.dead_channels.contains(&channel) { "dead" } else { "" };
        let number = channel.to_string();
        [layer.name.clone(), number, share(Some(*zeros)), figure(*mean), figure(*std), dead.to_owned()]
    })
}

fn number(value: Option<f64>) -> String {
    value.map(figure).unwrap_or_default()
}

fn share(value: Option<f64>) -> String {
    value.map(|it| format!("{:.2} %", it * 100.0)).unwrap_or_default()
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
