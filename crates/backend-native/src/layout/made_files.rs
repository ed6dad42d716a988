//! Files that every box has from us, whatever it starts from.

use agentkernel_sys::steps::Step;

use super::builder::Builder;
use super::plan::{Layout, c_string};
use crate::host_system;

/// Links of `/dev`, by name.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

impl Layout<'_> {
    /// Links to a process's own files, in the folder `dev`.
    pub(super) fn device_links(builder: &mut Builder, dev: &str) {
        for (name, target) in DEVICE_LINKS {
            builder.link(&format!("{dev}/{name}"), target);
        }
    }

    /// Names of hosts, in the folder `etc`; replaced at each start.
    pub(super) fn host_names(&self, builder: &mut Builder, etc: &str) {
        let hosts = host_system::hosts(self.hostname);
        let hostname = format!("{}\n", self.hostname);
        for (name, content) in [
            ("hosts", hosts.as_bytes()),
            ("hostname", hostname.as_bytes()),
            ("resolv.conf", &self.resolv_conf),
        ] {
            let path = c_string(format!("{etc}/{name}"));
            builder.steps.push(Step::File { path, mode: 0o644, content: content.to_vec() });
        }
    }

    /// Accounts, for a root that has no others; what the box made of them is kept.
    pub(super) fn accounts(builder: &mut Builder) {
        for (path, content) in [
            (c"/etc/passwd", host_system::PASSWD),
            (c"/etc/group", host_system::GROUP),
            (c"/etc/nsswitch.conf", host_system::NSSWITCH),
        ] {
            builder.steps.push(Step::FileOnce { path: path.into(), mode: 0o644, content: content.into() });
        }
    }
}
