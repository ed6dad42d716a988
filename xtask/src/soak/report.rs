//! The table at the end.

use std::collections::BTreeSet;

use super::census::ServerState;
use super::tally::Tally;

/// How many things that were left are named.
const NAMED: usize = 20;

/// Prints it; whether all is well.
pub(super) fn print(
    backend: &str,
    tally: &Tally,
    server: Option<(ServerState, ServerState)>,
    left: &BTreeSet<String>,
) -> bool {
    println!(
        "\nsoak: {backend}\n\n| verb | done | cut by a kill | refused as busy | wrong |\n|---|--:|--:|--:|--:|"
    );
    for (verb, count) in &tally.verbs {
        println!("| {verb} | {} | {} | {} | {} |", count.done, count.cut, count.refused, count.wrong);
    }
    for wrong in &tally.told {
        println!("wrong: {wrong}");
    }
    println!("\n| counted | before | after | |\n|---|--:|--:|---|");
    let mut sound = tally.wrong() == 0 && tally.done() > 0;
    if let Some((before, after)) = server {
        let within = after.is_within(&before);
        let word = if within { "ok" } else { "**leak**" };
        println!("| open files of the server | {} | {} | {word} |", before.open_files, after.open_files);
        println!("| memory of the server, KiB | {} | {} | {word} |", before.resident_kib, after.resident_kib);
        sound &= within;
    }
    for kind in ["process", "mount", "cgroup", "network interface", "file", "container"] {
        let count = left.iter().filter(|object| object.starts_with(kind)).count();
        let word = if count == 0 { "ok" } else { "**leak**" };
        println!("| {kind}, more than before | 0 | {count} | {word} |");
    }
    for object in left.iter().take(NAMED) {
        println!("left behind: {object}");
    }
    println!("\nsoak: {backend}: {} kills, {} wrong, {} left behind", tally.kills, tally.wrong(), left.len());
    sound && left.is_empty()
}
