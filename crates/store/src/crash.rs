//! Where a test may stop the process as kill -9 would: after each change of the file system.

/// A step that changed the file system was taken. Nothing outside this crate's own tests.
#[cfg(not(test))]
pub(crate) fn step() {}

#[cfg(test)]
pub(crate) use testing::{abort_after, step};

#[cfg(test)]
mod testing {
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Steps left until the process dies; 0 is never.
    static LEFT: AtomicUsize = AtomicUsize::new(0);

    pub(crate) fn abort_after(steps: usize) {
        LEFT.store(steps, Ordering::SeqCst);
    }

    pub(crate) fn step() {
        let died = LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if died == Ok(1) {
            std::process::abort();
        }
    }
}
