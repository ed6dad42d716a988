//! Each way of going wrong: a typed error that names it, and nothing left.

use std::time::{Duration, Instant};

use agentkernel_backend_firecracker::api::ApiError;
use agentkernel_backend_firecracker::vmm::{Firecracker, Vmm, VmmError};
use agentkernel_backend_firecracker::vsock::VsockError;
use libtest_mimic::Trial;

use crate::fake::{Fault, GuestPlan, Plan, VsockPlan, Wrong};
use crate::stage::{SOON, Stage, trial, unnoted};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("faults::each_request_can_go_wrong_in_each_way", each_request_can_go_wrong_in_each_way),
        trial("faults::old_and_unknown_versions_are_named", old_and_unknown_versions_are_named),
        trial("faults::a_firecracker_that_does_not_start", a_firecracker_that_does_not_start),
        trial("faults::a_qemu_that_does_not_start", a_qemu_that_does_not_start),
        trial("faults::a_program_that_is_none", a_program_that_is_none),
        trial("faults::a_guest_that_does_not_boot", a_guest_that_does_not_boot),
        trial("faults::a_guest_that_knocks_wrong", a_guest_that_knocks_wrong),
        trial("faults::a_vsock_that_lies", a_vsock_that_lies),
        trial("faults::a_record_that_cannot_be_written", a_record_that_cannot_be_written),
    ]
}

fn broken_at(place: &str, wrong: Wrong) -> Plan {
    // The first that has a balloon which it is of use to ask for.
    let version = Some("1.14.0".to_owned());
    Plan { version, fault: Some(Fault { at: place.to_owned(), wrong }), ..Plan::default() }
}

async fn start_fails(stage: &Stage, vmm: &dyn Vmm, plan: &Plan) -> VmmError {
    let failed = vmm.start(&stage.spec(plan), &mut unnoted).await;
    let error = failed.expect_err("it can't have started");
    stage.assert_nothing_left("m-1");
    assert!(!error.to_string().contains(char::is_control), "{error}");
    error
}

async fn each_request_can_go_wrong_in_each_way() {
    let stage = Stage::new();
    let mut firecracker = stage.firecracker();
    firecracker.request_limit = Duration::from_secs(3);
    let places = [
        "GET /version",
        "PUT /machine-config",
        "PUT /boot-source",
        "PUT /drives/drive1",
        "PUT /vsock",
        "PUT /entropy",
        "PUT /balloon",
        "PUT /actions",
    ];
    let ways = [
        Wrong::Refuse,
        Wrong::RefuseBadly,
        Wrong::Die,
        Wrong::Garbage,
        Wrong::Cut,
        Wrong::EndlessBody,
        Wrong::EndlessHead,
    ];
    // Each place in two ways, each way at least twice: the code is one for all places.
    for (index, place) in places.into_iter().enumerate() {
        for wrong in [ways[index % ways.len()], ways[(index + 3) % ways.len()]] {
            let error = start_fails(&stage, &firecracker, &broken_at(place, wrong)).await;
            let text = error.to_string();
            match wrong {
                Wrong::Refuse => {
                    assert!(matches!(error, VmmError::Api(ApiError::Refused { status: 400, .. })), "{text}");
                    assert!(text.contains(place) && text.contains("fault message"), "{text}");
                }
                Wrong::RefuseBadly => {
                    assert!(matches!(error, VmmError::Api(ApiError::Refused { status: 500, .. })), "{text}");
                }
                Wrong::Die => assert!(matches!(error, VmmError::Ended { .. }), "{text}"),
                _ => {
                    assert!(matches!(error, VmmError::Api(ApiError::Broken { .. })), "{wrong:?} {text}");
                    assert!(text.contains(place), "{text}");
                }
            }
            if wrong == Wrong::EndlessBody {
                assert!(text.contains("longer than 65536"), "{text}");
            }
        }
    }
    firecracker.request_limit = Duration::from_millis(700);
    for place in ["GET /version", "PUT /actions"] {
        let error = start_fails(&stage, &firecracker, &broken_at(place, Wrong::Hang)).await;
        let slow = matches!(error, VmmError::Api(ApiError::TooSlow { .. }) | VmmError::TooSlow { .. });
        assert!(slow && error.to_string().contains("within 700 ms"), "{error}");
    }
}

async fn old_and_unknown_versions_are_named() {
    let stage = Stage::new();
    for version in ["1.11.9", "0.24.0", "\u{1b}[2Jnew"] {
        let plan = Plan { version: Some(version.to_owned()), ..Plan::default() };
        let error = start_fails(&stage, &stage.firecracker(), &plan).await;
        assert!(matches!(error, VmmError::Api(ApiError::WrongVersion { .. })), "{error}");
        assert!(error.to_string().contains("1.12.0 or later"), "{error}");
    }
    let error =
        start_fails(&stage, &stage.firecracker(), &broken_at("GET /version", Wrong::OtherContent)).await;
    assert!(matches!(error, VmmError::Api(ApiError::Broken { .. })), "{error}");
    for version in ["1.12.0", "1.17.0-dev", "v2.3.4"] {
        let plan = Plan { version: Some(version.to_owned()), ..Plan::default() };
        let started = stage.firecracker().start(&stage.spec(&plan), &mut unnoted).await.unwrap();
        started.ready(SOON).await.unwrap().0.end().unwrap();
    }
}

async fn a_firecracker_that_does_not_start() {
    let stage = Stage::new();
    let plain = Firecracker { jailer: None, ..stage.firecracker() };
    for mut firecracker in [stage.firecracker(), plain] {
        let error = start_fails(&stage, &firecracker, &broken_at("start", Wrong::Die)).await;
        assert!(matches!(error, VmmError::Ended { .. }), "{error}");
        assert!(error.to_string().contains("no KVM here"), "{error}");
        firecracker.request_limit = Duration::from_millis(500);
        let error = start_fails(&stage, &firecracker, &broken_at("start", Wrong::Hang)).await;
        assert!(matches!(error, VmmError::TooSlow { until: "its API", .. }), "{error}");
    }
}

async fn a_qemu_that_does_not_start() {
    let stage = Stage::new();
    let error = start_fails(&stage, &stage.qemu(), &broken_at("vsock start", Wrong::Die)).await;
    assert!(matches!(error, VmmError::Ended { .. }) && error.to_string().contains("no memory"), "{error}");
    // QEMU is told everything on its command line: what it makes of that shows when its guest is waited for.
    let plan = broken_at("start", Wrong::Die);
    let started = stage.qemu().start(&stage.spec(&plan), &mut unnoted).await.unwrap();
    let error = started.ready(SOON).await.unwrap_err();
    assert!(
        matches!(error, VmmError::Ended { .. }) && error.to_string().contains("no such machine"),
        "{error}"
    );
    stage.assert_nothing_left("m-1");
}

async fn a_program_that_is_none() {
    let stage = Stage::new();
    let text = stage.file("text", "no program");
    for program in [stage.path("missing"), text] {
        let firecracker = Firecracker { jailer: None, program: program.clone(), ..stage.firecracker() };
        let mut qemu = stage.qemu();
        qemu.program.clone_from(&program);
        let mut without_vsock = stage.qemu();
        without_vsock.vsock_program.clone_from(&program);
        let vmms: [&dyn Vmm; 3] = [&firecracker, &qemu, &without_vsock];
        for vmm in vmms {
            let error = start_fails(&stage, vmm, &Plan::default()).await;
            assert!(matches!(error, VmmError::NoProgram { .. }), "{error}");
            assert!(error.to_string().contains(&*program.to_string_lossy()), "{error}");
        }
    }
}

async fn a_guest_that_does_not_boot() {
    let stage = Stage::new();
    let vmms: [&dyn Vmm; 2] = [&stage.firecracker(), &stage.qemu()];
    for vmm in vmms {
        let panics = Plan { guest: GuestPlan::Panics, ..Plan::default() };
        let started = vmm.start(&stage.spec(&panics), &mut unnoted).await.unwrap();
        let error = started.ready(SOON).await.unwrap_err();
        assert!(matches!(error, VmmError::Ended { during: "the guest booted", .. }), "{error}");
        assert!(error.to_string().contains("Kernel panic"), "{error}");
        stage.assert_nothing_left("m-1");

        let silent = Plan { guest: GuestPlan::Silent, ..Plan::default() };
        let started = vmm.start(&stage.spec(&silent), &mut unnoted).await.unwrap();
        let error = started.ready(Duration::from_millis(300)).await.unwrap_err();
        assert!(matches!(error, VmmError::TooSlow { until: "the agent's knock", .. }), "{error}");
        assert!(error.to_string().contains("Linux version"), "{error}");
        stage.assert_nothing_left("m-1");
    }
}

async fn a_guest_that_knocks_wrong() {
    let stage = Stage::new();
    for text in ["", "agentkernel-agent\n", "hello\n", "agentkernel-agent \u{1b}[2J\n", &"a".repeat(100_000)]
    {
        let plan = Plan { guest: GuestPlan::Says(text.to_owned()), ..Plan::default() };
        let started = stage.firecracker().start(&stage.spec(&plan), &mut unnoted).await.unwrap();
        let error = started.ready(SOON).await.unwrap_err();
        assert!(matches!(error, VmmError::Vsock(VsockError::Broken { port: 1025, .. })), "{error}");
        assert!(!error.to_string().contains(char::is_control), "{error}");
        stage.assert_nothing_left("m-1");
    }
}

async fn a_vsock_that_lies() {
    let stage = Stage::new();
    for (how, limit) in [
        (VsockPlan::Garbage, SOON),
        (VsockPlan::Endless, SOON),
        (VsockPlan::Hangs, Duration::from_millis(200)),
    ] {
        let plan = Plan { vsock: how, ..Plan::default() };
        let started = stage.firecracker().start(&stage.spec(&plan), &mut unnoted).await.unwrap();
        let (machine, _) = started.ready(SOON).await.unwrap();
        let asked = Instant::now();
        let error = machine.connect(1024, limit).await.unwrap_err();
        match how {
            VsockPlan::Hangs => assert!(matches!(error, VsockError::TooSlow { port: 1024, .. }), "{error}"),
            _ => assert!(matches!(error, VsockError::Broken { port: 1024, .. }), "{error}"),
        }
        assert!(asked.elapsed() < SOON / 2);
        machine.end().unwrap();
        stage.assert_nothing_left("m-1");
    }
}

async fn a_record_that_cannot_be_written() {
    let stage = Stage::new();
    let vmms: [&dyn Vmm; 2] = [&stage.firecracker(), &stage.qemu()];
    for vmm in vmms {
        for good_notes in 0..2 {
            let mut left = good_notes;
            let mut noted = |_: &_| match left {
                0 => Err(std::io::ErrorKind::StorageFull.into()),
                _ => {
                    left -= 1;
                    Ok(())
                }
            };
            match vmm.start(&stage.spec(&Plan::default()), &mut noted).await {
                Err(error) => assert!(error.to_string().contains("note a machine"), "{error}"),
                Ok(started) => {
                    assert_eq!((vmm.name(), good_notes), ("firecracker", 1), "it has one process only");
                    drop(started);
                }
            }
            stage.assert_nothing_left("m-1");
        }
    }
}
