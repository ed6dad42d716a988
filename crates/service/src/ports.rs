//! Ports of sandboxes: published ones, and a tunnel to any.

use agentkernel_api as api;
use agentkernel_backend::TcpStreamInside;

use crate::policy::entry;
use crate::request::sandbox_name;
use crate::{AuditEntry, Caller, Scope, Service, ServiceError, view};

impl Service {
    /// Where the published ports of a sandbox listen; empty where it doesn't run.
    pub async fn ports(&self, caller: &Caller, sandbox: &str) -> Result<Vec<api::PortInfo>, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "ports")?;
        let view = self.inner.engine.info(&sandbox_name(sandbox)?).await?;
        Ok(view.published.iter().map(view::port).collect())
    }

    /// A connection to a TCP port on the loopback of a running sandbox, published or not.
    pub async fn connect_port(
        &self,
        caller: &Caller,
        sandbox: &str,
        port: u16,
    ) -> Result<Box<dyn TcpStreamInside>, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "connect_port")?;
        let inside = self.inner.inside(sandbox).await?;
        let stream = inside.guest.connect_port(port).await.map_err(ServiceError::inside)?;
        self.inner
            .audit
            .record(AuditEntry { sandbox: Some(sandbox.to_owned()), ..entry(caller, "connect_port") });
        Ok(stream)
    }
}
