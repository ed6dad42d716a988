//! What the caller's process looks like: the only place in the workspace that reads environment variables, the
//! working directory, the user and whether the standard streams are terminals.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

/// Longest `/etc/passwd` that is searched.
const PASSWD_LIMIT_BYTES: u64 = 1 << 20;

/// A picture of the caller's process, taken once.
#[derive(Clone)]
pub struct Environment {
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// The home folder: `HOME` where it is set and absolute, else that of `/etc/passwd`.
    pub home: Option<PathBuf>,
    /// The user's name: `USER`, `LOGNAME`, else that of `/etc/passwd`.
    pub user: Option<String>,
    /// The effective user id.
    pub uid: u32,
    /// All variables, as they are; names and values need not be UTF-8.
    pub vars: Vec<(OsString, OsString)>,
    /// Whether standard input is a terminal.
    pub interactive_stdin: bool,
    /// Whether standard output is a terminal.
    pub interactive_stdout: bool,
    /// Whether standard error is a terminal.
    pub interactive_stderr: bool,
}

/// Why the caller's process can't be described.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The working directory was removed or can't be reached.
    #[error(
        "the current folder can't be used ({source}): it was removed or is not readable; cd to another one"
    )]
    WorkingDirectory {
        /// The kernel's reason.
        source: std::io::Error,
    },
}

impl Environment {
    /// Reads all of it. To be called once, at the start of the program.
    pub fn capture() -> Result<Self, EnvironmentError> {
        let cwd = std::env::current_dir().map_err(|source| EnvironmentError::WorkingDirectory { source })?;
        let uid = rustix::process::geteuid().as_raw();
        let vars: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let mut environment = Self {
            cwd,
            home: None,
            user: None,
            uid,
            vars,
            interactive_stdin: std::io::stdin().is_terminal(),
            interactive_stdout: std::io::stdout().is_terminal(),
            interactive_stderr: std::io::stderr().is_terminal(),
        };
        environment.identify(Path::new("/etc/passwd"));
        Ok(environment)
    }

    /// Fills home and user. The C library's lookup is avoided: in a static binary it loads code at run time.
    fn identify(&mut self, passwd: &Path) {
        let text = |name| self.var(name).and_then(OsStr::to_str).filter(|text| !text.is_empty());
        self.user = text("USER").or_else(|| text("LOGNAME")).map(str::to_owned);
        self.home = self.var("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        if self.user.is_some() && self.home.is_some() {
            return;
        }
        if let Some((user, home)) = passwd_entry(passwd, self.uid) {
            self.user.get_or_insert(user);
            self.home.get_or_insert(home);
        }
    }

    /// The value of one variable.
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    /// The absolute folders of `PATH`, in its order. Relative ones would change their meaning with the folder.
    pub fn path_dirs(&self) -> Vec<PathBuf> {
        let path = self.var("PATH").unwrap_or_default();
        std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect()
    }

    /// `path` as the caller means it: relative ones start at the working directory.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        self.cwd.join(path)
    }
}

impl std::fmt::Debug for Environment {
    /// Without the values of variables: they may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&OsString> = self.vars.iter().map(|(name, _)| name).collect();
        f.debug_struct("Environment")
            .field("cwd", &self.cwd)
            .field("home", &self.home)
            .field("user", &self.user)
            .field("uid", &self.uid)
            .field("vars", &names)
            .finish_non_exhaustive()
    }
}

/// Name and home of `uid` (passwd(5)); `None` where the file can't be read or doesn't know the user.
fn passwd_entry(passwd: &Path, uid: u32) -> Option<(String, PathBuf)> {
    let mut bytes = Vec::new();
    std::fs::File::open(passwd).ok()?.take(PASSWD_LIMIT_BYTES).read_to_end(&mut bytes).ok()?;
    String::from_utf8_lossy(&bytes).lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, _, _, home, ..] = fields[..] else { return None };
        let matches = id.parse() == Ok(uid) && home.starts_with('/');
        matches.then(|| (name.to_owned(), PathBuf::from(home)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::environment;

    #[test]
    fn home_and_user_come_from_variables_then_from_passwd() {
        let dir = tempfile::tempdir().unwrap();
        let passwd = dir.path().join("passwd");
        std::fs::write(&passwd, "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n")
            .unwrap();
        let mut named = environment(dir.path(), &[("HOME", "/h"), ("USER", "bob")]);
        named.identify(&passwd);
        assert_eq!((named.home, named.user.as_deref()), (Some("/h".into()), Some("bob")));
        let mut bare = environment(dir.path(), &[("HOME", "relative"), ("USER", "")]);
        bare.uid = 1000;
        bare.identify(&passwd);
        assert_eq!((bare.home, bare.user.as_deref()), (Some("/home/ann".into()), Some("ann")));
    }

    #[test]
    fn a_removed_working_directory_is_a_clear_error() {
        if std::env::current_dir().is_err() {
            // The child that is started below.
            let message = Environment::capture().unwrap_err().to_string();
            assert!(message.contains("cd to another one"), "{message}");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let test = "environment::tests::a_removed_working_directory_is_a_clear_error";
        let child = std::process::Command::new("sh")
            .args(["-c", "rmdir \"$PWD\" && exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(test)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{child:?}");
    }

    #[test]
    fn debug_output_hides_values() {
        let shown = format!("{:?}", environment(Path::new("/"), &[("TOKEN", "hunter2")]));
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn relative_path_folders_are_left_out() {
        let env = environment(Path::new("/"), &[("PATH", "/usr/bin::bin:/bin")]);
        assert_eq!(env.path_dirs(), [PathBuf::from("/usr/bin"), "/bin".into()]);
    }
}
