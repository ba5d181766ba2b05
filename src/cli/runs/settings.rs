//! A request as a flat list of names and values, and in what several requests differ.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, Value};

use crate::pb::{self, digitd::v1::TrainRequest};

/// `optimizer` → `adam`, `optimizer.learning_rate` → `0.003`, `epochs` → `5`: a choice between
/// messages stands for itself, and what the chosen one holds has no more of its name, so that the
/// same term of two choices has the same name.
pub type Settings = BTreeMap<String, String>;

/// Every field that a request sets.
pub fn settings(request: &TrainRequest) -> Settings {
    let mut settings = Settings::new();
    flatten("", &pb::dynamic("TrainRequest", request), &mut settings);
    settings
}

/// The names that not all requests give the same value, and for each of them every request's value.
pub fn differences(all: &[Settings]) -> Vec<(String, Vec<Option<String>>)> {
    let names: std::collections::BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    let row = |name: &String| all.iter().map(|settings| settings.get(name).cloned()).collect::<Vec<_>>();
    let rows = names.into_iter().map(|name| (name.clone(), row(name)));
    rows.filter(|(_, values)| values.iter().any(|value| *value != values[0])).collect()
}

/// The differences that tell runs apart at a glance: what belongs to a choice in which they differ,
/// and not to every run's, is told by the choice.
pub fn telling(
    differences: &[(String, Vec<Option<String>>)],
) -> impl Iterator<Item = &(String, Vec<Option<String>>)> {
    let follows = |name: &str| {
        let above = name.rsplit_once('.').map(|(above, _)| above);
        above.is_some_and(|above| differences.iter().any(|(name, _)| name == above))
    };
    differences.iter().filter(move |(name, values)| !follows(name) || values.iter().all(Option::is_some))
}

fn flatten(path: &str, message: &DynamicMessage, settings: &mut Settings) {
    for (field, value) in message.fields() {
        let chosen = field.containing_oneof().is_some_and(|choice| !choice.is_synthetic());
        match value {
            Value::Message(inner) if chosen => {
                settings.insert(path.to_owned(), field.name().to_owned());
                flatten(path, inner, settings);
            }
            Value::Message(inner) => flatten(&below(path, field.name()), inner, settings),
            Value::EnumNumber(number) => {
                let kind = field.kind();
                let named = kind.as_enum().and_then(|kind| {
                    let prefix = screaming(kind.name()) + "_";
                    let value = kind.get_value(*number)?;
                    Some(value.name().trim_start_matches(&prefix).to_ascii_lowercase())
                });
                settings.insert(below(path, field.name()), named.unwrap_or_else(|| number.to_string()));
            }
            _ => {
                settings.insert(below(path, field.name()), written(value));
            }
        }
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `FinishReason` as `FINISH_REASON`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at > 0 && letter.is_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

fn written(value: &Value) -> String {
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
        Value::List(list) => list.iter().map(written).collect::<Vec<_>>().join(", "),
        Value::Map(map) => {
            let mut parts: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", written(&Value::from(key.clone())), written(value)))
                .collect();
            parts.sort();
            parts.join(", ")
        }
    }
}

/// `0.003`, `1e-8`.
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
    fn the_same_term_of_two_choices_has_one_name() {
        let sgd = settings(&request(Rule::Sgd(Sgd { learning_rate: Some(0.1) })));
        let adam = Adam { learning_rate: Some(0.001), epsilon: Some(1e-8), ..Default::default() };
        let adam = settings(&request(Rule::Adam(adam)));
        assert_eq!((sgd["epochs"].as_str(), sgd["loss"].as_str()), ("5", "mean_squared_error"));
        let found = differences(&[sgd, adam]);
        let names: Vec<&str> = telling(&found).map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["optimizer", "optimizer.learning_rate"]);
        let shown: Vec<String> = found
            .into_iter()
            .map(|(name, values)| {
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
            network: Some(Network { preset: String::new(), layers: vec![layer("a"), layer("b")] }),
            regularization: Some(Regularization { per_parameter: rules.into(), ..Default::default() }),
            ..Default::default()
        };
        let found = settings(&request);
        assert_eq!(found["network.layers"], "linear name=a out_features=10, linear name=b out_features=10");
        assert_eq!(found["regularization.per_parameter"], "fc.weight: l2=0.5");
    }
}
