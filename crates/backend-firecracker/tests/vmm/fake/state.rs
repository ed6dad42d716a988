//! What the fake machine is so far, and what each request does to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::{Value, json};

use super::rules::{self, When};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    NotStarted,
    Running,
    Paused,
}

/// What a request leads to beside its answer.
pub(crate) enum Effect {
    None,
    /// The guest begins.
    Boots,
    /// A guest goes on.
    Restored,
}

pub(crate) struct State {
    pub(crate) version: String,
    pub(crate) phase: Phase,
    configured: bool,
    kernel: bool,
    drives: BTreeMap<String, String>,
    interfaces: Vec<String>,
    balloon: bool,
    /// Taken by the guest.
    pub(crate) vsock: Option<UnixListener>,
}

impl State {
    pub(crate) fn new(version: Option<String>) -> Self {
        Self {
            version: version.unwrap_or("1.12.0".to_owned()),
            phase: Phase::NotStarted,
            configured: false,
            kernel: false,
            drives: BTreeMap::new(),
            interfaces: Vec::new(),
            balloon: false,
            vsock: None,
        }
    }

    /// Status 200 or 204 and content, or the reason for a 400.
    pub(crate) fn handle(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<(Option<Value>, Effect), String> {
        let (rule, id) = rules::find(method, path)?;
        let content = match (rule.3, body.is_empty()) {
            (None, true) => Value::Null,
            (None, false) => return Err("rule: content where none belongs".to_owned()),
            (Some(_), true) => return Err("rule: no content".to_owned()),
            (Some(fields), false) => {
                let content = serde_json::from_slice(body).map_err(|error| format!("rule: {error}"))?;
                rules::check(&content, fields)?;
                content
            }
        };
        self.check_phase(rule.2)?;
        if let Some(id) = id {
            let named = content.get("drive_id").or(content.get("iface_id")).and_then(Value::as_str);
            if named != Some(id) {
                return Err("rule: the id of the path is not that of the content".to_owned());
            }
        }
        let text = |name: &str| content.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.configured |= rule.2 == When::Before;
        match (rule.0, rule.1) {
            ("GET", "/version") => {
                return Ok((Some(json!({ "firecracker_version": self.version })), Effect::None));
            }
            ("GET", "/") => {
                let state = match self.phase {
                    Phase::NotStarted => "Not started",
                    Phase::Running => "Running",
                    Phase::Paused => "Paused",
                };
                let all = json!({ "app_name": "Firecracker", "id": "m", "state": state, "vmm_version": self.version });
                return Ok((Some(all), Effect::None));
            }
            ("GET", "/balloon/statistics") if self.balloon => {
                let all = json!({ "target_pages": 0, "actual_pages": 0, "target_mib": 7, "actual_mib": 5, "swap_in": 1 });
                return Ok((Some(all), Effect::None));
            }
            ("GET", _) => return Err("Balloon device not configured.".to_owned()),
            ("PUT", "/boot-source") => {
                open(&text("kernel_image_path"), false)?;
                match content.get("initrd_path") {
                    Some(path) => open(path.as_str().unwrap_or_default(), false)?,
                    None => return Err("rule: this project always boots from an initramfs".to_owned()),
                }
                self.kernel = true;
            }
            ("PUT", "/drives/*") => {
                let read_only =
                    content.get("is_read_only").and_then(Value::as_bool).ok_or("rule: is_read_only")?;
                open(&text("path_on_host"), !read_only)?;
                self.drives.insert(text("drive_id"), text("path_on_host"));
            }
            ("PATCH", "/drives/*") if !self.drives.contains_key(&text("drive_id")) => {
                return Err("Invalid block device ID".to_owned());
            }
            ("PUT", "/network-interfaces/*") => self.interfaces.push(text("iface_id")),
            ("PUT", "/vsock") => self.vsock = Some(bind(&text("uds_path"))?),
            ("PUT", "/balloon") => self.balloon = true,
            ("PATCH", "/balloon") if !self.balloon => return Err("No balloon device found.".to_owned()),
            ("PATCH", "/vm") if text("state") == "Paused" => self.phase = Phase::Paused,
            ("PATCH", "/vm") => self.phase = Phase::Running,
            ("PUT", "/actions") if text("action_type") == "InstanceStart" => return self.start(),
            ("PUT", "/snapshot/create") => self.save(&text("snapshot_path"), &text("mem_file_path"))?,
            ("PUT", "/snapshot/load") => return self.load(&content),
            _ => {}
        }
        Ok((None, Effect::None))
    }

    fn check_phase(&self, when: When) -> Result<(), String> {
        let fits = match when {
            When::Always => true,
            When::Before => self.phase == Phase::NotStarted,
            When::After => self.phase != Phase::NotStarted,
            When::Paused => self.phase == Phase::Paused,
            When::Fresh => self.phase == Phase::NotStarted && !self.configured,
        };
        match fits {
            true => Ok(()),
            false => Err("The requested operation is not supported in the machine's state".to_owned()),
        }
    }

    fn start(&mut self) -> Result<(Option<Value>, Effect), String> {
        if self.phase != Phase::NotStarted {
            return Err("The microVM is already running.".to_owned());
        }
        if !self.kernel {
            return Err("Cannot start microvm without kernel configuration.".to_owned());
        }
        self.phase = Phase::Running;
        Ok((None, Effect::Boots))
    }

    fn save(&self, state: &str, memory: &str) -> Result<(), String> {
        let said = json!({ "drives": self.drives, "interfaces": self.interfaces });
        std::fs::write(state, said.to_string()).map_err(|error| error.to_string())?;
        std::fs::write(memory, vec![7; 4096]).map_err(|error| error.to_string())
    }

    fn load(&mut self, content: &Value) -> Result<(Option<Value>, Effect), String> {
        let read =
            |name: &str| std::fs::read(name).map_err(|error| format!("Cannot open snapshot file: {error}"));
        let path = content["snapshot_path"].as_str().unwrap_or_default();
        let said: Value =
            serde_json::from_slice(&read(path)?).map_err(|_| "Cannot deserialize the microVM state")?;
        read(content["mem_backend"]["backend_path"].as_str().unwrap_or_default())?;
        let names = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let interfaces = names(&said["interfaces"]);
        for network in names(&content["network_overrides"]) {
            if !interfaces.contains(&network["iface_id"]) {
                return Err("Unknown Network Device".to_owned());
            }
        }
        for path in said["drives"].as_object().into_iter().flat_map(|drives| drives.values()) {
            open(path.as_str().unwrap_or_default(), false)?;
        }
        self.vsock = Some(bind("v.sock")?);
        self.phase = match content["resume_vm"].as_bool() {
            Some(true) => Phase::Running,
            _ => Phase::Paused,
        };
        Ok((None, Effect::Restored))
    }
}

fn open(path: &str, writable: bool) -> Result<(), String> {
    if Path::new(path).is_absolute() {
        return Err(format!("rule: {path} is not relative, and so can't be in a snapshot"));
    }
    let opened = File::options().read(true).write(writable).open(path);
    opened.map(drop).map_err(|error| format!("Unable to open {path}: {error}"))
}

fn bind(path: &str) -> Result<UnixListener, String> {
    if path.contains('/') {
        return Err(format!("rule: {path} is not in the room"));
    }
    UnixListener::bind(path).map_err(|error| format!("Cannot create backend for vsock device: {error}"))
}
