//! What is asked of terminals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkernel_api::{self as api, Encoding, ErrorCode};
use agentkernel_engine::ExecPlan;
use agentkernel_model::TtySize;
use tokio::sync::{mpsc, oneshot};

use super::Attached;
use super::owner::Owner;
use super::table::{Entry, Order};
use crate::exec::started_info;
use crate::policy::entry;
use crate::request::{CommandWish, sandbox_name};
use crate::started::Shape;
use crate::{AuditEntry, Caller, Input, Scope, Service, ServiceError, Started};

/// The longest that a terminal may live on without anybody attached.
const MAX_KEEP: Duration = Duration::from_secs(86_400);

/// Orders that wait.
const ORDERS: usize = 4;

impl Service {
    /// Opens a terminal in a running sandbox. It ends with its command, when it is closed, or when nobody has been attached
    /// for as long as the request says.
    pub async fn open_terminal(
        &self,
        caller: &Caller,
        sandbox: &str,
        request: api::TerminalRequest,
    ) -> Result<api::TerminalInfo, ServiceError> {
        let inner = &self.inner;
        inner.authorize(caller, Scope::Run, "open_terminal")?;
        let api::TerminalRequest { exec, rows, columns, keep_seconds } = request;
        let keep = Duration::from_secs(u64::from(keep_seconds));
        if keep > MAX_KEEP {
            return Err(ServiceError::invalid(
                "keep_seconds",
                format_args!("{} at most", MAX_KEEP.as_secs()),
            ));
        }
        if exec.stdin.is_some() {
            return Err(ServiceError::invalid("exec.stdin", "a terminal's input comes from who is attached"));
        }
        if exec.encoding != Encoding::Utf8 || exec.log_bytes.is_some() {
            return Err(ServiceError::invalid("exec", "a terminal has neither encoding nor log_bytes"));
        }
        let full = || {
            let most = inner.limits.max_terminals;
            let message = format!("{most} terminals are open; close one");
            ServiceError::new(ErrorCode::Busy, message).retry_after(Duration::from_secs(1))
        };
        let most = inner.limits.max_terminals as usize;
        if inner.terminals.count() >= most {
            return Err(full());
        }
        let command = CommandWish::of_exec(exec, Input::Open, &inner.limits)?;
        inner.admission.count(caller)?;
        let tty = Some(TtySize { rows, columns });
        let plan = ExecPlan { tty, ..command.plan(command.argv())? };
        let inside = inner.inside(sandbox).await?;
        let mut info = started_info(&inside.view, command.words);
        let execution = match inner.engine.exec_in(&inside.view, &*inside.guest, plan).await {
            Ok(execution) => execution,
            Err(error) => {
                let error = ServiceError::from(error);
                inner.failed(caller, "open_terminal", Some(sandbox), &error);
                return Err(error);
            }
        };
        info.id = execution.id.to_string();
        let actions = ("open_terminal", "terminal_end");
        let held = inner.hold(caller, &inside, &execution, &info, actions, Instant::now(), None);
        let shown = api::TerminalInfo {
            id: info.id.clone(),
            sandbox: sandbox.to_owned(),
            command: info.command.clone(),
            attached: false,
            exit_code: None,
        };
        let (orders, ordered) = mpsc::channel(ORDERS);
        let shape = Shape { encoding: Encoding::Utf8, max_output_bytes: 0 };
        let mut started = Started::running(info, shape, Instant::now(), execution, None, held);
        let input = started.take_stdin();
        if !inner.terminals.add(Entry { info: shown.clone(), orders }, most) {
            return Err(full());
        }
        let output = started.into_stream();
        let owner = Owner::new(shown.id.clone(), inner.terminals.clone(), output, input, keep, ordered);
        inner.runtime.spawn(owner.serve());
        Ok(shown)
    }

    /// The terminals of a sandbox.
    pub async fn list_terminals(
        &self,
        caller: &Caller,
        sandbox: &str,
    ) -> Result<Vec<api::TerminalInfo>, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "list_terminals")?;
        let name = sandbox_name(sandbox)?;
        // One that isn't there is an error, as for every other verb.
        self.inner.engine.store().read(&name).map_err(agentkernel_engine::EngineError::from)?;
        Ok(self.inner.terminals.of(sandbox))
    }

    /// Attaches to a terminal; whoever was attached is told that it was taken.
    pub async fn attach_terminal(
        &self,
        caller: &Caller,
        sandbox: &str,
        id: &str,
    ) -> Result<Attached, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "attach_terminal")?;
        let missing = || unknown(sandbox, id);
        let entry = self.inner.terminals.find(sandbox, id).ok_or_else(missing)?;
        let (reply, attached) = oneshot::channel();
        entry.orders.send(Order::Attach(reply)).await.map_err(|_| missing())?;
        let attached = attached.await.map_err(|_| missing())?;
        self.write_down(caller, "attach_terminal", sandbox, id);
        Ok(attached)
    }

    /// Ends a terminal and its command.
    pub async fn close_terminal(&self, caller: &Caller, sandbox: &str, id: &str) -> Result<(), ServiceError> {
        self.inner.authorize(caller, Scope::Run, "close_terminal")?;
        let entry = self.inner.terminals.find(sandbox, id).ok_or_else(|| unknown(sandbox, id))?;
        // One that is gone by now is closed.
        if entry.orders.send(Order::Close).await.is_ok() {
            entry.orders.closed().await;
        }
        self.write_down(caller, "close_terminal", sandbox, id);
        Ok(())
    }

    fn write_down(&self, caller: &Caller, action: &'static str, sandbox: &str, id: &str) {
        let audit = &*Arc::clone(&self.inner.audit);
        audit.record(AuditEntry {
            sandbox: Some(sandbox.to_owned()),
            execution: Some(id.to_owned()),
            ..entry(caller, action)
        });
    }
}

fn unknown(sandbox: &str, id: &str) -> ServiceError {
    ServiceError::new(ErrorCode::NotFound, format!("no terminal {id:?} in sandbox {sandbox:?}"))
}
