//! What this backend is called.

use agentkernel_model::BackendName;

/// As `--backend` spells it.
pub(crate) const NAME: &str = "native";

/// This backend's name.
pub(crate) fn name() -> BackendName {
    // The constant is a valid name; the test below holds it to that.
    NAME.parse().unwrap_or_else(|error| unreachable!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_a_name() {
        assert_eq!(name().as_str(), NAME);
    }
}
