//! What moves a live mount's messages, on a thread of its own: the agent itself may wait for a file of such a mount, and has to
//! be answered then.
//!
//! The agent forks, and a copy has no thread but the one that forked: no other may hold a lock at that moment, the
//! allocator's neither. So these threads make system calls on memory that they were given before, and nothing else; and
//! they never end, since even that frees memory.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Barrier};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::listener::MAX_PACKET;

/// More than any message: the host says at the beginning that it takes 128 KiB of content.
const LONGEST: usize = 256 << 10;

/// An answer's header: its length, an error, the question's number.
const SHORTEST: usize = 16;

/// Little is called from here.
const STACK_BYTES: usize = 64 << 10;

/// One mount's.
pub(super) struct Pump {
    kernel: OwnedFd,
    host: OwnedFd,
    /// A question that is on its way to the host, and what of it is left to send.
    question: Box<[u8]>,
    left: std::ops::Range<usize>,
    /// What came from the host, and how much.
    answers: Box<[u8]>,
    have: usize,
}

impl Pump {
    /// Starts one between the kernel's FUSE device and the host's stream, neither of which waits.
    pub(super) fn start(kernel: OwnedFd, host: OwnedFd) -> io::Result<()> {
        let mut pump = Self::new(kernel, host);
        let begun = Arc::new(Barrier::new(2));
        let here = Arc::clone(&begun);
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            here.wait();
            pump.run();
            let Self { kernel, host, question: _question, answers: _answers, .. } = pump;
            // Whoever uses the mount is told that it is gone, instead of waiting.
            drop((kernel, host));
            loop {
                std::thread::park();
            }
        })?;
        // Until it is past what every thread does at first.
        begun.wait();
        Ok(())
    }

    fn new(kernel: OwnedFd, host: OwnedFd) -> Self {
        let buffer = || vec![0; LONGEST].into_boxed_slice();
        Self { kernel, host, question: buffer(), left: 0..0, answers: buffer(), have: 0 }
    }

    /// Until either side has gone, or the host says what is no answer.
    fn run(&mut self) {
        while self.turn().is_ok() {}
    }

    /// Answers are always taken, so that a host that waits for that goes on to take questions.
    fn turn(&mut self) -> Result<(), Errno> {
        let sending = !self.left.is_empty();
        let (from_kernel, to_host) = match sending {
            true => (PollFlags::empty(), PollFlags::OUT),
            false => (PollFlags::IN, PollFlags::empty()),
        };
        let mut fds =
            [PollFd::new(&self.kernel, from_kernel), PollFd::new(&self.host, PollFlags::IN | to_host)];
        match rustix::event::poll(&mut fds, None) {
            Err(Errno::INTR) => return Ok(()),
            other => other?,
        };
        let [kernel, host] = [fds[0].revents(), fds[1].revents()];
        if kernel.contains(PollFlags::ERR) {
            return Err(Errno::NODEV);
        }
        if sending && host.intersects(PollFlags::OUT | PollFlags::ERR) {
            self.send()?;
        }
        if host.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            self.receive()?;
        }
        if kernel.contains(PollFlags::IN) {
            self.ask()?;
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<(), Errno> {
        match rustix::io::read(&self.kernel, &mut *self.question) {
            Ok(0) => return Err(Errno::NODEV),
            Ok(length) => self.left = 0..length,
            // Nothing, or a question that was taken back meanwhile.
            Err(Errno::AGAIN | Errno::INTR | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Errno> {
        let end = self.left.end.min(self.left.start + MAX_PACKET);
        match rustix::io::write(&self.host, self.question.get(self.left.start..end).unwrap_or_default()) {
            Ok(length) => self.left.start += length,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Errno> {
        // There is room: a whole answer doesn't stay, and none is longer.
        match rustix::io::read(&self.host, self.answers.get_mut(self.have..).unwrap_or_default()) {
            Ok(0) => return Err(Errno::PIPE),
            Ok(length) => self.have += length,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        let mut done = 0;
        while let Some(answer) = whole(self.answers.get(done..self.have).unwrap_or_default())? {
            done += answer.len();
            match rustix::io::write(&self.kernel, answer) {
                // Nobody waits for it any more.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.answers.copy_within(done..self.have, 0);
        self.have -= done;
        Ok(())
    }
}

/// The first answer of `bytes`; `None` where it isn't all there yet.
fn whole(bytes: &[u8]) -> Result<Option<&[u8]>, Errno> {
    let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_ne_bytes(*length) as usize;
    if !(SHORTEST..=LONGEST).contains(&length) {
        return Err(Errno::PROTO);
    }
    Ok(bytes.get(..length))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    /// A kernel whose reads and writes are whole messages, as FUSE's, and a host.
    fn sides() -> (OwnedFd, UnixStream, Pump) {
        let pair = |kind| socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        let ((kernel, kernel_end), (host, host_end)) =
            (pair(SocketType::SEQPACKET), pair(SocketType::STREAM));
        // Writing to FUSE never has to wait; to this, it may.
        rustix::io::ioctl_fionbio(&host_end, true).unwrap();
        (kernel, UnixStream::from(host), Pump::new(kernel_end, host_end))
    }

    fn message(length: usize, fill: u8) -> Vec<u8> {
        let mut message = vec![fill; length];
        message[..4].copy_from_slice(&(length as u32).to_ne_bytes());
        message
    }

    #[test]
    fn questions_and_answers_pass_whole() {
        let (kernel, mut host, mut pump) = sides();
        let thread = std::thread::spawn(move || pump.run());
        let question = message(100_000, 7);
        assert_eq!(rustix::io::write(&kernel, &question).unwrap(), question.len());
        let mut heard = vec![0; question.len()];
        host.read_exact(&mut heard).unwrap();
        assert_eq!(heard, question);
        // In pieces, and several at once.
        let answers = [message(20, 1), message(16, 2), message(90_000, 3)];
        for piece in answers.concat().chunks(33_333) {
            host.write_all(piece).unwrap();
        }
        let mut buffer = vec![0; LONGEST];
        for answer in &answers {
            let length = rustix::io::read(&kernel, &mut buffer).unwrap();
            assert_eq!(&buffer[..length], answer);
        }
        drop(host);
        thread.join().unwrap();
        assert_eq!(rustix::io::read(&kernel, &mut buffer), Ok(0), "the kernel is told that it is over");
    }

    #[test]
    fn a_host_that_only_talks_does_not_stop_it() {
        let (kernel, mut host, mut pump) = sides();
        let thread = std::thread::spawn(move || pump.run());
        let talker = host.try_clone().unwrap();
        let talking = std::thread::spawn(move || {
            for _ in 0..200 {
                (&talker).write_all(&message(60_000, 1)).unwrap();
            }
        });
        let asker = kernel.try_clone().unwrap();
        let asking = std::thread::spawn(move || {
            for _ in 0..20 {
                rustix::io::write(&asker, &message(60_000, 2)).unwrap();
            }
        });
        let mut buffer = vec![0; LONGEST];
        for _ in 0..200 {
            assert_eq!(rustix::io::read(&kernel, &mut buffer), Ok(60_000));
        }
        talking.join().unwrap();
        let mut heard = vec![0; 20 * 60_000];
        host.read_exact(&mut heard).unwrap();
        asking.join().unwrap();
        drop(kernel);
        thread.join().unwrap();
    }

    #[test]
    fn what_is_no_answer_ends_it() {
        for length in [0, 15, LONGEST + 1, u32::MAX as usize] {
            let bytes = (length as u32).to_ne_bytes();
            assert_eq!(whole(&bytes), Err(Errno::PROTO), "{length}");
        }
        assert_eq!(whole(&[]), Ok(None));
        assert_eq!(whole(&message(16, 0)[..15]), Ok(None));
        let (_kernel, mut host, mut pump) = sides();
        host.write_all(&[0; 4]).unwrap();
        pump.run();
    }
}
