//! From the command line to a task.

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use crate::{
    bench, conformance, console_blocks, generated, kernel, layers, microvm_bed, soak, test, test_bed, tidy,
};

const USAGE: &str = "\
Usage: cargo xtask TASK

  test [--quick] [--root | --user]  all gates and tests, installing what they need; ends with a count
  layers                            dependencies between crates point downwards, heavy ones enter at one place
  tidy                              the house style that rustfmt and clippy don't know
  gen [--check]                     write (or compare) the reference pages generated from the program
  console                           run the console blocks of README.md and docs/ and compare what they print
  conformance                       write docs/conformance.json from the last `test`, for docs/capabilities.md
  conformance take-in SUBJECT FILE  put in what a suite printed (--nocapture) that was run by hand on another machine
  bench run [--rounds N]            measure, and write bench/results/ and docs/benchmarks.md
  test-bed start|stop|env [--folder F]
                                    real engines and registries for the tests, brought up or down by hand
  kernel [--arch ARCH] [--update]   build the guest kernel of images/kernel (once), and print where it is
  microvm-bed qemu start|env|check|stop
                                    QEMU, a vsock daemon and that kernel, for tests of microVMs without KVM
  microvm-bed firecracker-svm start|env|run COMMAND|check|stop
                                    a machine with an emulated KVM, over this machine's files, for real Firecracker
  bench image [--rounds N]          the same for fetching and unpacking an image
  bench serve [--program FILE] [--rounds N]
                                    the same for the server: latency, load, streams, idle sandboxes
  bench microvm [--vmm firecracker|qemu] [--bed NAME] [--archive FILE] [--program FILE] [--rounds N] [--idle N]
                [--set KEY=VALUE] [--print]
                                    the same for microVMs; --print where files don't last, then `take-in FILE`
  soak [--minutes N] [--backend native,docker] [--kills N] [--program FILE]
                                    the server under all verbs at saturation; fails on anything left behind
  bench table                       write docs/benchmarks.md again from the newest result";

/// Runs the named task. `Ok(false)`: it ran and found something wrong, and has said what.
pub(crate) fn run(arguments: Vec<String>) -> Result<bool> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((task, rest)) = words.split_first() else {
        println!("{USAGE}");
        return Ok(false);
    };
    if *task == "test-bed" {
        return test_bed::run(rest);
    }
    let workspace = Workspace::find()?;
    match (*task, rest) {
        ("layers", []) => layers::run(&workspace),
        ("tidy", []) => tidy::run(&workspace),
        ("gen", []) => generated::write(&workspace),
        ("gen", ["--check"]) => generated::check(&workspace),
        ("console", []) => console_blocks::run(&workspace),
        ("test", flags) => test::run(&workspace, &test::Choice::parse(flags)?),
        ("kernel", words) => kernel::run(&workspace, words),
        ("microvm-bed", words) => microvm_bed::run(&workspace, words),
        ("conformance", []) => conformance::record(&workspace),
        ("conformance", ["take-in", subject, file]) => conformance::take_in(&workspace, subject, file),
        ("bench", ["run", flags @ ..]) => bench::run(&workspace, &bench::Settings::parse(flags)?),
        ("bench", ["image", flags @ ..]) => bench::run_images(&workspace, &bench::Settings::parse(flags)?),
        ("bench", ["microvm", "take-in", file]) => bench::take_in_microvm(&workspace, file),
        ("bench", ["microvm", flags @ ..]) => bench::run_microvm(&workspace, flags),
        ("bench", ["serve", flags @ ..]) => bench::run_serve(&workspace, flags),
        ("soak", flags) => soak::run(&workspace, &soak::Settings::parse(flags)?),
        ("bench", ["table"]) => bench::write_table(&workspace),
        ("help" | "--help" | "-h", []) => {
            println!("{USAGE}");
            Ok(true)
        }
        _ => bail!("unknown task {:?}\n{USAGE}", words.join(" ")),
    }
}
