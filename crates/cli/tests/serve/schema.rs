//! The whole API against its own description, by schemathesis: no 5xx, no answer that the description doesn't know, no
//! way around a key.

use std::process::Command;

use crate::place::{Place, script};
use crate::server::Server;

/// Seconds; a longer run has a number of its own in the environment.
const BUDGET: &str = "60";

/// Streams that end when somebody goes, which a tester of answers waits for in vain; and images from the network.
const EXCLUDED: &str = "^/(events|images/pull)$";

#[test]
fn the_description_is_true() {
    let Ok(python) = std::env::var("AGENTKERNEL_TEST_PYTHON") else {
        println!("SKIPPED: schemathesis: AGENTKERNEL_TEST_PYTHON names no interpreter that has it");
        return;
    };
    let Some(place) = Place::new("schemathesis") else { return };
    let mut server = Server::with_key(&place, "admin");
    let address = server.address();
    let budget = std::env::var("AGENTKERNEL_TEST_SCHEMATHESIS_SECONDS").unwrap_or_else(|_| BUDGET.to_owned());
    let mut tester = Command::new(python);
    tester.args(["-m", "schemathesis.cli", "--config-file"]).arg(script("schemathesis.toml"));
    tester.args(["run", &format!("http://{address}/openapi.json")]);
    tester.args(["--checks", "all", "--seed", "1", "--max-time", &budget, "--request-timeout", "40"]);
    // What is stopped has ten seconds to end by itself.
    tester.args(["--max-response-time", "30"]);
    tester.args(["--generation-database", "none", "--no-color", "--exclude-path-regex", EXCLUDED]);
    // No serializer for tar streams is known to it, and one that fails in the middle is cut. And which images, users and
    // paths there are, no schema can say: that what is right is accepted, other tests show.
    tester.args(["--exclude-operation-id", "write_archive", "--exclude-operation-id", "read_archive"]);
    tester.args(["--exclude-checks", "positive_data_acceptance"]);
    tester.arg("--header").arg(format!("Authorization: Bearer {}", server.key.as_ref().unwrap()));
    let output = tester.current_dir(place.path(".")).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    println!("{report}");
    assert!(output.status.success(), "{}\n{report}", String::from_utf8_lossy(&output.stderr));
    server.assert_well();
}
