//! `cargo xtask kernel [--arch ARCH] [--update]`.

use anyhow::{Result, bail};

use super::build::{Built, ensure};
use super::source;
use crate::workspace::Workspace;

const USAGE: &str = "cargo xtask kernel [--arch x86_64|aarch64] [--update]";

/// What the kernel runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Architecture {
    X86_64,
    Aarch64,
}

impl Architecture {
    /// As Rust and `uname -m` call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The file that a VMM boots.
    pub(crate) fn image(self) -> &'static str {
        match self {
            Self::X86_64 => "vmlinux",
            Self::Aarch64 => "Image",
        }
    }

    /// This machine's.
    pub(crate) fn here() -> Result<Self> {
        Self::parse(std::env::consts::ARCH)
    }

    fn parse(word: &str) -> Result<Self> {
        match word {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            other => bail!("no kernel configuration for {other:?}: x86_64 or aarch64"),
        }
    }
}

/// Builds what is missing, and prints the path of the kernel as the last line of standard output.
pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Result<bool> {
    let (architecture, update) = parse(words)?;
    if update {
        source::update()?;
    }
    match ensure(workspace, architecture)? {
        Built::Kernel(path) => println!("{}", path.display()),
        Built::ConfigurationOnly(path) => {
            eprintln!(
                "kernel: no compiler for {} here (Debian: gcc-aarch64-linux-gnu): only its configuration was checked",
                architecture.name()
            );
            println!("{}", path.display());
        }
    }
    Ok(true)
}

fn parse(words: &[&str]) -> Result<(Architecture, bool)> {
    let (mut architecture, mut update) = (None, false);
    let mut rest = words;
    loop {
        rest = match rest {
            [] => break,
            ["--update", rest @ ..] => {
                update = true;
                rest
            }
            ["--arch", word, rest @ ..] => {
                architecture = Some(Architecture::parse(word)?);
                rest
            }
            [other, ..] => bail!("unknown word {other:?}: {USAGE}"),
        };
    }
    Ok((architecture.map_or_else(Architecture::here, Ok)?, update))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_in_any_order_and_no_others() {
        assert_eq!(parse(&["--update", "--arch", "aarch64"]).unwrap(), (Architecture::Aarch64, true));
        assert_eq!(parse(&["--arch", "x86_64"]).unwrap(), (Architecture::X86_64, false));
        for wrong in [&["--arch"][..], &["--arch", "riscv64"], &["now"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
