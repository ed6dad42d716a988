//! What people see while an image is fetched or built: one line that is drawn again on a terminal, lines of their own
//! elsewhere. All on standard error.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentkernel_config::Environment;
use agentkernel_model::{PullEvent, PullProgress};

use crate::output::warn_line;

/// The time between two drawings.
const PAUSE: Duration = Duration::from_millis(100);

/// Tells people about a pull or a build. Says nothing where nothing is fetched.
pub(crate) struct Progress {
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether files come, and not layers of an image.
    of_files: bool,
    reference: String,
    layers: BTreeMap<String, Layer>,
    drawn: Option<Instant>,
}

#[derive(Default, Clone, Copy)]
struct Layer {
    done: u64,
    total: u64,
    is_done: bool,
}

impl Progress {
    /// For the caller's standard error.
    pub(crate) fn new(environment: &Environment) -> Self {
        Self { terminal: environment.interactive_stderr, state: Mutex::default() }
    }
}

impl Progress {
    /// The same where files come that are no image's layers.
    pub(crate) fn of_files(environment: &Environment) -> Self {
        let state = State { of_files: true, ..State::default() };
        Self { state: Mutex::new(state), ..Self::new(environment) }
    }
}

impl PullProgress for Progress {
    fn report(&self, event: PullEvent) {
        // A panic elsewhere must not silence the rest.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = state.note(event, self.terminal) {
            state.clear();
            warn_line(&line);
        }
        if self.terminal {
            state.draw();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl State {
    /// Takes an event in; the line that it is worth, if any.
    fn note(&mut self, event: PullEvent, terminal: bool) -> Option<String> {
        let noun = if self.of_files { "file" } else { "layer" };
        match event {
            PullEvent::Resolving { reference } => {
                let line = format!("agentkernel: fetching {}", printable(&reference));
                self.reference = printable(&reference);
                (!terminal).then_some(line)
            }
            PullEvent::Layer { id, done, total } => {
                self.layers.insert(id, Layer { done, total, is_done: false });
                None
            }
            PullEvent::Progress { id, done } => {
                self.layers.entry(id).or_default().done = done;
                None
            }
            PullEvent::LayerPresent { id } => {
                self.layers.entry(id).or_default().is_done = true;
                None
            }
            PullEvent::LayerDone { id } => {
                let layer = self.layers.entry(id.clone()).or_default();
                layer.is_done = true;
                layer.done = layer.done.max(layer.total);
                let size = match layer.done {
                    0 => String::new(),
                    done => format!(" ({})", bytes(done)),
                };
                (!terminal).then(|| format!("agentkernel: {noun} {} is here{size}", printable(&id)))
            }
            PullEvent::Retry { why } => Some(format!("agentkernel: trying again: {}", printable(&why))),
            PullEvent::BuildOutput { line } => Some(printable(&line)),
        }
    }

    fn draw(&mut self) {
        let soon = self.drawn.is_some_and(|drawn| drawn.elapsed() < PAUSE);
        if soon || self.reference.is_empty() {
            return;
        }
        self.drawn = Some(Instant::now());
        self.write(&format!("\r\u{1b}[K{}", self.line()));
    }

    fn nouns(&self) -> &'static str {
        if self.of_files { "files" } else { "layers" }
    }

    fn line(&self) -> String {
        let mut line = format!("fetching {}", self.reference);
        let finished = self.layers.values().filter(|layer| layer.is_done).count();
        let done: u64 = self.layers.values().map(|layer| layer.done).sum();
        let total: u64 = self.layers.values().map(|layer| layer.total).sum();
        if !self.layers.is_empty()
            && write!(line, ": {finished} of {} {}, {}", self.layers.len(), self.nouns(), bytes(done)).is_ok()
            && total > done
        {
            line.push_str(&format!(" of {}", bytes(total)));
        }
        line
    }

    /// Takes the drawn line away.
    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            self.write("\r\u{1b}[K");
        }
    }

    fn write(&self, text: &str) {
        let mut stderr = std::io::stderr();
        if let Err(error) = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()) {
            tracing::debug!(%error, "nobody reads standard error");
        }
    }
}

/// What registries and builds say must not reach the terminal's controls.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An amount for people: `512 B`, `3.4 MiB`.
pub(crate) fn bytes(amount: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if amount < 1024 {
        return format!("{amount} B");
    }
    let mut value = amount as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        for (amount, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (150_000_000, "143.1 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn a_pull_is_told_in_lines_where_nobody_watches() {
        let mut state = State::default();
        let mut tell = |event| state.note(event, false);
        let id = || "abc".to_owned();
        let resolving = PullEvent::Resolving { reference: "docker.io/library/a:1\u{1b}[2J".to_owned() };
        assert_eq!(tell(resolving).unwrap(), "agentkernel: fetching docker.io/library/a:1 [2J");
        assert_eq!(tell(PullEvent::Layer { id: id(), done: 0, total: 2048 }), None);
        assert_eq!(tell(PullEvent::Progress { id: id(), done: 1024 }), None);
        assert_eq!(state.line(), "fetching docker.io/library/a:1 [2J: 0 of 1 layers, 1.0 KiB of 2.0 KiB");
        let done = state.note(PullEvent::LayerDone { id: id() }, false).unwrap();
        assert_eq!(done, "agentkernel: layer abc is here (2.0 KiB)");
        assert_eq!(state.note(PullEvent::LayerDone { id: id() }, true), None);
    }
}
