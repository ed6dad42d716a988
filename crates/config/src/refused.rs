//! Keys that the documentation of earlier designs knows and that this release doesn't honour. They are refused by
//! name, with what to do instead: a key that looks obeyed and isn't would be worse than none.

/// A key (and all below it) with the reason.
pub(crate) struct Refused {
    /// The key with its section.
    pub(crate) key: &'static str,
    /// Why, and what to do instead.
    pub(crate) why: &'static str,
}

const DOMAINS: &str = "no backend of this release enforces a list of domains; use security.network = false for none \
                       at all";

/// All of them.
pub(crate) const REFUSED: [Refused; 19] = [
    Refused {
        key: "network.vsock_cid",
        why: "it belongs to virtual machines, whose backend chooses a free one by itself; remove the key",
    },
    Refused {
        key: "network.name",
        why: "sandboxes share no networks; each has its own, and network.ports publishes what others must reach",
    },
    Refused { key: "network.subnet", why: "each sandbox gets a free subnet by itself; remove the key" },
    Refused { key: "network.gateway", why: "each sandbox gets a free subnet by itself; remove the key" },
    Refused { key: "network.static_ip", why: "each sandbox gets a free address by itself; remove the key" },
    Refused { key: "network.dns", why: "sandboxes use the host's name servers; remove the key" },
    Refused {
        key: "security.seccomp",
        why: "the filter comes with the profile and can't be replaced from a file; choose security.profile",
    },
    Refused { key: "security.domains", why: DOMAINS },
    Refused {
        key: "security.commands",
        why: "a list of command names is no boundary (a shell runs anything); limit what the sandbox can reach with \
              the other [security] keys",
    },
    Refused { key: "security.transport", why: "sandboxes are reached without ssh; remove the section" },
    Refused {
        key: "sandbox.init_script",
        why: "run it with `agentkernel exec` after the start; a script of a file is not run by itself",
    },
    Refused { key: "agent.git_name", why: "set GIT_AUTHOR_NAME and GIT_COMMITTER_NAME in [env]" },
    Refused { key: "agent.git_email", why: "set GIT_AUTHOR_EMAIL and GIT_COMMITTER_EMAIL in [env]" },
    Refused { key: "git", why: "make the worktree with git and use security.mount_cwd or [[mounts]]" },
    Refused { key: "orchestrator", why: "the Kubernetes and Nomad backends come with a later release" },
    Refused { key: "remote", why: "hosted backends come with a later release" },
    Refused {
        key: "scheduling",
        why: "sandboxes are not started or stopped by a clock; use the system's scheduler",
    },
    Refused {
        key: "schedule",
        why: "sandboxes are not started or stopped by a clock; use the system's scheduler",
    },
    Refused {
        key: "secrets",
        why: "give secrets by name: security.pass_env = [\"NAME\"] or `-e NAME`, which appear in no argument list",
    },
];

/// Why `key` is refused, if it is.
pub(crate) fn why_refused(key: &str) -> Option<&'static str> {
    let below = |refused: &Refused| {
        key.strip_prefix(refused.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    REFUSED.iter().find(|refused| below(refused)).map(|refused| refused.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_keys_take_what_is_below_them_and_nothing_beside() {
        assert!(why_refused("security.domains.allow").is_some());
        assert!(why_refused("security.domains").is_some());
        assert!(why_refused("security.domainss").is_none());
        assert!(why_refused("network.ports").is_none());
    }

    #[test]
    fn no_key_is_both_known_and_refused() {
        for key in crate::schema::known_keys() {
            assert!(why_refused(key).is_none(), "{key}");
        }
    }
}
