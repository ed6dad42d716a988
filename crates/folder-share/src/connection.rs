//! The guest's stream: messages in, messages out, several at a time.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};

use crate::server::{FolderServer, MAX_REQUEST};
use crate::wire::{Broken, request_length};

/// Requests that are worked on at once: one that waits for a disk doesn't keep others waiting.
const WORKERS: usize = 4;

/// Requests that wait, at most: a guest that asks on and on waits as well.
const WAITING: usize = 16;

/// Answers what comes until the stream ends.
///
/// # Errors
/// What reading or writing gives; `InvalidData` where what came was no message.
pub fn serve(server: &FolderServer, stream: &UnixStream) -> io::Result<()> {
    let (sender, receiver) = sync_channel::<Vec<u8>>(WAITING);
    let receiver = Mutex::new(receiver);
    let output = Mutex::new(stream);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                if work(server, &receiver, &output).is_err() {
                    stream.shutdown(Shutdown::Both).ok();
                    // Who reads is not to wait for room that nobody makes.
                    while wait(&receiver).is_some() {}
                }
            });
        }
        let mut input = stream;
        let read = loop {
            match next(&mut input) {
                // There is always a worker that receives.
                Ok(Some(message)) => sender.send(message).map_err(io::Error::other)?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(sender);
        stream.shutdown(Shutdown::Both).ok();
        read
    })
}

/// The next message; `None` at the end.
fn next(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let wanted = request_length(length, MAX_REQUEST).map_err(invalid)?;
    let mut message = vec![0; wanted];
    let (first, rest) = message.split_at_mut(length.len());
    first.copy_from_slice(&length);
    input.read_exact(rest)?;
    Ok(Some(message))
}

fn invalid(broken: Broken) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, broken)
}

fn wait(receiver: &Mutex<Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn work(
    server: &FolderServer,
    receiver: &Mutex<Receiver<Vec<u8>>>,
    output: &Mutex<&UnixStream>,
) -> io::Result<()> {
    while let Some(message) = wait(receiver) {
        let Some(answer) = server.answer(&message).map_err(invalid)? else { continue };
        let mut output: &UnixStream = &output.lock().unwrap_or_else(PoisonError::into_inner);
        output.write_all(&answer)?;
    }
    Ok(())
}
