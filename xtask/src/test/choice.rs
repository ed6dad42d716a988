//! What the user asked `cargo xtask test` for.

use anyhow::{Result, bail};

/// Which gates and tests to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Only what takes seconds: no documentation, no fuzzing, no README, no second user.
    pub(crate) quick: bool,
    /// Tests as root, where this is root.
    pub(crate) as_root: bool,
    /// Tests as an ordinary user.
    pub(crate) as_user: bool,
}

impl Choice {
    pub(crate) fn parse(flags: &[&str]) -> Result<Self> {
        let mut choice = Self { quick: false, as_root: true, as_user: true };
        for flag in flags {
            match *flag {
                "--quick" => choice.quick = true,
                "--root" => choice.as_user = false,
                "--user" => choice.as_root = false,
                other => bail!("unknown flag {other:?}: there are --quick, --root and --user"),
            }
        }
        if !choice.as_root && !choice.as_user {
            bail!("--root and --user exclude each other; without either, both run");
        }
        Ok(choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_narrow_the_choice() {
        let all = Choice::parse(&[]).unwrap();
        assert!(all.as_root && all.as_user && !all.quick);
        assert!(!Choice::parse(&["--user"]).unwrap().as_root);
        assert!(Choice::parse(&["--quick", "--root"]).unwrap().quick);
        assert!(Choice::parse(&["--root", "--user"]).is_err());
        assert!(Choice::parse(&["--fast"]).is_err());
    }
}
