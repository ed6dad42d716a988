//! What the fake machine is so far, and what each request does to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::net::UnixListener;
use std::path::Path;

use agentkernel_backend_firecracker::api::{FIRST_WITH_REPORTING, Version};
use serde_json::{Value, json};

use super::guest;
use super::plan::Plan;
use super::rules::{self, When};
use super::saved::Saved;

/// The oldest that serves.
pub(crate) const VERSION: &str = "1.12.0";

/// Of a saved memory, unless the plan says otherwise.
const MEMORY_BYTES: u64 = 4096;

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
    devices: BTreeMap<String, Value>,
    plan: Plan,
    /// Taken by the guest.
    pub(crate) vsock: Option<UnixListener>,
}

impl State {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            version: plan.version.clone().unwrap_or(VERSION.to_owned()),
            plan: plan.clone(),
            phase: Phase::NotStarted,
            configured: false,
            kernel: false,
            drives: BTreeMap::new(),
            interfaces: Vec::new(),
            balloon: false,
            devices: BTreeMap::new(),
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
            ("GET", "/vm/config") => return Ok((Some(self.configuration()), Effect::None)),
            ("GET", "/balloon/statistics") if self.balloon => {
                if self.devices["/balloon"]["stats_polling_interval_s"] == 0 {
                    return Err("Statistics for the balloon device are not enabled".to_owned());
                }
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
            ("PUT", "/balloon") => {
                let can_report = Version::parse(&self.version) >= Some(FIRST_WITH_REPORTING);
                if content.get("free_page_reporting").is_some() && !can_report {
                    return Err("rule: unknown field `free_page_reporting`".to_owned());
                }
                self.balloon = true;
            }
            ("PATCH", "/balloon") if !self.balloon => return Err("No balloon device found.".to_owned()),
            ("PATCH", "/vm") if text("state") == "Paused" => self.phase = Phase::Paused,
            ("PATCH", "/vm") => self.phase = Phase::Running,
            ("PUT", "/actions") if text("action_type") == "InstanceStart" => return self.start(),
            ("PUT", "/snapshot/create") => self.save(&text("snapshot_path"), &text("mem_file_path"))?,
            ("PUT", "/snapshot/load") => return self.load(&content),
            _ => {}
        }
        if rule.0 == "PUT" && rule.2 == When::Before {
            self.devices.insert(path.to_owned(), content);
        }
        Ok((None, Effect::None))
    }

    /// The devices in the words in which they were described, as far as tests ask for them.
    fn configuration(&self) -> Value {
        let all = |start: &str| {
            let found = self.devices.iter().filter(|(path, _)| path.starts_with(start));
            found.map(|(_, content)| content.clone()).collect::<Vec<_>>()
        };
        json!({
            "drives": all("/drives/"),
            "network-interfaces": all("/network-interfaces/"),
            "balloon": self.devices.get("/balloon"),
        })
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
        let saved = Saved {
            drives: self.drives.clone(),
            interfaces: self.interfaces.clone(),
            balloon: self.balloon,
            devices: self.devices.clone(),
            is_set_up: guest::is_set_up(),
            plan: self.plan.clone(),
        };
        std::fs::write(state, saved.seal()).map_err(|error| error.to_string())?;
        self.write_memory(memory).map_err(|error| format!("Cannot write the memory file: {error}"))
    }

    /// What was written before the disk was full stays there.
    fn write_memory(&self, path: &str) -> std::io::Result<()> {
        use std::io::Write as _;
        let mut file = File::create(path)?;
        let (bytes, room) = (self.plan.memory_bytes.unwrap_or(MEMORY_BYTES), self.plan.room_bytes);
        let mut left = room.map_or(bytes, |room| room.min(bytes));
        let chunk = vec![7; 1 << 16];
        while left > 0 {
            let length = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all(&chunk[..length])?;
            left -= length as u64;
        }
        match room.is_some_and(|room| room < bytes) {
            true => Err(rustix::io::Errno::NOSPC.into()),
            false => Ok(()),
        }
    }

    fn load(&mut self, content: &Value) -> Result<(Option<Value>, Effect), String> {
        let read =
            |name: &str| std::fs::read(name).map_err(|error| format!("Cannot open snapshot file: {error}"));
        let path = content["snapshot_path"].as_str().unwrap_or_default();
        let saved = Saved::open(&read(path)?)
            .ok_or("Cannot deserialize the microVM state: CRC64 validation failed")?;
        let memory = content["mem_backend"]["backend_path"].as_str().unwrap_or_default();
        File::open(memory).map_err(|error| format!("Cannot open the memory file: {error}"))?;
        for network in content["network_overrides"].as_array().into_iter().flatten() {
            if !saved.interfaces.iter().any(|interface| network["iface_id"] == **interface) {
                return Err("Unknown Network Device".to_owned());
            }
        }
        for path in saved.drives.values() {
            open(path, false)?;
        }
        guest::go_on(saved.is_set_up);
        (self.drives, self.interfaces, self.balloon) = (saved.drives, saved.interfaces, saved.balloon);
        self.devices = saved.devices;
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
