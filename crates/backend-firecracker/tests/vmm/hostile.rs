//! The whole backend against agents that do what they like: an error that says so, in time, and nothing left.

use std::time::Duration;

use agentkernel_backend::{Backend, BackendError};
use agentkernel_backend_firecracker::FirecrackerSettings;
use agentkernel_model::SandboxSpec;
use agentkernel_testkit::conformance::{request, within};
use agentkernel_testkit::plain_spec;
use libtest_mimic::Trial;

use crate::bed;
use crate::fake::{Act, Plan};
use crate::stage::{Stage, trial};

/// What an agent says of itself (agentkernel_protocol): it waits for a machine's set-up, serves, or has failed.
const WAITS: u8 = b'M';
const SERVES: u8 = b'R';
const FAILED: u8 = b'F';

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("hostile::a_set_up_that_goes_wrong", a_set_up_that_goes_wrong),
        trial("hostile::a_reason_is_bounded_and_printable", a_reason_is_bounded_and_printable),
        trial("hostile::frames_that_are_none", frames_that_are_none),
        trial("hostile::silence_ends_a_machine", silence_ends_a_machine),
        trial("hostile::a_guest_that_stops_answering", a_guest_that_stops_answering),
    ]
}

/// A plain box on the stage's image.
pub(crate) async fn spec(backend: &dyn Backend) -> SandboxSpec {
    let ready = backend.images().unwrap().find(&bed::image()).await.unwrap().unwrap();
    SandboxSpec { image: bed::image(), image_id: Some(ready.id), ..plain_spec(backend.name()) }
}

fn says(bytes: &[u8]) -> Act {
    Act::Says(bytes.to_vec())
}

async fn launch_fails(stage: &Stage, agent: Vec<Act>) -> BackendError {
    let backend = stage.backend(&Plan { agent, ..Plan::default() });
    let spec = spec(&*backend).await;
    let launched = within("a refusal", backend.launch(&spec)).await;
    let error = launched.map(drop).expect_err("it can't have started");
    assert_nothing_left(stage);
    error
}

fn assert_nothing_left(stage: &Stage) {
    assert!(stage.boxes().is_empty(), "left behind: {:?}", stage.boxes());
    assert!(stage.processes().is_empty(), "processes left: {:?}", stage.processes());
}

async fn a_set_up_that_goes_wrong() {
    let stage = Stage::new();
    let is_hostile = |error: &BackendError| matches!(error, BackendError::HostileGuest { .. });
    let is_ended = |error: &BackendError| matches!(error, BackendError::BoxEnded { .. });
    let error = launch_fails(&stage, vec![says(&[])]).await;
    assert!(is_ended(&error), "it hangs up at once: {error}");
    let error = launch_fails(&stage, vec![says(&[WAITS])]).await;
    assert!(is_ended(&error), "it hangs up before it is told: {error}");
    let error = launch_fails(&stage, vec![says(&[WAITS]), Act::Hears]).await;
    assert!(is_ended(&error), "it hangs up once it is told: {error}");
    for agent in [
        vec![says(&[0xee]), Act::Stays],
        // A new machine can't be set up already.
        vec![says(&[SERVES]), Act::Stays],
        vec![says(&[WAITS]), Act::Hears, says(&[WAITS]), Act::Stays],
        vec![says(&[WAITS]), Act::Hears, says(&[SERVES, 0]), Act::Stays],
        vec![Act::Floods(vec![0; 4096])],
        vec![Act::Floods(vec![WAITS; 4096])],
    ] {
        let error = launch_fails(&stage, agent.clone()).await;
        assert!(is_hostile(&error), "{agent:?}: {error}");
    }
}

async fn a_reason_is_bounded_and_printable() {
    let stage = Stage::new();
    for agent in [
        vec![says(&[FAILED, 0xff, 0xff]), Act::Floods(b"\x1b[2Jno ".to_vec())],
        vec![says(&[WAITS]), Act::Hears, says(&[FAILED, 0xff, 0xff]), Act::Floods(b"\x1b[2Jno ".to_vec())],
    ] {
        let error = launch_fails(&stage, agent).await;
        let text = std::iter::successors(std::error::Error::source(&error), |error| error.source())
            .fold(error.to_string(), |text, error| format!("{text}: {error}"));
        assert!(!text.contains(char::is_control) && text.len() < 4096, "{text}");
        assert!(text.contains("[2Jno"), "its own words: {text}");
    }
}

/// An agent that stays and says nothing, wherever in its set-up: an error after the bound, and no machine.
async fn silence_ends_a_machine() {
    let stage = Stage::new();
    for settings in [Stage::qemu_settings(stage.folder()), stage.firecracker_settings()] {
        let settings = FirecrackerSettings { longest_silence: Some(Duration::from_millis(300)), ..settings };
        for says_so_far in [
            vec![],
            vec![says(&[WAITS])],
            vec![says(&[WAITS]), Act::Hears],
            vec![says(&[WAITS]), Act::Hears, says(&[SERVES])],
            // The beginning of a reason.
            vec![says(&[WAITS]), Act::Hears, says(&[FAILED, 0xff, 0xff, b'a'])],
        ] {
            let agent = [says_so_far, vec![Act::Stays]].concat();
            let backend = stage.backend_with(&Plan { agent: agent.clone(), ..Plan::default() }, &settings);
            let spec = spec(&*backend).await;
            let launched = within("a refusal", backend.launch(&spec)).await;
            let error = launched.map(drop).expect_err("it can't have started");
            assert!(matches!(error, BackendError::BoxEnded { .. }), "{agent:?}: {error}");
            assert!(error.to_string().contains("said nothing for 300ms"), "{agent:?}: {error}");
            assert_nothing_left(&stage);
        }
        let backend = stage.backend_with(
            &Plan { agent: vec![says(&[WAITS]), Act::Hears, Act::Stays], ..Plan::default() },
            &settings,
        );
        let record = stage.record(&spec(&*backend).await, settings.vmm as u32);
        backend.create(&record).await.unwrap();
        let error = within("a refusal", backend.start(&record)).await.unwrap_err();
        assert!(error.to_string().contains("said nothing for 300ms"), "{error}");
        assert!(backend.running(&record).await.unwrap().is_none());
        assert_nothing_left(&stage);
        backend.remove(&record).await.unwrap();
        assert_eq!(std::fs::read_dir(&record.dir).unwrap().count(), 0);
    }
}

/// Nothing waits for it longer than the bound, and it can still be stopped, started and removed.
async fn a_guest_that_stops_answering() {
    let stage = Stage::new();
    for settings in [Stage::qemu_settings(stage.folder()), stage.firecracker_settings()] {
        let settings = FirecrackerSettings { longest_silence: Some(Duration::from_millis(300)), ..settings };
        let plan = Plan { agent: vec![Act::FallsSilent], ..Plan::default() };
        let backend = stage.backend_with(&plan, &settings);
        let record = stage.record(&spec(&*backend).await, settings.vmm as u32);
        backend.create(&record).await.unwrap();
        for _ in 0..2 {
            within("a start", backend.start(&record)).await.unwrap();
            let error = within("an answer", backend.connect(&record)).await.map(drop).unwrap_err();
            assert!(error.to_string().contains("said nothing for 300ms"), "{error}");
            if let Some(snapshots) = backend.snapshots() {
                let error = within("an answer", snapshots.pause(&record)).await.unwrap_err();
                assert!(error.to_string().contains("said nothing for 300ms"), "{error}");
            }
            assert!(backend.running(&record).await.unwrap().is_some());
            within("its end", backend.stop(&record, Duration::ZERO)).await.unwrap();
            assert_nothing_left(&stage);
        }
        backend.remove(&record).await.unwrap();
        assert_eq!(std::fs::read_dir(&record.dir).unwrap().count(), 0);
    }
}

/// The set-up is done by the book; what follows is not what a command's streams are made of.
async fn frames_that_are_none() {
    let stage = Stage::new();
    let by_the_book = || vec![says(&[WAITS]), Act::Hears, says(&[SERVES, SERVES])];
    for end in [
        vec![],
        vec![Act::Floods(vec![0xff; 4096])],
        vec![Act::Floods(vec![0; 4096])],
        // A frame of 4 GiB.
        vec![says(&[0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]), Act::Stays],
        // A frame that ends early.
        vec![says(&[0, 0, 0, 0, 1, 9, 0, 0, 0, 1])],
    ] {
        let agent = [by_the_book(), end.clone()].concat();
        let backend = stage.backend(&Plan { agent, ..Plan::default() });
        let made = within("a box", backend.launch(&spec(&*backend).await)).await;
        // What it says may come so early that the box is not even one.
        if let Ok(made) = made {
            let guest = made.guest();
            let started = within("an answer", guest.exec(&request(&["true"]))).await;
            let error = started.map(drop).expect_err("nothing was started");
            assert!(!error.to_string().contains(char::is_control), "{end:?}: {error}");
            within("its end", made.destroy()).await.unwrap();
        }
        assert_nothing_left(&stage);
    }
    // One that is let go with its machine.
    let agent = [by_the_book(), vec![Act::Stays]].concat();
    let backend = stage.backend(&Plan { agent, ..Plan::default() });
    let made = backend.launch(&spec(&*backend).await).await.unwrap();
    let waiting =
        tokio::time::timeout(Duration::from_millis(200), made.guest().exec(&request(&["true"]))).await;
    assert!(waiting.is_err(), "a silent agent starts nothing");
    within("its end", made.destroy()).await.unwrap();
    assert_nothing_left(&stage);
}
