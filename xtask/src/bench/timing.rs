//! One timed command, and groups of them run in turn.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::contender::Contender;
use super::program::{self, Program};
use super::result::{Group, Row, Skipped};

/// Runs before the first that counts: caches are then as warm as in the middle of a day's work.
const WARM_UPS: usize = 2;

/// Milliseconds from the spawn to the first byte of output and to the end.
struct Sample {
    first_output_ms: f64,
    exit_ms: f64,
}

/// Runs all contenders in turn, again and again: whatever disturbs the machine disturbs all of them. One that fails in
/// its warm-up is left out with the reason.
pub(crate) fn interleaved(
    id: &str,
    title: &str,
    contenders: Vec<Contender>,
    agentkernel: &Program,
    rounds: usize,
    skipped: &mut Vec<Skipped>,
) -> Result<Group> {
    let state = agentkernel.state();
    let mut rows = Vec::new();
    for contender in contenders {
        match (0..WARM_UPS).try_for_each(|_| time(&contender, &state).map(drop)) {
            Ok(()) => rows.push((contender.row(), contender)),
            Err(error) => skipped.push(Skipped { what: contender.label, why: format!("{error:#}") }),
        }
    }
    for round in 0..rounds {
        println!("bench: {title}: round {} of {rounds}", round + 1);
        for (row, contender) in &mut rows {
            let sample =
                time(contender, &state).with_context(|| format!("round {} of {}", round + 1, row.label))?;
            row.first_output_ms.push(sample.first_output_ms);
            row.exit_ms.push(sample.exit_ms);
        }
    }
    let rows = rows.into_iter().map(|(row, _)| row).collect();
    Ok(Group { id: id.to_owned(), title: title.to_owned(), rows })
}

impl Contender {
    fn row(&self) -> Row {
        Row {
            id: self.id.to_owned(),
            label: self.label.clone(),
            does: self.does.to_owned(),
            first_output_ms: Vec::new(),
            exit_ms: Vec::new(),
        }
    }
}

/// Runs the command once; it must print `hello` and succeed.
fn time(contender: &Contender, state: &Path) -> Result<Sample> {
    let argv = &contender.argv;
    let begun = Instant::now();
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .envs(program::variables(state))
        .envs(contender.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", argv[0]))?;
    let mut stdout = child.stdout.take().context("no pipe")?;
    let mut first = [0_u8; 1];
    let read = stdout.read(&mut first)?;
    let first_output_ms = milliseconds(begun);
    let mut output = first[..read].to_vec();
    stdout.read_to_end(&mut output)?;
    let status = child.wait()?;
    let exit_ms = milliseconds(begun);
    if !status.success() || output != b"hello\n" {
        let mut errors = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut errors)?;
        }
        bail!(
            "{} ended with {status} and printed {:?}: {}",
            argv.join(" "),
            String::from_utf8_lossy(&output),
            errors.trim()
        );
    }
    Ok(Sample { first_output_ms, exit_ms })
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contender_that_fails_is_left_out_with_its_reason() {
        let contender = |id, argv: &[&str]| Contender {
            id,
            label: id.to_owned(),
            does: "",
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: Vec::new(),
        };
        let program = Program::install(Path::new("/bin/true")).unwrap();
        let mut skipped = Vec::new();
        let contenders =
            vec![contender("echo", &["/bin/echo", "hello"]), contender("false", &["/bin/false"])];
        let group = interleaved("g", "t", contenders, &program, 2, &mut skipped).unwrap();
        assert_eq!(group.rows.len(), 1);
        assert_eq!(group.rows[0].exit_ms.len(), 2);
        assert_eq!(skipped[0].what, "false");
    }
}
