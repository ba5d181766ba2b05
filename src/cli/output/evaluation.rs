//! An evaluation: the sums, a row for every class, the confusion matrix, another version beside it, and
//! the worst mistakes.

use comfy_table::Cell;

use super::{
    figure::name_of,
    number::{count, loss, percent, seconds},
    picture::{digit, side_by_side},
    table::{self, Ink, Tone, cell},
    width,
};
use crate::{
    data::image,
    pb::digitd::v1::{
        AveragedReport, ClassReport, ConfusionMatrix, EvaluateResponse, Mistake, Split, Temperature,
        VersionComparison,
    },
};

/// Wider matrices are no tables any more; of them the most frequent mistakes are listed.
const MOST_CLASSES: usize = 16;

/// How many mistakes are listed then.
const LISTED: usize = 20;

/// All of an evaluation but its mistakes.
pub fn evaluation(answer: &EvaluateResponse, ink: Ink) -> String {
    let head = format!(
        "{} version {} on {}: accuracy {} ({} of {}), loss {}{}\n",
        answer.name,
        answer.version,
        images_of(answer),
        percent(answer.accuracy),
        count(answer.correct.unwrap_or_default()),
        count(answer.total),
        loss(answer.loss),
        answer.seconds.map(|s| format!(", in {}", seconds(s))).unwrap_or_default(),
    );
    let matrix = answer.confusion_matrix.as_ref().map(|it| confusion(it, answer, ink)).unwrap_or_default();
    let beside = answer.comparison.as_ref().map(|it| comparison(answer, it, ink)).unwrap_or_default();
    // The head says accuracy and loss already.
    let more: String = summary(answer).into_iter().skip(2).map(|(name, it)| line(name, &it)).collect();
    format!("{head}{more}\n{}\n{matrix}{beside}", classes(answer, ink))
}

/// `mnist test`.
pub fn images_of(answer: &EvaluateResponse) -> String {
    let split = Split::try_from(answer.split).unwrap_or_default();
    format!("{} {}", answer.dataset, name_of(split.as_str_name(), "SPLIT"))
}

/// The figures of the whole set by name, accuracy and loss first.
pub fn summary(answer: &EvaluateResponse) -> Vec<(&'static str, String)> {
    let (correct, total) = (count(answer.correct.unwrap_or_default()), count(answer.total));
    let interval = format!("{} to {}", percent(answer.accuracy_low), percent(answer.accuracy_high));
    let top = answer.top_accuracies.iter().skip(1);
    let top: Vec<String> = top.map(|top| format!("{} {}", top.k, percent(top.accuracy))).collect();
    let batches = format!(
        "loss {}, accuracy {} over batches of {}",
        loss(answer.batch_mean_loss),
        percent(answer.batch_mean_accuracy),
        count(answer.batch_size)
    );
    let error = answer.calibration.as_ref().and_then(|it| it.expected_calibration_error);
    let mut figures = vec![
        ("accuracy", format!("{} ({correct} of {total})", percent(answer.accuracy))),
        ("loss", loss(answer.loss)),
        ("95 % interval", interval),
        ("top k", top.join(", ")),
        ("batch means", batches),
        ("calibration error", percent(error)),
    ];
    figures.extend(answer.temperature.as_ref().map(|it| ("temperature", temperature(it))));
    figures
}

/// What a temperature would change.
pub fn temperature(it: &Temperature) -> String {
    let images = count(it.fitted_images);
    match it.temperature {
        None => format!("none: no temperature is best on the {images} validation images"),
        Some(temperature) => format!(
            "{temperature:.4}, fitted on {images} validation images: loss {}, calibration error {}",
            loss(it.loss),
            percent(it.expected_calibration_error)
        ),
    }
}

/// The averages of the classes, by name.
pub fn means(answer: &EvaluateResponse) -> impl Iterator<Item = (&'static str, &AveragedReport)> {
    let both = [("macro", &answer.macro_average), ("weighted", &answer.weighted_average)];
    both.into_iter().filter_map(|(name, means)| Some((name, means.as_ref()?)))
}

/// A class's name, or its number.
pub fn class_name(class: &ClassReport) -> String {
    class.label_name.clone().unwrap_or_else(|| class.label().to_string())
}

/// Two versions on the same images, in a sentence.
pub fn contest(it: &VersionComparison) -> String {
    let of = |number: Option<i32>| count(number.unwrap_or_default());
    let test = it.mcnemar.unwrap_or_default();
    let verdict = match test.p_value {
        Some(p) if p < 0.05 => "more than chance explains",
        Some(_) => "no more than chance explains",
        None => "not tested",
    };
    format!(
        "They agree on {} of the images; both right {}, only the first {}, only the second {}, both wrong \
         {}. McNemar's test: p {}, {verdict}.",
        percent(it.agreement),
        of(it.both_right),
        of(it.only_first),
        of(it.only_second),
        of(it.both_wrong),
        test.p_value.map_or_else(|| "-".to_owned(), p_value),
    )
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("= {p:.3}") }
}

/// The wrong answers of the largest loss, as a table or as pictures.
pub fn mistakes(answer: &EvaluateResponse, pictures: bool, ink: Ink) -> String {
    if answer.mistakes.is_empty() {
        return String::new();
    }
    if pictures {
        let shown: Vec<_> = answer.mistakes.iter().map(drawn).collect();
        return format!("\nThe worst mistakes:\n{}\n", side_by_side(&shown));
    }
    let mut table =
        table::table(ink, &["image", "label", "answer", "its probability", "the label's", "loss"]);
    for it in &answer.mistakes {
        let probability = |class: i32| percent(probability(it, class));
        table.add_row([
            count(it.index.unwrap_or_default()),
            it.label_name.clone().unwrap_or_else(|| it.label().to_string()),
            it.answer_name.clone().unwrap_or_else(|| it.answer().to_string()),
            probability(it.answer()),
            probability(it.label()),
            loss(it.loss),
        ]);
    }
    format!("\nThe worst mistakes:\n{}", table::text(&table))
}

fn probability(mistake: &Mistake, class: i32) -> Option<f64> {
    mistake.probabilities.get(usize::try_from(class).ok()?).copied()
}

/// A mistake's picture and its caption.
fn drawn(it: &Mistake) -> (Vec<String>, String) {
    let picture = image::decode(&it.png, image::Shades::Luma);
    let lines = picture.map(|picture| digit(&picture.pixels, picture.width)).unwrap_or_default();
    let name = |name: &Option<String>, class: i32| name.clone().unwrap_or_else(|| class.to_string());
    let (label, answer) = (name(&it.label_name, it.label()), name(&it.answer_name, it.answer()));
    let caption = format!("{}: {label} as {answer} {}", it.index(), percent(probability(it, it.answer())));
    (lines, caption)
}

fn line(name: &str, figure: &str) -> String {
    format!("  {name:<18} {figure}\n")
}

fn classes(answer: &EvaluateResponse, ink: Ink) -> String {
    let header = ["class", "precision", "recall", "F1", "images", "ROC AUC", "avg precision"];
    let mut table = table::table(ink, &header);
    for class in &answer.classes {
        let shares = [class.precision, class.recall, class.f1].map(|share| Cell::new(percent(share)));
        let mut row = vec![Cell::new(class_name(class))];
        row.extend(shares);
        row.push(Cell::new(count(class.support.unwrap_or_default())));
        row.extend([class.roc_auc, class.average_precision].map(|share| Cell::new(percent(share))));
        table.add_row(row);
    }
    for (name, means) in means(answer) {
        let mut row = vec![Cell::new(name)];
        row.extend([means.precision, means.recall, means.f1].map(|share| Cell::new(percent(share))));
        row.push(Cell::new(""));
        row.extend([means.roc_auc, means.average_precision].map(|share| Cell::new(percent(share))));
        table.add_row(row);
    }
    table::fit(&mut table, width(), &[6, 5]);
    table::text(&table)
}

/// Labels down, answers across; zeros are dots, so that the mistakes stand out.
fn confusion(matrix: &ConfusionMatrix, answer: &EvaluateResponse, ink: Ink) -> String {
    if matrix.rows.len() > MOST_CLASSES {
        return frequent(matrix, answer, ink);
    }
    let answers: Vec<String> = (0..matrix.rows.len()).map(|answer| answer.to_string()).collect();
    let header: Vec<&str> = ["label"].into_iter().chain(answers.iter().map(String::as_str)).collect();
    let mut table = table::table(ink, &header);
    let worst = confused(matrix).map(|(_, _, number)| number).max().unwrap_or(0);
    let name = |label: usize| match answer.classes.get(label).and_then(|class| class.label_name.as_ref()) {
        Some(name) => format!("{label} {name}"),
        None => label.to_string(),
    };
    for (label, row) in matrix.rows.iter().enumerate() {
        let cells = row.counts.iter().enumerate().map(|(answer, &number)| match number {
            0 => cell("·", Tone::Faint),
            _ if answer == label => cell(number, Tone::Good),
            _ if number * 2 > worst => cell(number, Tone::Bad),
            _ if number * 4 > worst => cell(number, Tone::Doubtful),
            _ => cell(number, Tone::Plain),
        });
        table.add_row([Cell::new(name(label))].into_iter().chain(cells));
    }
    format!("Labels (down) against answers (across):\n{}", table::text(&table))
}

/// The mistakes that were made most often.
fn frequent(matrix: &ConfusionMatrix, answer: &EvaluateResponse, ink: Ink) -> String {
    let mut mistakes: Vec<_> = confused(matrix).filter(|(_, _, number)| *number > 0).collect();
    mistakes.sort_by_key(|&(_, _, number)| std::cmp::Reverse(number));
    let name = |class: usize| answer.classes.get(class).map_or_else(|| class.to_string(), class_name);
    let mut table = table::table(ink, &["label<", "answer<", "images"]);
    for &(label, answer, number) in mistakes.iter().take(LISTED) {
        table.add_row([Cell::new(name(label)), Cell::new(name(answer)), cell(number, Tone::Bad)]);
    }
    format!("The most frequent of {} kinds of mistakes:\n{}", mistakes.len(), table::text(&table))
}

/// Label, answer and number of images of everything off the diagonal.
fn confused(matrix: &ConfusionMatrix) -> impl Iterator<Item = (usize, usize, i32)> {
    let rows = matrix.rows.iter().enumerate();
    rows.flat_map(|(label, row)| {
        let others = row.counts.iter().enumerate().filter(move |(answer, _)| *answer != label);
        others.map(move |(answer, &number)| (label, answer, number))
    })
}

fn comparison(answer: &EvaluateResponse, it: &VersionComparison, ink: Ink) -> String {
    let Some(other) = &it.other else { return String::new() };
    let version = |it: &EvaluateResponse| format!("version {}<", it.version);
    let mut table = table::table(ink, &["figure<", &version(answer), &version(other)]);
    for ((name, first), (_, second)) in summary(answer).into_iter().zip(summary(other)) {
        table.add_row([name.to_owned(), first, second]);
    }
    let told = textwrap::fill(&contest(it), width());
    let classes = classes(other, ink);
    let matrix = other.confusion_matrix.as_ref().map(|it| confusion(it, other, ink)).unwrap_or_default();
    format!(
        "\nBeside {} version {}:\n{}\n{told}\n\n{classes}\n{matrix}",
        other.name,
        other.version,
        table::text(&table)
    )
}

#[cfg(test)]
mod tests;
