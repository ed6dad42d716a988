//! The lines in which agentkernel tells how long its own steps took.

use super::result::HostStep;

/// What `AGENTKERNEL_LOG` must say for them to be printed.
pub(super) const FILTER: &str = "agentkernel_backend_firecracker::step=debug";

/// The steps among what was printed, in their order. Other lines are somebody else's.
pub(super) fn read(printed: &str) -> Vec<HostStep> {
    printed.lines().filter_map(step).collect()
}

/// ` DEBUG step="load" microseconds=1234`
fn step(line: &str) -> Option<HostStep> {
    let (_, rest) = line.split_once("step=\"")?;
    let (step, rest) = rest.split_once('"')?;
    let microseconds = rest.trim().strip_prefix("microseconds=")?.parse().ok()?;
    Some(HostStep { step: step.to_owned(), microseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_from_other_lines() {
        let printed = "warning: something\nDEBUG step=\"load\" microseconds=1234\n DEBUG other=\"x\"\n\
                       2026-01-01T00:00:00Z DEBUG step=\"connect\" microseconds=7\nstep=\"broken\" microseconds=many\n";
        let steps: Vec<_> = read(printed).into_iter().map(|step| (step.step, step.microseconds)).collect();
        assert_eq!(steps, [("load".to_owned(), 1234.0), ("connect".to_owned(), 7.0)]);
    }
}
