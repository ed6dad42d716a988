//! The published API as a table: which resources there are, when each may be used, which fields it takes and of which kind.
//! Written from what Firecracker's OpenAPI description says, up to what version 1.12 knows, unless marked.

use serde_json::Value;

/// When a request may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Before the start only.
    Before,
    /// After the start only.
    After,
    /// While the machine stands still.
    Paused,
    /// Before anything but logger and metrics was set.
    Fresh,
    Always,
}

/// The kind of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    /// With at most 64 letters, digits and underscores.
    Id,
    /// 06:00:ac:10:00:02
    Mac,
    Truth,
    Number(u64, u64),
    OneOf(&'static [&'static str]),
    Object(&'static [Field]),
    ListOf(&'static [Field]),
}

/// Name, kind, and whether it must be there.
pub(crate) type Field = (&'static str, Kind, bool);

/// Method, path (`*` is an id), when, and fields; `None` takes no content.
pub(crate) type Rule = (&'static str, &'static str, When, Option<&'static [Field]>);

const BUCKET: &[Field] = &[
    ("size", Kind::Number(0, u64::MAX), true),
    ("refill_time", Kind::Number(0, u64::MAX), true),
    ("one_time_burst", Kind::Number(0, u64::MAX), false),
];
const LIMITER: &[Field] = &[("bandwidth", Kind::Object(BUCKET), false), ("ops", Kind::Object(BUCKET), false)];
const MEMORY: &[Field] =
    &[("backend_type", Kind::OneOf(&["File", "Uffd"]), true), ("backend_path", Kind::Text, true)];
const NETWORK_OVERRIDE: &[Field] = &[("iface_id", Kind::Text, true), ("host_dev_name", Kind::Text, true)];
const MEBIBYTES: Kind = Kind::Number(1, 1 << 40);

pub(crate) const RULES: &[Rule] = &[
    ("GET", "/", When::Always, None),
    ("GET", "/version", When::Always, None),
    ("GET", "/vm/config", When::Always, None),
    ("GET", "/balloon/statistics", When::After, None),
    (
        "PUT",
        "/actions",
        When::Always,
        Some(&[("action_type", Kind::OneOf(&["FlushMetrics", "InstanceStart", "SendCtrlAltDel"]), true)]),
    ),
    (
        "PUT",
        "/balloon",
        When::Before,
        Some(&[
            ("amount_mib", Kind::Number(0, u32::MAX as u64), true),
            ("deflate_on_oom", Kind::Truth, true),
            ("stats_polling_interval_s", Kind::Number(0, u16::MAX as u64), false),
            // 1.14
            ("free_page_reporting", Kind::Truth, false),
        ]),
    ),
    ("PATCH", "/balloon", When::After, Some(&[("amount_mib", Kind::Number(0, u32::MAX as u64), true)])),
    (
        "PUT",
        "/boot-source",
        When::Before,
        Some(&[
            ("kernel_image_path", Kind::Text, true),
            ("initrd_path", Kind::Text, false),
            ("boot_args", Kind::Text, false),
        ]),
    ),
    (
        "PUT",
        "/drives/*",
        When::Before,
        Some(&[
            ("drive_id", Kind::Id, true),
            ("is_root_device", Kind::Truth, true),
            ("partuuid", Kind::Text, false),
            ("cache_type", Kind::OneOf(&["Unsafe", "Writeback"]), false),
            ("is_read_only", Kind::Truth, false),
            ("path_on_host", Kind::Text, false),
            ("rate_limiter", Kind::Object(LIMITER), false),
            ("io_engine", Kind::OneOf(&["Sync", "Async"]), false),
            ("socket", Kind::Text, false),
        ]),
    ),
    (
        "PATCH",
        "/drives/*",
        When::After,
        Some(&[
            ("drive_id", Kind::Id, true),
            ("path_on_host", Kind::Text, false),
            ("rate_limiter", Kind::Object(LIMITER), false),
        ]),
    ),
    ("PUT", "/entropy", When::Before, Some(&[("rate_limiter", Kind::Object(LIMITER), false)])),
    (
        "PUT",
        "/logger",
        When::Always,
        Some(&[
            ("level", Kind::OneOf(&["Error", "Warning", "Info", "Debug", "Trace", "Off"]), false),
            ("log_path", Kind::Text, false),
            ("show_level", Kind::Truth, false),
            ("show_log_origin", Kind::Truth, false),
            ("module", Kind::Text, false),
        ]),
    ),
    ("PUT", "/metrics", When::Always, Some(&[("metrics_path", Kind::Text, true)])),
    (
        "PUT",
        "/machine-config",
        When::Before,
        Some(&[
            ("vcpu_count", Kind::Number(1, 32), true),
            ("mem_size_mib", MEBIBYTES, true),
            ("smt", Kind::Truth, false),
            ("track_dirty_pages", Kind::Truth, false),
            ("cpu_template", Kind::OneOf(&["C3", "T2", "T2S", "T2CL", "T2A", "V1N1", "None"]), false),
            ("huge_pages", Kind::OneOf(&["None", "2M"]), false),
        ]),
    ),
    (
        "PUT",
        "/network-interfaces/*",
        When::Before,
        Some(&[
            ("iface_id", Kind::Id, true),
            ("host_dev_name", Kind::Text, true),
            ("guest_mac", Kind::Mac, false),
            ("rx_rate_limiter", Kind::Object(LIMITER), false),
            ("tx_rate_limiter", Kind::Object(LIMITER), false),
        ]),
    ),
    (
        "PATCH",
        "/network-interfaces/*",
        When::After,
        Some(&[
            ("iface_id", Kind::Id, true),
            ("rx_rate_limiter", Kind::Object(LIMITER), false),
            ("tx_rate_limiter", Kind::Object(LIMITER), false),
        ]),
    ),
    // 1.14
    (
        "PUT",
        "/serial",
        When::Before,
        // The second since 1.16.
        Some(&[("serial_out_path", Kind::Text, false), ("rate_limiter", Kind::Object(BUCKET), false)]),
    ),
    (
        "PUT",
        "/snapshot/create",
        When::Paused,
        Some(&[
            ("mem_file_path", Kind::Text, true),
            ("snapshot_path", Kind::Text, true),
            ("snapshot_type", Kind::OneOf(&["Full", "Diff"]), false),
        ]),
    ),
    (
        "PUT",
        "/snapshot/load",
        When::Fresh,
        Some(&[
            ("snapshot_path", Kind::Text, true),
            ("mem_backend", Kind::Object(MEMORY), true),
            ("enable_diff_snapshots", Kind::Truth, false),
            // 1.13
            ("track_dirty_pages", Kind::Truth, false),
            ("resume_vm", Kind::Truth, false),
            ("network_overrides", Kind::ListOf(NETWORK_OVERRIDE), false),
        ]),
    ),
    ("PATCH", "/vm", When::After, Some(&[("state", Kind::OneOf(&["Paused", "Resumed"]), true)])),
    (
        "PUT",
        "/vsock",
        When::Before,
        Some(&[
            ("guest_cid", Kind::Number(3, u32::MAX as u64), true),
            ("uds_path", Kind::Text, true),
            ("vsock_id", Kind::Text, false),
        ]),
    ),
];

/// The rule for a request, and the id in its path.
pub(crate) fn find<'a>(method: &str, path: &'a str) -> Result<(&'static Rule, Option<&'a str>), String> {
    RULES
        .iter()
        .filter(|rule| rule.0 == method)
        .find_map(|rule| match rule.1.strip_suffix('*') {
            None => (rule.1 == path).then_some((rule, None)),
            Some(start) => {
                let id = path.strip_prefix(start).filter(|id| !id.is_empty() && !id.contains('/'))?;
                Some((rule, Some(id)))
            }
        })
        .ok_or_else(|| format!("rule: there is no {method} {path}"))
}

/// Whether `content` has the fields, all that must be there and none that is unknown.
pub(crate) fn check(content: &Value, fields: &[Field]) -> Result<(), String> {
    let object = content.as_object().ok_or("rule: the content is not an object")?;
    for name in object.keys() {
        if !fields.iter().any(|field| field.0 == name) {
            return Err(format!("rule: unknown field `{name}`"));
        }
    }
    for (name, kind, required) in fields {
        match object.get(*name) {
            None if *required => return Err(format!("rule: missing field `{name}`")),
            None => {}
            Some(value) => kind.check(name, value)?,
        }
    }
    Ok(())
}

impl Kind {
    fn check(self, name: &str, value: &Value) -> Result<(), String> {
        let text = value.as_str();
        let fits = match self {
            Self::Text => text.is_some_and(|text| !text.is_empty()),
            Self::Id => text.is_some_and(|text| {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                (1..=64).contains(&text.len()) && text.bytes().all(plain)
            }),
            Self::Mac => text.is_some_and(|text| {
                let byte = |part: &str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
                text.split(':').count() == 6 && text.split(':').all(byte)
            }),
            Self::Truth => value.is_boolean(),
            Self::Number(least, most) => value.as_u64().is_some_and(|it| (least..=most).contains(&it)),
            Self::OneOf(words) => text.is_some_and(|text| words.contains(&text)),
            Self::Object(fields) => return check(value, fields),
            Self::ListOf(fields) => {
                let list = value.as_array().ok_or(format!("rule: `{name}` is not a list"))?;
                return list.iter().try_for_each(|item| check(item, fields));
            }
        };
        match fits {
            true => Ok(()),
            false => Err(format!("rule: `{name}` can't be {value}")),
        }
    }
}
