//! From the daemon to a command, over a real socket.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::{TakeRequest, TransitError, ask};

struct Door {
    _folder: tempfile::TempDir,
    socket: PathBuf,
}

/// Reads one request and leaves the rest to `answer`.
fn door<F>(answer: impl FnOnce(UnixStream, TakeRequest) -> F + Send + 'static) -> Door
where
    F: Future<Output = ()> + Send,
{
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        let request = loop {
            stream.read_buf(&mut bytes).await.unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && let Ok(request) = serde_json::from_str(body)
            {
                assert!(head.starts_with("POST /pool/take HTTP/1.1\r\n"), "{head}");
                assert!(head.contains("Upgrade: agentkernel-box"), "{head}");
                break request;
            }
        };
        answer(stream, request).await;
    });
    Door { _folder: folder, socket }
}

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n";

fn request() -> TakeRequest {
    TakeRequest { spec: spec(), variant: String::new() }
}

fn serve(pool: Pool) -> Door {
    door(|mut stream, request| async move {
        match pool.answer(&request) {
            None => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap(),
            Some(made) => {
                stream.write_all(SWITCH).await.unwrap();
                let socket = stream.as_fd().try_clone_to_owned().unwrap();
                pool.give_away(made, socket).await.unwrap();
            }
        }
    })
}

async fn asked(socket: &Path) -> Result<Option<agentkernel_backend::HandOver>, TransitError> {
    tokio::time::timeout(PATIENCE, ask(socket, &request())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_gets_from_one_process_to_another() {
    let bench = Bench::new(settings());
    let door = serve(bench.pool.clone());
    assert!(asked(&door.socket).await.unwrap().is_none(), "none yet, but from now on");
    bench.until_ready(2).await;
    let door = serve(bench.pool.clone());
    let handed = asked(&door.socket).await.unwrap().unwrap();
    let command = bench.fake.another_process();
    let made = command.take_over(handed).await.unwrap();
    // The daemon is killed; the box isn't its any more.
    bench.pool.close().await;
    bench.fake.kill_process();
    made.guest().processes().await.unwrap();
    made.destroy().await.unwrap();
    command.reclaim(&[]).await.unwrap();
    command.assert_clean();
    assert_eq!(command.objects(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_nobody_receives_is_recovered() {
    let bench = Bench::new(settings());
    bench.pool.warm(&spec(), 1).await.unwrap();
    let door = serve(bench.pool.clone());
    drop(asked(&door.socket).await.unwrap().unwrap());
    let command = bench.fake.another_process();
    // The daemon may hold its own copies of the descriptors for a moment yet.
    let reclaimed = async { while command.reclaim(&[]).await.unwrap().objects.is_empty() {} };
    tokio::time::timeout(PATIENCE, reclaimed).await.unwrap();
    // Here the other side hangs up before anything could be sent.
    bench.pool.warm(&spec(), 1).await.unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let made = bench.pool.answer(&request()).unwrap();
    let socket = ours.as_fd().try_clone_to_owned().unwrap();
    let failed = bench.pool.give_away(made, socket).await;
    assert!(matches!(failed, Err(TransitError::Socket { .. })), "{failed:?}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_was_used_stays() {
    let bench = Bench::new(settings());
    let made = bench.launch(&spec()).await;
    drop(made.guest());
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let failed = bench.pool.give_away(made, ours.as_fd().try_clone_to_owned().unwrap()).await;
    assert!(matches!(failed, Err(TransitError::NotMovable)), "{failed:?}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_variant_gets_nothing() {
    let bench = Bench::new(PoolSettings { default_min: 1, ..settings() });
    bench.pool.warm(&spec(), 1).await.unwrap();
    let other = TakeRequest { variant: "other".to_owned(), ..request() };
    assert!(bench.pool.answer(&other).is_none());
    assert_eq!(bench.pool.status().kinds[0].ready, 1);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_answers_are_errors() {
    for answer in [
        &b"HTTP/1.1 500 No\r\n\r\n"[..],
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 ",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n\xff\xff\xff\xff",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n\0\0\0\x02{}",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n\0\0\0\x34{\"backend\":\"fake\",\"state\":null,\"descriptors\":1}       ",
    ] {
        let door = door(move |mut stream, _| async move { stream.write_all(answer).await.unwrap() });
        let answered = asked(&door.socket).await;
        assert!(answered.is_err(), "{}", String::from_utf8_lossy(answer));
    }
    let endless = door(|mut stream, _| async move {
        // It ends when nobody reads any more.
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    assert!(asked(&endless.socket).await.is_err());
    assert!(matches!(asked(Path::new("/no/such/socket")).await, Err(TransitError::Socket { .. })));
}
