//! Which of the three standard streams were closed when this program was started.
//!
//! Rust's start-up opens /dev/null in the place of a closed one before `main`, and afterwards nothing tells that from a
//! /dev/null which the caller gave (many open theirs read-write, too). So it is looked at earlier: a function in
//! `.init_array` runs after the C library's start and before Rust's (System V ABI, "Initialization and Termination
//! Functions").

use std::sync::atomic::{AtomicU8, Ordering};

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardStream {
    /// Descriptor 0.
    Input = 0,
    /// Descriptor 1.
    Output = 1,
    /// Descriptor 2.
    Error = 2,
}

/// A bit for each that was closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Whether `stream` was closed at the start, as by `>&-` in a shell.
pub fn was_closed(stream: StandardStream) -> bool {
    CLOSED.load(Ordering::Relaxed) & (1 << stream as u8) != 0
}

#[used]
// SAFETY: the section holds pointers to functions of the C ABI, which is what is put there; the loader calls each once,
// with arguments that such a function may leave alone.
#[expect(unsafe_code, reason = "only a function that runs before Rust's start-up can see it")]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Before `main`: touches nothing of Rust's library but an atomic.
#[expect(unsafe_code, reason = "a borrowed descriptor must be open, and whether it is is the question")]
extern "C" fn look() {
    let mut closed = 0;
    for descriptor in 0..3 {
        // SAFETY: F_GETFD takes no pointer and changes nothing; its only error is EBADF (fcntl(2)).
        let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
        if flags == -1 {
            closed |= 1 << descriptor;
        }
    }
    CLOSED.store(closed, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// In the environment of the test's child: which streams it is to find closed.
    const EXPECTED: &str = "AGENTKERNEL_TEST_CLOSED_STREAMS";

    #[test]
    fn closed_streams_are_told_from_null_devices() {
        use StandardStream::{Error, Input, Output};
        if let Some(expected) = std::env::var_os(EXPECTED) {
            let closed = [Input, Output, Error].map(|stream| if was_closed(stream) { '-' } else { 'o' });
            assert_eq!(closed.iter().collect::<String>().as_str(), expected);
            return;
        }
        let test = "exec \"$0\" --exact standard_streams::tests::closed_streams_are_told_from_null_devices";
        for (redirections, expected) in [
            ("", "ooo"),
            ("<&-", "-oo"),
            (">&-", "o-o"),
            ("2>&-", "oo-"),
            ("<&- >&- 2>&-", "---"),
            ("</dev/null >/dev/null 2>/dev/null", "ooo"),
            ("<>/dev/null 1<>/dev/null 2<>/dev/null", "ooo"),
        ] {
            let status = Command::new("/bin/sh")
                .args(["-c", &format!("{test} {redirections}")])
                .arg(std::env::current_exe().unwrap())
                .env(EXPECTED, expected)
                .status()
                .unwrap();
            assert!(status.success(), "{redirections:?}");
        }
    }
}
