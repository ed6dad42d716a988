//! Frames, messages and the state of a connection, without any I/O.

use agentkernel_protocol::{
    Control, Decode, Encode, Entry, Event, ExecutionEntry, Frame, Hello, Machine, ProcessEntry, Request,
    Role, decode, decode_records, encode,
};

use crate::samples;

/// The most bytes that a side may have waiting to be sent, whatever it is sent: it answers, it doesn't amplify.
const MOST_ANSWER: usize = 1 << 20;

/// Conversations, and messages alone.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = samples::conversations();
    seeds.extend(samples::events().iter().map(encode));
    seeds.extend(samples::requests().iter().map(encode));
    seeds.extend(samples::records());
    seeds
}

/// Nothing panics, what is read is written the same again, and it doesn't matter how bytes arrive.
pub fn check(input: &[u8]) {
    if let Ok(Some((frame, length))) = Frame::decode(input) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(again, &input[..length], "a frame is written as it was read");
    }
    message::<Hello>(input);
    message::<Request>(input);
    message::<Control>(input);
    message::<Event>(input);
    for limit in [0, 2, 1000] {
        records::<Entry>(input, limit);
        records::<ExecutionEntry>(input, limit);
        records::<ProcessEntry>(input, limit);
    }
    for role in [Role::Host, Role::Guest] {
        let whole = drive(role, &[input]);
        let (first, second) = input.split_at(input.len() / 2);
        assert_eq!(drive(role, &[first, second]), whole, "bytes in two pieces mean the same");
    }
}

fn message<T>(input: &[u8])
where
    T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + std::fmt::Debug,
{
    if let Ok(message) = decode::<T>(input) {
        let again: T = decode(&encode(&message)).expect("what was read can be read again");
        assert_eq!(again, message);
    }
}

fn records<T: for<'b> Decode<'b, ()>>(input: &[u8], limit: usize) {
    if let Ok(records) = decode_records::<T>(input, limit) {
        assert!(records.len() <= limit);
        assert!(records.len() <= input.len() / 4, "each record has a length before it");
    }
}

/// Feeds the pieces as a reader would: what isn't taken stays in front of the next. Returns what the side answers and
/// whether it ended the connection.
fn drive(role: Role, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut machine = Machine::new(role, "fuzz");
    if role == Role::Host {
        // Channels for the other side to answer on.
        for request in samples::requests() {
            machine.open(&encode(&request)).expect("a fresh connection has room");
        }
    }
    let (mut waiting, mut failed) = (Vec::new(), false);
    for piece in pieces {
        waiting.extend_from_slice(piece);
        while let (false, Some(taken)) = (failed, receive(&mut machine, &waiting, &mut failed)) {
            waiting.drain(..taken);
            if taken == 0 {
                break;
            }
        }
    }
    let answer = machine.take_outgoing(Vec::new()).unwrap_or_default();
    assert!(answer.len() <= MOST_ANSWER, "{} bytes of answer to {} bytes", answer.len(), waiting.len());
    (answer, failed)
}

fn receive(machine: &mut Machine, waiting: &[u8], failed: &mut bool) -> Option<usize> {
    match machine.receive(waiting) {
        Ok(taken) => {
            while machine.accept().is_some() {}
            Some(taken)
        }
        Err(error) => {
            *failed = true;
            machine.end(error);
            None
        }
    }
}
