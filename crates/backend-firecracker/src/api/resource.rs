//! Each resource's request: method, path and body in one place.

use std::time::Duration;

use hyper::Method;

use super::{
    Action, ApiError, Balloon, BalloonStatistics, BalloonUpdate, BootSource, Client, Drive, DriveUpdate,
    Entropy, Instance, Logger, MachineConfig, Metrics, NetworkInterface, NetworkInterfaceUpdate, Serial,
    SnapshotCreate, SnapshotLoad, Version, VmState, Vsock, version,
};

/// Writing a machine's memory to a disk, or reading it from a cold one.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(300);

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident($body:ty) => $method:ident $path:literal;)*) => {
        impl Client {
            $($(#[$doc])*
            ///
            /// # Errors
            /// See [`ApiError`].
            pub async fn $name(&self, body: &$body) -> Result<(), ApiError> {
                self.send(Method::$method, $path, body).await
            })*
        }
    };
}

requests! {
    /// Processors and memory. Before the start.
    put_machine_config(MachineConfig) => PUT "/machine-config";
    /// Kernel, its arguments, and the initial memory file system. Before the start.
    put_boot_source(BootSource) => PUT "/boot-source";
    /// The vsock device. Before the start.
    put_vsock(Vsock) => PUT "/vsock";
    /// The balloon. Before the start.
    put_balloon(Balloon) => PUT "/balloon";
    /// Another size of the balloon.
    patch_balloon(BalloonUpdate) => PATCH "/balloon";
    /// Where Firecracker's own messages go, and which.
    put_logger(Logger) => PUT "/logger";
    /// Where its figures go.
    put_metrics(Metrics) => PUT "/metrics";
    /// Where the serial console goes. Firecracker 1.14 and later.
    put_serial(Serial) => PUT "/serial";
    /// A source of random numbers. Before the start.
    put_entropy(Entropy) => PUT "/entropy";
    /// Start, and other things done once.
    put_action(Action) => PUT "/actions";
    /// Pause or resume. After the start.
    patch_vm(VmState) => PATCH "/vm";
}

impl Client {
    /// A disk, under its own id. Before the start.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn put_drive(&self, drive: &Drive) -> Result<(), ApiError> {
        self.send(Method::PUT, &format!("/drives/{}", drive.drive_id), drive).await
    }

    /// Another file or other limits for a disk. After the start.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn patch_drive(&self, update: &DriveUpdate) -> Result<(), ApiError> {
        self.send(Method::PATCH, &format!("/drives/{}", update.drive_id), update).await
    }

    /// A network interface, under its own id. Before the start.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn put_network_interface(&self, interface: &NetworkInterface) -> Result<(), ApiError> {
        self.send(Method::PUT, &format!("/network-interfaces/{}", interface.iface_id), interface).await
    }

    /// Other limits for a network interface. After the start.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn patch_network_interface(&self, update: &NetworkInterfaceUpdate) -> Result<(), ApiError> {
        self.send(Method::PATCH, &format!("/network-interfaces/{}", update.iface_id), update).await
    }

    /// Writes a paused machine's state and memory. Has minutes, not seconds.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn create_snapshot(&self, request: &SnapshotCreate) -> Result<(), ApiError> {
        self.patient_for("PUT /snapshot/create")?.send(Method::PUT, "/snapshot/create", request).await
    }

    /// Becomes the machine of a snapshot: before anything but the logger and metrics was set. Has minutes, not seconds.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn load_snapshot(&self, request: &SnapshotLoad) -> Result<(), ApiError> {
        self.patient_for("PUT /snapshot/load")?.send(Method::PUT, "/snapshot/load", request).await
    }

    fn patient_for(&self, request: &str) -> Result<Self, ApiError> {
        self.patient(SNAPSHOT_LIMIT).map_err(|source| ApiError::Broken {
            request: request.to_owned(),
            what: format!("it can't be asked: {source}"),
        })
    }

    /// What the balloon holds. Only where statistics were asked for before the start.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn balloon_statistics(&self) -> Result<BalloonStatistics, ApiError> {
        self.get("/balloon/statistics").await
    }

    /// What state the machine is in.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn instance(&self) -> Result<Instance, ApiError> {
        self.get("/").await
    }

    /// Firecracker's version, if it is new enough.
    ///
    /// # Errors
    /// [`ApiError::WrongVersion`] where it is not; else see [`ApiError`].
    pub async fn version(&self) -> Result<Version, ApiError> {
        version::check(&self.get::<version::Answer>("/version").await?.firecracker_version)
    }
}
