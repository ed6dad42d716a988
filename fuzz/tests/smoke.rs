//! Each fuzz target for a few seconds, the same inputs every time: on every change, with a stable compiler.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use agentkernel_fuzz::mutation::{Random, mutate};
use agentkernel_fuzz::{archive, config, connection, frames, layer, machine, names, share};

/// How long one target runs at most.
const TIME: Duration = Duration::from_secs(8);

/// At least so many inputs must have been tried, or the run proves nothing.
const LEAST: usize = 500;

fn smoke(target: &str, check: fn(&[u8]), mut corpus: Vec<Vec<u8>>, inputs: usize) {
    let mut random = Random::new(0x616b_2026);
    let begun = Instant::now();
    let mut tried = 0;
    let mut run = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
            println!("{target}: input {}", input.escape_ascii());
            resume_unwind(panic);
        }
        tried += 1;
    };
    for seed in &corpus {
        run(seed);
    }
    for number in 0..inputs {
        if begun.elapsed() > TIME {
            break;
        }
        let (one, other) = (random.below(corpus.len()), random.below(corpus.len()));
        let input = mutate(&mut random, &corpus[one], &corpus[other]);
        run(&input);
        // Changes upon changes lead further than changes to seeds alone.
        if number % 16 == 0 && corpus.len() < 1000 {
            corpus.push(input);
        }
    }
    println!("{target}: {tried} inputs in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(tried >= LEAST.min(inputs), "only {tried} inputs in {TIME:?}");
}

#[test]
fn frames_and_messages() {
    smoke("frames", frames::check, frames::seeds(), 200_000);
}

#[test]
fn hostile_connections() {
    smoke("connection", connection::check, connection::seeds(), 50_000);
}

#[test]
fn config_files() {
    smoke("config", config::check, config::seeds(), 50_000);
}

#[test]
fn archives_from_a_box() {
    smoke("archive", archive::check, archive::seeds(), 20_000);
}

#[test]
fn layers_of_images() {
    smoke("layer", layer::check, layer::seeds(), 20_000);
}

#[test]
fn set_ups_of_machines() {
    smoke("machine", machine::check, machine::seeds(), 100_000);
}

#[test]
fn names_and_paths() {
    smoke("names", names::check, names::seeds(), 200_000);
}

#[test]
fn guests_of_shared_folders() {
    smoke("share", share::check, share::seeds(), 50_000);
}
