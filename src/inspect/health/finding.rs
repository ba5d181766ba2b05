//! The finding of a rule: its subject, the measurements that it is based on, and the text for both.

/// Largest number of channels that a finding lists.
pub(super) const MAX_CHANNELS: usize = 1000;

/// A defect of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub kind: FindingKind,
    pub layer: String,
    pub parameter: Option<String>,
    /// Empty: all of the layer or parameter.
    pub channels: Vec<i64>,
    /// `relu1[3]`, `conv1.weight`.
    pub places: Vec<String>,
    pub measurements: Vec<Measurement>,
    pub message: String,
    pub advice: &'static str,
}

/// The kinds of findings, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    NotFinite,
    DeadChannels,
    NeverMoved,
    SaturatedSoftmax,
    DuplicateKernels,
}

/// A number that a finding is based on.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    pub name: &'static str,
    pub value: f64,
    pub threshold: Option<f64>,
}

pub(super) fn measurement(name: &'static str, value: f64, threshold: Option<f64>) -> Measurement {
    Measurement { name, value, threshold }
}

/// `relu1[3]` for each channel.
pub(super) fn places(name: &str, channels: &[i64]) -> Vec<String> {
    channels.iter().map(|channel| format!("{name}[{channel}]")).collect()
}

/// `3 of its 20 channels`, or the place itself where it is one.
pub(super) fn described(name: &str, channels: &[i64], width: usize, what: &str) -> String {
    match channels {
        [one] => format!("{name}[{one}]"),
        many => format!("{} of the {width} {what} of {name}", many.len()),
    }
}

/// The channels whose number is so.
pub(super) fn numbered(values: &[f64], is_so: impl Fn(f64) -> bool) -> Vec<i64> {
    let found = values.iter().enumerate().filter(|(_, value)| is_so(**value));
    found.map(|(channel, _)| channel as i64).collect()
}
