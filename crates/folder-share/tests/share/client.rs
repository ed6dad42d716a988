//! A guest's kernel by hand: FUSE messages as bytes, honest and not.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// What an answer holds, or the number of its error.
pub(crate) type Answered = Result<Vec<u8>, i32>;

pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    unique: u64,
}

/// Numbers and bytes of a message, one after the other.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    Small(u32),
    Large(u64),
    Text(&'a [u8]),
    Name(&'a str),
}

use Part::{Large, Name, Small};

pub(crate) fn bytes(parts: &[Part<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Small(number) => bytes.extend(number.to_ne_bytes()),
            Large(number) => bytes.extend(number.to_ne_bytes()),
            Part::Text(text) => bytes.extend(*text),
            Name(name) => bytes.extend([name.as_bytes(), &[0]].concat()),
        }
    }
    bytes
}

pub(crate) fn message(operation: u32, unique: u64, node: u64, content: &[u8]) -> Vec<u8> {
    let length = Small(40 + content.len() as u32);
    let header = [length, Small(operation), Large(unique), Large(node), Large(0), Large(0)];
    [&bytes(&header), content].concat()
}

pub(crate) fn large(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

pub(crate) fn small(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Of an attribute, behind `at`: mode, links, user, group.
pub(crate) fn mode_and_owner(bytes: &[u8], at: usize) -> [u32; 4] {
    [60, 64, 68, 72].map(|offset| small(bytes, at + offset))
}

impl Client {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        Self { stream, unique: 0 }
    }

    /// With the handshake done.
    pub(crate) fn begun(stream: UnixStream) -> Self {
        let mut client = Self::new(stream);
        let init = client.ask(26, 0, &[Small(7), Small(41), Small(1 << 20), Small(u32::MAX)]).unwrap();
        assert_eq!((init.len(), small(&init, 0), small(&init, 4)), (64, 7, 31));
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn ask(&mut self, operation: u32, node: u64, parts: &[Part<'_>]) -> Answered {
        self.unique += 1;
        let unique = self.unique;
        self.send(&message(operation, unique, node, &bytes(parts)));
        let (answered, content) = self.receive();
        assert_eq!(answered, unique);
        content
    }

    pub(crate) fn receive(&mut self) -> (u64, Answered) {
        let mut header = [0; 16];
        self.stream.read_exact(&mut header).unwrap();
        let mut content = vec![0; small(&header, 0) as usize - 16];
        self.stream.read_exact(&mut content).unwrap();
        let error = small(&header, 4) as i32;
        (large(&header, 8), if error == 0 { Ok(content) } else { Err(-error) })
    }

    /// The node of `name` in `folder`.
    pub(crate) fn look_up(&mut self, folder: u64, name: &str) -> Result<u64, i32> {
        self.ask(1, folder, &[Name(name)]).map(|entry| large(&entry, 0))
    }

    pub(crate) fn open(&mut self, node: u64, flags: i32) -> Result<u64, i32> {
        self.ask(14, node, &[Small(flags as u32), Small(0)]).map(|opened| large(&opened, 0))
    }

    /// A node and a handle.
    pub(crate) fn create(&mut self, folder: u64, name: &str, mode: u32) -> Result<(u64, u64), i32> {
        let flags = (libc_flags::CREAT | libc_flags::RDWR) as u32;
        let parts = [Small(flags), Small(0o100_000 | mode), Small(0), Small(0), Name(name)];
        self.ask(35, folder, &parts).map(|made| (large(&made, 0), large(&made, 128)))
    }

    pub(crate) fn read(&mut self, handle: u64, offset: u64, size: u32) -> Answered {
        let parts = [Large(handle), Large(offset), Small(size), Small(0), Large(0), Small(0), Small(0)];
        self.ask(15, 1, &parts)
    }

    pub(crate) fn write(&mut self, handle: u64, offset: u64, content: &[u8]) -> Result<u32, i32> {
        let size = content.len() as u32;
        let head =
            bytes(&[Large(handle), Large(offset), Small(size), Small(0), Large(0), Small(0), Small(0)]);
        let parts = [Part::Text(&head), Part::Text(content)];
        self.ask(16, 1, &parts).map(|written| small(&written, 0))
    }

    /// The names of a folder, in as many pieces of `size` bytes as it takes.
    pub(crate) fn list(&mut self, node: u64, size: u32) -> Vec<String> {
        let opened = self.ask(27, node, &[Small(0), Small(0)]).unwrap();
        let handle = large(&opened, 0);
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let parts = [Large(handle), Large(offset), Small(size), Small(0), Large(0), Small(0), Small(0)];
            let piece = self.ask(28, node, &parts).unwrap();
            if piece.is_empty() {
                break;
            }
            let mut at = 0;
            while at < piece.len() {
                let length = small(&piece, at + 16) as usize;
                names.push(String::from_utf8(piece[at + 24..at + 24 + length].to_vec()).unwrap());
                offset = large(&piece, at + 8);
                at += (24 + length).next_multiple_of(8);
            }
        }
        self.ask(29, node, &[Large(handle), Large(0), Large(0)]).unwrap();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        names
    }
}

/// open(2) of this kernel.
pub(crate) mod libc_flags {
    use rustix::fs::OFlags;

    pub(crate) const CREAT: i32 = OFlags::CREATE.bits() as i32;
    pub(crate) const RDWR: i32 = OFlags::RDWR.bits() as i32;
    pub(crate) const WRONLY: i32 = OFlags::WRONLY.bits() as i32;
    pub(crate) const RDONLY: i32 = 0;
    pub(crate) const TRUNC: i32 = OFlags::TRUNC.bits() as i32;
    pub(crate) const DIRECT: i32 = OFlags::DIRECT.bits() as i32;
}
