//! An inspection as a page of HTML: tables and drawings in one file that needs no other.

use std::path::Path;

use crate::{
    cli::{
        Error,
        html::{Cell, Page, Picture, Shade, Table},
        output::{
            CHANGED_COLUMNS, GRADIENT_COLUMNS, HEALTH_COLUMNS, LAYER_COLUMNS, OUTPUT_COLUMNS,
            PARAMETER_COLUMNS, changed_row, changed_title, difference_title, figure, finding_name,
            gradient_rows, gradient_title, health_row, health_title, layer_row, output_row, parameter_row,
            subject, totals,
        },
    },
    pb::digitd::v1::{CompareVersionsResponse, DrawingKind, InspectResponse, NetworkHealth, ParameterReport},
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
        page.paragraph(&gradient_title(gradients));
        table(&mut page, &GRADIENT_COLUMNS, gradient_rows(gradients).into_iter());
    }
    parameters(&mut page, inspected);
    if let Some(health) = &inspected.health {
        page.section("Layers over the whole split");
        table(&mut page, &HEALTH_COLUMNS, health.layers.iter().map(health_row));
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
        page.fact("picture", format!("shows {}", class(it, label)));
    }
}

/// The name of a class, or its number where it has none.
fn class(it: &InspectResponse, class: i32) -> String {
    let name = usize::try_from(class).ok().and_then(|at| it.class_names.get(at));
    name.cloned().unwrap_or_else(|| class.to_string())
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
            Cell::from(class(it, number as i32)),
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
    let columns =
        ["parameter<", "shape<", "mean", "std", "min", "max", "norm", "zeros", "not a number", "infinite"];
    let row = |parameter: &ParameterReport| {
        let number = |value: Option<f64>| value.map(figure).unwrap_or_default();
        let share = |value: Option<f64>| value.map(|it| format!("{:.2} %", it * 100.0)).unwrap_or_default();
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
        ]
    };
    let all = it.layers.iter().flat_map(|layer| layer.parameters.iter().chain(&layer.running_statistics));
    table(page, &columns, all.map(row));
}

fn difference(page: &mut Page, it: &CompareVersionsResponse) {
    page.section("Difference");
    page.paragraph(&difference_title(it));
    table(page, &PARAMETER_COLUMNS, it.parameters.iter().map(parameter_row));
    table(page, &OUTPUT_COLUMNS, it.outputs.iter().map(output_row));
    page.paragraph(&changed_title(it));
    table(page, &CHANGED_COLUMNS, it.changed_answers.iter().map(|image| changed_row(image, it)));
}

fn table<const N: usize>(page: &mut Page, columns: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
    let mut table = Table::new(*columns);
    rows.for_each(|row| table.row(row));
    page.table(&table);
}
