//! The distribution of the parts of a batch over as many threads as libtorch would use.

use std::{
    cell::RefCell,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rayon::{ThreadPool, ThreadPoolBuilder};

thread_local! {
    /// The helper threads of this thread. They inherit its priority and start when they are first needed.
    static HELPERS: RefCell<Option<ThreadPool>> = const { RefCell::new(None) };
}

/// Calls `work` for each part, on as many threads as libtorch's operations have. Each thread makes its
/// `scratch` once. A panic in one of them is propagated.
pub(super) fn each<P: Send, R>(
    parts: Vec<P>,
    scratch: impl Fn() -> R + Sync,
    work: impl Fn(&mut R, P) + Sync,
) {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).min(parts.len());
    let parts: Vec<Mutex<Option<P>>> = parts.into_iter().map(|part| Mutex::new(Some(part))).collect();
    let next = AtomicUsize::new(0);
    let take = || {
        let mut scratch = scratch();
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner).take();
            work(&mut scratch, part.expect("a part is handed out once"));
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

/// Lets a thread that waits for this processor run first, for instance one that predicts beside a training
/// run. It is called after every image, a fraction of a millisecond; Linux by itself would reschedule at its
/// next tick, up to 4 ms later, whatever the priorities. It costs less than a microsecond if no thread waits.
pub(super) fn yield_cpu() {
    std::thread::yield_now();
}

fn helpers_of(threads: usize) -> Option<ThreadPool> {
    let named = |index| format!("digitd-fused-{index}");
    ThreadPoolBuilder::new().num_threads(threads).thread_name(named).build().ok()
}
