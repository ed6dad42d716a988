//! PID 1 of a box: runs commands, moves files, keeps logs and connects ports for the host, and knows nothing about how
//! its box was made. Single-threaded: it forks supervisors and workers, and everything else waits in one event loop.

mod agent;
mod capability;
mod children;
mod command;
mod execution;
mod failure;
mod flow;
mod identity;
mod launch;
mod log;
mod machine;
mod meeting;
mod options;
mod own_folder;
mod port;
mod pump;
mod random_id;
mod raw;
mod report;
mod service;
mod supervised;
mod supervisor;
mod table;
mod terminal;
mod tree;
mod worker;

mod files;

fn main() {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let result = options::parse(&arguments).and_then(|options| agent::run(&options));
    let code = match result {
        Ok(()) => 0,
        Err(failure) => {
            raw::complain(&failure.to_string());
            125
        }
    };
    raw::exit_now(code);
}
