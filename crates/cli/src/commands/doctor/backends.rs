//! The survey of the backends as checks.

use agentkernel_backend::Probe;
use agentkernel_engine::BackendReport;
use agentkernel_model::Feature;

use super::default_run::DefaultRun;
use super::survey::{Survey, Surveyed};
use super::{Check, Status};

/// One check for each backend, one for what a default run gets, and one for each thing that its backend can or can't do.
pub(super) fn checks(survey: &Survey) -> Vec<Check> {
    let mut checks: Vec<Check> = survey.backends.iter().map(of_backend).collect();
    checks.push(default_run(survey));
    if let Some(used) = survey.used().filter(|used| matches!(used.report.probe, Probe::Ready { .. })) {
        let report = &used.report;
        let there = Feature::ALL.into_iter().filter(|feature| report.capabilities.has(*feature));
        checks.extend(there.map(|feature| Check::ok(id(report, feature), feature.to_string())));
        checks.extend(missing(report));
    }
    checks
}

/// What becomes of `agentkernel run COMMAND`.
pub(crate) fn default_run(survey: &Survey) -> Check {
    let id = "default-run";
    let Some(used) = survey.used() else {
        return match &survey.named {
            Some((name, origin)) => Check::fail(
                id,
                format!("refused: this build has no backend {:?}, which is named by {origin}", name.as_str()),
                "name another, or none",
            ),
            None => Check::fail(
                id,
                "refused: no backend is ready, so no sandbox can be made",
                "do what is said for one of the backends",
            ),
        };
    };
    let (name, because) = (&used.report.name, survey.because());
    match (&used.report.probe, &used.default_run) {
        (Probe::NotReady { why, fix }, _) => {
            Check::fail(id, format!("refused: {name} is used ({because}) and isn't ready: {why}"), fix)
        }
        (Probe::Ready { .. }, Some(DefaultRun::Refused { why, fix })) => {
            Check::fail(id, format!("refused: {name} is used ({because}): {why}"), fix)
        }
        (Probe::Ready { .. }, Some(DefaultRun::Works { shape, .. })) => {
            Check::ok(id, format!("{name} is used ({because}): {shape}"))
        }
        (Probe::Ready { .. }, None) => {
            Check::fail(id, "refused: the settings are wrong", "correct them as said above")
        }
    }
}

fn of_backend(backend: &Surveyed) -> Check {
    let id = format!("backend.{}", backend.report.name);
    match (&backend.report.probe, &backend.default_run) {
        (Probe::Ready { detail }, Some(DefaultRun::Refused { .. })) if backend.used => {
            Check::warn(id, format!("ready: {detail}; but a default run is refused"), "see default-run")
        }
        (Probe::Ready { detail }, Some(DefaultRun::Refused { why, fix })) => {
            Check::warn(id, format!("ready: {detail}; but a default run would be refused: {why}"), fix)
        }
        (Probe::Ready { detail }, _) => Check::ok(id, format!("ready: {detail}")),
        // One that isn't used needn't be ready; where it is, the default run fails.
        (Probe::NotReady { why, fix }, _) => Check::warn(id, format!("not ready: {why}"), fix),
    }
}

/// `native.memory-limit`.
fn id(report: &BackendReport, feature: Feature) -> String {
    let feature = serde_json::to_value(feature).ok().and_then(|name| name.as_str().map(str::to_owned));
    format!("{}.{}", report.name, feature.unwrap_or_default())
}

/// What a backend refuses here, each with why and the fix.
pub(crate) fn missing(report: &BackendReport) -> impl Iterator<Item = Check> {
    Feature::ALL.into_iter().filter_map(move |feature| {
        let reason = report.capabilities.why_missing(feature)?;
        let (why, fix) = split(reason);
        let waiver = if feature.is_limit() { "; or accept it with --allow-unlimited" } else { "" };
        Some(Check::warn(
            id(report, feature),
            format!("{feature}: refused, because {why}"),
            format!("{}{waiver}", fix.unwrap_or("do without it")),
        ))
    })
}

/// A capability's reason ends with what the user can do about it, after the first semicolon or the last colon.
pub(super) fn split(reason: &str) -> (&str, Option<&str>) {
    let (semicolon, colon) = (reason.split_once("; "), reason.rsplit_once(": "));
    match semicolon.or(colon) {
        Some((why, fix)) => (why, Some(fix)),
        None => (reason, None),
    }
}

/// Checks of the kernel are about native boxes: where another backend makes the boxes they stop nothing.
pub(super) fn soften(checks: &mut [Check], survey: &Survey) {
    let native = survey.used().is_none_or(|used| used.report.name.as_str() == "native");
    for check in checks.iter_mut().filter(|check| !native && check.id.starts_with("kernel.")) {
        if check.status == Status::Fail {
            check.status = Status::Warn;
        }
    }
}

#[cfg(test)]
mod tests {
    use agentkernel_model::Capabilities;

    use super::*;

    fn surveyed(name: &str, probe: Probe, default_run: Option<DefaultRun>, used: bool) -> Surveyed {
        let capabilities = Capabilities::all_but([]);
        let report = BackendReport {
            name: name.parse().unwrap(),
            automatic: true,
            selected: used,
            probe,
            capabilities,
        };
        Surveyed { report, default_run, used }
    }

    fn ready() -> Probe {
        Probe::Ready { detail: "version 1".to_owned() }
    }

    fn not_ready() -> Probe {
        Probe::NotReady { why: "nobody answers".to_owned(), fix: "start it".to_owned() }
    }

    fn refused() -> Option<DefaultRun> {
        Some(DefaultRun::Refused { why: "no cgroup".to_owned(), fix: "delegate one".to_owned() })
    }

    fn works() -> Option<DefaultRun> {
        Some(DefaultRun::Works { shape: "image host".to_owned(), waived: Vec::new(), fetches: None })
    }

    #[test]
    fn reasons_and_fixes_are_told_apart() {
        assert_eq!(split("it is closed; open it: now"), ("it is closed", Some("open it: now")));
        assert_eq!(split("no tun: denied: `modprobe tun`"), ("no tun: denied", Some("`modprobe tun`")));
        assert_eq!(split("only root may"), ("only root may", None));
    }

    #[test]
    fn a_refused_default_run_fails_although_its_backend_is_ready() {
        let backends =
            vec![surveyed("docker", not_ready(), None, false), surveyed("native", ready(), refused(), true)];
        let survey = Survey { backends, named: None };
        let checks = checks(&survey);
        let find = |id: &str| checks.iter().find(|check| check.id == id).unwrap();
        assert_eq!(find("backend.docker").status, Status::Warn);
        assert!(find("backend.native").what.contains("ready: version 1; but"), "{checks:?}");
        let run = find("default-run");
        assert_eq!((run.status, run.fix.as_deref()), (Status::Fail, Some("delegate one")));
        assert!(run.what.contains("native is used (the first that is ready of docker, native)"), "{run:?}");
    }

    #[test]
    fn a_default_run_that_works_is_ok_whatever_the_others_lack() {
        let backends =
            vec![surveyed("docker", ready(), works(), true), surveyed("native", ready(), refused(), false)];
        let survey = Survey { backends, named: None };
        assert_eq!(default_run(&survey).status, Status::Ok);
        assert!(checks(&survey).iter().all(|check| check.status != Status::Fail));
        let mut others = [
            Check::fail("kernel.user-namespaces", "none", "make some"),
            Check::fail("settings", "bad", "mend"),
        ];
        soften(&mut others, &survey);
        let statuses = others.map(|check| check.status);
        assert_eq!(statuses, [Status::Warn, Status::Fail], "docker needs no namespaces of ours");
    }

    #[test]
    fn a_named_backend_that_is_not_ready_or_not_there_fails() {
        let backends =
            || vec![surveyed("docker", not_ready(), None, true), surveyed("native", ready(), works(), false)];
        let named = |name: &str| Some((name.parse().unwrap(), "environment AGENTKERNEL_BACKEND".to_owned()));
        let check = default_run(&Survey { backends: backends(), named: named("docker") });
        assert_eq!((check.status, check.fix.as_deref()), (Status::Fail, Some("start it")));
        assert!(check.what.contains("named by environment AGENTKERNEL_BACKEND"), "{check:?}");
        let mut none = backends();
        none[0].used = false;
        let check = default_run(&Survey { backends: none, named: named("nope") });
        assert!(check.status == Status::Fail && check.what.contains("\"nope\""), "{check:?}");
        let nothing = Survey { backends: Vec::new(), named: None };
        assert_eq!(default_run(&nothing).status, Status::Fail);
    }
}
