//! A case's verdict as one line of a test's output: `cargo xtask conformance` collects them for the documentation.

use agentkernel_model::Feature;

use super::runner::Verdict;
use super::table::CASES;

/// `CONFORMANCE: ` and a JSON object on one line.
///
/// # Panics
/// Where `id` is no case of the table.
pub fn record(id: &str, verdict: &Verdict) -> String {
    let case = CASES.iter().find(|case| case.id == id).expect("a case of the table");
    let (word, lacks) = match verdict {
        Verdict::Holds => ("holds", [].as_slice()),
        Verdict::Refused(features) => ("refused", features.as_slice()),
        Verdict::Skipped(_) => ("skipped", [].as_slice()),
    };
    // Ids, promises and features are plain text of this crate: a quoted Rust string is a JSON string then.
    format!(
        "CONFORMANCE: {{\"case\":{id:?},\"promise\":{:?},\"verdict\":{word:?},\"needs\":{},\"lacks\":{}}}",
        case.promise,
        list(case.needs),
        list(lacks)
    )
}

fn list(features: &[Feature]) -> String {
    let quoted: Vec<String> = features.iter().map(|feature| format!("{:?}", feature.as_str())).collect();
    format!("[{}]", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_one_line_of_json() {
        let line = record("images::owners", &Verdict::Refused(vec![Feature::OtherUsers]));
        assert_eq!(
            line,
            "CONFORMANCE: {\"case\":\"images::owners\",\"promise\":\"files belong to whom the image says, and their modes \
             hold\",\"verdict\":\"refused\",\"needs\":[\"OCI images\",\"commands as users other than \
             root\"],\"lacks\":[\"commands as users other than root\"]}"
        );
    }
}
