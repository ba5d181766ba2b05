//! `InspectParameters`: values of parameters, in chunks that fit into messages.

use std::ops::Range;

use bytes::Bytes;

use super::target::{from_run_step, target};
use crate::{
    engine::{ParametersJob, ParametersReport, SubjectInfo},
    ids::FieldError,
    inspect::ParameterValues,
    nn::Precision,
    pb::digitd::v1,
    server::convert::shared::{
        enums::{ContractEnum, ValueForm},
        field::{ANY, count, int, ints},
    },
};

/// Most names of one request, which is more than any network has parameters.
const MAX_NAMES: usize = 256;

/// Most bytes of values in one message.
const CHUNK: usize = 1 << 20;

/// Which values of a parameter a response carries, and in which form.
#[derive(Debug, Clone, Copy)]
pub struct ValueSlice {
    offset: usize,
    limit: usize,
    form: ValueForm,
}

pub fn parameters_request(
    request: v1::InspectParametersRequest,
) -> Result<(ParametersJob, ValueSlice), FieldError> {
    if request.names.len() > MAX_NAMES {
        let message = format!("has {} entries: name at most {MAX_NAMES}", request.names.len());
        return Err(FieldError::new("names", message));
    }
    for (field, given) in [("offset", request.offset.is_some()), ("limit", request.limit.is_some())] {
        if given && request.names.len() != 1 {
            return Err(FieldError::new(
                field,
                "applies to one parameter: name exactly one, or leave this out",
            ));
        }
    }
    let slice = ValueSlice {
        offset: count("offset", request.offset, 0..=ANY, 0)? as usize,
        limit: count("limit", request.limit, 1..=ANY, ANY)? as usize,
        form: ValueForm::parse("form", request.form)?,
    };
    Ok((ParametersJob { target: target(request.model, &request.run_id)?, names: request.names }, slice))
}

/// The messages that carry the values. Errors if the offset lies beyond the parameter.
pub fn messages(
    report: ParametersReport,
    slice: ValueSlice,
) -> Result<impl Iterator<Item = v1::InspectParametersResponse> + Send, FieldError> {
    let ParametersReport { subject: shown, parameters: stored } = report;
    if let [only] = &stored[..]
        && slice.offset >= only.len()
    {
        let message = format!("is {}: {} has {} values, counted from 0", slice.offset, only.name, only.len());
        return Err(FieldError::new("offset", message));
    }
    Ok(stored.into_iter().flat_map(move |stored| {
        let shown = shown.clone();
        slice
            .ranges(&stored)
            .into_iter()
            .map(move |range| slice.message(&shown, &stored, range))
            .collect::<Vec<_>>()
    }))
}

impl ValueSlice {
    /// The range of values in each message.
    fn ranges(self, stored: &ParameterValues) -> Vec<Range<usize>> {
        let end = stored.len().min(self.offset.saturating_add(self.limit));
        let width = match self.form {
            ValueForm::Bytes => stored.width,
            ValueForm::Numbers => size_of::<f64>(),
        };
        let step = CHUNK / width;
        (self.offset..end).step_by(step).map(|start| start..end.min(start + step)).collect()
    }

    fn message(
        self,
        shown: &SubjectInfo,
        stored: &ParameterValues,
        range: Range<usize>,
    ) -> v1::InspectParametersResponse {
        let bytes = &stored.bytes[range.start * stored.width..range.end * stored.width];
        let (values, numbers) = match self.form {
            // A copy, because a slice in a queue would keep the whole parameter in memory.
            ValueForm::Bytes => (Bytes::copy_from_slice(bytes), Vec::new()),
            ValueForm::Numbers => (Bytes::new(), numbers(bytes, stored.width)),
        };
        let precision = match stored.width {
            8 => Precision::Float64,
            _ => Precision::Float32,
        };
        v1::InspectParametersResponse {
            name: shown.model.to_string(),
            version: shown.version.map(|version| int(version.get())).unwrap_or_default(),
            run: shown.run.map(from_run_step),
            parameter: stored.name.clone(),
            shape: ints(&stored.shape),
            precision: precision.to_wire(),
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
    use crate::ids::ModelName;

    fn stored(values: usize) -> ParametersReport {
        let bytes = (0..values).flat_map(|at| (at as f32).to_le_bytes()).collect();
        let shape = vec![values as i64];
        let shown = SubjectInfo {
            model: ModelName::default(),
            version: None,
            run: None,
            class_names: Vec::new(),
            precision: Precision::Float32,
        };
        let parameters = vec![ParameterValues { name: "fc.weight".to_owned(), shape, width: 4, bytes }];
        ParametersReport { subject: shown, parameters }
    }

    fn read(offset: usize, limit: usize, form: ValueForm) -> Vec<v1::InspectParametersResponse> {
        messages(stored(600_000), ValueSlice { offset, limit, form }).unwrap().collect()
    }

    #[test]
    fn parts_follow_each_other_and_none_is_above_a_megabyte() {
        for form in [ValueForm::Bytes, ValueForm::Numbers] {
            let parts = read(0, usize::MAX, form);
            let mut next = 0;
            for part in &parts {
                assert_eq!((part.offset, part.total), (Some(next), 600_000));
                let count = part.numbers.len() + part.values.len() / 4;
                assert!(part.values.len() <= 1 << 20 && part.numbers.len() <= 1 << 17);
                next += int(count);
            }
            assert_eq!(next, 600_000);
        }
    }

    #[test]
    fn a_slice_holds_the_requested_values() {
        let parts = read(599_997, 2, ValueForm::Numbers);
        assert_eq!((parts.len(), &parts[0].numbers[..]), (1, &[599_997.0, 599_998.0][..]));
        assert_eq!(read(599_999, 100, ValueForm::Bytes)[0].values, 599_999f32.to_le_bytes()[..]);
        let beyond = messages(stored(10), ValueSlice { offset: 10, limit: 1, form: ValueForm::Bytes });
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
