//! The programs that are not real.

mod api;
mod firecracker;
mod guest;
mod jailer;
mod plan;
mod qemu;
mod rules;
mod saved;
mod state;

use std::process::ExitCode;

pub(crate) use firecracker::serve;
pub(crate) use guest::{TOLD_RENEWAL, TOLD_SETUP};
pub(crate) use plan::{Act, Fault, GuestPlan, Plan, VsockPlan, Wrong};
pub(crate) use saved::Saved;

/// The one that this process was started as, if any.
pub(crate) fn main() -> Option<ExitCode> {
    let mut arguments = std::env::args();
    let name = arguments.next()?;
    let arguments: Vec<String> = arguments.collect();
    let ended = match name.rsplit('/').next()? {
        "firecracker" => firecracker::main(&arguments),
        "jailer" => jailer::main(&arguments),
        "qemu-system-x86_64" => qemu::main(&arguments),
        "vhost-device-vsock" => qemu::vsock_main(&arguments),
        _ => return None,
    };
    Some(match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{name}: {why}");
            ExitCode::from(2)
        }
    })
}

/// The options of a command line, each of which must be known; those that take no value have an empty one.
pub(crate) fn options(
    arguments: &[String],
    with_value: &[&str],
    plain: &[&str],
) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        let value = match option.as_str() {
            it if with_value.contains(&it) => rest.next().ok_or(format!("{option} lacks its value"))?.clone(),
            it if plain.contains(&it) => String::new(),
            _ => return Err(format!("unknown option {option}")),
        };
        found.push((option.clone(), value));
    }
    Ok(found)
}

pub(crate) fn value<'a>(options: &'a [(String, String)], name: &str) -> Result<&'a str, String> {
    let mut values = options.iter().filter(|(option, _)| option == name).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(format!("{name} is missing")),
        (Some(_), Some(_)) => Err(format!("{name} is there twice")),
    }
}
