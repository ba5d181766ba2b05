//! Requests as flat lists of names and values, and the differences between several of them.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DynamicMessage, Value};

use super::history::RunHistory;
use crate::pb::{self, digitd::v1::TrainRequest};

/// `optimizer` → `adam`, `optimizer.learning_rate` → `0.003`, `epochs` → `5`: a choice between messages
/// is a setting of its own, and the fields of the chosen message do not repeat its name, so that the same
/// field of two choices has the same name.
type Settings = BTreeMap<String, String>;

/// Every field that a request sets.
fn settings(request: &TrainRequest) -> Settings {
    let mut settings = Settings::new();
    flatten("", &pb::dynamic("TrainRequest", request), &mut settings);
    settings
}

/// A setting that requests differ in, and its value in each of them; none where a request lacks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestDifference {
    pub name: String,
    pub values: Vec<Option<String>>,
}

/// The settings that the requests of these runs differ in.
pub fn request_differences(histories: &[RunHistory]) -> Vec<RequestDifference> {
    let request = |history: &RunHistory| settings(&history.run.request.clone().unwrap_or_default());
    differences(&histories.iter().map(request).collect::<Vec<_>>())
}

/// The differences that identify each run at a glance. What belongs to a choice that the runs differ in,
/// and not to every run's, is left out, because the choice implies it.
pub fn distinguishing(differences: &[RequestDifference]) -> impl Iterator<Item = &RequestDifference> {
    let is_implied = |name: &str| {
        let parent = name.rsplit_once('.').map(|(parent, _)| parent);
        parent.is_some_and(|parent| differences.iter().any(|it| it.name == parent))
    };
    differences.iter().filter(move |it| !is_implied(&it.name) || it.values.iter().all(Option::is_some))
}

fn differences(all: &[Settings]) -> Vec<RequestDifference> {
    let names: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    let row = |name: &String| {
        let values = all.iter().map(|settings| settings.get(name).cloned()).collect();
        RequestDifference { name: name.clone(), values }
    };
    let rows = names.into_iter().map(row);
    rows.filter(|row| row.values.iter().any(|value| *value != row.values[0])).collect()
}

fn flatten(path: &str, message: &DynamicMessage, settings: &mut Settings) {
    for (field, value) in message.fields() {
        let chosen = field.containing_oneof().is_some_and(|choice| !choice.is_synthetic());
        match value {
            Value::Message(inner) if chosen => {
                settings.insert(path.to_owned(), field.name().to_owned());
                flatten(path, inner, settings);
            }
            Value::Message(inner) => flatten(&join(path, field.name()), inner, settings),
            Value::EnumNumber(number) => {
                let kind = field.kind();
                let named = kind.as_enum().and_then(|kind| {
                    let prefix = screaming_snake_case(kind.name()) + "_";
                    let value = kind.get_value(*number)?;
                    Some(value.name().trim_start_matches(&prefix).to_ascii_lowercase())
                });
                settings.insert(join(path, field.name()), named.unwrap_or_else(|| number.to_string()));
            }
            _ => {
                settings.insert(join(path, field.name()), value_text(value));
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The name of a type in upper case, `FinishReason` as `FINISH_REASON`.
fn screaming_snake_case(name: &str) -> String {
    let mut text = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at > 0 && letter.is_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Bool(it) => it.to_string(),
        Value::I32(it) => it.to_string(),
        Value::I64(it) => it.to_string(),
        Value::U32(it) => it.to_string(),
        Value::U64(it) => it.to_string(),
        Value::F32(it) => number(f64::from(*it)),
        Value::F64(it) => number(*it),
        Value::String(it) => it.clone(),
        Value::Bytes(it) => format!("{} bytes", it.len()),
        Value::EnumNumber(it) => it.to_string(),
        Value::Message(it) => {
            let mut inner = Settings::new();
            flatten("", it, &mut inner);
            let parts: Vec<String> = inner
                .iter()
                .map(|(name, value)| if name.is_empty() { value.clone() } else { format!("{name}={value}") })
                .collect();
            parts.join(" ")
        }
        Value::List(list) => list.iter().map(value_text).collect::<Vec<_>>().join(", "),
        Value::Map(map) => {
            let mut parts: Vec<String> = map
                .iter()
                .map(|(key, value)| {
                    format!("{}: {}", value_text(&Value::from(key.clone())), value_text(value))
                })
                .collect();
            parts.sort();
            parts.join(", ")
        }
    }
}

/// A number as in `0.003` or `1e-8`.
fn number(value: f64) -> String {
    match value.abs() {
        size if size > 0.0 && !(1e-4..1e9).contains(&size) => format!("{value:e}"),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{
        Adam, Layer, Linear, Loss, Network, Optimizer, ParameterRegularization, Regularization, Sgd,
        layer::Kind, optimizer::Rule,
    };

    fn request(rule: Rule) -> TrainRequest {
        TrainRequest {
            epochs: Some(5),
            loss: Loss::MeanSquaredError.into(),
            optimizer: Some(Optimizer { rule: Some(rule) }),
            ..Default::default()
        }
    }

    #[test]
    fn the_same_field_of_two_choices_has_one_name() {
        let sgd = settings(&request(Rule::Sgd(Sgd { learning_rate: Some(0.1) })));
        let adam = Adam { learning_rate: Some(0.001), epsilon: Some(1e-8), ..Default::default() };
        let adam = settings(&request(Rule::Adam(adam)));
        assert_eq!((sgd["epochs"].as_str(), sgd["loss"].as_str()), ("5", "mean_squared_error"));
        let found = differences(&[sgd, adam]);
        let names: Vec<&str> = distinguishing(&found).map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["optimizer", "optimizer.learning_rate"]);
        let shown: Vec<String> = found
            .into_iter()
            .map(|RequestDifference { name, values }| {
                let values: Vec<_> = values.iter().map(|value| value.as_deref().unwrap_or("-")).collect();
                format!("{name} {}", values.join(" "))
            })
            .collect();
        assert_eq!(
            shown,
            ["optimizer sgd adam", "optimizer.epsilon - 1e-8", "optimizer.learning_rate 0.1 0.001"]
        );
    }

    #[test]
    fn lists_and_maps_are_one_value() {
        let layer = |name: &str| Layer {
            name: name.to_owned(),
            kind: Some(Kind::Linear(Linear { out_features: 10 })),
        };
        let rules = [("fc.weight".to_owned(), ParameterRegularization { l1: None, l2: Some(0.5) })];
        let request = TrainRequest {
            network: Some(Network { layers: vec![layer("a"), layer("b")], ..Network::default() }),
            regularization: Some(Regularization { per_parameter: rules.into(), ..Default::default() }),
            ..Default::default()
        };
        let found = settings(&request);
        assert_eq!(found["network.layers"], "linear name=a out_features=10, linear name=b out_features=10");
        assert_eq!(found["regularization.per_parameter"], "fc.weight: l2=0.5");
    }
}
