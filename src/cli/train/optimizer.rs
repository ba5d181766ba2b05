//! Flags of the optimizer, its schedule, and the penalties on weights.

use clap::ValueEnum;

use super::set::set;
use crate::{
    cli::error::Error,
    pb::digitd::v1::{
        Adagrad, Adam, ConstantSchedule, CosineSchedule, ExponentialSchedule, Momentum, OneCycleSchedule,
        Optimizer, Schedule, Sgd, StepSchedule, TrainRequest, optimizer::Rule, schedule::Shape,
    },
};

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Optimizer")]
pub struct OptimizerArgs {
    /// The optimizer [default: adam]
    #[arg(long, value_enum, value_name = "RULE")]
    optimizer: Option<OptimizerArg>,

    /// Learning rate, constant, or the maximum of a schedule [default: the recipe's; 0.001 for adam, 0.01 for the
    /// others; without this, --optimizer and --recipe: 0.003 with adam under a one-cycle schedule]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    learning_rate: Option<f64>,

    /// Fraction of the previous step that momentum keeps [default: 0.9]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    momentum: Option<f64>,

    /// Use Nesterov's form of momentum
    #[arg(long)]
    nesterov: bool,

    /// Decay rate of adam's first moment [default: 0.9]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    beta1: Option<f64>,

    /// Decay rate of adam's second moment [default: 0.999]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    beta2: Option<f64>,

    /// What adam and adagrad add to the square root [default: 1e-8 for adam, 1e-6 for adagrad]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    epsilon: Option<f64>,

    /// Schedule of the learning rate; its numbers go into --request [default: constant where --optimizer or
    /// --learning-rate is given]
    #[arg(long, value_enum, value_name = "SHAPE")]
    schedule: Option<ScheduleArg>,

    /// Steps over which the learning rate first rises from 0 [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    warmup_steps: Option<i32>,

    /// L1 regularization: adds l1 * sign(p) to every gradient [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    l1: Option<f64>,

    /// L2 regularization: adds l2 * p to every gradient, also known as weight decay [default: 0]
    #[arg(long, visible_alias = "weight-decay", value_name = "X", allow_negative_numbers = true)]
    l2: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OptimizerArg {
    Sgd,
    Momentum,
    Adagrad,
    Adam,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScheduleArg {
    Constant,
    /// A tenth after every epoch
    Step,
    /// Nine tenths after every epoch
    Exponential,
    /// Half a cosine, down to 0
    Cosine,
    /// A rise over three tenths of the steps, then a fall to almost 0
    OneCycle,
}

impl OptimizerArgs {
    /// Sets the fields whose flags are given. Errors on a flag that the optimizer does not have.
    pub fn apply(&self, request: &mut TrainRequest) -> Result<(), Error> {
        if let Some(optimizer) = self.optimizer {
            request.optimizer = Some(Optimizer { rule: Some(optimizer.rule()) });
        }
        if let Some(implied) = self.implied_rule() {
            let rule = request.optimizer.get_or_insert_default().rule.get_or_insert_with(|| implied.rule());
            self.set_terms(rule)?;
        }
        if let Some(schedule) = self.schedule {
            request.schedule.get_or_insert_default().shape = Some(schedule.shape());
        }
        if self.warmup_steps.is_some() {
            let schedule: &mut Schedule = request.schedule.get_or_insert_default();
            set(&mut schedule.warmup_steps, self.warmup_steps);
        }
        if self.l1.is_some() || self.l2.is_some() {
            let regularization = request.regularization.get_or_insert_default();
            set(&mut regularization.l1, self.l1);
            set(&mut regularization.l2, self.l2);
        }
        Ok(())
    }

    /// The optimizer of a request that names none; `None` where no flag sets one of its terms.
    fn implied_rule(&self) -> Option<OptimizerArg> {
        let is_momentum = self.momentum.is_some() || self.nesterov;
        let is_adam = [self.learning_rate, self.beta1, self.beta2, self.epsilon].iter().any(Option::is_some);
        match (is_momentum, is_adam) {
            (true, _) => Some(OptimizerArg::Momentum),
            (false, true) => Some(OptimizerArg::Adam),
            (false, false) => None,
        }
    }

    fn set_terms(&self, rule: &mut Rule) -> Result<(), Error> {
        let mut unused = vec![
            ("--momentum", self.momentum.is_some(), "momentum"),
            ("--nesterov", self.nesterov, "momentum"),
            ("--beta1", self.beta1.is_some(), "adam"),
            ("--beta2", self.beta2.is_some(), "adam"),
            ("--epsilon", self.epsilon.is_some(), "adam and adagrad"),
        ];
        let name = match rule {
            Rule::Sgd(sgd) => {
                set(&mut sgd.learning_rate, self.learning_rate);
                "sgd"
            }
            Rule::Momentum(momentum) => {
                set(&mut momentum.learning_rate, self.learning_rate);
                set(&mut momentum.momentum, self.momentum);
                momentum.nesterov |= self.nesterov;
                unused.retain(|(_, _, owner)| *owner != "momentum");
                "momentum"
            }
            Rule::Adagrad(adagrad) => {
                set(&mut adagrad.learning_rate, self.learning_rate);
                set(&mut adagrad.epsilon, self.epsilon);
                unused.retain(|(flag, ..)| *flag != "--epsilon");
                "adagrad"
            }
            Rule::Adam(adam) => {
                set(&mut adam.learning_rate, self.learning_rate);
                set(&mut adam.beta1, self.beta1);
                set(&mut adam.beta2, self.beta2);
                set(&mut adam.epsilon, self.epsilon);
                unused.retain(|(_, _, owner)| !owner.starts_with("adam"));
                "adam"
            }
        };
        match unused.into_iter().find(|(_, is_given, _)| *is_given) {
            Some((flag, _, owner)) => Err(Error::Usage(format!(
                "{flag} is a term of {owner}, and the optimizer is {name}: choose another --optimizer, or leave it out"
            ))),
            None => Ok(()),
        }
    }
}

impl OptimizerArg {
    fn rule(self) -> Rule {
        match self {
            Self::Sgd => Rule::Sgd(Sgd::default()),
            Self::Momentum => Rule::Momentum(Momentum::default()),
            Self::Adagrad => Rule::Adagrad(Adagrad::default()),
            Self::Adam => Rule::Adam(Adam::default()),
        }
    }
}

impl ScheduleArg {
    fn shape(self) -> Shape {
        match self {
            Self::Constant => Shape::Constant(ConstantSchedule {}),
            Self::Step => Shape::Step(StepSchedule::default()),
            Self::Exponential => Shape::Exponential(ExponentialSchedule::default()),
            Self::Cosine => Shape::Cosine(CosineSchedule::default()),
            Self::OneCycle => Shape::OneCycle(OneCycleSchedule::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::report::json;

    #[derive(Parser)]
    struct OptimizerLine {
        #[command(flatten)]
        args: OptimizerArgs,
    }

    fn apply(line: &str, request: TrainRequest) -> Result<String, String> {
        let mut request = request;
        let line = ["train"].into_iter().chain(line.split_whitespace());
        let args = OptimizerLine::try_parse_from(line).unwrap().args;
        args.apply(&mut request).map_err(|error| error.to_string())?;
        Ok(json::line("TrainRequest", &request))
    }

    fn request(line: &str) -> String {
        apply(line, TrainRequest::default()).unwrap()
    }

    #[test]
    fn every_flag_reaches_its_field() {
        for (line, expected) in [
            ("", "{}"),
            ("--learning-rate 0.5", r#"{"optimizer":{"adam":{"learningRate":0.5}}}"#),
            ("--optimizer sgd --learning-rate 0.5", r#"{"optimizer":{"sgd":{"learningRate":0.5}}}"#),
            ("--momentum 0.5 --nesterov", r#"{"optimizer":{"momentum":{"momentum":0.5,"nesterov":true}}}"#),
            (
                "--beta1 0.5 --beta2 0.25 --epsilon 0.125",
                r#"{"optimizer":{"adam":{"beta1":0.5,"beta2":0.25,"epsilon":0.125}}}"#,
            ),
            ("--optimizer adagrad --epsilon 0.5", r#"{"optimizer":{"adagrad":{"epsilon":0.5}}}"#),
            ("--schedule one-cycle --warmup-steps 3", r#"{"schedule":{"oneCycle":{},"warmupSteps":3}}"#),
            ("--schedule step", r#"{"schedule":{"step":{}}}"#),
            ("--l1 0.5 --weight-decay 0.25", r#"{"regularization":{"l1":0.5,"l2":0.25}}"#),
        ] {
            assert_eq!(request(line), expected, "{line}");
        }
    }

    #[test]
    fn a_term_of_another_optimizer_is_rejected() {
        for line in [
            "--optimizer sgd --momentum 0.5",
            "--optimizer momentum --beta1 0.5",
            "--optimizer adam --nesterov",
        ] {
            let error = apply(line, TrainRequest::default()).unwrap_err();
            assert!(error.contains("choose another --optimizer"), "{error}");
        }
    }
}
