//! The table of system calls as data, for backends that hand it to an engine in the engine's own form.

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is made.
    Allow,
    /// It fails with this errno.
    Errno(u16),
}

/// Whether the low half of an argument, masked, is one of `values`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArgumentTest {
    /// Which argument, from 0.
    pub index: u8,
    /// What of it counts.
    pub mask: u32,
    /// What it may be.
    pub values: &'static [u32],
}

/// An outcome for calls that pass all tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleCase {
    /// All must hold.
    pub tests: &'static [ArgumentTest],
    /// What becomes of the call then.
    pub outcome: Outcome,
}

/// One row of the table: the first case that fits decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// As the kernel calls it.
    pub name: &'static str,
    /// On this machine.
    pub number: u32,
    /// In order; empty for a call that needs no look at its arguments.
    pub cases: &'static [RuleCase],
    /// Where no case fits.
    pub otherwise: Outcome,
}
