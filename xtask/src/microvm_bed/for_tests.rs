//! The bed of machines in a run of the tests: what is missing is fetched and built while the gates before the tests run.

use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Result, bail};

use super::parts::Parts;
use crate::test_bed::Variables;
use crate::workspace::Workspace;

/// A bed on its way.
pub(crate) struct ForTests {
    coming: Coming,
}

enum Coming {
    Built(JoinHandle<Result<Variables>>),
    Found(Result<Variables>),
}

impl ForTests {
    /// Begins with what is missing; a `quick` run takes only what is there.
    pub(crate) fn begin(workspace: &Workspace, quick: bool) -> Self {
        let coming = match Parts::find(workspace) {
            Ok(parts) => Coming::Found(Ok(parts.of_qemu())),
            Err(error) if quick => Coming::Found(Err(error.context("--quick builds nothing"))),
            // Here, because the packages' own program serves one at a time.
            Err(_) => match Parts::install() {
                Ok(()) => Coming::Built(std::thread::spawn(build)),
                Err(error) => Coming::Found(Err(error)),
            },
        };
        Self { coming }
    }

    /// Waits until it is there; the reason where it can't be had.
    pub(crate) fn variables(self) -> Result<Variables> {
        match self.coming {
            Coming::Found(found) => found,
            Coming::Built(thread) => match thread.join() {
                Ok(built) => built,
                Err(_) => bail!("the thread that builds it panicked"),
            },
        }
    }
}

fn build() -> Result<Variables> {
    let begun = Instant::now();
    let variables = Parts::ensure(&Workspace::find()?)?.of_qemu();
    println!("-- bed of machines: there after {:.0} s, beside all else", begun.elapsed().as_secs_f64());
    Ok(variables)
}
