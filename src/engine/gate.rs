//! What a version must be measured to reach, and the alias that moves to it then. The figures are those
//! of the very version that gets the alias.

use super::{Error, Evaluated, Unmet};
use crate::{
    ids::Alias,
    metric::Requirement,
    registry::{Assignment, Evidence, Expected, Move, Note, Registry, RequirementResult},
};

/// What is required of a version that is measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gate {
    pub requirements: Vec<Requirement>,
    /// What happens where all of it holds.
    pub promotion: Option<Promotion>,
}

/// An alias to point at the measured version.
#[derive(Debug, Clone, PartialEq)]
pub struct Promotion {
    pub alias: Alias,
    pub expected: Expected,
    pub note: Note,
}

impl Gate {
    /// Errors on a figure that a version of so many classes does not have.
    pub(super) fn check(&self, classes: usize) -> Result<(), Error> {
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

    /// Lets a measured version through: all that is required holds, and the alias points to it. Errors
    /// with `RequirementNotMet` where something does not hold; the alias is left alone then.
    pub(super) async fn pass(self, registry: &Registry, evaluated: &mut Evaluated) -> Result<(), Error> {
        let judged: Vec<_> = self.requirements.iter().map(|it| (it, it.judge(&evaluated.measures))).collect();
        let results = judged.iter().map(|(requirement, (measured, _))| RequirementResult {
            requirement: requirement.to_string(),
            measured: *measured,
        });
        evaluated.results = results.collect();
        if judged.iter().any(|(_, (_, holds))| !holds) {
            let failed: Vec<usize> = (0..judged.len()).filter(|&at| !judged[at].1.1).collect();
            return Err(refused(evaluated, &failed, self.promotion.as_ref()));
        }
        if let Some(promotion) = self.promotion {
            evaluated.promoted = Some(promote(registry, evaluated, promotion).await?);
        }
        Ok(())
    }
}

async fn promote(
    registry: &Registry,
    evaluated: &Evaluated,
    promotion: Promotion,
) -> Result<Assignment, Error> {
    let evidence = Evidence {
        results: evaluated.results.clone(),
        dataset: evaluated.dataset.clone(),
        split: evaluated.split,
        dataset_digest: evaluated.digest.clone(),
        images: evaluated.measures.confusion.total(),
    };
    let Promotion { alias, expected, note } = promotion;
    let note = Note { evidence: Some(evidence), ..note };
    let to = Move { version: evaluated.version, expected, note };
    Ok(registry.set_alias(&evaluated.model, &alias, to).await?)
}

fn refused(evaluated: &Evaluated, failed: &[usize], promotion: Option<&Promotion>) -> Error {
    let told = |&at: &usize| {
        let RequirementResult { requirement, measured } = &evaluated.results[at];
        match measured {
            Some(value) => format!("{requirement} (it is {value})"),
            None => format!("{requirement} (there is no such figure here)"),
        }
    };
    let told: Vec<String> = failed.iter().map(told).collect();
    let left = promotion.map(|it| format!("; {} was not moved", it.alias)).unwrap_or_default();
    let message = format!(
        "version {} of {:?} on {} {} does not keep {}{left}",
        evaluated.version,
        evaluated.model.as_str(),
        evaluated.dataset.name,
        evaluated.split,
        told.join(", "),
    );
    Error::RequirementNotMet(Box::new(Unmet {
        model: evaluated.model.clone(),
        version: evaluated.version,
        results: evaluated.results.clone(),
        failed: failed.to_vec(),
        digest: evaluated.digest.clone(),
        message,
    }))
}
