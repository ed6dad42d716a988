//! Colour, where a terminal shows it and nobody has forbidden it.

use agentkernel_config::Environment;

/// The few colours that carry meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Good.
    Green,
    /// To be looked at.
    Yellow,
    /// Bad.
    Red,
    /// Beside the point.
    Dim,
}

/// Whether standard output takes colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// Colour only on a terminal that can, and not with NO_COLOR set to anything but nothing (no-color.org).
    pub(crate) fn of(environment: &Environment) -> Self {
        let forbidden = environment.var("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = environment.var("TERM").is_none_or(|term| term == "dumb");
        Self { colour: environment.interactive_stdout && !forbidden && !dumb }
    }

    /// No colour at all.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colour: false }
    }

    /// `text` in `colour`.
    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Green => "32",
            Colour::Yellow => "33",
            Colour::Red => "31",
            Colour::Dim => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}
