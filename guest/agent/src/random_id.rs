//! Names that nobody can guess.

use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

/// A random name of 16 hexadecimal digits.
pub(crate) fn random_id() -> String {
    let mut bytes = [0; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(bytes.get_mut(filled..).unwrap_or_default(), GetRandomFlags::empty()) {
            Ok(length) => filled += length,
            Err(Errno::INTR) => {}
            // A kernel without it: the address space's own randomness and the clock are what is left.
            Err(_) => {
                let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                bytes = (clock.tv_nsec as u64 ^ (&raw const bytes as u64)).to_ne_bytes();
                filled = bytes.len();
            }
        }
    }
    format!("{:016x}", u64::from_ne_bytes(bytes))
}

/// Whether `text` is a name of [`random_id`]'s form.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        assert_ne!(random_id(), random_id());
        assert!(is_id(&random_id()));
        for other in ["", "../../etc/passwd", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0"] {
            assert!(!is_id(other), "{other}");
        }
    }
}
