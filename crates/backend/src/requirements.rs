//! Enforced or refused: a specification is held against a backend's capabilities before anything is changed.

use agentkernel_model::{BackendName, Capabilities, Feature, NetworkAccess, SandboxSpec};

use crate::BackendError;

/// How long a box is meant to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// One customer, one process.
    Ephemeral,
    /// Until it is removed.
    Persistent,
}

/// The features that `spec` needs.
pub fn requirements(spec: &SandboxSpec, lifetime: Lifetime) -> Vec<Feature> {
    let persistent = lifetime == Lifetime::Persistent;
    let limits = &spec.resources;
    [
        (spec.image.is_host(), Feature::HostImage),
        (!spec.image.is_host(), Feature::OciImages),
        (spec.network == NetworkAccess::On, Feature::Network),
        (!spec.ports.is_empty(), Feature::PublishedPorts),
        (!spec.mounts.is_empty(), Feature::Mounts),
        (spec.read_only_root, Feature::ReadOnlyRoot),
        (limits.memory.is_some(), Feature::MemoryLimit),
        (limits.cpus.is_some(), Feature::CpuLimit),
        (limits.pids.is_some(), Feature::PidsLimit),
        (limits.disk.is_some() && !persistent, Feature::DiskLimit),
        (limits.disk.is_some() && persistent, Feature::PersistentDiskLimit),
        (limits.open_files.is_some(), Feature::OpenFilesLimit),
        (spec.user.as_ref().is_some_and(|user| !user.is_root()), Feature::OtherUsers),
        (persistent, Feature::PersistentSandboxes),
    ]
    .into_iter()
    .filter_map(|(needed, feature)| needed.then_some(feature))
    .collect()
}

/// Refuses what `backend` can't honour. Returns the limits that are let go because the specification allows it.
pub fn refuse_unsupported(
    backend: &BackendName,
    capabilities: &Capabilities,
    spec: &SandboxSpec,
    lifetime: Lifetime,
) -> Result<Vec<Feature>, BackendError> {
    let missing = requirements(spec, lifetime)
        .into_iter()
        .filter_map(|feature| capabilities.why_missing(feature).map(|why| (feature, why)));
    let (waived, refused): (Vec<_>, Vec<_>) =
        missing.partition(|(feature, _)| feature.is_limit() && spec.allow_unlimited);
    if refused.is_empty() {
        return Ok(waived.into_iter().map(|(feature, _)| feature).collect());
    }
    // All at once: a user who mends one thing shouldn't be told of the next one then.
    let names: Vec<&str> = refused.iter().map(|(feature, _)| feature.as_str()).collect();
    let reasons = merged(refused.iter().map(|(_, why)| *why));
    let waiver = match refused.iter().any(|(feature, _)| feature.is_limit()) {
        true => ", or let limits go with --allow-unlimited",
        false => "",
    };
    Err(BackendError::Unsupported {
        backend: backend.to_string(),
        what: names.join(" and "),
        fix: format!("{reasons}{waiver}"),
    })
}

/// The reasons in a row, what mends several of them said once: a reason is "why; fix", or "why" alone.
fn merged<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut groups: Vec<(Vec<&str>, Option<&str>)> = Vec::new();
    for reason in reasons {
        let (why, fix) = reason.split_once("; ").map_or((reason, None), |(why, fix)| (why, Some(fix)));
        match groups.iter_mut().find(|(whys, known)| *known == fix && (fix.is_some() || whys.contains(&why)))
        {
            Some((whys, _)) if whys.contains(&why) => {}
            Some((whys, _)) => whys.push(why),
            None => groups.push((vec![why], fix)),
        }
    }
    let parts = groups.into_iter().map(|(whys, fix)| match fix {
        Some(fix) => format!("{}; {fix}", whys.join(" and ")),
        None => whys.join(" and "),
    });
    parts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use agentkernel_model::{BoxPath, ImageRef, Mib, Profile, Resources};

    use super::*;

    fn spec(allow_unlimited: bool) -> SandboxSpec {
        SandboxSpec {
            backend: "some".parse().unwrap(),
            image: ImageRef::host(),
            image_id: None,
            profile: Profile::Moderate,
            network: NetworkAccess::On,
            read_only_root: false,
            mounts: Vec::new(),
            ports: Vec::new(),
            env: Vec::new(),
            workdir: BoxPath::new("/").unwrap(),
            user: None,
            resources: Resources { memory: Some(Mib(1)), ..Resources::default() },
            allow_unlimited,
            hostname: "box".to_owned(),
            agent: None,
            labels: Default::default(),
        }
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let name: BackendName = "some".parse().unwrap();
        let why = |text: &str| text.to_owned();
        let missing = [(Feature::Network, why("no wire")), (Feature::MemoryLimit, why("no cgroup"))];
        let capabilities = Capabilities::all_but(missing);
        let refuse = |unlimited| {
            refuse_unsupported(&name, &capabilities, &spec(unlimited), Lifetime::Ephemeral)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refuse(false),
            "backend \"some\" can't enforce or provide outbound network and a memory limit: no wire; no cgroup, or let \
             limits go with --allow-unlimited"
        );
        assert_eq!(refuse(true), "backend \"some\" can't enforce or provide outbound network: no wire");
        let no_limit = Capabilities::all_but([(Feature::MemoryLimit, why("no cgroup"))]);
        let waived = refuse_unsupported(&name, &no_limit, &spec(true), Lifetime::Ephemeral);
        assert_eq!(waived.unwrap(), [Feature::MemoryLimit]);
    }

    #[test]
    fn what_mends_several_things_is_said_once() {
        let reasons = ["no wire", "no memory group; be root", "no pids group; be root", "no wire"];
        assert_eq!(merged(reasons.into_iter()), "no wire; no memory group and no pids group; be root");
    }
}
