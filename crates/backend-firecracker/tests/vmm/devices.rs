//! What Firecracker is told of its machines' devices, and that restored machines and sandboxes of any later start have the
//! same limits.

use std::num::NonZero;
use std::path::Path;

use agentkernel_backend::{Backend, BoxRecord};
use agentkernel_backend_firecracker::api::RateLimiter;
use agentkernel_backend_firecracker::vmm::{Interface, Life, RestoreSpec, Snapshots as _, Vmm as _};
use agentkernel_backend_firecracker::{DeviceRates, FirecrackerSettings};
use agentkernel_model::{Isolation, Mib};
use agentkernel_testkit::conformance::{eventually, within};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::copies::{good, running, spec};
use crate::fake::Plan;
use crate::snapshots::moved;
use crate::stage::{SOON, Stage, trial, unnoted};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "devices::a_balloon_is_asked_for_where_it_is_of_use",
            a_balloon_is_asked_for_where_it_is_of_use,
        ),
        trial("devices::a_restored_machine_has_the_same", a_restored_machine_has_the_same),
        trial(
            "devices::limits_hold_at_each_start_and_in_each_copy",
            limits_hold_at_each_start_and_in_each_copy,
        ),
    ]
}

/// `GET /vm/config` in a room.
async fn configuration(room: &Path) -> Value {
    let mut stream = UnixStream::connect(room.join("api.sock")).await.unwrap();
    let request = "GET /vm/config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap()
}

/// As Firecracker is told of `per_second`.
fn bucket(per_second: u64) -> Value {
    json!({ "size": per_second, "refill_time": 1000 })
}

async fn a_balloon_is_asked_for_where_it_is_of_use() {
    let reporting = json!({
        "amount_mib": 0, "deflate_on_oom": true, "stats_polling_interval_s": 0, "free_page_reporting": true
    });
    for (version, wished, balloon) in [
        ("1.12.0", true, Value::Null),
        ("1.13.9", true, Value::Null),
        ("1.14.0", true, reporting.clone()),
        ("1.17.0-dev", true, reporting),
        ("1.17.0", false, Value::Null),
    ] {
        let stage = Stage::new();
        let mut spec = stage.spec(&Plan { version: Some(version.to_owned()), ..Plan::default() });
        spec.balloon = wished;
        let started = stage.firecracker().start(&spec, &mut unnoted).await.unwrap();
        let (machine, _) = started.ready(SOON).await.unwrap();
        assert_eq!(configuration(&machine.note().room).await["balloon"], balloon, "{version}");
        machine.end().unwrap();
    }
}

async fn a_restored_machine_has_the_same() {
    let stage = Stage::new();
    let firecracker = stage.firecracker();
    let mut spec = stage.spec(&Plan { version: Some("1.14.0".to_owned()), ..Plan::default() });
    let limits = json!({ "bandwidth": bucket(200 << 20), "ops": bucket(500) });
    let rate: Option<RateLimiter> = Some(serde_json::from_value(limits.clone()).unwrap());
    spec.drives[1].rate = rate;
    spec.network = Some(Interface { send_rate: rate, ..Stage::interface() });
    let (machine, _) = firecracker.start(&spec, &mut unnoted).await.unwrap().ready(SOON).await.unwrap();
    let told = configuration(&machine.note().room).await;
    assert_eq!(told["drives"][0].get("rate_limiter"), None, "{told}");
    assert_eq!(told["drives"][1]["rate_limiter"], limits);
    assert_eq!(told["network-interfaces"][0]["tx_rate_limiter"], limits);
    assert_eq!(told["network-interfaces"][0].get("rx_rate_limiter"), None, "{told}");
    firecracker.pause(&machine).await.unwrap();
    let snapshot = moved(&stage, &firecracker.take(&machine).await.unwrap());
    let restore = RestoreSpec {
        site: stage.site("c-1", Life::WithOwner),
        snapshot,
        drives: spec.drives,
        tap: Some("tap9".to_owned()),
        resume: true,
    };
    let restored = firecracker.restore(&restore, &mut unnoted).await.unwrap();
    assert_eq!(configuration(&restored.note().room).await, told);
    restored.end().unwrap();
    machine.end().unwrap();
}

/// A running sandbox's disks have the limits that are told of them.
async fn assert_limited(record: &BoxRecord, isolation: &Isolation) {
    let told = configuration(&record.dir.join("machine/machine")).await;
    let drives = told["drives"].as_array().unwrap();
    assert_eq!(drives.len(), 2);
    for drive in drives {
        assert_eq!(drive["rate_limiter"], json!({ "bandwidth": bucket(200 << 20), "ops": bucket(500) }));
    }
    let layers = &isolation.layers;
    for layer in ["disk bandwidth 200 MiB/s", "disk operations 500/s"] {
        assert!(layers.iter().any(|there| there == layer), "{layer}: {layers:?}");
    }
}

async fn restarted(backend: &dyn Backend, record: &BoxRecord) -> Isolation {
    within("a stop", backend.stop(record, SOON)).await.unwrap();
    within("a start", backend.start(record)).await.unwrap()
}

fn is_restored(record: &BoxRecord) -> bool {
    record.dir.join("machine/machine/restored.state").symlink_metadata().is_ok()
}

fn has_template(stage: &Stage) -> bool {
    let notes = std::fs::read_dir(stage.path("state/firecracker/templates")).into_iter().flatten().flatten();
    notes.into_iter().any(|entry| entry.path().join("template.json").exists())
}

async fn limits_hold_at_each_start_and_in_each_copy() {
    let stage = Stage::new();
    let unlimited = stage.firecracker_settings();
    let rates =
        DeviceRates { disk_bandwidth: Some(Mib(200)), disk_iops: NonZero::new(500), network_bandwidth: None };
    let limited = FirecrackerSettings { rates, ..unlimited.clone() };
    let (limited, unlimited) =
        (stage.backend_with(&good(), &limited), stage.backend_with(&good(), &unlimited));
    assert_ne!(limited.variant(), unlimited.variant(), "a machine that waits is one of its limits");
    let spec = spec(&*limited).await;
    let record = running(&stage, &*limited, &spec, 1).await;
    let isolation = limited.running(&record).await.unwrap().unwrap();
    assert!(!is_restored(&record));
    assert_limited(&record, &isolation).await;
    // From a template, and for one who says nothing of limits.
    eventually("a template", async || has_template(&stage)).await;
    let isolation = restarted(&*unlimited, &record).await;
    assert!(is_restored(&record));
    assert_limited(&record, &isolation).await;
    // In a copy, and at its next start.
    let folder = stage.path("snapshot");
    std::fs::create_dir(&folder).unwrap();
    let snapshots = unlimited.snapshots().unwrap();
    within("a snapshot", snapshots.take(&record, &folder)).await.unwrap();
    let copy = stage.record(&spec, 2);
    let isolation = within("a copy", snapshots.restore(&copy, &folder)).await.unwrap();
    assert_limited(&copy, &isolation).await;
    let isolation = restarted(&*unlimited, &copy).await;
    assert_limited(&copy, &isolation).await;
    // One that was made without has none, whoever starts it.
    let free = running(&stage, &*unlimited, &spec, 3).await;
    let isolation = restarted(&*limited, &free).await;
    assert!(!isolation.layers.iter().any(|layer| layer.contains("bandwidth")), "{:?}", isolation.layers);
    let told = configuration(&free.dir.join("machine/machine")).await;
    assert!(told["drives"].as_array().unwrap().iter().all(|drive| drive.get("rate_limiter").is_none()));
    for record in [record, copy, free] {
        within("an end", unlimited.stop(&record, SOON)).await.unwrap();
        unlimited.remove(&record).await.unwrap();
    }
    assert!(stage.processes().is_empty(), "{:?}", stage.processes());
}
