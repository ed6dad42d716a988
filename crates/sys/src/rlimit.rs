//! Limits of single processes, inherited by all they start. See getrlimit(2).

use rustix::io;
pub use rustix::process::Resource;
use rustix::process::{Rlimit, getrlimit, setrlimit};

/// The most of one resource that any process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub resource: Resource,
    /// In the resource's own unit: a number of files, bytes, ...
    pub most: u64,
}

impl Limit {
    /// No core dumps: they would put a process's memory, secrets included, into files.
    pub const NO_CORE_DUMPS: Self = Self { resource: Resource::Core, most: 0 };

    /// No real-time scheduling: a caller who may have it (audio groups often) would hand that down, and the processor
    /// limit of a control group doesn't bind real-time processes (sched(7)).
    pub const NO_REAL_TIME: Self = Self { resource: Resource::Rtprio, most: 0 };

    /// No better than ordinary niceness: a plain 0 of this limit stands for niceness 20 (getrlimit(2)).
    pub const NO_FAVOUR: Self = Self { resource: Resource::Nice, most: 0 };

    /// At most `most` open files per process.
    pub fn open_files(most: u32) -> Self {
        Self { resource: Resource::Nofile, most: u64::from(most) }
    }

    /// Lets no process from here on have more. Where less is allowed already, less it stays: raising would need
    /// CAP_SYS_RESOURCE on the host. Child-safe.
    pub fn apply(&self) -> io::Result<()> {
        // rustix says None for "no limit", which a plain minimum would take for the smallest.
        let hard = getrlimit(self.resource).maximum.map_or(self.most, |maximum| maximum.min(self.most));
        setrlimit(self.resource, Rlimit { current: Some(hard), maximum: Some(hard) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forked::in_child;

    #[test]
    fn limits_only_ever_fall() {
        let status = in_child(|| {
            Limit::open_files(100).apply().unwrap();
            Limit::open_files(200).apply().unwrap();
            Limit::NO_CORE_DUMPS.apply().unwrap();
            let files = getrlimit(Resource::Nofile);
            assert_eq!((files.current, files.maximum), (Some(100), Some(100)));
            assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
            Limit::NO_REAL_TIME.apply().unwrap();
            Limit::NO_FAVOUR.apply().unwrap();
            assert_eq!(getrlimit(Resource::Rtprio).maximum, Some(0));
            assert_eq!(getrlimit(Resource::Nice).maximum, Some(0));
            let files: Vec<_> = (0..100).map_while(|_| std::fs::File::open("/dev/null").ok()).collect();
            u8::from(files.len() < 100)
        });
        assert_eq!(status.code(), Some(1));
    }
}
