//! Compiles the system call filters, so that a sandbox's start pays nothing for it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

/// The part of the library's `seccomp` module that needs nothing but the standard library.
#[path = "src/seccomp"]
mod seccomp {
    mod checks;
    mod compiler;

    use compiler::{Action, Case, Column, Machine, Row};
    use std::fmt::Write as _;

    /// The filters of one machine, as Rust source.
    pub(super) fn source(table: &str, machine: &str) -> Result<String, String> {
        let machine = match machine {
            "x86_64" => Machine::X86_64,
            "aarch64" => Machine::Aarch64,
            other => {
                return Err(format!("no table of system calls for {other}: add a column to syscalls.txt"));
            }
        };
        Ok([
            super::array("STANDARD", &program(table, machine, Column::Standard)?),
            super::array("RESTRICTIVE", &program(table, machine, Column::Restrictive)?),
            rules("STANDARD_RULES", table, machine, Column::Standard)?,
            rules("RESTRICTIVE_RULES", table, machine, Column::Restrictive)?,
        ]
        .concat())
    }

    fn failed(error: compiler::TableError) -> String {
        format!("syscalls.txt, line {}: {}", error.line, error.what)
    }

    /// The table itself, for who needs it in another form than a program.
    fn rules(name: &str, table: &str, machine: Machine, column: Column) -> Result<String, String> {
        let rows = compiler::rows(table, machine, column).map_err(failed)?;
        let mut source = format!("static {name}: [Rule; {}] = [\n", rows.len());
        for Row { name, number, check } in rows {
            let cases: String = check.cases.iter().map(case).collect();
            let otherwise = outcome(check.otherwise);
            writeln!(
                source,
                "    Rule {{ name: {name:?}, number: {number}, cases: &[{cases}], otherwise: {otherwise} }},"
            )
            .expect("a String takes all text");
        }
        Ok(source + "];\n")
    }

    fn case(case: &Case) -> String {
        let tests: String = case
            .tests
            .iter()
            .map(|test| {
                let (index, mask, values) = (test.index, test.mask, test.values);
                format!("ArgumentTest {{ index: {index}, mask: {mask:#x}, values: &{values:?} }}, ")
            })
            .collect();
        format!("RuleCase {{ tests: &[{tests}], outcome: {} }}, ", outcome(case.action))
    }

    fn outcome(action: Action) -> String {
        match action {
            Action::Allow => "Outcome::Allow".to_owned(),
            Action::Errno(errno) => format!("Outcome::Errno({errno})"),
        }
    }

    fn program(table: &str, machine: Machine, column: Column) -> Result<Vec<(u16, u8, u8, u32)>, String> {
        let program = compiler::compile(table, machine, column).map_err(failed)?;
        Ok(program.iter().map(|it| (it.code, it.jt, it.jf, it.k)).collect())
    }
}

fn array(name: &str, program: &[(u16, u8, u8, u32)]) -> String {
    let mut source = format!("static {name}: [libc::sock_filter; {}] = [\n", program.len());
    for (code, jt, jf, k) in program {
        writeln!(source, "    libc::sock_filter {{ code: {code:#x}, jt: {jt}, jf: {jf}, k: {k:#x} }},")
            .expect("a String takes all text");
    }
    source + "];\n"
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const TABLE: &str = "src/seccomp/syscalls.txt";
    for input in [TABLE, "src/seccomp/checks.rs", "src/seccomp/compiler.rs", "build.rs"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let source = seccomp::source(&fs::read_to_string(TABLE)?, &env::var("CARGO_CFG_TARGET_ARCH")?)?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("seccomp_filters.rs"), source)?;
    Ok(())
}
