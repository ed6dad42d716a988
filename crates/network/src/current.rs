//! What this machine offers now, for a process that lives long: the machine may move to another network meanwhile.

use std::sync::{Mutex, PoisonError};

use crate::{NetworkHost, Stamp};

/// A [`NetworkHost`] that is made again when what it was made from has changed.
#[derive(Debug)]
pub struct CurrentNetwork {
    rootless: bool,
    /// As it was when last looked at, and what it was made from.
    last: Mutex<(Stamp, NetworkHost)>,
}

impl CurrentNetwork {
    /// Looks at this machine. `rootless`: whether boxes are made without rights on the host.
    pub fn detect(rootless: bool) -> Self {
        Self { rootless, last: Mutex::new((Stamp::now(), NetworkHost::detect(rootless))) }
    }

    /// As it is now.
    pub fn now(&self) -> NetworkHost {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Stamp::now();
        if last.0 != now {
            *last = (now, NetworkHost::detect(self.rootless));
        }
        last.1.clone()
    }
}
