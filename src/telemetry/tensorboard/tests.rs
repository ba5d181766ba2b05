//! The records in the folder of a run, and records that a slow disk does not accept.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
};

use chrono::Utc;
use prost::Message as _;

use super::{
    format::{self, EventContent},
    run_folder::RunFolder,
    writer::{Record, TensorBoard, write},
};
use crate::{
    engine::{Array, Observer as _},
    ids::RunId,
    pb,
    train::{BatchReport, EpochReport, Event, LossAndAccuracy, RunStarted, TrainConfig},
};

/// The records of all files of a folder, in the order of their names.
fn records(folder: &Path) -> Vec<format::Event> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut records = Vec::new();
    for path in paths {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            records.push(format::Event::decode(&rest[12..12 + length]).unwrap());
            rest = &rest[12 + length + 4..];
        }
    }
    records
}

fn tags(record: &format::Event) -> Vec<&str> {
    match &record.content {
        Some(EventContent::Summary(summary)) => {
            summary.value.iter().map(|value| value.tag.as_str()).collect()
        }
        Some(EventContent::SessionLog(_)) => vec!["(start)"],
        Some(EventContent::FileVersion(_)) | None => Vec::new(),
    }
}

fn batch(step: u32) -> BatchReport {
    let (loss, accuracy) = (0.5, 0.75);
    BatchReport {
        epoch: 1,
        batch: step,
        step,
        loss,
        accuracy,
        learning_rate: 0.1,
        images_per_second: 1000.0,
        gradient_norm: Some(2.0),
    }
}

fn epoch(epoch: u32) -> EpochReport {
    let validation = Some(LossAndAccuracy { loss: 0.25, accuracy: 0.5 });
    let (train_loss, train_accuracy) = (0.5, 0.75);
    EpochReport { epoch, train_loss, train_accuracy, validation, seconds: 1.0, images_per_second: 1000.0 }
}

fn started() -> RunStarted {
    RunStarted {
        config: TrainConfig::default(),
        train_images: 1_000,
        validation_images: 0,
        batches_per_epoch: 10,
        total_parameters: 1,
        device: "cpu".to_owned(),
        resumed: None,
        dataset_digest: None,
        validation_digest: None,
    }
}

impl TensorBoard {
    /// A writer that accepts nothing as long as it has no queue.
    fn without_thread() -> Self {
        Self {
            queue: Mutex::new(None),
            segment: Mutex::default(),
            thread: Mutex::new(None),
            weights_waiting: Arc::default(),
            dropped: AtomicU64::new(0),
        }
    }
}

#[test]
fn batches_epochs_and_weights_are_recorded_at_their_steps() {
    let root = tempfile::tempdir().unwrap();
    let run = RunId::new();
    let mut folder = RunFolder::open(root.path(), &run.to_string(), 6).unwrap();
    folder.add_batch(Utc::now(), &batch(2)).unwrap();
    folder.add_epoch(Utc::now(), &epoch(2)).unwrap();
    let kernel = Array { name: "conv1.weight".to_owned(), shape: vec![1, 1, 2, 2], values: vec![1.0; 4] };
    folder.add_weights(Utc::now(), 12, &[kernel]).unwrap();
    let records = records(&root.path().join(run.to_string()));
    let steps: Vec<i64> = records.iter().map(|record| record.step).collect();
    assert_eq!(steps, [0, 2, 12, 12]);
    assert_eq!(records[0].content, Some(EventContent::FileVersion("brain.Event:2".to_owned())));
    assert!(tags(&records[1]).starts_with(&["batch/loss", "batch/accuracy", "batch/learning_rate"]));
    assert!(tags(&records[2]).contains(&"epoch/validation_accuracy"), "{:?}", tags(&records[2]));
    assert_eq!(tags(&records[3]), ["weights/conv1.weight", "kernels/conv1.weight"]);
}

#[test]
fn a_resumed_run_adds_a_file_that_replaces_lost_steps() {
    let root = tempfile::tempdir().unwrap();
    let run = RunId::new();
    for steps in [[1, 101], [101, 201]] {
        let mut folder = RunFolder::open(root.path(), &run.to_string(), 300).unwrap();
        for step in steps {
            folder.add_batch(Utc::now(), &batch(step)).unwrap();
        }
    }
    let records = records(&root.path().join(run.to_string()));
    let written: Vec<(i64, bool)> =
        records.iter().map(|record| (record.step, tags(record) == ["(start)"])).collect();
    assert_eq!(written[3..], [(0, false), (101, true), (101, false), (201, false)]);
}

#[test]
fn queued_records_are_written_before_it_is_closed() {
    let root = tempfile::tempdir().unwrap();
    let board = TensorBoard::start(root.path()).unwrap();
    let run = RunId::new();
    board.started(run, &started());
    for step in 1..=100 {
        board.event(run, Utc::now(), &Event::Batch(batch(step)));
    }
    board.close();
    assert_eq!(records(&root.path().join(run.to_string())).len(), 1 + 100);
    assert!(!board.enqueue(Record::Batch(Utc::now(), batch(101))), "it is closed");
}

#[test]
fn a_run_that_starts_while_the_disk_is_busy_has_a_separate_folder_and_a_file_for_each_segment() {
    let (queue, messages) = sync_channel(2);
    let board = TensorBoard { queue: Mutex::new(Some(queue)), ..TensorBoard::without_thread() };
    let (kept, waiting) = sync_channel(8);
    let move_on = || messages.try_iter().for_each(|message| kept.send(message).unwrap());
    let runs = [RunId::new(), RunId::new()];
    for run in [runs[0], runs[1], runs[1]] {
        // By now only the first run still has room in the queue.
        board.started(run, &started());
        board.event(run, Utc::now(), &Event::Batch(batch(1)));
        move_on();
        for step in [2, 3] {
            board.event(run, Utc::now(), &Event::Batch(batch(step)));
        }
    }
    move_on();
    drop(kept);
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &waiting, &AtomicUsize::new(0));
    let steps = |run: RunId| -> Vec<i64> {
        let records = records(&root.path().join(run.to_string()));
        records.iter().map(|record| record.step).collect()
    };
    assert_eq!(steps(runs[0]), [0, 1, 2, 3]);
    // The second file begins by replacing the steps of the first.
    assert_eq!(steps(runs[1]), [0, 2, 3, 0, 2, 2, 3]);
}

#[test]
fn an_epoch_that_is_the_first_record_after_an_interruption_keeps_its_last_batch() {
    let root = tempfile::tempdir().unwrap();
    let run = RunId::new();
    let open = || RunFolder::open(root.path(), &run.to_string(), 6).unwrap();
    open().add_batch(Utc::now(), &batch(6)).unwrap();
    open().add_epoch(Utc::now(), &epoch(1)).unwrap();
    let records = records(&root.path().join(run.to_string()));
    let start = records.iter().find(|record| tags(record) == ["(start)"]).unwrap();
    assert_eq!((records.last().unwrap().step, start.step), (6, 7), "a start voids its step and later ones");
}

#[test]
fn records_that_a_slow_disk_does_not_accept_are_dropped_without_blocking() {
    let (queue, _messages) = sync_channel(3);
    let board = TensorBoard { queue: Mutex::new(Some(queue)), ..TensorBoard::without_thread() };
    let run = RunId::new();
    for _ in 0..3 {
        if board.wants_weights() {
            board.weights(run, 1, Vec::new());
        }
    }
    assert_eq!(board.dropped.load(Ordering::Relaxed), 1, "the third copy is not made");
    for step in 1..=3 {
        board.event(run, Utc::now(), &Event::Batch(batch(step)));
    }
    assert_eq!(board.dropped.load(Ordering::Relaxed), 3, "one found room");
}

#[test]
fn scalars_are_the_numbers_of_the_contract_under_their_names() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = RunFolder::open(root.path(), "run", 6).unwrap();
    folder.add_batch(Utc::now(), &batch(1)).unwrap();
    folder.add_epoch(Utc::now(), &epoch(1)).unwrap();
    let records = records(&root.path().join("run"));
    for (record, (message, prefix)) in
        records[1..].iter().zip([("BatchReport", "batch"), ("EpochReport", "epoch")])
    {
        let fields = pb::descriptor(message);
        let numbers = fields.fields().filter(|field| field.kind() == prost_reflect::Kind::Double);
        let expected: Vec<String> = numbers.map(|field| format!("{prefix}/{}", field.name())).collect();
        assert_eq!(tags(record), expected);
    }
}
