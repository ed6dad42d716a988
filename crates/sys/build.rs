//! Compiles the system call filters, so that a sandbox's start pays nothing for it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

/// The part of the library's `seccomp` module that needs nothing but the standard library.
#[path = "src/seccomp"]
mod seccomp {
    mod checks;
    mod compiler;

    use compiler::{Column, Machine};

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
        ]
        .concat())
    }

    fn program(table: &str, machine: Machine, column: Column) -> Result<Vec<(u16, u8, u8, u32)>, String> {
        let program = compiler::compile(table, machine, column)
            .map_err(|error| format!("syscalls.txt, line {}: {}", error.line, error.what))?;
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
