//! The escape suite: what hostile code tries from inside a box, each try a test that shows the denial from inside and the
//! host unharmed from outside. For each profile; as root, and as an ordinary user.
//!
//! This one program is both sides: outside it makes boxes and mounts itself read-only into them, inside it is told which
//! attempt to make (see [`inside::main`]). An attempt says what held it back, or how it got through.

mod as_user;
mod attempt;
mod hostile_image;
mod inside;
mod outside;
mod stage;
mod table;
mod trial;

fn main() -> std::process::ExitCode {
    if let Some(code) = inside::main().or_else(hostile_image::main) {
        return code;
    }
    if let Err(error) = stage::put_secret_into_own_environment() {
        std::panic::panic_any(format!("can't restart with a secret in the environment: {error}"));
    }
    let arguments = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&arguments, trial::all()).exit_code()
}
