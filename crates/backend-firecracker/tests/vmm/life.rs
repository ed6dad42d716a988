//! Whose end a machine's end is: its owner's, however that ends; a new owner's, once it is given away; or nobody's.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use agentkernel_backend_firecracker::vmm::{Life, Machine, MachineNote, Vmm, VmmError};
use agentkernel_sys::process::ProcessIdentity;
use libtest_mimic::Trial;

use crate::fake::Plan;
use crate::stage::{SOON, Stage, trial, unnoted};

/// The name under which this program is an owner: with the VMM, the life, and the stage's folder behind it.
const OWNER: &str = "an-owner-of-machines";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("life::a_killed_owner_takes_its_machine_along", a_killed_owner_takes_its_machine_along),
        trial("life::a_lasting_machine_outlives_its_maker", a_lasting_machine_outlives_its_maker),
        trial("life::a_machine_can_be_given_away", a_machine_can_be_given_away),
        trial("life::a_machine_that_ends_by_itself_is_noticed", a_machine_that_ends_by_itself_is_noticed),
        trial(
            "life::an_owner_killed_while_it_notes_leaves_no_process",
            an_owner_killed_while_it_notes_leaves_no_process,
        ),
        trial("life::a_note_of_another_process_finds_nothing", a_note_of_another_process_finds_nothing),
    ]
}

/// Makes a machine, says its note, and waits to be killed.
pub(crate) fn owner_main() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let [name, vmm, life] = arguments.as_slice() else { return None };
    if name != OWNER {
        return None;
    }
    let notes_for_ever = life == "notes-for-ever";
    let life = if life == "with-owner" { Life::WithOwner } else { Life::Lasting };
    let stage = Stage::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let spec = stage.spec_of("m-1", &Plan::default(), life);
        let (firecracker, qemu) = (stage.firecracker(), stage.qemu());
        let vmm: &dyn Vmm = if vmm == "qemu" { &qemu } else { &firecracker };
        let say = |note: &MachineNote| println!("{}", serde_json::to_string(note).unwrap());
        let mut noted = |note: &MachineNote| {
            if notes_for_ever {
                say(note);
                loop {
                    std::thread::park();
                }
            }
            Ok(())
        };
        let started = vmm.start(&spec, &mut noted).await.unwrap();
        let (machine, _) = started.ready(SOON).await.unwrap();
        say(&machine.note());
        std::future::pending::<()>().await;
    });
    Some(ExitCode::SUCCESS)
}

/// A machine whose owner was killed right after it had one.
fn machine_of_a_killed_owner(vmm: &str, life: &str) -> MachineNote {
    use std::os::unix::process::CommandExt as _;
    let program = std::env::current_exe().unwrap();
    let mut owner =
        Command::new(program).arg0(OWNER).args([vmm, life]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let note: MachineNote = serde_json::from_str(&line).unwrap();
    assert!(!ended(&note, Duration::ZERO));
    owner.kill().unwrap();
    owner.wait().unwrap();
    note
}

fn ended(note: &MachineNote, limit: Duration) -> bool {
    let processes = [&note.process, &note.vsock_process].into_iter().flatten();
    processes.map(ProcessIdentity::from).all(|identity| match identity.open().unwrap() {
        Some(pidfd) => agentkernel_sys::process::wait_ended(&pidfd, Some(limit)).unwrap(),
        None => true,
    })
}

/// What the killed owner could not remove: its machine's folder, and the stage.
fn clean_up(note: &MachineNote) {
    Machine::end_noted(note).unwrap();
    assert!(!note.top.exists());
    let stage = note.top.parent().and_then(|folder| folder.parent()).unwrap();
    std::fs::remove_dir_all(stage).unwrap();
}

async fn a_killed_owner_takes_its_machine_along() {
    for vmm in ["firecracker", "qemu"] {
        let note = machine_of_a_killed_owner(vmm, "with-owner");
        assert!(ended(&note, SOON), "{note:?}");
        assert!(Machine::find(&note, None).unwrap().is_none());
        clean_up(&note);
    }
}

/// Between its process and its record there is a moment in which a machine belongs to nobody but its maker, lasting or not.
async fn an_owner_killed_while_it_notes_leaves_no_process() {
    for vmm in ["firecracker", "qemu"] {
        let note = machine_of_a_killed_owner(vmm, "notes-for-ever");
        assert!(ended(&note, SOON), "{note:?}");
        clean_up(&note);
    }
}

async fn a_lasting_machine_outlives_its_maker() {
    for vmm in ["firecracker", "qemu"] {
        let note = machine_of_a_killed_owner(vmm, "lasting");
        assert!(!ended(&note, Duration::from_millis(200)), "{note:?}");
        let found = Machine::find(&note, None).unwrap().unwrap();
        assert_eq!(found.note(), note);
        assert!(found.last_words().contains("Linux version"), "its console is found with it");
        found.connect(1024, SOON).await.unwrap();
        // Dropped, it lives on.
        drop(found);
        assert!(!ended(&note, Duration::from_millis(200)), "{note:?}");
        Machine::find(&note, None).unwrap().unwrap().end().unwrap();
        assert!(ended(&note, Duration::ZERO));
        clean_up(&note);
    }
}

async fn a_machine_can_be_given_away() {
    let stage = Stage::new();
    let vmms: [&dyn Vmm; 2] = [&stage.firecracker(), &stage.qemu()];
    for vmm in vmms {
        let started = vmm.start(&stage.spec(&Plan::default()), &mut unnoted).await.unwrap();
        let (machine, _) = started.ready(SOON).await.unwrap();
        let (note, holder) = machine.give_away();
        assert!(holder.is_some());
        assert!(!ended(&note, Duration::from_millis(100)));
        let again = Machine::find(&note, holder).unwrap().unwrap();
        again.connect(1024, SOON).await.unwrap();
        drop(again);
        assert!(ended(&note, SOON));
        stage.assert_nothing_left("m-1");
        // Given away and lost on the way.
        let started = vmm.start(&stage.spec(&Plan::default()), &mut unnoted).await.unwrap();
        let (machine, _) = started.ready(SOON).await.unwrap();
        let (note, holder) = machine.give_away();
        drop(holder);
        assert!(ended(&note, SOON));
        Machine::end_noted(&note).unwrap();
        stage.assert_nothing_left("m-1");
    }
}

async fn a_machine_that_ends_by_itself_is_noticed() {
    let stage = Stage::new();
    let vmms: [&dyn Vmm; 2] = [&stage.firecracker(), &stage.qemu()];
    for vmm in vmms {
        let started = vmm.start(&stage.spec(&Plan::default()), &mut unnoted).await.unwrap();
        let (machine, _) = started.ready(SOON).await.unwrap();
        let note = machine.note();
        let pidfd = ProcessIdentity::from(note.process.as_ref().unwrap()).open().unwrap().unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(50), machine.ended()).await;
        assert!(waited.is_err(), "it lives");
        agentkernel_sys::process::kill(&pidfd).unwrap();
        tokio::time::timeout(SOON, machine.ended()).await.unwrap().unwrap();
        // QEMU's vsock goes with it, without anybody's help.
        assert!(ended(&note, SOON));
        let unreachable = machine.connect(1024, SOON).await.unwrap_err();
        assert!(unreachable.to_string().contains("can't be reached"), "{unreachable}");
        if let Some(snapshots) = vmm.snapshots() {
            let error = snapshots.pause(&machine).await.unwrap_err();
            assert!(matches!(error, VmmError::Ended { .. }), "{error}");
        }
        machine.end().unwrap();
        stage.assert_nothing_left("m-1");
    }
}

async fn a_note_of_another_process_finds_nothing() {
    let stage = Stage::new();
    let started = stage.firecracker().start(&stage.spec(&Plan::default()), &mut unnoted).await.unwrap();
    let (machine, _) = started.ready(SOON).await.unwrap();
    let mut note = machine.note();
    note.process.as_mut().unwrap().start_ticks -= 1;
    assert!(Machine::find(&note, None).unwrap().is_none());
    note.process = None;
    assert!(Machine::find(&note, None).unwrap().is_none());
    machine.end().unwrap();
}
