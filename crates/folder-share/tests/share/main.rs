//! A guest's kernel by hand against the server, in this process and in its jail. Started with [`jailed::ARGUMENT`], this
//! program is the jailed process.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test's own failures, and why there is none")]

mod client;
mod honest;
mod hostile;
mod jailed;
mod served;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

macro_rules! trials {
    ($($group:ident { $($name:ident,)+ })+) => {
        vec![$($(Trial::test(concat!(stringify!($group), "::", stringify!($name)), || {
            $group::$name();
            Ok(())
        }),)+)+]
    };
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == jailed::ARGUMENT) {
        return match agentkernel_folder_share::share_main() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let trials = trials! {
        honest {
            content_goes_both_ways,
            names_are_made_moved_and_removed,
            large_folders_are_listed_in_pieces,
            attributes_are_read_and_set,
            what_is_removed_stays_open,
            many_at_once_are_answered_each_with_its_own,
            a_read_only_share_changes_nothing,
            links_are_told_and_not_followed,
        }
        hostile {
            names_lead_nowhere_else,
            what_was_never_given_is_not_there,
            nothing_privileged_is_made,
            unknown_and_cut_messages_are_errors,
            nothing_is_done_before_the_beginning,
            a_length_that_is_none_ends_the_stream,
            who_asks_and_never_listens_ends_like_others,
        }
        jailed {
            it_has_the_folder_and_nothing_else,
            it_is_the_owner_of_the_folder,
            one_file_is_shared_alone,
            a_read_only_jail_can_not_write,
            what_can_not_be_shared_is_refused_by_name,
            who_does_not_know_the_token_ends_it,
            without_a_guest_it_ends_with_its_maker,
        }
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
