//! Well-formed frames and messages, for inputs that get past the first check.

use agentkernel_protocol::{
    Entry, EntryKind, Event, Exec, ExecutionEntry, Failure, FailureKind, Frame, Kind, Machine, ProcessEntry,
    Request, Role, State, Stream, encode, encode_record,
};

/// One frame's bytes.
pub(crate) fn frame(channel: u32, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Frame { channel, kind, payload }.encode(&mut out);
    out
}

/// The hello of a side.
pub(crate) fn hello(role: Role) -> Vec<u8> {
    Machine::new(role, "sample").take_outgoing(Vec::new()).unwrap_or_default()
}

/// One event of each kind.
pub(crate) fn events() -> Vec<Event> {
    let entry = entry();
    vec![
        Event::Started { id: "x1".to_owned(), pid: 7 },
        Event::Ended(State::Exited(3)),
        Event::Ended(State::Signaled(9)),
        Event::Ended(State::Running),
        Event::Failed(Failure { kind: FailureKind::NotFound, why: "no\u{1b}[31m".to_owned() }),
        Event::Done,
        Event::Written(u64::MAX),
        Event::File(Entry { name: b"../x".to_vec().into(), ..entry.clone() }),
        Event::File(entry),
        Event::Ready,
        Event::Log { start: 1 << 40, state: State::TimedOut },
    ]
}

fn entry() -> Entry {
    let name = b"name".to_vec().into();
    Entry { name, kind: EntryKind::File, size: 1, mode: 0o644, uid: 0, gid: 0, modified: -1 }
}

/// Lists as they travel in a stream.
pub(crate) fn records() -> Vec<Vec<u8>> {
    let (mut entries, mut executions, mut processes) = (Vec::new(), Vec::new(), Vec::new());
    encode_record(&entry(), &mut entries);
    let argv = vec![b"sh".to_vec().into()];
    let state = State::Running;
    encode_record(
        &ExecutionEntry { id: "1".to_owned(), argv, pid: 1, detached: true, state, age_ms: u64::MAX },
        &mut executions,
    );
    let command = b"\xff".to_vec().into();
    encode_record(
        &ProcessEntry {
            pid: 1,
            parent: 0,
            uid: 0,
            state: b'R',
            resident_bytes: 1,
            cpu_ms: u64::MAX,
            command,
        },
        &mut processes,
    );
    vec![entries, executions, processes]
}

/// Requests as a host sends them.
pub(crate) fn requests() -> Vec<Request> {
    let path = || b"/tmp/x".to_vec().into();
    let exec = Exec {
        argv: vec![b"echo".to_vec().into()],
        env: Vec::new(),
        workdir: path(),
        user: None,
        group: None,
        stdin: true,
        terminal: None,
        timeout_ms: None,
        log_limit: None,
    };
    vec![
        Request::Exec(Box::new(exec)),
        Request::Kill { id: "1".to_owned(), signal: -1 },
        Request::WriteFile { path: path(), mode: Some(u32::MAX) },
        Request::List { path: path() },
        Request::Connect { port: 0 },
    ]
}

/// Conversations from each side: a hello, then one channel's life.
pub(crate) fn conversations() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for event in events() {
        let mut bytes = hello(Role::Guest);
        bytes.extend(frame(1, Kind::Message, &encode(&event)));
        bytes.extend(frame(1, Kind::Data(Stream::Output), b"output"));
        bytes.extend(frame(1, Kind::End(Stream::Output), b""));
        bytes.extend(frame(1, Kind::Close, b""));
        all.push(bytes);
    }
    for request in requests() {
        let mut bytes = hello(Role::Host);
        bytes.extend(frame(1, Kind::Open, &encode(&request)));
        bytes.extend(frame(1, Kind::Credit(Stream::Output), &1000_u32.to_le_bytes()));
        bytes.extend(frame(1, Kind::Data(Stream::Input), b"input"));
        all.push(bytes);
    }
    all
}
