//! Measurements in JSON: numbers, or "NaN", "Infinity" and "-Infinity", which JSON itself cannot say.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number as it is read: JSON's own, or one of the three words.
#[derive(Deserialize)]
#[serde(untagged)]
enum SerializedFloat {
    Number(f64),
    Word(String),
}

/// A number inside of a list or an option.
#[derive(Serialize, Deserialize)]
struct Number(#[serde(with = "self")] f64);

pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    match *value {
        value if value.is_finite() => to.serialize_f64(value),
        value if value.is_nan() => to.serialize_str("NaN"),
        value if value > 0.0 => to.serialize_str("Infinity"),
        _ => to.serialize_str("-Infinity"),
    }
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    match SerializedFloat::deserialize(from)? {
        SerializedFloat::Number(value) => Ok(value),
        SerializedFloat::Word(word) => match word.as_str() {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => Err(serde::de::Error::custom(format!("{word:?} is not a number"))),
        },
    }
}

/// The same for a list.
pub mod list {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Number;

    pub fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|value| Number(*value)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<Number>::deserialize(from)?.into_iter().map(|number| number.0).collect())
    }
}

/// The same for an optional number; none is null.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Number;

    pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Number).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Number>::deserialize(from)?.map(|number| number.0))
    }
}
