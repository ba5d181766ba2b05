//! Requests to measure a version and what is required of it, and their answers.

use std::net::SocketAddr;

use super::{
    comparison::from_changed,
    dataset,
    dataset::from_split,
    field::{Invalid, count, int},
    inspection::ints,
    model::{self, from_assignment, from_result},
};
use crate::{
    engine::{
        EvaluateJob, Evaluated, Fitted, Gate, MAX_BATCH_SIZE, Mistake, Progress, Promotion, SecondVersion,
    },
    ids::{ModelName, Version},
    metric::{
        Bin, Calibration, ClassReport, ConfusionMatrix, Contest, Means, Measures, Ranking, Requirement,
    },
    pb::digitd::v1::{self, evaluate_event::Event},
    registry::{ModelRef, Which},
};

/// Most mistakes that one answer shows.
const MOST_WORST: u32 = 100;

/// Most bins of a reliability table.
const MOST_BINS: u32 = 100;

/// Most requirements of one request: what fails is told in headers, which some clients take up to 8 kB of.
const MOST_REQUIREMENTS: usize = 10;

/// `from` is where the request came from.
pub fn evaluate_request(
    request: v1::EvaluateRequest,
    from: Option<SocketAddr>,
) -> Result<EvaluateJob, Invalid> {
    let compare_to = match request.compare_to {
        None => None,
        Some(other) => Some(model::reference("compare_to", Some(other))?),
    };
    let requirements = requirements(&request.require)?;
    let promotion = match request.promote {
        None => None,
        Some(_) if requirements.is_empty() => {
            let message = "needs require: SetAlias moves an alias without measuring";
            return Err(Invalid::new("promote", message));
        }
        Some(promotion) => Some(self::promotion(promotion, from)?),
    };
    let size = |field, value, range, default: usize| {
        let default = u32::try_from(default).expect("defaults are small");
        count(field, value, range, default).map(|size| size as usize)
    };
    Ok(EvaluateJob {
        model: model::reference("model", request.model)?,
        compare_to,
        dataset: dataset::dataset("dataset", request.dataset)?,
        split: dataset::split("split", request.split)?,
        batch_size: size("batch_size", request.batch_size, 1..=MAX_BATCH_SIZE, EvaluateJob::BATCH_SIZE)?,
        bins: size("calibration_bins", request.calibration_bins, 1..=MOST_BINS, EvaluateJob::BINS)?,
        worst: size("worst", request.worst, 0..=MOST_WORST, EvaluateJob::WORST)?,
        pictures: request.worst_png,
        fit_temperature: request.fit_temperature,
        gate: Gate { requirements, promotion },
    })
}

/// What measures a version before an alias is moved to it; none where nothing is required.
pub fn gated_alias(
    request: &v1::SetAliasRequest,
    (name, version): (&ModelName, Version),
    promotion: &Promotion,
) -> Result<Option<EvaluateJob>, Invalid> {
    let requirements = requirements(&request.require)?;
    if requirements.is_empty() {
        let given = [("dataset", request.dataset.is_some()), ("split", request.split != 0)];
        return match given.iter().find(|(_, given)| *given) {
            None => Ok(None),
            Some((field, _)) => {
                Err(Invalid::new(*field, "says what to measure on, and nothing is required: set require"))
            }
        };
    }
    let model = ModelRef { name: name.clone(), which: Which::Version(version) };
    Ok(Some(EvaluateJob {
        dataset: dataset::dataset("dataset", request.dataset.clone())?,
        split: dataset::split("split", request.split)?,
        worst: 0,
        gate: Gate { requirements, promotion: Some(promotion.clone()) },
        ..EvaluateJob::of(model)
    }))
}

fn requirements(texts: &[String]) -> Result<Vec<Requirement>, Invalid> {
    if texts.len() > MOST_REQUIREMENTS {
        let message = format!("has {} entries: use at most {MOST_REQUIREMENTS}", texts.len());
        return Err(Invalid::new("require", message));
    }
    let parsed = texts.iter().enumerate();
    parsed.map(|(index, text)| text.parse().map_err(Invalid::at(format!("require[{index}]")))).collect()
}

fn promotion(given: v1::Promotion, from: Option<SocketAddr>) -> Result<Promotion, Invalid> {
    Ok(Promotion {
        alias: model::alias("promote.alias", &given.alias)?,
        expected: model::expected("promote.expected_version", given.expected_version)?,
        note: model::note(given.by, given.reason, from),
    })
}

pub fn from_progress(progress: Progress) -> v1::EvaluateEvent {
    let progress = v1::EvaluateProgress { images: Some(int(progress.images)), total: int(progress.total) };
    v1::EvaluateEvent { event: Some(Event::Progress(progress)) }
}

pub fn from_finished(evaluated: Evaluated) -> v1::EvaluateEvent {
    v1::EvaluateEvent { event: Some(Event::Finished(from_evaluated(evaluated))) }
}

pub fn from_evaluated(evaluated: Evaluated) -> v1::EvaluateResponse {
    let (dataset, split) = (evaluated.dataset.name.to_string(), from_split(evaluated.split).into());
    let names = &evaluated.class_names;
    let comparison = evaluated.comparison.map(|compared| {
        let (dataset, digest) = (dataset.clone(), evaluated.digest.clone());
        Box::new(from_compared(compared, (dataset, split, digest)))
    });
    v1::EvaluateResponse {
        name: evaluated.model.to_string(),
        version: int(evaluated.version.get()),
        dataset,
        split,
        seconds: Some(evaluated.seconds),
        temperature: evaluated.temperature.map(from_fitted),
        mistakes: evaluated.mistakes.into_iter().map(|mistake| from_mistake(mistake, names)).collect(),
        dataset_digest: evaluated.digest,
        comparison,
        results: evaluated.results.into_iter().map(from_result).collect(),
        promoted: evaluated.promoted.map(from_assignment),
        ..from_measures(&evaluated.measures, names)
    }
}

fn from_measures(measures: &Measures, names: &[String]) -> v1::EvaluateResponse {
    let confusion = &measures.confusion;
    let classes = confusion.class_reports().into_iter().zip(&measures.rankings);
    let top = (1..).zip(&measures.top);
    v1::EvaluateResponse {
        loss: Some(measures.loss),
        accuracy: Some(measures.accuracy()),
        correct: Some(int(confusion.correct())),
        total: int(confusion.total()),
        classes: classes.map(|(class, ranking)| from_class(class, *ranking, names)).collect(),
        confusion_matrix: Some(from_confusion(confusion)),
        batch_mean_loss: Some(measures.batch_mean_loss),
        batch_mean_accuracy: Some(measures.batch_mean_accuracy),
        batch_size: int(measures.batch_size),
        accuracy_low: measures.interval.map(|interval| interval.low),
        accuracy_high: measures.interval.map(|interval| interval.high),
        top_accuracies: top.map(|(k, share)| v1::TopAccuracy { k, accuracy: Some(*share) }).collect(),
        macro_average: Some(from_means(measures.macro_means)),
        weighted_average: Some(from_means(measures.weighted_means)),
        calibration: measures.calibration.as_ref().map(from_calibration),
        ..v1::EvaluateResponse::default()
    }
}

fn from_compared(
    compared: SecondVersion,
    (dataset, split, dataset_digest): (String, i32, String),
) -> v1::VersionComparison {
    let SecondVersion { model, version, class_names, measures, contest } = compared;
    let other = v1::EvaluateResponse {
        name: model.to_string(),
        version: int(version.get()),
        dataset,
        split,
        dataset_digest,
        ..from_measures(&measures, &class_names)
    };
    v1::VersionComparison { other: Some(Box::new(other)), ..from_contest(contest) }
}

fn from_contest(contest: Contest) -> v1::VersionComparison {
    let test = contest.mcnemar();
    v1::VersionComparison {
        agreement: Some(contest.agreement()),
        both_right: Some(int(contest.both_right)),
        only_first: Some(int(contest.only_first)),
        only_second: Some(int(contest.only_second)),
        both_wrong: Some(int(contest.both_wrong)),
        mcnemar: Some(v1::McNemar {
            p_value: Some(test.p_value),
            statistic: test.statistic,
            chi_squared_p_value: test.chi_squared_p_value,
        }),
        changed_count: Some(int(contest.changed)),
        changed: contest.listed.into_iter().map(from_changed).collect(),
        ..v1::VersionComparison::default()
    }
}

fn from_class(class: ClassReport, ranking: Ranking, names: &[String]) -> v1::ClassReport {
    v1::ClassReport {
        label_name: names.get(class.label).cloned(),
        label: Some(int(class.label)),
        precision: class.precision,
        recall: class.recall,
        f1: class.f1,
        support: Some(int(class.support)),
        roc_auc: ranking.roc_auc,
        average_precision: ranking.average_precision,
    }
}

fn from_means(means: Means) -> v1::AveragedReport {
    v1::AveragedReport {
        precision: Some(means.precision),
        recall: Some(means.recall),
        f1: Some(means.f1),
        roc_auc: means.roc_auc,
        average_precision: means.average_precision,
    }
}

fn from_calibration(calibration: &Calibration) -> v1::Calibration {
    let bin = |bin: &Bin| v1::CalibrationBin {
        from: Some(bin.from),
        to: Some(bin.to),
        count: Some(int(bin.count)),
        confidence: bin.confidence,
        accuracy: bin.accuracy,
    };
    v1::Calibration {
        expected_calibration_error: Some(calibration.error),
        bins: calibration.bins.iter().map(bin).collect(),
    }
}

fn from_fitted(fitted: Fitted) -> v1::Temperature {
    v1::Temperature {
        temperature: fitted.temperature,
        fitted_on: v1::Split::Validation.into(),
        fitted_images: int(fitted.images),
        fitted_digest: fitted.digest,
        loss: fitted.loss,
        expected_calibration_error: fitted.calibration_error,
    }
}

fn from_mistake(mistake: Mistake, names: &[String]) -> v1::Mistake {
    v1::Mistake {
        index: Some(int(mistake.index)),
        label: Some(int(mistake.label)),
        answer: Some(int(mistake.answer)),
        loss: Some(mistake.loss),
        probabilities: mistake.probabilities,
        png: mistake.png.unwrap_or_default().into(),
        label_name: names.get(mistake.label).cloned(),
        answer_name: names.get(mistake.answer).cloned(),
    }
}

fn from_confusion(matrix: &ConfusionMatrix) -> v1::ConfusionMatrix {
    let row = |label| v1::ConfusionMatrixRow { counts: ints(matrix.row(label)) };
    v1::ConfusionMatrix { rows: (0..matrix.classes()).map(row).collect() }
}

#[cfg(test)]
mod tests;
