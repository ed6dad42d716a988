//! Who may do what; and that every refusal is written down.

use std::time::SystemTime;

use agentkernel_api::{ErrorCode, EventKind};

use crate::service::Inner;
use crate::{AuditEntry, Caller, Scope, Service, ServiceError, Verdict};

impl Inner {
    /// Whether `caller` may do what needs `scope`, now.
    pub(crate) fn authorize(
        &self,
        caller: &Caller,
        scope: Scope,
        action: &'static str,
    ) -> Result<(), ServiceError> {
        if caller.scope < scope {
            let name = &caller.name;
            let message =
                format!("{action} needs a key of scope {scope}; key {name:?} has scope {}", caller.scope);
            self.denied(caller, action, &message);
            return Err(ServiceError::new(ErrorCode::Forbidden, message));
        }
        if scope > Scope::Read && self.is_shutting_down() {
            return Err(ServiceError::new(ErrorCode::ShuttingDown, "the server is going down"));
        }
        Ok(())
    }

    /// The refusal of a part of a request that only an admin may have.
    pub(crate) fn forbid(&self, caller: &Caller, what: &'static str) -> ServiceError {
        let name = &caller.name;
        let message = format!("{what} needs a key of scope admin; key {name:?} has scope {}", caller.scope);
        self.denied(caller, what, &message);
        ServiceError::new(ErrorCode::Forbidden, message)
    }

    pub(crate) fn denied(&self, caller: &Caller, action: &'static str, why: &str) {
        self.statistics.denied.add(1);
        self.events.emit(
            EventKind::Denied,
            None,
            [("action", action.to_owned()), ("caller", caller.name.clone())],
        );
        self.audit.record(AuditEntry {
            verdict: Verdict::Denied,
            why: Some(why.to_owned()),
            ..entry(caller, action)
        });
    }
}

/// An entry with nothing but who and what.
pub(crate) fn entry(caller: &Caller, action: &'static str) -> AuditEntry {
    AuditEntry {
        time: SystemTime::now(),
        caller: caller.name.clone(),
        from: caller.from.clone(),
        action,
        sandbox: None,
        backend: None,
        execution: None,
        argv: Vec::new(),
        path: None,
        bytes: None,
        exit_code: None,
        verdict: Verdict::Allowed,
        why: None,
    }
}

impl Service {
    /// Writes down that somebody was refused before a request reached the service: no key or a wrong one, a foreign
    /// origin, a scope that doesn't reach. `caller` is as much as is known of who it was.
    pub fn denied(&self, caller: &Caller, action: &'static str, why: &str) {
        self.inner.denied(caller, action, why);
    }
}
