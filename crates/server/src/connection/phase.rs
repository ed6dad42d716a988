//! What a connection is doing: decides which of its clocks runs.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Shared between the stream, which has the clocks, and the service, which knows where requests begin and end.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    doing: AtomicU8,
    unread: AtomicBool,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Waits for a request.
    Idle,
    /// A head has begun to arrive.
    Head,
    /// A request is served: its body has a clock of its own, and its answer may take as long as it takes.
    Busy,
    /// No longer HTTP.
    Upgraded,
}

impl Phase {
    pub(crate) fn get(&self) -> Doing {
        match self.doing.load(Ordering::Acquire) {
            0 => Doing::Idle,
            1 => Doing::Head,
            2 => Doing::Busy,
            _ => Doing::Upgraded,
        }
    }

    pub(crate) fn set(&self, doing: Doing) {
        let number = match doing {
            Doing::Idle => 0,
            Doing::Head => 1,
            Doing::Busy => 2,
            Doing::Upgraded => 3,
        };
        self.doing.store(number, Ordering::Release);
    }

    /// Nobody wants the rest of the body that the client sends.
    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// Whether the client may still be sending what nobody reads: a body, or a head that was refused.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire) || self.get() == Doing::Head
    }
}
