//! Values of parameters, in parts that fit into messages.

use std::ops::Range;

use bytes::Bytes;

use super::{
    field::{ANY, Invalid, choice, count, int},
    inspect::{from_moment, target},
    inspection::ints,
};
use crate::{
    engine::{ParametersJob, Shown, Values},
    inspect::Stored,
    pb::digitd::v1,
};

/// Most names of a request: more than any network has.
const MOST_NAMES: usize = 256;

/// Bytes of the values of a part.
const PART: usize = 1 << 20;

/// A request for values whose form is right.
#[derive(Debug)]
pub struct Asked {
    pub job: ParametersJob,
    pub part: Part,
}

/// Which of the values, and how they are written.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    offset: usize,
    limit: usize,
    numbers: bool,
}

pub fn parameters_request(request: v1::InspectParametersRequest) -> Result<Asked, Invalid> {
    if request.names.len() > MOST_NAMES {
        let message = format!("has {} entries: name at most {MOST_NAMES}", request.names.len());
        return Err(Invalid::new("names", message));
    }
    for (field, given) in [("offset", request.offset.is_some()), ("limit", request.limit.is_some())] {
        if given && request.names.len() != 1 {
            return Err(Invalid::new(field, "is of one parameter: name exactly one, or leave this out"));
        }
    }
    let numbers = match choice("form", request.form)? {
        v1::ValueForm::Unspecified | v1::ValueForm::Bytes => false,
        v1::ValueForm::Numbers => true,
    };
    let part = Part {
        offset: count("offset", request.offset, 0..=ANY, 0)? as usize,
        limit: count("limit", request.limit, 1..=ANY, ANY)? as usize,
        numbers,
    };
    Ok(Asked {
        job: ParametersJob { target: target(request.model, &request.run_id)?, names: request.names },
        part,
    })
}

/// The messages that carry them. Errors where the offset is beyond the parameter.
pub fn messages(
    (shown, stored): Values,
    part: Part,
) -> Result<impl Iterator<Item = v1::InspectParametersResponse> + Send, Invalid> {
    if let [only] = &stored[..]
        && part.offset >= only.len()
    {
        let message = format!("is {}: {} has {} values, counted from 0", part.offset, only.name, only.len());
        return Err(Invalid::new("offset", message));
    }
    Ok(stored.into_iter().flat_map(move |stored| {
        let shown = shown.clone();
        part.ranges(&stored)
            .into_iter()
            .map(move |range| part.message(&shown, &stored, range))
            .collect::<Vec<_>>()
    }))
}

impl Part {
    /// The values of each message.
    fn ranges(self, stored: &Stored) -> Vec<Range<usize>> {
        let end = stored.len().min(self.offset.saturating_add(self.limit));
        // A number is eight bytes whatever it was.
        let step = PART / if self.numbers { size_of::<f64>() } else { stored.width };
        (self.offset..end).step_by(step).map(|start| start..end.min(start + step)).collect()
    }

    fn message(self, shown: &Shown, stored: &Stored, range: Range<usize>) -> v1::InspectParametersResponse {
        let bytes = &stored.bytes[range.start * stored.width..range.end * stored.width];
        let (values, numbers) = match self.numbers {
            // A copy: a slice that nobody takes would keep all of the parameter.
            false => (Bytes::copy_from_slice(bytes), Vec::new()),
            true => (Bytes::new(), numbers(bytes, stored.width)),
        };
        let precision = match stored.width {
            8 => v1::Precision::Float64,
            _ => v1::Precision::Float32,
        };
        v1::InspectParametersResponse {
            name: shown.model.to_string(),
            version: shown.version.map(|version| int(version.get())).unwrap_or_default(),
            run: shown.run.map(from_moment),
            parameter: stored.name.clone(),
            shape: ints(&stored.shape),
            precision: precision.into(),
            offset: Some(int(range.start)),
            total: int(stored.len()),
            values,
            numbers,
        }
    }
}

fn numbers(bytes: &[u8], width: usize) -> Vec<f64> {
    match width {
        8 => bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        _ => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::ModelName, nn::Precision};

    fn stored(values: usize) -> Values {
        let bytes = (0..values).flat_map(|at| (at as f32).to_le_bytes()).collect();
        let shape = vec![values as i64];
        let shown = Shown {
            model: ModelName::default(),
            version: None,
            run: None,
            class_names: Vec::new(),
            precision: Precision::Float32,
        };
        (shown, vec![Stored { name: "fc.weight".to_owned(), shape, width: 4, bytes }])
    }

    fn given(offset: usize, limit: usize, numbers: bool) -> Vec<v1::InspectParametersResponse> {
        messages(stored(600_000), Part { offset, limit, numbers }).unwrap().collect()
    }

    #[test]
    fn parts_follow_each_other_and_none_is_above_a_megabyte() {
        for numbers in [false, true] {
            let parts = given(0, usize::MAX, numbers);
            let mut next = 0;
            for part in &parts {
                assert_eq!((part.offset, part.total), (Some(next), 600_000));
                let count = if numbers { part.numbers.len() } else { part.values.len() / 4 };
                assert!(part.values.len() <= 1 << 20 && part.numbers.len() <= 1 << 17);
                next += int(count);
            }
            assert_eq!(next, 600_000);
        }
    }

    #[test]
    fn a_slice_is_what_was_asked_for() {
        let parts = given(599_997, 2, true);
        assert_eq!((parts.len(), &parts[0].numbers[..]), (1, &[599_997.0, 599_998.0][..]));
        assert_eq!(given(599_999, 100, false)[0].values, 599_999f32.to_le_bytes()[..]);
        let beyond = messages(stored(10), Part { offset: 10, limit: 1, numbers: false });
        assert_eq!(beyond.err().unwrap().field, "offset");
    }

    #[test]
    fn a_slice_is_of_one_parameter() {
        let request = |names: &[&str]| v1::InspectParametersRequest {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            offset: Some(1),
            ..v1::InspectParametersRequest::default()
        };
        assert_eq!(parameters_request(request(&[])).unwrap_err().field, "offset");
        assert_eq!(parameters_request(request(&["a", "b"])).unwrap_err().field, "offset");
        assert!(parameters_request(request(&["a"])).is_ok());
        let limit = v1::InspectParametersRequest { limit: Some(0), ..request(&["a"]) };
        assert_eq!(parameters_request(limit).unwrap_err().field, "limit");
        let form = v1::InspectParametersRequest { form: 9, ..request(&["a"]) };
        assert_eq!(parameters_request(form).unwrap_err().field, "form");
    }
}
