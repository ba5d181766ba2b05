//! An evaluation: the totals, a row for every class, the confusion matrix, the comparison with another
//! version, and the misclassified images.

use comfy_table::Cell;

use super::{
    block_image::{digit, side_by_side},
    layout::Layout,
    names::enum_label,
    number::{count, loss, percent, seconds},
    table::{self, Tone, cell},
};
use crate::{
    data::image,
    pb::digitd::v1::{
        AveragedReport, ClassReport, ConfusionMatrix, EvaluateResponse, MisclassifiedImage, Split,
        Temperature, VersionComparison,
    },
};

/// The largest number of classes for which the confusion matrix is shown as a table; of a larger matrix the most
/// frequent confusions are listed.
const MAX_CLASSES: usize = 16;

/// The number of confusions that are listed.
const MAX_CONFUSIONS: usize = 20;

/// The significance level of McNemar's test.
const SIGNIFICANCE: f64 = 0.05;

/// The whole evaluation without its misclassified images.
pub fn evaluation(response: &EvaluateResponse, layout: Layout) -> String {
    let head = format!(
        "{} version {} on {}: accuracy {} ({} of {}), loss {}{}\n",
        response.name,
        response.version,
        evaluated_images(response),
        percent(response.accuracy),
        count(response.correct.unwrap_or_default()),
        count(response.total),
        loss(response.loss),
        response.seconds.map(|s| format!(", in {}", seconds(s))).unwrap_or_default(),
    );
    let matrix =
        response.confusion_matrix.as_ref().map(|it| confusion(it, response, layout)).unwrap_or_default();
    let compared =
        response.comparison.as_ref().map(|it| comparison(response, it, layout)).unwrap_or_default();
    // The first line has accuracy and loss already.
    let more: String = summary(response).into_iter().skip(2).map(|(name, it)| line(name, &it)).collect();
    format!("{head}{more}\n{}\n{matrix}{compared}", classes(response, layout))
}

/// The images of the evaluation, as in `mnist test`.
pub fn evaluated_images(response: &EvaluateResponse) -> String {
    let split = Split::try_from(response.split).unwrap_or_default();
    format!("{} {}", response.dataset, enum_label(split.as_str_name(), "SPLIT"))
}

/// The metrics over all images by name, accuracy and loss first.
pub fn summary(response: &EvaluateResponse) -> Vec<(&'static str, String)> {
    let (correct, total) = (count(response.correct.unwrap_or_default()), count(response.total));
    let interval = format!("{} to {}", percent(response.accuracy_low), percent(response.accuracy_high));
    let top = response.top_accuracies.iter().skip(1);
    let top: Vec<String> = top.map(|top| format!("{} {}", top.k, percent(top.accuracy))).collect();
    let batches = format!(
        "loss {}, accuracy {} over batches of {}",
        loss(response.batch_mean_loss),
        percent(response.batch_mean_accuracy),
        count(response.batch_size)
    );
    let error = response.calibration.as_ref().and_then(|it| it.expected_calibration_error);
    let mut metrics = vec![
        ("accuracy", format!("{} ({correct} of {total})", percent(response.accuracy))),
        ("loss", loss(response.loss)),
        ("95 % interval", interval),
        ("top-k accuracy", top.join(", ")),
        ("batch means", batches),
        ("calibration error", percent(error)),
    ];
    metrics.extend(response.temperature.as_ref().map(|it| ("temperature", temperature(it))));
    metrics
}

/// A fitted temperature, and the calibration that it gives.
pub fn temperature(it: &Temperature) -> String {
    let images = count(it.fitted_images);
    match it.temperature {
        None => format!("none: no temperature minimises the loss on the {images} validation images"),
        Some(temperature) => format!(
            "{temperature:.4}, fitted on {images} validation images: loss {}, calibration error {}",
            loss(it.loss),
            percent(it.expected_calibration_error)
        ),
    }
}

/// The averages over the classes, by name.
pub fn averages(response: &EvaluateResponse) -> impl Iterator<Item = (&'static str, &AveragedReport)> {
    let both = [("macro", &response.macro_average), ("weighted", &response.weighted_average)];
    both.into_iter().filter_map(|(name, means)| Some((name, means.as_ref()?)))
}

/// A class's name, or its number.
pub fn class_name(class: &ClassReport) -> String {
    class.label_name.clone().unwrap_or_else(|| class.label().to_string())
}

/// McNemar's test of two versions on the same images, in sentences.
pub fn mcnemar_sentence(it: &VersionComparison) -> String {
    let images = |number: Option<i32>| count(number.unwrap_or_default());
    let test = it.mcnemar.unwrap_or_default();
    let verdict = match test.p_value {
        Some(p) if p < SIGNIFICANCE => "a significant difference",
        Some(_) => "no significant difference",
        None => "not tested",
    };
    format!(
        "The predictions agree on {} of the images; both correct {}, only the first {}, only the second {}, \
         both incorrect {}. McNemar's test: p {}, {verdict}.",
        percent(it.agreement),
        images(it.both_right),
        images(it.only_first),
        images(it.only_second),
        images(it.both_wrong),
        test.p_value.map_or_else(|| "-".to_owned(), p_value),
    )
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("= {p:.3}") }
}

/// The misclassified images of the largest loss, as a table or drawn.
pub fn misclassified_images(response: &EvaluateResponse, drawn: bool, layout: Layout) -> String {
    if response.misclassified.is_empty() {
        return String::new();
    }
    if drawn {
        let shown: Vec<_> = response.misclassified.iter().map(drawing).collect();
        return format!("\nMisclassified images:\n{}\n", side_by_side(&shown));
    }
    let mut table = table::table(layout, &["image", "label", "prediction", "probability", "label's", "loss"]);
    for it in &response.misclassified {
        let probability = |class: i32| percent(probability(it, class));
        table.add_row([
            count(it.index.unwrap_or_default()),
            it.label_name.clone().unwrap_or_else(|| it.label().to_string()),
            it.predicted_name.clone().unwrap_or_else(|| it.predicted().to_string()),
            probability(it.predicted()),
            probability(it.label()),
            loss(it.loss),
        ]);
    }
    format!("\nMisclassified images:\n{}", table::text(&table))
}

fn probability(image: &MisclassifiedImage, class: i32) -> Option<f64> {
    image.probabilities.get(usize::try_from(class).ok()?).copied()
}

/// A misclassified image in block characters, and its caption.
fn drawing(it: &MisclassifiedImage) -> (Vec<String>, String) {
    let image = image::decode(&it.png, image::Grayscale::Luma);
    let lines = image.map(|image| digit(&image.pixels, image.width)).unwrap_or_default();
    let name = |name: &Option<String>, class: i32| name.clone().unwrap_or_else(|| class.to_string());
    let (label, prediction) = (name(&it.label_name, it.label()), name(&it.predicted_name, it.predicted()));
    let caption =
        format!("{}: {label} as {prediction} {}", it.index(), percent(probability(it, it.predicted())));
    (lines, caption)
}

fn line(name: &str, value: &str) -> String {
    format!("  {name:<18} {value}\n")
}

fn classes(response: &EvaluateResponse, layout: Layout) -> String {
    let header = ["class", "precision", "recall", "F1", "images", "ROC AUC", "avg precision"];
    let mut table = table::table(layout, &header);
    for class in &response.classes {
        let shares = [class.precision, class.recall, class.f1].map(|share| Cell::new(percent(share)));
        let mut row = vec![Cell::new(class_name(class))];
        row.extend(shares);
        row.push(Cell::new(count(class.support.unwrap_or_default())));
        row.extend([class.roc_auc, class.average_precision].map(|share| Cell::new(percent(share))));
        table.add_row(row);
    }
    for (name, means) in averages(response) {
        let mut row = vec![Cell::new(name)];
        row.extend([means.precision, means.recall, means.f1].map(|share| Cell::new(percent(share))));
        row.push(Cell::new(""));
        row.extend([means.roc_auc, means.average_precision].map(|share| Cell::new(percent(share))));
        table.add_row(row);
    }
    table::fit(&mut table, layout.width, &[6, 5]);
    table::text(&table)
}

/// The confusion matrix: a row for every label, a column for every prediction. Zeros are dots, so that
/// confusions are easy to see.
fn confusion(matrix: &ConfusionMatrix, response: &EvaluateResponse, layout: Layout) -> String {
    if matrix.rows.len() > MAX_CLASSES {
        return frequent(matrix, response, layout);
    }
    let predictions: Vec<String> = (0..matrix.rows.len()).map(|class| class.to_string()).collect();
    let header: Vec<&str> = ["label"].into_iter().chain(predictions.iter().map(String::as_str)).collect();
    let mut table = table::table(layout, &header);
    let largest = confused(matrix).map(|(_, _, number)| number).max().unwrap_or(0);
    let name = |label: usize| match response.classes.get(label).and_then(|class| class.label_name.as_ref()) {
        Some(name) => format!("{label} {name}"),
        None => label.to_string(),
    };
    for (label, row) in matrix.rows.iter().enumerate() {
        let cells = row.counts.iter().enumerate().map(|(prediction, &number)| match number {
            0 => cell("·", Tone::Faint),
            _ if prediction == label => cell(number, Tone::Good),
            _ if number * 2 > largest => cell(number, Tone::Bad),
            _ if number * 4 > largest => cell(number, Tone::Doubtful),
            _ => cell(number, Tone::Plain),
        });
        table.add_row([Cell::new(name(label))].into_iter().chain(cells));
    }
    format!("Confusion matrix (rows: labels, columns: predictions):\n{}", table::text(&table))
}

/// The pairs of label and prediction that are confused most often.
fn frequent(matrix: &ConfusionMatrix, response: &EvaluateResponse, layout: Layout) -> String {
    let mut confusions: Vec<_> = confused(matrix).filter(|(_, _, number)| *number > 0).collect();
    confusions.sort_by_key(|&(_, _, number)| std::cmp::Reverse(number));
    let name = |class: usize| response.classes.get(class).map_or_else(|| class.to_string(), class_name);
    let mut table = table::table(layout, &["label<", "prediction<", "images"]);
    for &(label, prediction, number) in confusions.iter().take(MAX_CONFUSIONS) {
        table.add_row([Cell::new(name(label)), Cell::new(name(prediction)), cell(number, Tone::Bad)]);
    }
    format!("Most frequent of {} confusions:\n{}", confusions.len(), table::text(&table))
}

/// Label, prediction and number of images of every cell off the diagonal.
fn confused(matrix: &ConfusionMatrix) -> impl Iterator<Item = (usize, usize, i32)> {
    let rows = matrix.rows.iter().enumerate();
    rows.flat_map(|(label, row)| {
        let others = row.counts.iter().enumerate().filter(move |(prediction, _)| *prediction != label);
        others.map(move |(prediction, &number)| (label, prediction, number))
    })
}

fn comparison(response: &EvaluateResponse, it: &VersionComparison, layout: Layout) -> String {
    let Some(other) = &it.other else { return String::new() };
    let version = |it: &EvaluateResponse| format!("version {}<", it.version);
    let mut table = table::table(layout, &["metric<", &version(response), &version(other)]);
    for ((name, first), (_, second)) in summary(response).into_iter().zip(summary(other)) {
        table.add_row([name.to_owned(), first, second]);
    }
    let test = textwrap::fill(&mcnemar_sentence(it), layout.width);
    let classes = classes(other, layout);
    let matrix = other.confusion_matrix.as_ref().map(|it| confusion(it, other, layout)).unwrap_or_default();
    format!(
        "\nCompared with {} version {}:\n{}\n{test}\n\n{classes}\n{matrix}",
        other.name,
        other.version,
        table::text(&table)
    )
}

#[cfg(test)]
mod tests;
