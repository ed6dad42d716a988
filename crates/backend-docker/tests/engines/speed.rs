//! Not a benchmark (`cargo xtask bench` is), but a guard: a command in a box that runs costs no engine anything.

use std::time::{Duration, Instant};

use agentkernel_backend::BoxRecord;

use crate::bed::{Bed, shell, spec};

#[tokio::test]
async fn a_command_asks_no_engine() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let dir = state.path().join("record");
        std::fs::create_dir(&dir).unwrap();
        let id = format!("{:08x}0000e001", std::process::id());
        let record = BoxRecord { name: "quick".parse().unwrap(), id, spec: spec(&*backend).await, dir };
        backend.create(&record).await.unwrap();
        backend.start(&record).await.unwrap();
        let mut times = Vec::new();
        for _ in 0..20 {
            // As a new process has it: nothing is known yet.
            let other = bed.open(state.path());
            let started = Instant::now();
            let guest = other.connect(&record).await.unwrap();
            shell(&*guest, "true").await;
            times.push(started.elapsed());
        }
        backend.remove(&record).await.unwrap();
        times.sort_unstable();
        println!(
            "{}: connect and run: {:?} (median of 20), {:?} (least)",
            bed.kind.name(),
            times[10],
            times[0]
        );
        // The engine's own exec takes ten times as long on an idle machine.
        assert!(times[0] < Duration::from_millis(50), "{times:?}");
    }
}

#[tokio::test]
async fn one_shot_boxes_are_timed() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let spec = spec(&*backend).await;
        let mut times: Vec<[Duration; 3]> = Vec::new();
        for _ in 0..5 {
            let started = Instant::now();
            let made = backend.launch(&spec).await.unwrap();
            let launched = started.elapsed();
            shell(&*made.guest(), "true").await;
            let ran = started.elapsed();
            made.destroy().await.unwrap();
            times.push([launched, ran, started.elapsed()]);
        }
        times.sort_unstable_by_key(|[.., all]| *all);
        println!(
            "{}: launched, ran, destroyed (least, median): {:?} {:?}",
            bed.kind.name(),
            times[0],
            times[2]
        );
    }
}
