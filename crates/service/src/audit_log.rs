//! The audit log of `agentkernel-audit` as the place where entries go.

use agentkernel_api as api;
use agentkernel_audit::{AuditLog, Entry, Outcome};

use crate::{AuditEntry, AuditSink, Verdict};

impl AuditSink for AuditLog {
    fn record(&self, entry: AuditEntry) {
        let path = entry.path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let mut line = Entry::new(kind(&entry))
            .outcome(outcome(entry.verdict))
            .user(&entry.caller)
            .from(&entry.from)
            .field("action", entry.action);
        if let Some(sandbox) = &entry.sandbox {
            line = line.sandbox(sandbox);
        }
        if !entry.argv.is_empty() {
            line = line.command(&entry.argv);
        }
        let texts = [
            ("backend", entry.backend.as_deref()),
            ("execution", entry.execution.as_deref()),
            ("path", path.as_deref()),
            ("why", entry.why.as_deref()),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                line = line.field(name, value);
            }
        }
        if let Some(bytes) = entry.bytes {
            line = line.field("bytes", bytes);
        }
        if let Some(exit_code) = entry.exit_code {
            line = line.field("exit_code", exit_code);
        }
        if let Err(error) = AuditLog::record(self, &line) {
            // A full disk must not stop what people need to make room on it; `audit verify` shows nothing missing, since
            // nothing was chained.
            tracing::error!(%error, action = entry.action, "an action is not in the audit log");
        }
    }

    fn recent(&self, sandbox: Option<&str>, limit: usize) -> Result<Vec<api::AuditRecord>, std::io::Error> {
        let lines = self.tail(sandbox, limit).map_err(std::io::Error::other)?;
        // Lines of a newer version that don't fit are passed over.
        Ok(lines.into_iter().filter_map(|line| serde_json::from_value(line).ok()).collect())
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Allowed => Outcome::Allowed,
        Verdict::Denied => Outcome::Denied,
        Verdict::Failed => Outcome::Failed,
    }
}

/// The kind by the names that v0.4 had, where it had one.
fn kind(entry: &AuditEntry) -> &'static str {
    if entry.verdict == Verdict::Denied {
        return "policy_violation";
    }
    match entry.action {
        "create" => "sandbox_created",
        "start" => "sandbox_started",
        "stop" => "sandbox_stopped",
        "remove" => "sandbox_removed",
        "pause" => "sandbox_paused",
        "resume" => "sandbox_resumed",
        "fork" => "sandbox_forked",
        "snapshot_take" => "snapshot_taken",
        "snapshot_restore" => "snapshot_restored",
        "snapshot_remove" => "snapshot_removed",
        "run" | "exec" | "exec_detached" | "open_terminal" => "command_executed",
        "run_end" | "exec_end" | "terminal_end" => "command_ended",
        "write_file" | "tar_in" | "make_dir" => "file_written",
        "read_file" | "tar_out" => "file_read",
        "attach_terminal" => "session_attached",
        action => action,
    }
}

#[cfg(test)]
mod tests {
    use agentkernel_audit::AuditSettings;

    use super::*;
    use crate::policy::entry;
    use crate::{Caller, NoAudit};

    #[test]
    fn what_is_recorded_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::open(&folder.path().join("audit"), AuditSettings::default()).unwrap();
        let caller = Caller::local("test");
        let ran = AuditEntry {
            sandbox: Some("a".to_owned()),
            backend: Some("fake".to_owned()),
            argv: vec!["echo".to_owned(), "hi".to_owned()],
            path: Some("/x".into()),
            bytes: Some(7),
            exit_code: Some(3),
            ..entry(&caller, "exec")
        };
        AuditSink::record(&log, ran);
        AuditSink::record(&log, AuditEntry { verdict: Verdict::Denied, ..entry(&caller, "create") });
        let all = log.recent(None, 10).unwrap();
        let kinds: Vec<&str> = all.iter().map(|record| record.kind.as_str()).collect();
        assert_eq!(kinds, ["log_started", "command_executed", "policy_violation"]);
        let [ran] = &log.recent(Some("a"), 10).unwrap()[..] else { panic!("{all:?}") };
        assert_eq!((ran.user.as_str(), ran.from.as_str(), ran.action.as_str()), ("local", "test", "exec"));
        assert_eq!(ran.command, ["echo", "hi"]);
        assert_eq!((ran.path.as_deref(), ran.bytes, ran.exit_code), (Some("/x"), Some(7), Some(3)));
        assert!(NoAudit.recent(None, 10).unwrap().is_empty());
    }
}
