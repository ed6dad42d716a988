//! Who asks, and how far that one may go.

use std::fmt;

/// What a caller may do. Each one may do all that those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Look: lists, information, logs, events, statistics, files of sandboxes.
    Read,
    /// Work: create, run, exec, write files, start, stop, remove.
    Run,
    /// All else: what reaches out of a sandbox (permissive profile, host mounts, limits let go, ports that others than
    /// this machine reach), images, the pool, the server itself.
    Admin,
}

impl Scope {
    /// All, weakest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Run, Self::Admin];

    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much one caller may ask for. `None` means no limit of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Commands at the same time.
    pub concurrent: Option<u32>,
    /// Runs, execs and creations a minute; a minute's worth may come at once.
    pub per_minute: Option<u32>,
}

/// Who asks. Made by whoever has checked that: the HTTP guard, or a program for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key's name; `local` without a key, `mcp` over standard input. Quotas are counted by it.
    pub name: String,
    /// How far it may go.
    pub scope: Scope,
    /// How much it may ask for.
    pub quota: Option<Quota>,
    /// Where it comes from: an address, or `unix:uid=0`. For the audit log.
    pub from: String,
}

impl Caller {
    /// The program's own user, who may do everything.
    pub fn local(from: impl Into<String>) -> Self {
        Self { name: "local".to_owned(), scope: Scope::Admin, quota: None, from: from.into() }
    }
}
