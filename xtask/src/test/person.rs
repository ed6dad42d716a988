//! The ordinary user that the tests run as when the task itself is root: made for the run and removed after it.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::accessible;
use crate::command;
use crate::test_bed::{self, Variables};
use crate::workspace::Workspace;

/// Its name.
pub(crate) const NAME: &str = "agentkernel-test";
/// Variables that say how thorough the tests are; the only ones that are passed on.
const FOR_TESTS: &str = "AGENTKERNEL_TEST_";
const TUN: &str = "/dev/net/tun";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The user, with a folder of its own. Dropping it undoes all of it.
pub(crate) struct Person {
    folder: PathBuf,
    made_here: bool,
    /// The mode that the tunnel device had before it was opened to the user.
    tun_mode: Option<u32>,
}

impl Person {
    /// Makes the user where it is missing, with subordinate ids (useradd gives them) and a fresh folder.
    pub(crate) fn ensure() -> Result<Self> {
        let made_here = ensure_user()?;
        // Short, because names of unix sockets are at most 107 bytes long (unix(7)).
        let folder = PathBuf::from(format!("/var/tmp/ak-test-{}", std::process::id()));
        let person = Self { folder, made_here, tun_mode: open_tun()? };
        for name in ["home", "tmp", "run", "results", "stash"] {
            let path = person.folder.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
        }
        let owner = format!("{NAME}:{NAME}");
        command::output(Command::new("chown").arg("-R").arg(owner).arg(&person.folder))?;
        Ok(person)
    }

    /// A folder that the user owns.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Copies `file` to where the user can read and execute it.
    pub(crate) fn give(&self, file: &Path) -> Result<PathBuf> {
        let copy = self.folder.join(file.file_name().context("a file without a name")?);
        std::fs::copy(file, &copy).with_context(|| format!("copy {}", file.display()))?;
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
        Ok(copy)
    }

    /// Copies `folder` to where the user can read it.
    pub(crate) fn give_folder(&self, folder: &Path) -> Result<PathBuf> {
        let copy = self.folder.join(folder.file_name().context("a folder without a name")?);
        command::output(Command::new("cp").arg("-a").arg(folder).arg(&copy))?;
        Ok(copy)
    }

    /// `program` as the user: with an environment of its own and no terminal, in the workspace's root. Of
    /// the test bed's variables it gets those that it can use.
    pub(crate) fn command(
        &self,
        workspace: &Workspace,
        program: &Path,
        more_variables: &Variables,
    ) -> Command {
        let mut words = accessible::prefix(&[&workspace.root, &workspace.target], &self.folder("stash"));
        let become_user = [
            "setsid",
            "--wait",
            "setpriv",
            "--reuid",
            NAME,
            "--regid",
            NAME,
            "--init-groups",
            "--",
            "env",
            "-i",
        ];
        words.extend(become_user.map(str::to_owned));
        let variables = [
            ("HOME", self.folder("home")),
            ("TMPDIR", self.folder("tmp")),
            ("XDG_RUNTIME_DIR", self.folder("run")),
            ("PATH", PATH.into()),
            ("USER", NAME.into()),
            ("LOGNAME", NAME.into()),
            ("LANG", "C.UTF-8".into()),
        ];
        words.extend(variables.iter().map(|(name, value)| format!("{name}={}", value.display())));
        // What names root's engines in root's own shell is not for the user.
        let for_tests =
            std::env::vars().filter(|(name, _)| name.starts_with(FOR_TESTS) && !test_bed::is_variable(name));
        words.extend(for_tests.map(|(name, value)| format!("{name}={value}")));
        let theirs = test_bed::for_ordinary_user(more_variables);
        words.extend(theirs.into_iter().map(|(name, value)| format!("{name}={value}")));
        let mut command = workspace.command(&words[0]);
        command.args(&words[1..]).arg(program);
        command
    }

    fn undo(&self) -> Result<()> {
        if let Some(mode) = self.tun_mode {
            close_tun(mode)?;
        }
        command::output(Command::new("rm").arg("-rf").arg(&self.folder))?;
        if self.made_here {
            command::output(Command::new("userdel").arg(NAME))?;
        }
        Ok(())
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Err(error) = self.undo() {
            eprintln!("xtask: clean up after user {NAME}: {error:#}");
        }
    }
}

/// Makes the user where it is missing; whether it was.
pub(crate) fn ensure_user() -> Result<bool> {
    let missing = command::output(Command::new("id").args(["-u", NAME])).is_err();
    if missing {
        let arguments = ["--no-create-home", "--shell", "/bin/sh", "--home-dir", "/nonexistent", NAME];
        command::output(Command::new("useradd").args(arguments))?;
    }
    Ok(missing)
}

/// Lets every user open the tunnel device, as most machines do anyway; pasta needs it. Returns the mode to set back.
pub(crate) fn open_tun() -> Result<Option<u32>> {
    let Ok(metadata) = std::fs::metadata(OsStr::new(TUN)) else { return Ok(None) };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o006 == 0o006 {
        return Ok(None);
    }
    println!("prepare: {TUN} opened to all users during the tests, as pasta needs");
    std::fs::set_permissions(TUN, std::fs::Permissions::from_mode(0o666))?;
    Ok(Some(mode))
}

/// Sets the tunnel device's mode back.
pub(crate) fn close_tun(mode: u32) -> Result<()> {
    std::fs::set_permissions(TUN, std::fs::Permissions::from_mode(mode)).context("close the tunnel device")
}
