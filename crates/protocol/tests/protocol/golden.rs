//! What version 1 put on the wire is read for ever. `AGENTKERNEL_BLESS=1` adds messages to the golden file; the ones in
//! it must never change.

use std::fmt::Debug;

use agentkernel_protocol::machine::{GivenFile, Network, NewIdentity, Renewal};
use agentkernel_protocol::{
    Control, Decode, Encode, Entry, EntryKind, EnvEntry, Event, Exec, ExecutionEntry, Failure, FailureKind,
    Frame, Hello, Kind, MAGIC, ProcessEntry, Request, State, Stream, TerminalSize, decode, decode_records,
    encode, encode_record,
};
use proptest::prelude::*;

fn exec() -> Exec {
    Exec {
        argv: vec![b"echo".to_vec().into(), b"\xff\x00".to_vec().into()],
        env: vec![EnvEntry { name: b"A".to_vec().into(), value: b"b=c".to_vec().into() }],
        workdir: b"/workspace".to_vec().into(),
        user: Some("node".into()),
        group: None,
        stdin: true,
        terminal: Some(TerminalSize { rows: 24, columns: 80 }),
        timeout_ms: Some(1500),
        log_limit: None,
    }
}

fn path() -> agentkernel_protocol::ByteVec {
    b"/etc/passwd".to_vec().into()
}

fn requests() -> Vec<Request> {
    let id = || "00ff00ff00ff00ff".to_owned();
    vec![
        Request::Exec(Box::new(exec())),
        Request::Executions,
        Request::Kill { id: id(), signal: 15 },
        Request::Wait { id: id() },
        Request::Logs { id: id(), offset: 7, follow: true },
        Request::Processes,
        Request::ReadFile { path: path() },
        Request::WriteFile { path: path(), mode: Some(0o600) },
        Request::Stat { path: path() },
        Request::List { path: path() },
        Request::Remove { path: path(), recursive: false },
        Request::MakeDir { path: path(), mode: None },
        Request::TarOut { path: path() },
        Request::TarIn { path: path() },
        Request::Connect { port: 8080 },
    ]
}

fn ordered_log() -> Request {
    Request::OrderedLog { id: "00ff00ff00ff00ff".to_owned(), offset: 7, follow: true }
}

fn entry() -> Entry {
    let name = b"passwd".to_vec().into();
    Entry { name, kind: EntryKind::File, size: 1, mode: 0o644, uid: 2, gid: 3, modified: -4 }
}

fn events() -> Vec<Event> {
    vec![
        Event::Started { id: "a".into(), pid: 2 },
        Event::Ended(State::Exited(3)),
        Event::Ended(State::Signaled(9)),
        Event::Ended(State::TimedOut),
        Event::Ended(State::Lost),
        Event::Failed(Failure { kind: FailureKind::NotFound, why: "gone".into() }),
        Event::Done,
        Event::Written(5),
        Event::File(entry()),
        Event::Log { start: 6, state: State::Running },
        Event::Ready,
    ]
}

fn hello() -> Hello {
    let magic = MAGIC.to_vec().into();
    Hello { magic, major: 1, minor: 0, software: "0.1.0".into(), max_payload: 65536, window: 262_144 }
}

fn go_on() -> Request {
    let network = Network {
        interface: "eth0".into(),
        mac: Some([2; 6].into()),
        address: [10, 0, 0, 2].into(),
        prefix: 32,
        gateway: None,
        mtu: 1500,
        version_6: None,
    };
    let file = GivenFile { path: path(), mode: 0o644, content: b"x".to_vec().into() };
    let identity = NewIdentity {
        hostname: "box".into(),
        machine_id: [7; 16].into(),
        entropy: vec![1; 32].into(),
        files: vec![file],
        network: Some(network),
    };
    Request::GoOn(Box::new(Renewal { wall_clock_ns: Some(1), identity: Some(identity) }))
}

/// Every message of version 1 in a frame, in an order that is only ever added to.
fn wire() -> Vec<u8> {
    let mut wire = Vec::new();
    let mut add =
        |channel, kind, payload: Vec<u8>| Frame { channel, kind, payload: &payload }.encode(&mut wire);
    add(0, Kind::Hello, encode(&hello()));
    requests().iter().for_each(|request| add(1, Kind::Open, encode(request)));
    events().iter().for_each(|event| add(2, Kind::Message, encode(event)));
    add(3, Kind::Message, encode(&Control::Signal(2)));
    add(3, Kind::Message, encode(&Control::Resize(TerminalSize { rows: 1, columns: 2 })));
    add(4, Kind::Data(Stream::Error), b"bytes".to_vec());
    add(4, Kind::Credit(Stream::Input), 1000_u32.to_le_bytes().to_vec());
    add(5, Kind::Open, encode(&ordered_log()));
    add(6, Kind::Open, encode(&Request::PowerOff { grace_ms: 1500 }));
    add(7, Kind::Open, encode(&Request::StandStill));
    add(8, Kind::Open, encode(&go_on()));
    wire
}

#[test]
fn version_one_is_still_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/frames-v1.bin");
    if std::env::var_os("AGENTKERNEL_BLESS").is_some() {
        std::fs::write(path, wire()).unwrap();
    }
    let golden = std::fs::read(path).unwrap();
    let mut rest = golden.as_slice();
    let mut next = || {
        let (frame, length) = Frame::decode(rest).unwrap().unwrap();
        rest = &rest[length..];
        frame
    };
    assert_eq!(decode::<Hello>(next().payload), Ok(hello()));
    for request in requests() {
        assert_eq!(decode::<Request>(next().payload), Ok(request));
    }
    for event in events() {
        assert_eq!(decode::<Event>(next().payload), Ok(event));
    }
    assert!(wire().starts_with(&golden), "what is written has changed");
}

#[test]
fn a_later_version_may_add_fields() {
    // A failure of a later version: a map or array with one field more.
    #[derive(Encode)]
    struct Later {
        #[n(0)]
        kind: FailureKind,
        #[n(1)]
        why: String,
        #[n(2)]
        more: Option<Vec<u32>>,
    }
    let later = Later { kind: FailureKind::Other, why: "x".into(), more: Some(vec![1, 2]) };
    let expected = Failure { kind: FailureKind::Other, why: "x".into() };
    assert_eq!(decode::<Failure>(&encode(&later)), Ok(expected));
}

fn survives<T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug>(message: &T) {
    let bytes = encode(message);
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(message));
    for cut in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..cut]).is_err());
    }
    assert!(decode::<T>(&[&bytes[..], b"\x00"].concat()).is_err());
}

#[test]
fn messages_survive_and_halves_are_refused() {
    requests().iter().for_each(survives);
    events().iter().for_each(survives);
    survives(&hello());
}

#[test]
fn claimed_lengths_are_not_believed() {
    // An array of 2^62 arguments, a text of 2^62 bytes.
    for claim in [&b"\x82\x00\x81\x89\x9b\x40\0\0\0\0\0\0\0"[..], b"\x82\x03\x81\x7b\x40\0\0\0\0\0\0\0"] {
        assert!(decode::<Request>(claim).is_err());
    }
}

#[test]
fn records_are_bounded() {
    let mut bytes = Vec::new();
    (0..3).for_each(|_| encode_record(&entry(), &mut bytes));
    assert_eq!(decode_records::<Entry>(&bytes, 3).unwrap().len(), 3);
    assert!(decode_records::<Entry>(&bytes, 2).is_err());
    assert!(decode_records::<Entry>(&bytes[..bytes.len() - 1], 3).is_err());
    assert!(decode_records::<Entry>(&[0xff; 8], 3).is_err());
}

proptest! {
    #[test]
    fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let results = [
            decode::<Request>(&bytes).is_ok(),
            decode::<Event>(&bytes).is_ok(),
            decode::<Control>(&bytes).is_ok(),
            decode::<Hello>(&bytes).is_ok(),
            decode_records::<ExecutionEntry>(&bytes, 10).is_ok(),
            decode_records::<ProcessEntry>(&bytes, 10).is_ok(),
        ];
        // Most are refused; that none panics is what counts.
        prop_assert!(results.iter().filter(|read| **read).count() <= results.len());
    }

    #[test]
    fn damaged_messages_decode_without_panic(at in 0_usize..1000, byte: u8) {
        let mut wire = wire();
        let at = at % wire.len();
        wire[at] = byte;
        let mut rest = wire.as_slice();
        while let Ok(Some((frame, length))) = Frame::decode(rest) {
            let read = (decode::<Request>(frame.payload).is_ok(), decode::<Event>(frame.payload).is_ok());
            prop_assert!(frame.payload.len() < 1000 || read == (false, false));
            rest = &rest[length..];
        }
    }
}
