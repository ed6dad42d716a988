//! What each step of making a box costs, as the program itself measures it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::program::Program;
use super::result::Step;
use crate::command;

/// One step of one run, as `agentkernel internal-steps` prints it.
#[derive(Deserialize)]
struct Printed {
    step: String,
    microseconds: f64,
}

/// Makes `rounds` boxes and collects their steps, in the order of their first appearance. An error means that this
/// build doesn't tell.
pub(crate) fn measure(agentkernel: &Program, rounds: usize) -> Result<Vec<Step>> {
    let mut order: Vec<String> = Vec::new();
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        let text = command::output(&mut agentkernel.command(&["internal-steps"]))
            .context("`agentkernel internal-steps` is not there")?;
        let steps: Vec<Printed> = serde_json::from_str(&text).context("read the printed steps")?;
        for step in steps {
            if !order.contains(&step.step) {
                order.push(step.step.clone());
            }
            samples.entry(step.step).or_default().push(step.microseconds);
        }
    }
    Ok(order
        .into_iter()
        .map(|name| {
            let microseconds = samples.remove(&name).unwrap_or_default();
            Step { name, microseconds }
        })
        .collect())
}
