//! Rules over one step's norms: exploding and vanishing gradients, steps out of proportion. They are
//! pure functions; what must hold for several reports in a row is counted by `monitor`.

use super::warning::{Measurement, Rule, RuleViolation, Subject};

/// The measurements of a reported step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StepStats {
    /// L2 norm of the mean loss's gradient over all parameters.
    pub gradient_norm: f64,
    /// The share of the batch that was predicted correctly.
    pub accuracy: f64,
    /// The learning rate as a share of the highest that the run has had.
    pub rate_share: f64,
    pub weights: Vec<WeightNorms>,
}

/// L2 norms of one weight array (biases start at 0 and have no proportions).
#[derive(Debug, Clone, PartialEq)]
pub(in crate::train) struct WeightNorms {
    pub name: String,
    pub gradient: f64,
    pub weight: f64,
    /// The norm of the change by the step.
    pub update: f64,
}

/// A gradient norm beyond this is exploding. The tutorial's run stays below 10; where gradients
/// are clipped, it is at 1 to 10 (Pascanu, Mikolov, Bengio 2013, "On the difficulty of training
/// recurrent neural networks").
pub(super) const EXPLODING_NORM: f64 = 1e3;

/// A weight whose gradient norm is below this share of its own norm is not learning: a step of
/// gradient descent with a learning rate of 1 is lost in the rounding of float32 (2^-23).
pub(super) const VANISHING_SHARE: f64 = 1.0 / (1 << 23) as f64;

/// A batch with more correct predictions than this may have tiny gradients: it is learned.
pub(super) const LEARNED_ACCURACY: f64 = 0.9;

/// Norm of a step over the norm of the weights. About 1e-3 is right (Karpathy, CS231n, "Ratio of
/// weights:updates"); these are a hundred times more and a thousand times less.
pub(super) const MAX_UPDATE: f64 = 0.1;
pub(super) const SMALLEST_UPDATE: f64 = 1e-6;

/// Steps small by schedule are not judged: below this share of the run's highest learning rate.
pub(super) const JUDGED_RATE_SHARE: f64 = 0.1;

pub(super) fn exploding(step: &StepStats) -> Option<RuleViolation> {
    if step.gradient_norm <= EXPLODING_NORM {
        return None;
    }
    let largest = step.weights.iter().max_by(|a, b| a.gradient.total_cmp(&b.gradient));
    Some(RuleViolation {
        rule: Rule::ExplodingGradients,
        subject: Subject { parameter: largest.map(|weight| weight.name.clone()), ..Subject::default() },
        measurements: vec![Measurement::beyond("gradient_norm", step.gradient_norm, EXPLODING_NORM)],
        advice: EXPLODING_ADVICE,
    })
}

/// Reports a run whose loss became infinite or NaN, whatever the norm is by then.
pub(super) fn exploded(gradient_norm: f64) -> RuleViolation {
    // If only the loss is not finite, the norm may be an ordinary one.
    let norm = match gradient_norm <= EXPLODING_NORM {
        true => Measurement::new("gradient_norm", gradient_norm),
        false => Measurement::beyond("gradient_norm", gradient_norm, EXPLODING_NORM),
    };
    RuleViolation {
        rule: Rule::ExplodingGradients,
        subject: Subject::default(),
        measurements: vec![norm],
        advice: EXPLODING_ADVICE,
    }
}

const EXPLODING_ADVICE: &str = "The gradients explode, and steps of this length destroy what was learned: lower the \
                                learning rate, or clip the gradient norm.";

/// Judges a weight in a batch whose accuracy is still low.
pub(super) fn vanishing(weight: &WeightNorms, accuracy: f64) -> Option<RuleViolation> {
    let share = weight.gradient / weight.weight;
    // The comparison is false of NaN: a weight of zeros has no share.
    let vanishes = share < VANISHING_SHARE && accuracy < LEARNED_ACCURACY;
    vanishes.then(|| RuleViolation {
        rule: Rule::VanishingGradients,
        subject: Subject { parameter: Some(weight.name.clone()), ..Subject::default() },
        measurements: vec![
            Measurement::beyond("gradient_to_weight", share, VANISHING_SHARE),
            Measurement::beyond("accuracy", accuracy, LEARNED_ACCURACY),
        ],
        advice: "No gradient reaches this weight, so it does not learn: look for dead channels behind it, lower the \
                 learning rate, use fewer layers, or start from other initial weights.",
    })
}

pub(super) fn update_ratio(weight: &WeightNorms, rate_share: f64) -> Option<RuleViolation> {
    let ratio = weight.update / weight.weight;
    // Where no gradient comes, the length of the step is not what is wrong.
    let moved = weight.gradient / weight.weight >= VANISHING_SHARE;
    let (threshold, advice) = if ratio > MAX_UPDATE {
        (MAX_UPDATE, "Every step changes this weight by more than a tenth of it: lower the learning rate.")
    } else if ratio < SMALLEST_UPDATE && moved && rate_share >= JUDGED_RATE_SHARE {
        let advice = "The steps hardly change this weight: raise the learning rate.";
        (SMALLEST_UPDATE, advice)
    } else {
        return None;
    };
    Some(RuleViolation {
        rule: Rule::UpdateRatio,
        subject: Subject { parameter: Some(weight.name.clone()), ..Subject::default() },
        measurements: vec![Measurement::beyond("update_to_weight", ratio, threshold)],
        advice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(gradient: f64, update: f64) -> WeightNorms {
        WeightNorms { name: "fc.weight".to_owned(), gradient, weight: 2.0, update }
    }

    #[test]
    fn a_gradient_norm_explodes_above_its_threshold_and_where_it_is_not_finite() {
        let find = |gradient_norm| {
            let weights =
                vec![weight(1.0, 0.0), WeightNorms { name: "conv1.weight".into(), ..weight(9.0, 0.0) }];
            exploding(&StepStats { gradient_norm, accuracy: 0.5, rate_share: 1.0, weights })
        };
        assert_eq!((find(0.0), find(1e3)), (None, None));
        let found = find(1001.0).unwrap();
        assert_eq!(found.subject.parameter.as_deref(), Some("conv1.weight"));
        assert_eq!(found.measurements, [Measurement::beyond("gradient_norm", 1001.0, 1e3)]);
        assert!(find(f64::INFINITY).is_some());
        assert!(
            exploding(&StepStats {
                gradient_norm: f64::NAN,
                accuracy: 0.5,
                rate_share: 1.0,
                weights: vec![]
            })
            .is_some()
        );
    }

    #[test]
    fn a_gradient_vanishes_below_the_rounding_of_its_weight_unless_the_batch_is_learned() {
        assert!(vanishing(&weight(0.0, 0.0), 0.1).is_some());
        assert!(vanishing(&weight(2e-7, 0.0), 0.1).is_some());
        assert_eq!(vanishing(&weight(2.5e-7, 0.0), 0.1), None);
        assert_eq!(vanishing(&weight(0.0, 0.0), 0.9), None);
        let nothing = WeightNorms { weight: 0.0, ..weight(0.0, 0.0) };
        assert_eq!(vanishing(&nothing, 0.1), None);
    }

    #[test]
    fn a_step_is_too_long_or_too_short_for_its_weight() {
        let ratio =
            |update, share| update_ratio(&weight(1.0, update), share).map(|it| it.measurements[0].clone());
        assert_eq!(ratio(0.3, 0.0), Some(Measurement::beyond("update_to_weight", 0.15, 0.1)));
        assert_eq!(ratio(0.2, 1.0), None);
        assert_eq!(ratio(2e-6, 1.0), None);
        assert_eq!(ratio(1e-6, 1.0), Some(Measurement::beyond("update_to_weight", 5e-7, 1e-6)));
        assert_eq!(ratio(1e-6, 0.09), None, "the schedule made it small");
        assert_eq!(update_ratio(&weight(0.0, 0.0), 1.0), None, "no gradient came");
    }
}
