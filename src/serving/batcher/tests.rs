//! Calls in a queue with room for a few images.

use super::*;

fn batcher(capacity: usize) -> Batcher {
    let config = BatchConfig { max_batch_size: 4, queue_capacity: capacity, ..BatchConfig::default() };
    Batcher::new(config)
}

/// Queues `images` images of one pixel, whose value is their index.
fn submit(batcher: &Batcher, images: usize) -> Result<Vec<oneshot::Receiver<ChunkResult>>, Error> {
    let pixels: Vec<u8> = (0..images as u8).collect();
    batcher.submit(ImageBatch::Bytes(pixels.into()), (images, 1), None)
}

fn sizes(batcher: &Batcher) -> Vec<usize> {
    batcher.take().unwrap().iter().map(|chunk| chunk.images).collect()
}

#[test]
fn calls_that_wait_together_become_one_batch() {
    let batcher = batcher(100);
    let waiting: Vec<_> = [1, 2, 1, 1].map(|images| submit(&batcher, images).unwrap()).into();
    assert_eq!(sizes(&batcher), [1, 2, 1]);
    assert_eq!(sizes(&batcher), [1]);
    drop(waiting);
}

#[test]
fn a_large_call_is_computed_in_chunks_in_order() {
    let batcher = batcher(100);
    let receivers = submit(&batcher, 10).unwrap();
    assert_eq!(receivers.len(), 3);
    let mut pixels = Vec::new();
    for size in [4, 4, 2] {
        let [chunk] = &batcher.take().unwrap()[..] else { panic!("a chunk fills a batch") };
        assert_eq!(chunk.images, size);
        let Pixels::Bytes(bytes) = &chunk.pixels else { panic!("bytes stay bytes") };
        pixels.extend_from_slice(bytes);
    }
    assert_eq!(pixels, (0..10).collect::<Vec<u8>>());
}

#[test]
fn a_chunk_waits_from_when_it_is_queued_and_not_while_those_before_are_computed() {
    let batcher = batcher(100);
    let _answers = submit(&batcher, 8).unwrap();
    let first = batcher.take().unwrap()[0].since;
    let taken = Instant::now();
    let second = batcher.take().unwrap()[0].since;
    assert!(first < second && second <= taken, "{:?}", second - first);
}

#[test]
fn a_full_queue_rejects_until_it_drains() {
    let batcher = batcher(4);
    let _first = submit(&batcher, 3).unwrap();
    assert!(matches!(submit(&batcher, 2), Err(Error::QueueFull { .. })));
    batcher.take().unwrap();
    let _second = submit(&batcher, 2).unwrap();
}

#[test]
fn retry_delays_grow_with_rejections_and_are_spread() {
    let start = Instant::now();
    let mut rejections = Rejections { since: start, count: 0, before: 0.0 };
    let mut reject = |count: u32, at: Duration| -> Vec<Duration> {
        (0..count).map(|_| rejections.add(start + at)).collect()
    };
    let mean = |waits: &[Duration]| waits.iter().sum::<Duration>().as_secs_f64() / waits.len() as f64;
    let few = reject(1000, Duration::ZERO);
    assert!((mean(&few) - 0.2).abs() < 0.01, "{}", mean(&few));
    let near = |wait: &&Duration| (0.19..0.21).contains(&wait.as_secs_f64());
    assert!(few.iter().filter(near).count() < 150);
    reject(9000, Duration::ZERO);
    let many = reject(1000, COUNTING);
    assert!((mean(&many) - 1.0).abs() < 0.05, "{}", mean(&many));
    reject(1_000_000, 2 * COUNTING);
    assert!(reject(1000, 3 * COUNTING).iter().all(|wait| *wait <= LATEST_RETRY));
    assert!((mean(&reject(1000, 5 * COUNTING)) - 0.2).abs() < 0.01, "calm is back");
}

#[test]
fn a_call_larger_than_the_queue_is_admitted_when_the_queue_is_empty() {
    let batcher = batcher(4);
    let _large = submit(&batcher, 9).unwrap();
    assert!(matches!(submit(&batcher, 1), Err(Error::QueueFull { .. })));
}

#[test]
fn a_call_larger_than_the_queue_neither_starves_nor_blocks() {
    let batcher = batcher(8);
    let _first = submit(&batcher, 1).unwrap();
    let large = submit(&batcher, 10).unwrap();
    let _last = submit(&batcher, 1).unwrap();
    assert_eq!([(); 3].map(|()| sizes(&batcher)), [vec![1], vec![4], vec![1]]);
    assert_eq!([(); 2].map(|()| sizes(&batcher)), [vec![4], vec![2]]);
    assert_eq!(large.len(), 3);
    batcher.close();
    assert!(batcher.take().is_none());
}

#[test]
fn disconnected_callers_cost_no_compute() {
    let batcher = batcher(100);
    drop(submit(&batcher, 1).unwrap());
    let _living = submit(&batcher, 2).unwrap();
    assert_eq!(sizes(&batcher), [2]);
    batcher.close();
    assert!(batcher.take().is_none());
}

#[test]
fn an_expired_deadline_costs_no_compute() {
    let batcher = batcher(100);
    let pixel = || ImageBatch::Bytes(Bytes::from_static(&[0]));
    let past = batcher.submit(pixel(), (1, 1), Some(Instant::now()));
    assert!(matches!(past, Err(Error::DeadlineExceeded)));
    let soon = Instant::now() + Duration::from_millis(1);
    let mut receivers = batcher.submit(pixel(), (1, 1), Some(soon)).unwrap();
    while Instant::now() <= soon {
        std::thread::yield_now();
    }
    batcher.close();
    assert!(batcher.take().is_none());
    assert!(matches!(receivers[0].try_recv().unwrap(), Err(Error::DeadlineExceeded)));
}

#[test]
fn a_delay_holds_a_batch_until_it_is_full() {
    let delay = Duration::from_secs(3600);
    let config = BatchConfig { max_batch_size: 4, max_queue_delay: delay, ..BatchConfig::default() };
    let batcher = Batcher::new(config);
    let _answers: Vec<_> = (0..4).map(|_| submit(&batcher, 1).unwrap()).collect();
    assert_eq!(sizes(&batcher), [1, 1, 1, 1]);
}
