//! The whole API against its own description, by schemathesis: no 5xx, no answer that the description doesn't know, no
//! way around a key.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::Command;

use crate::place::{Place, script};
use crate::server::Server;

/// Seconds; a longer run has a number of its own in the environment.
const BUDGET: &str = "60";

#[test]
fn the_description_is_true() {
    let Ok(python) = std::env::var("AGENTKERNEL_TEST_PYTHON") else {
        println!("SKIPPED: schemathesis: AGENTKERNEL_TEST_PYTHON names no interpreter that has it");
        return;
    };
    let Some(place) = Place::new("schemathesis") else { return };
    // Of a registry with one image, which the hooks are: the only one that is pulled from.
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    place.configure(&format!("[images]\ninsecure = [\"{}\"]\n", registry.local_addr().unwrap()));
    let mut server = Server::with_key(&place, "admin");
    // The name that the description's examples use.
    server.sandbox("demo");
    let address = server.address();
    let budget = std::env::var("AGENTKERNEL_TEST_SCHEMATHESIS_SECONDS").unwrap_or_else(|_| BUDGET.to_owned());
    let mut tester = Command::new(python);
    tester.stdin(OwnedFd::from(registry));
    tester.env("SCHEMATHESIS_HOOKS", script("schemathesis_hooks.py"));
    tester.args(["-m", "schemathesis.cli", "run", &format!("http://{address}/openapi.json")]);
    tester.args(["--checks", "all", "--seed", "1", "--max-time", &budget, "--request-timeout", "40"]);
    // What is stopped has ten seconds to end by itself.
    tester.args(["--max-response-time", "30"]);
    tester.args(["--generation-database", "none", "--no-color"]);
    // Which images, users and paths there are, no schema can say: that what is right is accepted, other tests show.
    tester.args(["--exclude-checks", "positive_data_acceptance"]);
    tester.arg("--header").arg(format!("Authorization: Bearer {}", server.key.as_ref().unwrap()));
    let output = tester.current_dir(place.path(".")).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    println!("{report}");
    assert!(output.status.success(), "{}\n{report}", String::from_utf8_lossy(&output.stderr));
    server.assert_well();
}
