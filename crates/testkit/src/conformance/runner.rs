//! Runs one case and cleans up behind it, whatever it did.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use agentkernel_model::Feature;

use super::refusal;
use super::scene::Scene;
use super::subject::{Skipped, Subject};
use super::table::CASES;

/// How a case that did not fail went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// The backend lacks these features and refuses them by name.
    Refused(Vec<Feature>),
    /// It could not be tried here.
    Skipped(String),
}

/// The longest that any case may take, on a busy machine.
const CASE_DEADLINE: Duration = Duration::from_secs(170);

/// Runs the case `id` on what `factory` makes.
///
/// # Panics
/// Where the case doesn't hold, doesn't end, or leaves something behind.
pub fn check(id: &str, factory: impl AsyncFnOnce() -> Result<Subject, Skipped>) -> Verdict {
    let case = CASES.iter().find(|case| case.id == id).expect("a case of the table");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let subject = match runtime.block_on(factory()) {
        Ok(subject) => subject,
        Err(why) => return Verdict::Skipped(why.to_string()),
    };
    if let Some((_, why)) = subject.cannot_express.iter().find(|(known, _)| *known == id) {
        return Verdict::Skipped((*why).to_owned());
    }
    let capabilities = subject.backend.capabilities();
    let missing: Vec<Feature> =
        case.needs.iter().copied().filter(|feature| !capabilities.has(*feature)).collect();
    let scene = runtime.block_on(Scene::new(subject));
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let body = async {
                if missing.is_empty() {
                    (case.run)(&scene).await;
                }
                for feature in &missing {
                    refusal::check(&scene, *feature).await;
                }
            };
            let ended = tokio::time::timeout(CASE_DEADLINE, body).await;
            ended.unwrap_or_else(|_| panic!("{id} did not end within {CASE_DEADLINE:?}"));
        });
    }));
    let cleaned = catch_unwind(AssertUnwindSafe(|| runtime.block_on(scene.clean_up())));
    // The case's own failure tells more than what it left behind.
    for result in [ran, cleaned] {
        if let Err(panic) = result {
            resume_unwind(panic);
        }
    }
    match scene.why_skipped() {
        Some(why) => Verdict::Skipped(why),
        None if missing.is_empty() => Verdict::Holds,
        None => Verdict::Refused(missing),
    }
}
