//! What each backend of this build says of itself.

use agentkernel_backend::Probe;
use agentkernel_engine::BackendReport;
use agentkernel_model::Feature;

use super::Check;

/// One check for each backend, and one for each thing that the chosen one can or can't do here.
pub(super) fn checks(reports: &[BackendReport]) -> Vec<Check> {
    let mut checks: Vec<Check> = reports.iter().map(of_backend).collect();
    match reports.iter().find(|report| report.selected) {
        Some(selected) => {
            let there = Feature::ALL.into_iter().filter(|feature| selected.capabilities.has(*feature));
            checks.extend(there.map(|feature| Check::ok(id(selected, feature), feature.to_string())));
            checks.extend(missing(selected));
        }
        None => checks.push(Check::fail(
            "backends",
            "no backend is ready, so no sandbox can be made",
            "do what is said above for one of them",
        )),
    }
    checks
}

fn of_backend(report: &BackendReport) -> Check {
    let id = format!("backend.{}", report.name);
    match &report.probe {
        Probe::Ready { detail } => {
            let chosen = if report.selected { " (used where none is named)" } else { "" };
            Check::ok(id, format!("ready{chosen}: {detail}"))
        }
        Probe::NotReady { why, fix } => Check::warn(id, why, fix),
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
        // A capability's reason ends with what the user can do about it, after the last colon or semicolon.
        let reason = report.capabilities.why_missing(feature)?;
        let (why, fix) = split(reason);
        let waiver = if feature.is_limit() { "; or accept it with --allow-unlimited" } else { "" };
        Some(Check::warn(
            id(report, feature),
            format!("{feature}: refused, because {why}"),
            format!("{fix}{waiver}"),
        ))
    })
}

fn split(reason: &str) -> (&str, &str) {
    let (semicolon, colon) = (reason.split_once("; "), reason.rsplit_once(": "));
    semicolon.or(colon).unwrap_or((reason, "do without it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_fixes_are_told_apart() {
        assert_eq!(split("it is closed; open it: now"), ("it is closed", "open it: now"));
        assert_eq!(split("no tun: denied: `modprobe tun`"), ("no tun: denied", "`modprobe tun`"));
        assert_eq!(split("only root may"), ("only root may", "do without it"));
    }
}
