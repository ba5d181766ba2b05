//! The gate before an alias: requirements on the measures of a version, and the alias that moves to the version if they
//! hold. The measures are those of the very version that gets the alias.

use super::evaluation_report::EvaluationReport;
use crate::{
    compute::{Error, FailedRequirements},
    ids::Alias,
    metric::Requirement,
    registry::{AliasUpdate, Assignment, AuditNote, Evidence, Precondition, Registry, RequirementResult},
};

/// A gate holds the requirements that a measured version must meet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gate {
    pub requirements: Vec<Requirement>,
    /// The alias update if all requirements hold.
    pub promotion: Option<Promotion>,
}

/// An alias to point at the measured version.
#[derive(Debug, Clone, PartialEq)]
pub struct Promotion {
    pub alias: Alias,
    pub expected: Precondition,
    pub note: AuditNote,
}

impl Gate {
    /// Errors if a requirement names a measure that a version with this many classes does not have.
    pub fn check(&self, classes: usize) -> Result<(), Error> {
        match self.requirements.iter().position(|requirement| !requirement.fits(classes)) {
            None => Ok(()),
            Some(at) => {
                let message = format!(
                    "is {}: the version tells {classes} classes apart, from 0",
                    self.requirements[at]
                );
                Err(Error::field(format!("require[{at}]"), message))
            }
        }
    }

    /// Checks the requirements and moves the alias. Errors with `RequirementNotMet` if a requirement does not hold; the
    /// alias stays as it is then.
    pub async fn pass(self, registry: &Registry, report: &mut EvaluationReport) -> Result<(), Error> {
        let judged: Vec<_> = self.requirements.iter().map(|it| (it, it.judge(&report.measures))).collect();
        let results = judged.iter().map(|(requirement, (measured, _))| RequirementResult {
            requirement: requirement.to_string(),
            measured: *measured,
        });
        report.results = results.collect();
        if judged.iter().any(|(_, (_, holds))| !holds) {
            let failed: Vec<usize> = (0..judged.len()).filter(|&at| !judged[at].1.1).collect();
            return Err(rejected(report, &failed, self.promotion.as_ref()));
        }
        if let Some(promotion) = self.promotion {
            report.promoted = Some(promote(registry, report, promotion).await?);
        }
        Ok(())
    }
}

async fn promote(
    registry: &Registry,
    report: &EvaluationReport,
    promotion: Promotion,
) -> Result<Assignment, Error> {
    let evidence = Evidence {
        results: report.results.clone(),
        dataset: report.dataset.clone(),
        split: report.split,
        dataset_digest: report.digest.clone(),
        images: report.measures.confusion.total(),
    };
    let Promotion { alias, expected, note } = promotion;
    let note = AuditNote { evidence: Some(evidence), ..note };
    let to = AliasUpdate { version: report.version, expected, note };
    Ok(registry.set_alias(&report.model, &alias, to).await?)
}

fn rejected(report: &EvaluationReport, failed: &[usize], promotion: Option<&Promotion>) -> Error {
    let describe = |&at: &usize| {
        let RequirementResult { requirement, measured } = &report.results[at];
        match measured {
            Some(value) => format!("{requirement} (it is {value})"),
            None => format!("{requirement} (the metric is undefined here)"),
        }
    };
    let failures: Vec<String> = failed.iter().map(describe).collect();
    let left = promotion.map(|it| format!("; {} was not moved", it.alias)).unwrap_or_default();
    let message = format!(
        "version {} of {:?} on {} {} does not meet {}{left}",
        report.version,
        report.model.as_str(),
        report.dataset.name,
        report.split,
        failures.join(", "),
    );
    Error::RequirementNotMet(Box::new(FailedRequirements {
        model: report.model.clone(),
        version: report.version,
        results: report.results.clone(),
        failed: failed.to_vec(),
        digest: report.digest.clone(),
        message,
    }))
}
