//! Runs before they start: the plan of a request, and the position of a run in the queue.

use super::number::count;
use crate::pb::digitd::v1::{RunPlan, RunQueued, TrainRequest};

/// The plan of a valid request, in a few lines.
pub fn validated(it: &RunPlan) -> String {
    let images = [it.train_images, it.validation_images.unwrap_or_default()];
    format!(
        "the request is valid; on {} it would train\n{}, {} steps\n{} parameters, {} multiply-adds an image; \
         about {} MB of memory",
        it.device,
        workload(it.request.as_ref(), images, it.batches_per_epoch),
        count(it.total_steps),
        count(it.total_parameters),
        count(it.multiply_adds),
        count(it.estimated_memory_megabytes),
    )
}

/// The images that a run trains and validates on, and its epochs and batches.
pub fn workload(request: Option<&TrainRequest>, images: [i32; 2], batches: i32) -> String {
    let dataset = request.and_then(|request| request.dataset.as_ref());
    let name = dataset.map(|dataset| dataset.name.as_str()).unwrap_or_default();
    let epochs = request.and_then(|request| request.epochs).unwrap_or_default();
    let [train, validation] = images.map(count);
    let batches = count(batches);
    format!("{name}: {train} training and {validation} validation images; {epochs} x {batches} batches")
}

/// The position of a run in the queue.
pub fn queued(run_id: &str, it: &RunQueued) -> String {
    let before = match it.position {
        1 => "it is the next".to_owned(),
        position => format!("{} before it", position - 1),
    };
    format!("run {run_id} waits behind run {}, {before}", it.behind_run_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::Dataset;

    #[test]
    fn a_plan_shows_the_data_the_steps_and_the_memory() {
        let dataset = Some(Dataset { name: "mnist".to_owned(), ..Dataset::default() });
        let plan = RunPlan {
            request: Some(TrainRequest { dataset, epochs: Some(5), ..TrainRequest::default() }),
            train_images: 50_000,
            validation_images: Some(10_000),
            batches_per_epoch: 500,
            total_steps: 2_500,
            total_parameters: 20_350,
            multiply_adds: 2_361_800,
            estimated_memory_megabytes: 80,
            device: "cpu".to_owned(),
        };
        let expected = "the request is valid; on cpu it would train\n\
                        mnist: 50 000 training and 10 000 validation images; 5 x 500 batches, 2 500 steps\n\
                        20 350 parameters, 2 361 800 multiply-adds an image; about 80 MB of memory";
        assert_eq!(validated(&plan), expected);
    }

    #[test]
    fn a_queued_run_shows_its_position() {
        let at =
            |position| queued("7", &RunQueued { behind_run_id: "6".to_owned(), position, request: None });
        assert_eq!(at(1), "run 7 waits behind run 6, it is the next");
        assert_eq!(at(3), "run 7 waits behind run 6, 2 before it");
    }
}
