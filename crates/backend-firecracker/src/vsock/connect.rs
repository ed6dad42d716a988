//! From the host to a port of the guest: `CONNECT port`, answered by `OK n`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use super::line::{self, Line};
use super::{SOCKET, VsockError};
use crate::socket;

/// `OK 4294967295` and its newline.
const LONGEST_ANSWER: usize = 14;

/// Connects to `port` of the guest whose VMM works in `folder`. The stream is the guest's from its first byte on.
///
/// # Errors
/// [`VsockError`]; nobody listening is told apart from a VMM that is not there.
pub async fn connect(folder: &OwnedFd, port: u32, limit: Duration) -> Result<UnixStream, VsockError> {
    match tokio::time::timeout(limit, ask(folder, port)).await {
        Ok(done) => done,
        Err(_) => Err(VsockError::TooSlow { port, limit }),
    }
}

async fn ask(folder: &OwnedFd, port: u32) -> Result<UnixStream, VsockError> {
    let unreachable = |source| VsockError::Unreachable { port, source };
    let mut stream = socket::connect(folder, SOCKET).await.map_err(unreachable)?;
    match stream.write_all(format!("CONNECT {port}\n").as_bytes()).await {
        Err(error) if line::is_end(&error) => return Err(VsockError::Refused { port }),
        written => written.map_err(unreachable)?,
    }
    match line::read(&mut stream, LONGEST_ANSWER).await.map_err(unreachable)? {
        Line::Whole(text) if is_answer(&text) => Ok(stream),
        Line::Cut(text) if text.is_empty() => Err(VsockError::Refused { port }),
        Line::Cut(text) | Line::Whole(text) => Err(VsockError::Broken { port, what: line::quoted(&text) }),
        Line::TooLong => {
            let what = format!("more than {LONGEST_ANSWER} bytes without an end");
            Err(VsockError::Broken { port, what })
        }
    }
}

/// The number is the host's side of the connection and means nothing to us; it has to be one all the same.
fn is_answer(text: &[u8]) -> bool {
    text.strip_prefix(b"OK ").is_some_and(|number| {
        !number.is_empty()
            && number.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(number).is_ok_and(|number| number.parse::<u32>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A VMM that answers once with `answer`, after it has read the line or at once, and then ends or stays silent.
    async fn against(answer: &'static [u8], stays: bool) -> Result<UnixStream, VsockError> {
        let folder = tempfile::tempdir().unwrap();
        let at = socket::open_folder(folder.path()).unwrap();
        let listener = socket::listen(&at, SOCKET).unwrap();
        let vmm = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut line = [0; 13];
            stream.read_exact(&mut line).await.unwrap();
            assert_eq!(&line, b"CONNECT 1024\n");
            stream.write_all(answer).await.unwrap();
            stays.then_some(stream)
        });
        let done = connect(&at, 1024, Duration::from_millis(300)).await;
        drop(vmm.await.unwrap());
        done
    }

    #[tokio::test]
    async fn a_connection_begins_right_behind_the_answer() {
        let mut stream = against(b"OK 1073741824\nhello", false).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "hello");
    }

    #[tokio::test]
    async fn each_bad_answer_has_its_name() {
        assert!(matches!(against(b"", false).await, Err(VsockError::Refused { port: 1024 })));
        assert!(matches!(against(b"", true).await, Err(VsockError::TooSlow { .. })));
        assert!(matches!(against(b"OK", true).await, Err(VsockError::TooSlow { .. })));
        for broken in [
            &b"OK 1"[..],
            b"NO 1\n",
            b"OK -1\n",
            b"OK 4294967296\n",
            b"OK \n",
            b"OK 00000000000000",
            b"\0\xff\n",
        ] {
            let error = against(broken, false).await.unwrap_err();
            assert!(matches!(error, VsockError::Broken { .. }), "{error}");
            assert!(error.to_string().is_ascii(), "{error}");
        }
    }

    #[tokio::test]
    async fn a_machine_that_is_gone_is_not_one_that_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let at = socket::open_folder(folder.path()).unwrap();
        let error = connect(&at, 1024, Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, VsockError::Unreachable { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn only_ok_and_a_number_is_an_answer(text in proptest::collection::vec(any::<u8>(), 0..20)) {
            let plain = std::str::from_utf8(&text).ok().and_then(|text| text.strip_prefix("OK "));
            let number = plain.filter(|rest| !rest.starts_with('+')).and_then(|rest| rest.parse::<u32>().ok());
            prop_assert_eq!(is_answer(&text), number.is_some());
        }
    }
}
