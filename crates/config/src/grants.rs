//! Profile and single grants.

use std::fmt;

use agentkernel_model::{Grants, NetworkAccess, PassEnv, Profile};

use crate::file::SecuritySection;
use crate::ledger::Ledger;
use crate::load::Sources;
use crate::overrides::is_env_name;
use crate::source::{FileSource, Offers, Sourced, one_of};
use crate::variables::{self as var, flag, typed};
use crate::{ConfigError, CwdMount, Origin};

/// What was decided about the sandbox's rights.
pub(crate) struct DecidedGrants {
    pub(crate) profile: Profile,
    pub(crate) grants: Grants,
}

/// A value with an order from "grants nothing" upwards.
trait Grant: Sized {
    fn reach(&self) -> u8;
}

/// `security.network`, shown as the file has it.
struct Network(NetworkAccess);

impl Grant for Network {
    fn reach(&self) -> u8 {
        u8::from(self.0 == NetworkAccess::On)
    }
}

impl From<bool> for Network {
    fn from(on: bool) -> Self {
        Self(if on { NetworkAccess::On } else { NetworkAccess::None })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0 == NetworkAccess::On).fmt(f)
    }
}

impl Grant for CwdMount {
    fn reach(&self) -> u8 {
        match self {
            Self::Off => 0,
            Self::ReadOnly => 1,
            Self::ReadWrite => 2,
        }
    }
}

impl Grant for bool {
    fn reach(&self) -> u8 {
        u8::from(*self)
    }
}

/// `security.pass_env`, shown as the file has it.
struct Passed(PassEnv);

impl Grant for Passed {
    fn reach(&self) -> u8 {
        match &self.0 {
            PassEnv::None => 0,
            PassEnv::Names(names) if names.is_empty() => 0,
            PassEnv::Names(_) => 1,
            PassEnv::All => 2,
        }
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PassEnv::None => f.write_str("false"),
            PassEnv::All => f.write_str("true"),
            PassEnv::Names(names) => f.write_str(&names.join(", ")),
        }
    }
}

/// A writable root reaches further than a read-only one.
struct ReadOnly(bool);

impl Grant for ReadOnly {
    fn reach(&self) -> u8 {
        u8::from(!self.0)
    }
}

impl fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Decides grant by grant: flag, variable, file, profile.
struct Decider<'a> {
    ledger: &'a mut Ledger,
    file: Option<FileSource<'a>>,
    profile: Sourced<Profile>,
}

impl Decider<'_> {
    /// A profile that was chosen by flag or variable is not widened by the file: who types `--profile restrictive`
    /// gets its row of the table or less.
    fn decide<T: Grant + fmt::Display>(
        &mut self,
        key: &'static str,
        stronger: Offers<T>,
        in_file: Option<(&'static str, T)>,
        of_profile: T,
    ) -> Sourced<T> {
        let outranked = matches!(self.profile.origin, Origin::Flag | Origin::Variable { .. });
        let in_file = in_file.filter(|(_, value)| !outranked || value.reach() <= of_profile.reach());
        let (key_in_file, in_file) = in_file.map_or((key, None), |(key, value)| (key, Some(value)));
        let offers = stronger.file(self.file, key_in_file, in_file);
        let origin = Origin::Profile { profile: self.profile.value };
        self.ledger.decide(key, offers, Sourced { value: of_profile, origin })
    }

    /// Refuses a grant that comes from a file which the user didn't name.
    fn refuse_unnamed<T: Grant>(
        &self,
        key: &'static str,
        decided: &Sourced<T>,
        what: &str,
    ) -> Result<(), ConfigError> {
        if decided.value.reach() == 0 {
            return Ok(());
        }
        let (origin, key) = match &decided.origin {
            Origin::Profile { .. } => (&self.profile.origin, "security.profile"),
            origin => (origin, key),
        };
        refuse_unnamed_file(self.file, origin, key, || what.to_owned())
    }
}

/// An error where `origin` is a file that was only found in the current folder: it may have come with a stranger's
/// project, so it can't hand out what lies outside of that project.
pub(crate) fn refuse_unnamed_file(
    file: Option<FileSource<'_>>,
    origin: &Origin,
    key: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), ConfigError> {
    match (origin, file) {
        (Origin::File { named: false, .. }, Some(file)) => {
            Err(ConfigError::NotNamed { location: file.config.location(key), key, what: what() })
        }
        _ => Ok(()),
    }
}

/// Merges profile and single grants.
pub(crate) fn decide(sources: &Sources<'_>, ledger: &mut Ledger) -> Result<DecidedGrants, ConfigError> {
    let Sources { environment, overrides, file } = *sources;
    let absent = SecuritySection::default();
    let security = file.map_or(&absent, |file| &file.config.values.security);

    let offers = Offers::flag(overrides.profile)
        .variable(var::PROFILE, typed(environment, var::PROFILE)?)
        .file(file, "security.profile", security.profile.map(|profile| profile.0));
    let fallback = Sourced { value: Profile::default(), origin: Origin::Default };
    let profile = ledger.decide("security.profile", offers, fallback);
    let row = profile.value.grants();
    let mut decider = Decider { ledger, file, profile };

    let enabled = file.and_then(|file| file.config.values.network.enabled);
    let in_file = one_of(file, [("security.network", security.network), ("network.enabled", enabled)])?;
    let network = decider.decide(
        "security.network",
        Offers::flag(overrides.network.map(Network))
            .variable(var::NETWORK, flag(environment, var::NETWORK)?.map(Network::from)),
        in_file.map(|(key, on)| (key, Network::from(on))),
        Network(row.network),
    );
    let mount_cwd = decider.decide(
        "security.mount_cwd",
        Offers::flag(overrides.mount_cwd),
        security.mount_cwd.map(|mount| ("security.mount_cwd", mount.0)),
        if row.mount_cwd.is_some() { CwdMount::ReadWrite } else { CwdMount::Off },
    );
    let mount_home = decider.decide(
        "security.mount_home",
        Offers::flag(overrides.mount_home),
        security.mount_home.map(|show| ("security.mount_home", show)),
        row.mount_home,
    );
    if let Some(PassEnv::Names(names)) = &overrides.pass_env
        && let Some(name) = names.iter().find(|name| !is_env_name(name.as_bytes()))
    {
        return Err(ConfigError::PassEnvName { name: name.clone() });
    }
    let pass_env = decider.decide(
        "security.pass_env",
        Offers::flag(overrides.pass_env.clone().map(Passed)),
        security.pass_env.clone().map(|pass| ("security.pass_env", Passed(pass.0))),
        Passed(row.pass_env),
    );
    let read_only = decider.decide(
        "security.read_only",
        Offers::flag(overrides.read_only.map(ReadOnly))
            .variable(var::READ_ONLY, flag(environment, var::READ_ONLY)?.map(ReadOnly)),
        security.read_only.map(|on| ("security.read_only", ReadOnly(on))),
        ReadOnly(row.read_only),
    );

    decider.refuse_unnamed("security.mount_home", &mount_home, "your home folder")?;
    decider.refuse_unnamed("security.pass_env", &pass_env, "your environment variables")?;
    let profile = decider.profile.value;
    let grants = Grants {
        network: network.value.0,
        mount_cwd: mount_cwd.value.access(),
        mount_home: mount_home.value,
        pass_env: pass_env.value.0,
        read_only: read_only.value.0,
    };
    Ok(DecidedGrants { profile, grants })
}
