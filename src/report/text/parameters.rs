//! The values of parameters as numbers, row by row.

use super::inspection::shape;
use crate::pb::digitd::v1::InspectParametersResponse;

/// Every parameter with its shape, and a line of numbers for each row of its last dimension.
pub fn parameter_values(chunks: &[InspectParametersResponse]) -> String {
    let mut text = String::new();
    for chunk in chunks {
        if chunk.offset.unwrap_or_default() == 0 {
            text += &format!("{} {}\n", chunk.parameter, shape(&chunk.shape));
        }
        let width = chunk.shape.last().map_or(1, |width| (*width).max(1)) as usize;
        for row in chunk.numbers.chunks(width) {
            let row: Vec<String> = row.iter().map(f64::to_string).collect();
            text += &(row.join(" ") + "\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_named_once_and_its_chunks_follow() {
        let chunk = |offset, numbers: &[f64]| InspectParametersResponse {
            parameter: "fc.weight".to_owned(),
            shape: vec![2, 2],
            offset: Some(offset),
            numbers: numbers.to_vec(),
            ..Default::default()
        };
        let text = parameter_values(&[chunk(0, &[1.0, 0.5]), chunk(2, &[-2.0, 0.0])]);
        assert_eq!(text, "fc.weight [2,2]\n1 0.5\n-2 0\n");
    }
}
