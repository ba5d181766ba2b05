//! The report: everything of an evaluation as a page of HTML that stands alone.

use super::diagram;
use crate::{
    cli::{
        html::{Cell, Page, Picture, Shade, Table},
        output::{self, percent},
    },
    pb::digitd::v1::{
        Calibration, ConfusionMatrix, EvaluateResponse, Mistake, Temperature, VersionComparison,
    },
};

/// Columns of the screen for the picture of a mistake.
const PICTURE: u32 = 112;

pub fn page(answer: &EvaluateResponse) -> String {
    let mut page = Page::new(title(answer));
    facts(&mut page, answer);
    page.section("Labels against answers");
    page.paragraph("Rows are labels, columns answers; a cell is the stronger the more images it counts.");
    let names: Vec<String> = answer.classes.iter().map(output::class_name).collect();
    if let Some(matrix) = &answer.confusion_matrix {
        page.table(&confusion(matrix, &names));
    }
    page.section("Classes");
    page.table(&classes(answer, &names));
    if let Some(calibration) = &answer.calibration {
        reliability(&mut page, calibration, answer.temperature.as_ref());
    }
    if !answer.mistakes.is_empty() {
        page.section("The worst mistakes");
        let captions: Vec<String> = answer.mistakes.iter().map(caption).collect();
        let pictures = answer.mistakes.iter().zip(&captions);
        page.pictures(pictures.map(|(it, caption)| Picture { png: &it.png, caption, width: PICTURE }));
    }
    if let Some(comparison) = &answer.comparison {
        compared(&mut page, answer, comparison);
    }
    page.finish()
}

fn title(answer: &EvaluateResponse) -> String {
    format!("{} version {} on {}", answer.name, answer.version, output::images_of(answer))
}

fn facts(page: &mut Page, answer: &EvaluateResponse) {
    for (name, value) in output::summary(answer) {
        page.fact(name, value);
    }
    page.fact("digest of the images", &*answer.dataset_digest);
    let results: Vec<String> = answer.results.iter().map(output::requirement_result).collect();
    if !results.is_empty() {
        page.fact("required, and it holds", results.join(", "));
    }
    page.fact("made by", concat!("digitd ", env!("CARGO_PKG_VERSION")));
}

fn confusion(matrix: &ConfusionMatrix, names: &[String]) -> Table {
    let name = |index: usize| names.get(index).cloned().unwrap_or_else(|| index.to_string());
    let answers = (0..matrix.rows.len()).map(name);
    let mut table = Table::new(["label<".to_owned()].into_iter().chain(answers));
    let wrong = matrix.rows.iter().enumerate().flat_map(|(label, row)| {
        row.counts.iter().enumerate().filter(move |(answer, _)| *answer != label).map(|(_, count)| *count)
    });
    let worst = f64::from(wrong.max().unwrap_or(0).max(1));
    for (label, row) in matrix.rows.iter().enumerate() {
        let all = f64::from(row.counts.iter().sum::<i32>().max(1));
        let cells = row.counts.iter().enumerate().map(|(answer, &count)| match count {
            0 => Cell::new("·", Shade::Faint),
            _ if answer == label => Cell::new(count, Shade::Good(f64::from(count) / all)),
            _ => Cell::new(count, Shade::Bad(f64::from(count) / worst)),
        });
        table.row([Cell::from(name(label))].into_iter().chain(cells));
    }
    table
}

fn classes(answer: &EvaluateResponse, names: &[String]) -> Table {
    let header = ["class<", "precision", "recall", "F1", "images", "ROC AUC", "average precision"];
    let mut table = Table::new(header);
    for (class, name) in answer.classes.iter().zip(names) {
        let shares = [class.precision, class.recall, class.f1].map(percent);
        let [precision, recall, f1] = shares;
        let images = output::count(class.support.unwrap_or_default());
        let (auc, average) = (percent(class.roc_auc), percent(class.average_precision));
        table.row([name.clone(), precision, recall, f1, images, auc, average]);
    }
    for (name, means) in output::means(answer) {
        let [precision, recall, f1] = [means.precision, means.recall, means.f1].map(percent);
        let (auc, average) = (percent(means.roc_auc), percent(means.average_precision));
        table.row([name.to_owned(), precision, recall, f1, String::new(), auc, average]);
    }
    table
}

fn reliability(page: &mut Page, calibration: &Calibration, temperature: Option<&Temperature>) {
    page.section("As sure as it is right?");
    page.paragraph(
        "Blue: how often answers of that confidence are right. Red: the gap to the confidence; on the \
         dashed line there is none.",
    );
    page.svg(&diagram::reliability(&calibration.bins));
    let mut table = Table::new(["confidence above", "to", "images", "mean confidence", "accuracy"]);
    for bin in &calibration.bins {
        table.row([
            percent(bin.from),
            percent(bin.to),
            output::count(bin.count.unwrap_or_default()),
            percent(bin.confidence),
            percent(bin.accuracy),
        ]);
    }
    page.table(&table);
    if let Some(temperature) = temperature {
        page.paragraph(&format!("Temperature: {}.", output::temperature(temperature)));
    }
}

fn caption(mistake: &Mistake) -> String {
    let name = |name: &Option<String>, class: i32| name.clone().unwrap_or_else(|| class.to_string());
    let probability = |class: i32| {
        percent(usize::try_from(class).ok().and_then(|class| mistake.probabilities.get(class).copied()))
    };
    let (label, answer) = (mistake.label.unwrap_or_default(), mistake.answer.unwrap_or_default());
    format!(
        "image {}\nlabel {}: {}\nanswer {}: {}\nloss {:.3}",
        mistake.index.unwrap_or_default(),
        name(&mistake.label_name, label),
        probability(label),
        name(&mistake.answer_name, answer),
        probability(answer),
        mistake.loss.unwrap_or_default(),
    )
}

fn compared(page: &mut Page, answer: &EvaluateResponse, comparison: &VersionComparison) {
    let Some(other) = &comparison.other else { return };
    page.section(&format!("Beside {} version {}", other.name, other.version));
    page.paragraph(&output::contest(comparison));
    let version = |it: &EvaluateResponse| format!("{} version {}", it.name, it.version);
    let mut table = Table::new(["figure<".to_owned(), version(answer), version(other)]);
    for ((name, first), (_, second)) in output::summary(answer).into_iter().zip(output::summary(other)) {
        table.row([name.to_owned(), first, second]);
    }
    page.table(&table);
    let names: Vec<String> = other.classes.iter().map(output::class_name).collect();
    page.section(&format!("Labels against answers of version {}", other.version));
    if let Some(matrix) = &other.confusion_matrix {
        page.table(&confusion(matrix, &names));
    }
    page.section(&format!("Classes of version {}", other.version));
    page.table(&classes(other, &names));
    page.section("Changed answers");
    let shown = comparison.changed.len();
    page.paragraph(&format!("The first {shown} of {}.", comparison.changed_count.unwrap_or_default()));
    let mut table = Table::new(["image", "label", "first answer", "second answer"]);
    for it in &comparison.changed {
        let right = |answer: Option<i32>| if answer == it.label { Shade::Good(0.5) } else { Shade::Bad(0.5) };
        let cell = |answer: Option<i32>| Cell::new(answer.unwrap_or_default(), right(answer));
        let plain = |number: Option<i32>| Cell::new(number.unwrap_or_default(), Shade::None);
        table.row([plain(it.index), plain(it.label), cell(it.first), cell(it.second)]);
    }
    page.table(&table);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{CalibrationBin, ChangedAnswer, ClassReport, ConfusionMatrixRow, Split};

    fn answer() -> EvaluateResponse {
        let rows = [[8, 0], [3, 9]].map(|counts| ConfusionMatrixRow { counts: counts.to_vec() }).to_vec();
        let class = |label, name: &str| ClassReport {
            label: Some(label),
            label_name: Some(name.to_owned()),
            recall: Some(0.75),
            ..ClassReport::default()
        };
        let mistake = Mistake {
            index: Some(321),
            label: Some(1),
            answer: Some(0),
            probabilities: vec![0.875, 0.125],
            png: vec![1, 2, 3].into(),
            ..Mistake::default()
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
            mistakes: vec![mistake],
            ..EvaluateResponse::default()
        }
    }

    #[test]
    fn a_report_shows_mistakes_as_pictures_and_colours_the_matrix() {
        let page = page(&answer());
        assert!(page.contains("<h1>digits version 3 on mnist test</h1>"), "{page}");
        assert!(page.contains("src=\"data:image/png;base64,AQID\""), "{page}");
        assert!(page.contains("image 321\nlabel 1: 12.50 %\nanswer 0: 87.50 %"), "{page}");
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
        assert!(page.contains("rgb(218 54 51 / 55%)\">3<") && page.contains("<svg"), "{page}");
    }

    #[test]
    fn a_report_sets_two_versions_side_by_side() {
        let other = Some(Box::new(EvaluateResponse { version: 2, ..answer() }));
        let changed = ChangedAnswer {
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
        let page = page(&EvaluateResponse { comparison: Some(Box::new(comparison)), ..answer() });
        assert!(page.contains("<h2>Beside digits version 2</h2>"), "{page}");
        assert_eq!(page.matches("rgb(218 54 51 / 55%)\">3<").count(), 2, "{page}");
        assert!(page.contains("<td>77</td>"), "{page}");
    }
}
