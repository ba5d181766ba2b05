//! `--inspect-at`: the batches of a run that are inspected layer by layer.

use crate::pb::digitd::v1::{InspectAt, TrainRequest};

#[derive(Debug, clap::Args)]
pub struct InspectAtArgs {
    /// Inspect this batch layer by layer, shapes and contents, as epoch and batch counted from 1; may
    /// be given several times. 1:401 is the batch that the tutorial, which counts from 0, calls batch_id 400
    #[arg(long = "inspect-at", value_name = "EPOCH:BATCH", value_parser = parse, help_heading = "Run")]
    batches: Vec<InspectAt>,
}

impl InspectAtArgs {
    pub fn apply(&self, request: &mut TrainRequest) {
        if !self.batches.is_empty() {
            request.inspect_at.clone_from(&self.batches);
        }
    }
}

fn parse(text: &str) -> Result<InspectAt, String> {
    let numbers =
        text.split_once(':').and_then(|(epoch, batch)| Some((epoch.parse().ok()?, batch.parse().ok()?)));
    let (epoch, batch) = numbers.ok_or("use EPOCH:BATCH, both counted from 1, for instance 1:401")?;
    Ok(InspectAt { epoch, batch, shapes: true, contents: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_named_by_two_numbers() {
        let at = parse("2:401").unwrap();
        assert_eq!((at.epoch, at.batch, at.shapes, at.contents), (2, 401, true, true));
        for text in ["", "401", "1:", ":1", "1:x", "1:2:3", "1.5:2"] {
            assert!(parse(text).unwrap_err().starts_with("use EPOCH:BATCH"), "{text}");
        }
    }
}
