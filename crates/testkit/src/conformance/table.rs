//! The table of cases: their ids, what they promise, what they need.

use std::future::Future;
use std::pin::Pin;

use agentkernel_model::Feature;

use super::scene::Scene;

/// One promise.
pub struct Case {
    /// `group::name`.
    pub id: &'static str,
    /// The promise, in one line.
    pub promise: &'static str,
    /// What a backend must have for it to hold; else it must refuse.
    pub needs: &'static [Feature],
    pub(super) run: for<'a> fn(&'a Scene) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
}

/// Hands the list of cases to one of two macros: the table above, or one `#[test]` each.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($mode:ident $($with:tt)*) => { $crate::$mode! { [$($with)*]
        exec {
            exit_codes [] "every exit status from 0 to 255 comes back as it is",
            not_found [] "a program that isn't there is an error of its own (127)",
            not_executable [] "a program that can't be executed is an error of its own (126)",
            no_program [] "an empty command is refused",
            nul_bytes [] "a NUL byte in arguments or values is refused",
            path_lookup [] "a program without a slash is looked up in the PATH of the request",
            death_by_signal [] "death by a signal is told apart from an exit (128+n)",
            arguments_exact [] "arguments arrive byte for byte: spaces, quotes, newlines, empty, not UTF-8",
            arguments_large [] "1 MiB of arguments arrives",
            arguments_too_large [] "an argument beyond the kernel's limit is an error, and the box goes on",
            many_at_once [] "20 commands run in one box at once, each with its own streams and status",
            listed_while_running [] "a running command is listed with its arguments, an ended one isn't",
            process_list [] "the process list holds the box's processes and none of the host's",
            unknown_ids [] "an unknown command id is not found",
            isolation_is_stated [] "the isolation that a box got is stated with its layers",
            probe_is_ready [] "a backend that works says that it is ready",
        }
        streams {
            apart [] "standard output and standard error stay apart",
            binary_exact [] "all 256 byte values pass unchanged, without a newline added",
            empty [] "no output is no output",
            interleaved [] "each stream keeps its order",
            large_output [] "64 MiB of output arrive unchanged",
            input_exact [] "16 MiB of standard input arrive unchanged while output flows",
            input_end [] "the end of standard input arrives",
            input_absent [] "standard input that isn't connected reads end-of-file",
            input_unread [] "input for a command that is gone is an error, not a hang",
            output_closed_early [] "a closed output kills its writer with SIGPIPE",
            back_pressure [] "unread output makes its writer wait; nothing is lost",
            one_unread_stream [] "one unread stream holds up nothing else",
            slow_reader [] "a slow reader gets every byte",
            output_outlives_command [] "output ends when its last holder inside has closed it",
            output_before_death [] "what was written before a kill arrives",
        }
        ending {
            signals_arrive [] "signals reach the running command",
            signals_can_be_caught [] "a command can catch a signal and end by its own will",
            signal_by_id [] "a command can be signalled and waited for by its id",
            signal_after_end [] "a signal that comes too late harms nothing",
            wait_again [] "waiting again gives the same answer",
            kill_takes_the_tree [] "SIGKILL takes the whole process tree, daemons and own sessions too",
            timeout_takes_the_tree [] "a timeout takes the whole process tree (124)",
            timeout_not_reached [] "a timeout that isn't reached changes nothing",
            dropped_is_killed [] "a command that its client lets go is killed with its tree",
            zombies_are_reaped [] "orphans are reaped",
        }
        environment {
            exact [] "the environment is what was asked for and nothing else",
            can_be_empty [] "the environment can be empty",
            bad_names [] "a bad variable name is refused",
            secrets_stay_out_of_argv [] "values of variables are in no process's arguments on the host",
            workdir [] "commands start where they are told to",
            workdir_missing [] "a working folder that isn't one is an error of its own (126)",
            hostname [] "the box has the host name that was asked for",
            essentials [] "every box has /tmp, /dev/null, /proc, /workspace and the like",
        }
        users {
            root_by_default [] "commands run as root inside",
            root_by_name [] "root can be named in every form",
            by_number [OtherUsers] "a command runs as the user and group of these numbers",
            by_name [OtherUsers] "a command runs as a user of the box's /etc/passwd",
            unknown [OtherUsers] "an unknown user or group is an error of its own (126)",
            are_not_root [OtherUsers] "another user has none of root's rights and groups",
        }
        terminal {
            is_one [Terminal] "all three streams are one terminal, the controlling one",
            has_a_size [Terminal] "the terminal has the size that was asked for and can be resized",
            tells_of_resize [Terminal] "a resize sends SIGWINCH",
            interrupts [Terminal] "Ctrl-C interrupts the command (130)",
            ends_input [Terminal] "Ctrl-D ends its input",
            hangs_up [Terminal] "a terminal that is let go takes its command along",
        }
        detached {
            has_a_log [DetachedCommands] "a detached command's output and status can be read later",
            outlives_its_client [DetachedCommands, Files] "a detached command goes on when its client is gone",
            log_from_offset [DetachedCommands] "a log can be read from any offset",
            log_is_followed [DetachedCommands, Files] "a log can be followed to the command's end",
            log_without_follow_ends [DetachedCommands] "a log of a running command can be read as it is now",
            log_is_bounded [DetachedCommands] "a log keeps the newest bytes within its limit",
            can_be_killed [DetachedCommands] "a detached command and its tree can be killed by id",
            keeps_its_timeout [DetachedCommands] "a detached command's timeout holds without a client",
            attached_has_no_log [DetachedCommands] "an attached command has no log",
            seen_by_another_process [DetachedCommands, Files, PersistentSandboxes]
                "another process can follow and wait for a detached command",
        }
        files {
            roundtrip [Files] "files of any content and up to 10 MiB come back unchanged",
            modes [Files] "permission bits are set as asked, 0644 by default",
            overwrite [Files] "a file is replaced whole",
            broken_write_changes_nothing [Files] "a write that fails leaves the old file and nothing else",
            missing [Files] "what isn't there is not found",
            wrong_kind [Files] "folders, pipes and devices are refused where a file is needed",
            folders [Files] "folders are made with their parents and removed with their content",
            lists_are_sorted [Files] "a folder's entries come sorted by name",
            awkward_names [Files] "names may hold newlines and bytes that aren't UTF-8",
            many_at_once [Files] "several transfers run at once",
            abandoned_transfers [Files] "a transfer that nobody reads holds up nothing",
        }
        links {
            are_followed_inside [Files] "links are followed inside the box; stat shows the link",
            end_at_the_box_root [Files] "no link leads to the host's files",
            loops_end [Files] "loops and dangling links are errors",
            are_removed_themselves [Files] "removal takes the link, never what it names",
        }
        archives {
            roundtrip [Files] "a tree goes out and in as tar with modes and links",
            of_one_file [Files] "a single file is an archive of one entry",
            replaces_what_is_there [Files] "unpacking replaces files and leaves others",
            escapes_are_refused [Files] "entries that leave their folder are refused",
            broken_streams_are_refused [Files] "a stream that is cut short or no tar is an error",
        }
        ports {
            both_ways [PortForwarding] "a connection carries both ways and closes each way apart",
            many_at_once [PortForwarding] "several connections run at once",
            refused [PortForwarding] "a port where nobody listens is an error",
            host_is_not_meant [PortForwarding] "a port inside is never the host's",
        }
        root {
            is_writable_and_private [] "the root can be written, and nothing of it is the host's",
            can_be_read_only [ReadOnlyRoot] "a read-only root can't be written, /tmp and /dev/shm can",
        }
        limits {
            memory [MemoryLimit] "a memory bomb ends by itself; box and host go on",
            memory_counts_files_in_memory [MemoryLimit] "files in memory count as memory",
            processes [PidsLimit] "a process bomb is bounded; the box goes on",
            open_files [OpenFilesLimit] "the limit of open files is set, soft and hard",
            cpu [CpuLimit] "a busy loop gets no more than its share",
            disk [DiskLimit] "a full disk is an error that names it; freed room comes back",
            disk_of_a_persistent_sandbox [PersistentSandboxes, PersistentDiskLimit]
                "the same for a sandbox that survives a stop",
        }
        mounts {
            read_write [Mounts] "a folder is shown live; what the box writes belongs to the caller",
            owner_is_root_inside [Mounts] "the caller's files are root's inside",
            read_only [Mounts] "a read-only folder can't be changed in any way",
            of_one_file [Mounts] "a single file can be mounted",
            one_in_another [Mounts] "mounts nest in their order",
            missing_source [Mounts] "a missing source is refused by name",
            survive_a_restart [Mounts, PersistentSandboxes] "mounts are there again after a stop and start",
        }
        network {
            none_is_loopback_only [] "without network there is loopback and nothing else",
            on_has_a_route [Network] "with network there is a route and a resolver",
            on_is_not_the_hosts [Network] "the network namespace is never the host's",
        }
        persistent {
            keep_files [PersistentSandboxes] "files survive a stop and start",
            verbs_can_be_repeated [PersistentSandboxes] "create, start, stop and remove can be repeated",
            running_is_the_truth [PersistentSandboxes] "whether it runs is seen from the machine",
            wrong_phase [PersistentSandboxes] "what the phase doesn't allow is refused",
            survive_their_maker [PersistentSandboxes] "a sandbox outlives the process that started it",
            used_by_several_at_once [PersistentSandboxes] "several processes use one sandbox at once",
            client_death_kills_its_commands [PersistentSandboxes]
                "commands die with their own client, the sandbox doesn't",
            stop_ends_commands [PersistentSandboxes] "a stop ends commands, and their clients hear of it",
            stop_asks_first [PersistentSandboxes] "a stop sends SIGTERM and waits",
            stop_ends_the_stubborn [PersistentSandboxes] "what ignores SIGTERM is killed after the grace",
            remove_while_used [PersistentSandboxes] "removal of a sandbox in use ends its commands",
            remove_takes_all [PersistentSandboxes] "removal leaves nothing in the record's folder",
            are_apart [PersistentSandboxes] "sandboxes don't see each other's files",
            reclaim_leaves_them [PersistentSandboxes] "recovery leaves living sandboxes alone",
        }
        snapshots {
            pause_stops_time [PersistentSandboxes, Snapshots]
                "what runs in a paused sandbox stands still, and goes on when it is resumed",
            pause_can_be_repeated [PersistentSandboxes, Snapshots]
                "pause and resume can be repeated, by any process",
            paused_ones_run [PersistentSandboxes, Snapshots]
                "a paused sandbox is seen as one that runs",
            paused_ones_can_be_stopped [PersistentSandboxes, Snapshots]
                "a paused sandbox can be stopped and started again, its files kept",
            paused_ones_can_be_removed [PersistentSandboxes, Snapshots]
                "a paused sandbox can be removed",
            the_source_goes_on [PersistentSandboxes, Snapshots, DetachedCommands]
                "a sandbox that was copied goes on, and so do its commands",
            a_paused_source_stays_so [PersistentSandboxes, Snapshots]
                "a paused sandbox that was copied stands still",
            files_are_as_they_were [PersistentSandboxes, Snapshots]
                "a restored sandbox has the files of that moment, and each its own",
            commands_are_as_they_were [PersistentSandboxes, Snapshots, DetachedCommands]
                "a restored sandbox has the detached commands of its source with their logs",
            processes_go_on [PersistentSandboxes, Snapshots, DetachedCommands]
                "what ran when a snapshot was taken goes on in every copy",
            several_at_once [PersistentSandboxes, Snapshots]
                "several sandboxes are restored at once, and outlive what they came from",
            names_are_their_own [PersistentSandboxes, Snapshots]
                "a restored sandbox has a host name of its own",
            randomness_is_their_own [PersistentSandboxes, Snapshots]
                "copies draw different random numbers",
            clocks_are_right [PersistentSandboxes, Snapshots]
                "the clock of a resumed and of a restored sandbox is right",
            survive_a_restart [PersistentSandboxes, Snapshots]
                "a restored sandbox keeps its files over stop and start as any other",
            another_process_restores [PersistentSandboxes, Snapshots]
                "another process restores what one has taken",
            what_is_broken_is_refused [PersistentSandboxes, Snapshots]
                "a snapshot that isn't whole is an error, and nothing is made",
        }
        images {
            are_found_by_name_and_id [OciImages] "an image is found by its name and by its id; one that isn't here is not",
            start_from_their_id [OciImages] "a box starts from its image's id, whatever the name means by now",
            unknown_ids [OciImages] "an image id that isn't here is an error, and nothing is made",
            layers_are_in_order [OciImages] "what a later layer replaces, removes and hides is so",
            odd_files_are_whole [OciImages] "hard links, modes, links and odd names of an image are as it says",
            owners [OciImages, OtherUsers] "files belong to whom the image says, and their modes hold",
            setuid_is_inert [OciImages, OtherUsers] "a setuid program of an image gains nobody anything",
            can_be_read_only [OciImages, ReadOnlyRoot] "an image's files can't be written under a read-only root",
            stay_as_they_are [OciImages] "no box changes its image for another",
            without_a_shell [OciImages] "an image of one static program, without folders and users, works",
            other_libraries [OciImages] "a dynamic program runs with the loader of its image",
            survive_a_restart [OciImages, PersistentSandboxes]
                "a sandbox on an image keeps what it changed and removed over stop and start",
        }
        ephemeral {
            start_fresh [] "a box sees nothing of the one before it",
            destroy_ends_commands [] "destroying a box ends its commands, and their clients hear of it",
            destroy_leaves_no_process [] "no process outlives its box",
            dropped_is_reclaimed [] "a box that was dropped dies; recovery removes the rest, once",
            reclaim_leaves_the_living [] "recovery leaves living boxes alone",
            twenty_at_once [] "20 boxes run at once, each alone",
            handed_over [] "another process takes a box that nobody has used, and is then its owner",
            left_to_its_maker [] "what remains of a box that another process has left is removed by its maker",
            lost_on_the_way [] "a box that nobody takes over dies and is reclaimed",
            end_is_noticed [] "the end of a box that waits is noticed without asking it",
        }
    } };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_table {
    ([] $($group:ident { $($name:ident [$($need:ident),*] $promise:literal,)+ })+) => {
        &[$($(
            Case {
                id: concat!(stringify!($group), "::", stringify!($name)),
                promise: $promise,
                needs: &[$(Feature::$need),*],
                run: |scene| Box::pin(super::cases::$group::$name(scene)),
            },
        )+)+]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ([$factory:ident] $($group:ident { $($name:ident [$($need:ident),*] $promise:literal,)+ })+) => {
        $(
            mod $group {
                $(
                    #[test]
                    fn $name() {
                        use $crate::conformance::Verdict;
                        let id = concat!(stringify!($group), "::", stringify!($name));
                        let verdict = $crate::conformance::check(id, super::$factory);
                        println!("{}", $crate::conformance::record(id, &verdict));
                        match verdict {
                            Verdict::Holds => {}
                            Verdict::Refused(features) => eprintln!("REFUSED: {id} lacks {features:?}"),
                            Verdict::Skipped(why) => eprintln!("SKIPPED: {id}: {why}"),
                        }
                    }
                )+
            }
        )+
    };
}

/// One `#[test]` for each case of the suite, on what `factory` makes: `async fn() -> Result<Subject, Skipped>`.
#[macro_export]
macro_rules! conformance_suite {
    ($factory:ident) => {
        $crate::__conformance_cases! { __conformance_tests $factory }
    };
}

/// All cases.
pub const CASES: &[Case] = crate::__conformance_cases! { __conformance_table };
