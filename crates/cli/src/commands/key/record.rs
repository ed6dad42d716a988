//! What becomes of keys, in the audit log.

use agentkernel_audit::{AuditLog, Entry, Outcome};
use agentkernel_config::Overrides;
use agentkernel_server::KeyError;

use crate::application::Application;
use crate::output::CliError;
use crate::serving::open_audit;

/// The log that this state directory's servers write.
pub(super) struct KeyLog {
    log: AuditLog,
    from: String,
}

impl KeyLog {
    /// Opens it as a server would: a log that can't be written is found before a key is made.
    pub(super) fn open(application: &Application) -> Result<Self, CliError> {
        let config = application.named_config(None);
        let settings = application.server_settings(config.as_deref(), Overrides::default())?;
        let from = format!("cli:uid={}", rustix::process::getuid().as_raw());
        Ok(Self { log: open_audit(&settings, None)?, from })
    }

    /// Notes what was done with the key `name`, or why it was not.
    pub(super) fn note<T>(
        &self,
        kind: &'static str,
        name: &str,
        scope: Option<&str>,
        done: &Result<T, KeyError>,
    ) -> Result<(), CliError> {
        let mut entry = Entry::new(kind).user("local").from(&self.from).field("key", name);
        if let Some(scope) = scope {
            entry = entry.field("scope", scope);
        }
        if let Err(error) = done {
            entry = entry.outcome(Outcome::Failed).field("why", error.to_string());
        }
        self.log.record(&entry)?;
        self.log.sync()?;
        Ok(())
    }
}
