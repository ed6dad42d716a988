//! Which engine a box is made on: written before the engine is asked for anything, so that every later verb asks that one
//! and no other, whatever the environment and the settings name by then.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agentkernel_model::ImageId;
use serde::{Deserialize, Serialize};

use crate::address::Address;

/// After the note's line: the engine was asked for the box's container.
const ASKED: &str = "asked";
/// And has answered: what isn't there now won't come by itself.
const ANSWERED: &str = "answered";

/// The longest note that is read.
const MAX_NOTE: u64 = 64 << 10;

/// An engine, as a box was made on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Where it listens. Certificates are named by their folder: what is in it may be renewed.
    pub(crate) address: Address,
    /// What it calls itself; `None` for an engine that has no lasting name.
    pub(crate) engine: Option<String>,
    /// The OCI runtime of the box, where the user named one.
    pub(crate) runtime: Option<String>,
    /// What the box starts from.
    pub(crate) image: Option<ImageId>,
}

/// A note as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) note: Note,
    /// Whether a request for the container may still be under way, sent by a process that has died since.
    pub(crate) in_doubt: bool,
}

impl Note {
    /// As a file has it: one line. Further lines tell how far the making has come.
    pub(crate) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

impl Noted {
    /// Reads a note; `None` where its writer died before it was whole, so that nothing was made yet.
    pub(crate) fn read(file: impl io::Read) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, MAX_NOTE), &mut bytes)?;
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let (line, rest) = bytes.split_at(end);
        let note = serde_json::from_slice(line)?;
        let rest = String::from_utf8_lossy(rest);
        let in_doubt = rest.split('\n').rfind(|line| !line.is_empty()).is_some_and(|last| last != ANSWERED);
        Ok(Some(Self { note, in_doubt }))
    }
}

/// Notes that the engine is about to be asked for the container.
pub(crate) fn ask(mut file: impl Write) -> io::Result<()> {
    file.write_all(format!("{ASKED}\n").as_bytes())
}

/// Notes that it has answered.
pub(crate) fn answer(mut file: impl Write) -> io::Result<()> {
    file.write_all(format!("{ANSWERED}\n").as_bytes())
}

/// A lasting sandbox's note, in its own folder.
#[derive(Debug, Clone)]
pub(crate) struct NoteFile(PathBuf);

impl NoteFile {
    /// In `folder`.
    pub(crate) fn of(folder: &Path) -> Self {
        Self(folder.join("engine"))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// `None` where there is none.
    pub(crate) fn read(&self) -> io::Result<Option<Noted>> {
        match File::open(&self.0) {
            Ok(file) => Noted::read(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it, whole or not at all, and so that it outlives the machine's fall, as a container does.
    pub(crate) fn write(&self, note: &Note) -> io::Result<()> {
        let fresh = self.0.with_extension(std::process::id().to_string());
        let mut file = File::create(&fresh)?;
        file.write_all(&note.line()?)?;
        file.sync_all()?;
        std::fs::rename(fresh, &self.0)?;
        self.0.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    /// For [`ask`] and [`answer`].
    pub(crate) fn open(&self) -> io::Result<File> {
        File::options().append(true).open(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_tells_how_far_the_making_came() {
        let folder = tempfile::tempdir().unwrap();
        let file = NoteFile::of(folder.path());
        assert_eq!(file.read().unwrap(), None);
        let address = Address::Tcp { host: "engine:2376".to_owned(), certificates: Some("/certs".into()) };
        let note = Note { address, engine: Some("A:B".to_owned()), runtime: None, image: None };
        file.write(&note).unwrap();
        let noted = |in_doubt| Some(Noted { note: note.clone(), in_doubt });
        assert_eq!(file.read().unwrap(), noted(false));
        for _ in 0..2 {
            ask(file.open().unwrap()).unwrap();
            assert_eq!(file.read().unwrap(), noted(true));
            answer(file.open().unwrap()).unwrap();
            assert_eq!(file.read().unwrap(), noted(false));
        }
    }

    #[test]
    fn a_note_that_was_cut_off_is_none_and_another_versions_is_an_error() {
        let address = Address::Unix("/x.sock".into());
        let note = Note { address, engine: None, runtime: None, image: None };
        let mut whole = note.line().unwrap();
        for end in 0..whole.len() {
            assert_eq!(Noted::read(&whole[..end]).unwrap(), None);
        }
        whole.extend(b"asked\nanswer");
        assert!(Noted::read(&whole[..]).unwrap().unwrap().in_doubt, "an answer that was cut off");
        assert!(Noted::read(&b"{\"address\":{\"carrier-pigeon\":1}}\n"[..]).is_err());
    }
}
