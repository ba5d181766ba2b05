//! The measures of a version as the contract shows them.

use crate::{
    engine::{EvaluationProgress, EvaluationReport, MisclassifiedImage, SecondVersion, TemperatureFit},
    metric::{Bin, Calibration, ClassReport, ConfusionMatrix, Means, Measures, PairedComparison, Ranking},
    pb::digitd::v1::{self, evaluate_event::Event},
    server::convert::{
        analysis::comparison::from_changed,
        registry::alias::{from_assignment, from_result},
        shared::{
            enums::ContractEnum,
            field::{int, ints},
        },
    },
};

pub fn from_progress(progress: EvaluationProgress) -> v1::EvaluateEvent {
    let progress = v1::EvaluateProgress { images: Some(int(progress.images)), total: int(progress.total) };
    v1::EvaluateEvent { event: Some(Event::Progress(progress)) }
}

pub fn from_finished(evaluated: EvaluationReport) -> v1::EvaluateEvent {
    v1::EvaluateEvent { event: Some(Event::Finished(from_evaluation(evaluated))) }
}

pub fn from_evaluation(evaluated: EvaluationReport) -> v1::EvaluateResponse {
    let (dataset, split) = (evaluated.dataset.name.to_string(), evaluated.split.to_wire());
    let names = &evaluated.class_names;
    let comparison = evaluated.comparison.map(|compared| {
        let (dataset, digest) = (dataset.clone(), evaluated.digest.clone());
        Box::new(from_comparison(compared, (dataset, split, digest)))
    });
    v1::EvaluateResponse {
        name: evaluated.model.to_string(),
        version: int(evaluated.version.get()),
        dataset,
        split,
        seconds: Some(evaluated.seconds),
        temperature: evaluated.temperature.map(from_temperature_fit),
        misclassified: evaluated
            .misclassified
            .into_iter()
            .map(|image| from_misclassified(image, names))
            .collect(),
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

fn from_comparison(
    compared: SecondVersion,
    (dataset, split, dataset_digest): (String, i32, String),
) -> v1::VersionComparison {
    let SecondVersion { model, version, class_names, measures, paired } = compared;
    let other = v1::EvaluateResponse {
        name: model.to_string(),
        version: int(version.get()),
        dataset,
        split,
        dataset_digest,
        ..from_measures(&measures, &class_names)
    };
    v1::VersionComparison { other: Some(Box::new(other)), ..from_paired(paired) }
}

fn from_paired(paired: PairedComparison) -> v1::VersionComparison {
    let test = paired.mcnemar();
    v1::VersionComparison {
        agreement: Some(paired.agreement()),
        both_right: Some(int(paired.both_right)),
        only_first: Some(int(paired.only_first)),
        only_second: Some(int(paired.only_second)),
        both_wrong: Some(int(paired.both_wrong)),
        mcnemar: Some(v1::McNemar {
            p_value: Some(test.p_value),
            statistic: test.statistic,
            chi_squared_p_value: test.chi_squared_p_value,
        }),
        changed_count: Some(int(paired.changed)),
        changed: paired.listed.into_iter().map(from_changed).collect(),
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

fn from_temperature_fit(fit: TemperatureFit) -> v1::Temperature {
    v1::Temperature {
        temperature: fit.temperature,
        fitted_on: v1::Split::Validation.into(),
        fitted_images: int(fit.images),
        fitted_digest: fit.digest,
        loss: fit.loss,
        expected_calibration_error: fit.calibration_error,
    }
}

fn from_misclassified(image: MisclassifiedImage, names: &[String]) -> v1::MisclassifiedImage {
    v1::MisclassifiedImage {
        index: Some(int(image.index)),
        label: Some(int(image.label)),
        predicted: Some(int(image.predicted)),
        loss: Some(image.loss),
        probabilities: image.probabilities,
        png: image.png.unwrap_or_default().into(),
        label_name: names.get(image.label).cloned(),
        predicted_name: names.get(image.predicted).cloned(),
    }
}

fn from_confusion(matrix: &ConfusionMatrix) -> v1::ConfusionMatrix {
    let row = |label| v1::ConfusionMatrixRow { counts: ints(matrix.row(label)) };
    v1::ConfusionMatrix { rows: (0..matrix.classes()).map(row).collect() }
}
