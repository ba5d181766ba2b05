//! An evaluation as a page of HTML.

use super::{
    page::{Cell, Figure, Page, Shade, Table},
    reliability::reliability_diagram,
};
use crate::{
    pb::digitd::v1::{
        Calibration, ConfusionMatrix, EvaluateResponse, MisclassifiedImage, Temperature, VersionComparison,
    },
    report::text::{
        self, averages, class_name, count, evaluated_images, mcnemar_sentence, percent, requirement_result,
        summary,
    },
};

/// The width of a misclassified image on the page in CSS pixels, four for each of MNIST's 28 columns.
const IMAGE_WIDTH: u32 = 112;

/// The whole evaluation.
pub fn evaluation_page(response: &EvaluateResponse) -> String {
    let mut page = Page::new(title(response));
    facts(&mut page, response);
    page.section("Confusion matrix");
    page.paragraph("Rows are labels, columns predictions; a cell is the stronger the more images it counts.");
    let names: Vec<String> = response.classes.iter().map(class_name).collect();
    if let Some(matrix) = &response.confusion_matrix {
        page.table(&confusion(matrix, &names));
    }
    page.section("Classes");
    page.table(&classes(response, &names));
    if let Some(calibration) = &response.calibration {
        calibration_section(&mut page, calibration, response.temperature.as_ref());
    }
    if !response.misclassified.is_empty() {
        page.section("Misclassified images");
        let captions: Vec<String> = response.misclassified.iter().map(caption).collect();
        let images = response.misclassified.iter().zip(&captions);
        page.figures(images.map(|(it, caption)| Figure { png: &it.png, caption, width: IMAGE_WIDTH }));
    }
    if let Some(comparison) = &response.comparison {
        comparison_sections(&mut page, response, comparison);
    }
    page.finish()
}

fn title(response: &EvaluateResponse) -> String {
    format!("{} version {} on {}", response.name, response.version, evaluated_images(response))
}

fn facts(page: &mut Page, response: &EvaluateResponse) {
    for (name, value) in summary(response) {
        page.fact(name, value);
    }
    page.fact("SHA-256 of the images", &*response.dataset_digest);
    let results: Vec<String> = response.results.iter().map(requirement_result).collect();
    if !results.is_empty() {
        page.fact("requirements met", results.join(", "));
    }
    page.fact("created by", concat!("digitd ", env!("CARGO_PKG_VERSION")));
}

fn confusion(matrix: &ConfusionMatrix, names: &[String]) -> Table {
    let name = |index: usize| names.get(index).cloned().unwrap_or_else(|| index.to_string());
    let predictions = (0..matrix.rows.len()).map(name);
    let mut table = Table::new(["label<".to_owned()].into_iter().chain(predictions));
    let wrong = matrix.rows.iter().enumerate().flat_map(|(label, row)| {
        row.counts
            .iter()
            .enumerate()
            .filter(move |(prediction, _)| *prediction != label)
            .map(|(_, count)| *count)
    });
    let largest = f64::from(wrong.max().unwrap_or(0).max(1));
    for (label, row) in matrix.rows.iter().enumerate() {
        let all = f64::from(row.counts.iter().sum::<i32>().max(1));
        let cells = row.counts.iter().enumerate().map(|(prediction, &count)| match count {
            0 => Cell::new("·", Shade::Faint),
            _ if prediction == label => Cell::new(count, Shade::Good(f64::from(count) / all)),
            _ => Cell::new(count, Shade::Bad(f64::from(count) / largest)),
        });
        table.row([Cell::from(name(label))].into_iter().chain(cells));
    }
    table
}

fn classes(response: &EvaluateResponse, names: &[String]) -> Table {
    let header = ["class<", "precision", "recall", "F1", "images", "ROC AUC", "average precision"];
    let mut table = Table::new(header);
    for (class, name) in response.classes.iter().zip(names) {
        let shares = [class.precision, class.recall, class.f1].map(percent);
        let [precision, recall, f1] = shares;
        let images = count(class.support.unwrap_or_default());
        let (auc, average) = (percent(class.roc_auc), percent(class.average_precision));
        table.row([name.clone(), precision, recall, f1, images, auc, average]);
    }
    for (name, means) in averages(response) {
        let [precision, recall, f1] = [means.precision, means.recall, means.f1].map(percent);
        let (auc, average) = (percent(means.roc_auc), percent(means.average_precision));
        table.row([name.to_owned(), precision, recall, f1, String::new(), auc, average]);
    }
    table
}

fn calibration_section(page: &mut Page, calibration: &Calibration, temperature: Option<&Temperature>) {
    page.section("Reliability diagram (calibration)");
    page.paragraph(
        "Blue: the accuracy of predictions of that confidence. Red: the gap between accuracy and mean \
         confidence. The dashed line is perfect calibration.",
    );
    page.svg(&reliability_diagram(&calibration.bins));
    let mut table = Table::new(["confidence from", "to", "images", "mean confidence", "accuracy"]);
    for bin in &calibration.bins {
        table.row([
            percent(bin.from),
            percent(bin.to),
            count(bin.count.unwrap_or_default()),
            percent(bin.confidence),
            percent(bin.accuracy),
        ]);
    }
    page.table(&table);
    if let Some(temperature) = temperature {
        page.paragraph(&format!("Temperature: {}.", text::temperature(temperature)));
    }
}

fn caption(image: &MisclassifiedImage) -> String {
    let name = |name: &Option<String>, class: i32| name.clone().unwrap_or_else(|| class.to_string());
    let probability = |class: i32| {
        percent(usize::try_from(class).ok().and_then(|class| image.probabilities.get(class).copied()))
    };
    let (label, predicted) = (image.label.unwrap_or_default(), image.predicted.unwrap_or_default());
    format!(
        "image {}\nlabel {}: {}\nprediction {}: {}\nloss {:.3}",
        image.index.unwrap_or_default(),
        name(&image.label_name, label),
        probability(label),
        name(&image.predicted_name, predicted),
        probability(predicted),
        image.loss.unwrap_or_default(),
    )
}

fn comparison_sections(page: &mut Page, response: &EvaluateResponse, comparison: &VersionComparison) {
    let Some(other) = &comparison.other else { return };
    page.section(&format!("Comparison with {} version {}", other.name, other.version));
    page.paragraph(&mcnemar_sentence(comparison));
    let version = |it: &EvaluateResponse| format!("{} version {}", it.name, it.version);
    let mut table = Table::new(["metric<".to_owned(), version(response), version(other)]);
    for ((name, first), (_, second)) in summary(response).into_iter().zip(summary(other)) {
        table.row([name.to_owned(), first, second]);
    }
    page.table(&table);
    let names: Vec<String> = other.classes.iter().map(class_name).collect();
    page.section(&format!("Confusion matrix of version {}", other.version));
    if let Some(matrix) = &other.confusion_matrix {
        page.table(&confusion(matrix, &names));
    }
    page.section(&format!("Classes of version {}", other.version));
    page.table(&classes(other, &names));
    page.section("Changed predictions");
    let shown = comparison.changed.len();
    page.paragraph(&format!("The first {shown} of {}.", comparison.changed_count.unwrap_or_default()));
    let mut table = Table::new(["image", "label", "first prediction", "second prediction"]);
    for it in &comparison.changed {
        let correctness =
            |predicted: Option<i32>| if predicted == it.label { Shade::Good(0.5) } else { Shade::Bad(0.5) };
        let cell = |predicted: Option<i32>| Cell::new(predicted.unwrap_or_default(), correctness(predicted));
        let plain = |number: Option<i32>| Cell::new(number.unwrap_or_default(), Shade::None);
        table.row([plain(it.index), plain(it.label), cell(it.first), cell(it.second)]);
    }
    page.table(&table);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{CalibrationBin, ChangedPrediction, ClassReport, ConfusionMatrixRow, Split};

    fn response() -> EvaluateResponse {
        let rows = [[8, 0], [3, 9]].map(|counts| ConfusionMatrixRow { counts: counts.to_vec() }).to_vec();
        let class = |label, name: &str| ClassReport {
            label: Some(label),
            label_name: Some(name.to_owned()),
            recall: Some(0.75),
            ..ClassReport::default()
        };
        let image = MisclassifiedImage {
            index: Some(321),
            label: Some(1),
            predicted: Some(0),
            probabilities: vec![0.875, 0.125],
            png: vec![1, 2, 3].into(),
            ..MisclassifiedImage::default()
        };
        let bin = CalibrationBin { to: Some(1.0), count: Some(20), ..CalibrationBin::default() };
        EvaluateResponse {
            name: "digits".to_owned(),
            version: 3,
            dataset: "mnist".to_owned(),
            split: Split::Test.into(),
            total: 20,
            classes: vec![class(0, "<b>"), class(1, "one")],
            confusion_matrix: Some(ConfusionMatrix { rows }),
            calibration: Some(Calibration { expected_calibration_error: Some(0.02), bins: vec![bin] }),
            misclassified: vec![image],
            ..EvaluateResponse::default()
        }
    }

    #[test]
    fn a_page_shows_misclassified_images_and_colours_the_matrix() {
        let page = evaluation_page(&response());
        assert!(page.contains("<h1>digits version 3 on mnist test</h1>"), "{page}");
        assert!(page.contains("src=\"data:image/png;base64,AQID\""), "{page}");
        assert!(page.contains("image 321\nlabel 1: 12.50 %\nprediction 0: 87.50 %"), "{page}");
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
        assert!(page.contains("rgb(218 54 51 / 55%)\">3<") && page.contains("<svg"), "{page}");
    }

    #[test]
    fn a_page_compares_two_versions() {
        let other = Some(Box::new(EvaluateResponse { version: 2, ..response() }));
        let changed = ChangedPrediction {
            index: Some(77),
            label: Some(1),
            first: Some(1),
            second: Some(0),
            ..Default::default()
        };
        let comparison = VersionComparison {
            other,
            changed: vec![changed],
            changed_count: Some(1),
            ..VersionComparison::default()
        };
        let page =
            evaluation_page(&EvaluateResponse { comparison: Some(Box::new(comparison)), ..response() });
        assert!(page.contains("<h2>Comparison with digits version 2</h2>"), "{page}");
        assert_eq!(page.matches("rgb(218 54 51 / 55%)\">3<").count(), 2, "{page}");
        assert!(page.contains("<td>77</td>"), "{page}");
    }
}
