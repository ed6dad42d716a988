//! FUSE messages as bytes (linux/fuse.h): numbers in the machine's own order, names that end with NUL.

use std::ffi::CStr;

use rustix::io::Errno;

/// The header of a request.
const REQUEST_HEADER: usize = 40;

/// The header of an answer.
const ANSWER_HEADER: usize = 16;

/// A name's longest, as file systems have it.
const LONGEST_NAME: usize = 255;

/// A link's longest content.
const LONGEST_LINK: usize = 4095;

/// A message that is none: what follows it on the stream can't be understood either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A length that no message has.
    #[error("a message of {length} bytes, where {least} to {most} are possible")]
    Length {
        /// What it says.
        length: usize,
        /// The least.
        least: usize,
        /// The most.
        most: usize,
    },
}

/// A request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) operation: u32,
    /// Its number, which the answer repeats.
    pub(crate) unique: u64,
    /// What it is about.
    pub(crate) node: u64,
    pub(crate) fields: Fields<'a>,
}

/// The length of the request that begins with `bytes`, checked.
pub(crate) fn request_length(bytes: [u8; 4], most: usize) -> Result<usize, Broken> {
    let length = u32::from_ne_bytes(bytes) as usize;
    match (REQUEST_HEADER..=most).contains(&length) {
        true => Ok(length),
        false => Err(Broken::Length { length, least: REQUEST_HEADER, most }),
    }
}

impl<'a> Request<'a> {
    /// `message` is all of one.
    pub(crate) fn parse(message: &'a [u8], most: usize) -> Result<Self, Broken> {
        let broken = || Broken::Length { length: message.len(), least: REQUEST_HEADER, most };
        let (first, mut rest) = message.split_first_chunk().ok_or_else(broken)?;
        if request_length(*first, most)? != message.len() {
            return Err(broken());
        }
        let mut header = || -> Result<_, Errno> {
            let mut fields = Fields(rest);
            let (operation, unique, node) = (fields.u32()?, fields.u64()?, fields.u64()?);
            // Who asks: all are the folder's owner. The last of it is the length of extensions, which we don't offer.
            fields.skip(16)?;
            rest = fields.0;
            Ok((operation, unique, node))
        };
        let (operation, unique, node) = header().map_err(|_| broken())?;
        Ok(Self { operation, unique, node, fields: Fields(rest) })
    }
}

/// What of a request is not read yet. Whatever is missing or wrong is `EINVAL`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Errno> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Errno> {
        self.take().map(u32::from_ne_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Errno> {
        self.take().map(u64::from_ne_bytes)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<(), Errno> {
        self.0 = self.0.get(count..).ok_or(Errno::INVAL)?;
        Ok(())
    }

    fn text(&mut self) -> Result<&'a CStr, Errno> {
        let text = CStr::from_bytes_until_nul(self.0).map_err(|_| Errno::INVAL)?;
        self.0 = self.0.get(text.to_bytes_with_nul().len()..).ok_or(Errno::INVAL)?;
        Ok(text)
    }

    /// The name of something in a folder: one component that leads nowhere else.
    pub(crate) fn name(&mut self) -> Result<&'a CStr, Errno> {
        let name = self.text()?;
        match name.to_bytes() {
            b"" | b"." | b".." => Err(Errno::INVAL),
            bytes if bytes.contains(&b'/') => Err(Errno::INVAL),
            bytes if bytes.len() > LONGEST_NAME => Err(Errno::NAMETOOLONG),
            _ => Ok(name),
        }
    }

    /// What a symbolic link says: nobody here follows it.
    pub(crate) fn link(&mut self) -> Result<&'a CStr, Errno> {
        let link = self.text()?;
        match link.to_bytes().len() {
            0 => Err(Errno::NOENT),
            length if length > LONGEST_LINK => Err(Errno::NAMETOOLONG),
            _ => Ok(link),
        }
    }

    /// The next `length` bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Errno> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// An answer in the making.
#[derive(Debug)]
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    pub(crate) fn new() -> Self {
        Self(vec![0; ANSWER_HEADER])
    }

    pub(crate) fn u16(&mut self, number: u16) {
        self.0.extend(number.to_ne_bytes());
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.0.extend(number.to_ne_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.0.extend(number.to_ne_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// How many bytes of content it has.
    pub(crate) fn content(&self) -> usize {
        self.0.len() - ANSWER_HEADER
    }

    /// Adds as much as `fill` writes into the `most` bytes that it is given.
    pub(crate) fn filled(
        &mut self,
        most: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<(), Errno> {
        let before = self.0.len();
        self.0.resize(before + most, 0);
        let written = fill(self.0.get_mut(before..).unwrap_or_default())?;
        self.0.truncate(before + written.min(most));
        Ok(())
    }

    /// The whole message, for the request `unique`.
    pub(crate) fn of(result: Result<Self, Errno>, unique: u64) -> Vec<u8> {
        let (mut message, error) = match result {
            Ok(Self(message)) => (message, 0),
            Err(errno) => (vec![0; ANSWER_HEADER], -errno.raw_os_error()),
        };
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_ne_bytes();
        let header = length.into_iter().chain(error.to_ne_bytes()).chain(unique.to_ne_bytes());
        for (place, byte) in message.iter_mut().zip(header) {
            *place = byte;
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_one_component() {
        for bad in [&b"\0"[..], b".\0", b"..\0", b"a/b\0", b"/\0", b"a", b"", b"../a\0"] {
            assert_eq!(Fields(bad).name(), Err(Errno::INVAL), "{bad:?}");
        }
        let long = [vec![b'a'; 256], vec![0]].concat();
        assert_eq!(Fields(&long).name(), Err(Errno::NAMETOOLONG));
        assert_eq!(Fields(&long[1..]).name().unwrap().to_bytes().len(), 255);
        let mut two = Fields(b"one\0two\0");
        assert_eq!((two.name(), two.name(), two.name()), (Ok(c"one"), Ok(c"two"), Err(Errno::INVAL)));
        assert_eq!(Fields(b"...\0").name(), Ok(c"..."));
    }

    #[test]
    fn an_answer_says_its_length_its_error_and_its_request() {
        let mut answer = Answer::new();
        answer.u32(7);
        assert_eq!(Answer::of(Ok(answer), 5), [20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
        let error = Answer::of(Err(Errno::NOENT), 1);
        assert_eq!(error.len(), 16);
        assert_eq!(error[4..8], (-2i32).to_ne_bytes());
    }

    proptest! {
        #[test]
        fn only_a_message_of_its_own_length_is_a_request(
            message in proptest::collection::vec(any::<u8>(), 0..80),
            honest in any::<bool>(),
        ) {
            let mut message = message;
            if honest && message.len() >= 4 {
                let length = (message.len() as u32).to_ne_bytes();
                message[..4].copy_from_slice(&length);
            }
            let parsed = Request::parse(&message, 1000);
            prop_assert_eq!(parsed.is_ok(), message.len() >= 40
                && message[..4] == (message.len() as u32).to_ne_bytes());
        }
    }
}
