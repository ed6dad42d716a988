//! More of everything than there is.

use super::raw;
use crate::stage::Verdict;

/// Takes memory, and touches it, until that ends: in a child, which the kernel may end.
pub(super) fn memory() -> Verdict {
    const PIECE: usize = 8 << 20;
    let bomb = || {
        let mut all = Vec::new();
        // More than any machine of these tests has.
        for _ in 0..1024 {
            all.push(vec![1u8; PIECE]);
        }
        u8::from(all.len() == 1024)
    };
    match raw::in_child(bomb).map_err(|errno| format!("fork: {errno}"))? {
        status if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1 => {
            Err("8 GiB of memory could be had".to_owned())
        }
        status => Ok(format!("the bomb ended with status {status:#x}")),
    }
}

/// Forks until that fails; then ends the children, so that somebody is left to tell.
pub(super) fn processes() -> Verdict {
    // More than the limit of any machine of these tests.
    const MOST: usize = 256;
    let mut children = Vec::new();
    let refused = loop {
        match raw::fork() {
            Ok(None) => loop {
                std::thread::park();
            },
            Ok(Some(child)) => children.push(child),
            Err(errno) => break Some(errno),
        }
        if children.len() > MOST {
            break None;
        }
    };
    for child in &children {
        raw::whatever(libc::SYS_kill, [*child, libc::SIGKILL as usize, 0, 0, 0, 0]);
    }
    match refused {
        Some(libc::EAGAIN) => Ok(format!("{} processes could be made", children.len())),
        Some(errno) => Err(format!("fork failed with {errno}")),
        None => Err(format!("{} processes could be made", children.len())),
    }
}
