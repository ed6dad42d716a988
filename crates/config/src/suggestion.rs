//! "Did you mean ...?"

/// The candidate that differs least from `text`, if it is near enough to be a slip of the fingers: at most one edit in
/// three characters. Long texts get no suggestion, so that hostile input costs nothing.
pub(crate) fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if text.len() > LONGEST {
        return None;
    }
    let lower = text.to_ascii_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            let plain = candidate.to_ascii_lowercase().replace('-', "_");
            (strsim::osa_distance(&lower, &plain), candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_suggested_and_far_ones_are_not() {
        let keys = ["memory_mb", "vcpus", "pids"];
        assert_eq!(closest("memroy_mb", keys), Some("memory_mb"));
        assert_eq!(closest("Memory-MB", keys), Some("memory_mb"));
        assert_eq!(closest("pid", keys), Some("pids"));
        assert_eq!(closest("firewall", keys), None);
        assert_eq!(closest(&"x".repeat(10_000), keys), None);
    }
}
