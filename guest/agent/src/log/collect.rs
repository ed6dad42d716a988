//! From a command's pipes into its log.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use agentkernel_protocol::{MAX_LOG_RECORD, Stream};
use tokio::io::unix::AsyncFd;

use super::Log;
use crate::flow::Flow;
use crate::pump;

/// How much of a command's last output is looked for at its end: all that a pipe can hold.
const DRAIN_LIMIT: usize = 1 << 20;

/// Puts everything that comes from `fd` into the log.
pub(crate) async fn collect(fd: Rc<AsyncFd<OwnedFd>>, log: Rc<Log>, stream: Stream) {
    let mut flow = Flow::new();
    loop {
        flow.gather().await;
        let Ok(mut ready) = fd.readable().await else { return };
        let read =
            ready.try_io(|fd| pump::read_now(fd.get_ref(), MAX_LOG_RECORD, |bytes| add(&log, stream, bytes)));
        match read {
            Ok(Ok(0)) => return,
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::Interrupted => return,
            Ok(Ok(length)) => flow.took(length, length < MAX_LOG_RECORD, fd.get_ref()),
            _ => {}
        }
    }
}

fn add(log: &Log, stream: Stream, bytes: &[u8]) -> usize {
    if !bytes.is_empty() {
        log.append(stream, bytes);
    }
    bytes.len()
}

/// Puts what is there already into the log.
pub(crate) fn drain(fd: &AsyncFd<OwnedFd>, log: &Log, stream: Stream) {
    let mut drained = 0;
    while drained < DRAIN_LIMIT {
        match pump::read_now(fd.get_ref(), MAX_LOG_RECORD, |bytes| add(log, stream, bytes)) {
            Ok(0) => return,
            Ok(length) => drained += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
