//! Parts of a batch over the threads that libtorch would use.

use std::{
    cell::RefCell,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rayon::{ThreadPool, ThreadPoolBuilder};

thread_local! {
    /// The helpers of this thread, which have its priority; made when they are first needed.
    static HELPERS: RefCell<Option<ThreadPool>> = const { RefCell::new(None) };
}

/// Does `work` on each part, on as many threads as libtorch's operations have; each makes its `room`
/// once. A panic in one comes out here.
pub(super) fn each<P: Send, R>(parts: Vec<P>, room: impl Fn() -> R + Sync, work: impl Fn(&mut R, P) + Sync) {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).min(parts.len());
    let parts: Vec<Mutex<Option<P>>> = parts.into_iter().map(|part| Mutex::new(Some(part))).collect();
    let next = AtomicUsize::new(0);
    let take = || {
        let mut room = room();
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner).take();
            work(&mut room, part.expect("a part is handed out once"));
        }
    };
    if threads < 2 {
        return take();
    }
    HELPERS.with_borrow_mut(|helpers| {
        if helpers.as_ref().is_none_or(|helpers| helpers.current_num_threads() < threads - 1) {
            *helpers = helpers_of(threads - 1);
        }
        match helpers {
            Some(helpers) => helpers.in_place_scope(|scope| {
                for _ in 1..threads {
                    scope.spawn(|_| take());
                }
                take();
            }),
            // No threads are to be had: this one does it all.
            None => take(),
        }
    });
}

/// Lets whoever waits for this processor go first, as predictions do beside a training run: called
/// after every image, a fraction of a millisecond. By itself Linux looks again only at its tick, up to
/// 4 ms later, whatever the priorities. Where nobody waits it costs less than a microsecond.
pub(super) fn give_way() {
    std::thread::yield_now();
}

fn helpers_of(threads: usize) -> Option<ThreadPool> {
    let named = |index| format!("digitd-stem-{index}");
    ThreadPoolBuilder::new().num_threads(threads).thread_name(named).build().ok()
}
