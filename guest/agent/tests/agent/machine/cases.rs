//! What must be true of a machine, on each bed.

use std::time::Duration;

use agentkernel_backend::{BackendError, Execution, ExecutionState, Guest as _, ProcessInfo};
use agentkernel_model::{BoxPath, Outcome, Signal};
use agentkernel_protocol::machine::{
    GivenFile, Limits, LiveMount, MachineSetup, Network, NetworkVersion6, Root,
};
use agentkernel_protocol::{GateError, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bed::{run, say, since_1970};
use super::beds;
use crate::{collect, request, shell, until};

fn given(path: &str, content: &str) -> GivenFile {
    GivenFile {
        path: path.as_bytes().to_vec().into(),
        mode: 0o644,
        content: content.as_bytes().to_vec().into(),
    }
}

#[tokio::test]
async fn commands_run_as_in_any_other_box() {
    for bed in beds() {
        let machine = bed.start().await;
        let guest = machine.begin(&bed.setup()).await;
        assert_eq!(
            run(&guest, "echo out; echo err >&2; exit 7").await,
            (Outcome::Exited(7), "out\n".into(), "err\n".into())
        );
        assert_eq!(run(&guest, "kill -TERM $$").await.0, Outcome::Signaled(Signal::TERM));
        assert!(matches!(guest.exec(&request(&["nope"])).await, Err(BackendError::CannotExec(_))));
        let mut somebody = request(&["id"]);
        somebody.user = Some("user".parse().unwrap());
        let (_, out, _) = collect(guest.exec(&somebody).await.unwrap()).await;
        assert_eq!(String::from_utf8(out).unwrap(), "uid=1000(user) gid=1000(user)\n");
        let mut terminal = request(&["sh", "-c", "test -t 0 && readlink /proc/self/fd/0"]);
        terminal.tty = Some(agentkernel_model::TtySize { rows: 24, columns: 80 });
        let (outcome, out, _) = collect(guest.exec(&terminal).await.unwrap()).await;
        assert_eq!((outcome, &*out), (Outcome::Exited(0), &b"/dev/pts/0\r\n"[..]));
        // Orphans find the agent, which reaps them.
        say(&guest, "(sleep 0.1 &)").await;
        let is_left =
            |left: &ProcessInfo| format!("{:?}", left.command).contains("sleep") || left.state == 'Z';
        until("no process is left", async || !guest.processes().await.unwrap().iter().any(is_left)).await;
    }
}

#[tokio::test]
async fn streams_are_exact_both_ways() {
    for bed in beds() {
        let machine = bed.start().await;
        let guest = machine.begin(&bed.setup()).await;
        let content = crate::commands::noise(6 << 20);
        let mut cat = request(&["cat"]);
        cat.stdin = true;
        let Execution { stdin, mut stdout, control, .. } = guest.exec(&cat).await.unwrap();
        let mut stdin = stdin.unwrap();
        let mut out = Vec::new();
        let write = async {
            stdin.write_all(&content).await.unwrap();
            stdin.shutdown().await.unwrap();
        };
        let read = async { stdout.read_to_end(&mut out).await.unwrap() };
        tokio::join!(write, read);
        assert!(out == content, "{} bytes of {}", out.len(), content.len());
        assert_eq!(control.wait().await.unwrap(), Outcome::Exited(0));
        // And small ones, each on a stream of its own.
        for number in 0..8 {
            let guest = machine.again().await;
            assert_eq!(say(&guest, &format!("echo {number}")).await, format!("{number}\n"));
        }
    }
}

#[tokio::test]
async fn a_machine_is_what_the_host_says() {
    for bed in beds() {
        let machine = bed.start().await;
        let files = ["/etc/resolv.conf", "/etc/hosts", "/opt/new/file"];
        let files = files.map(|path| given(path, &format!("content of {path}\n"))).into();
        let tmp_bytes = Some(1 << 20);
        let guest = machine.begin(&MachineSetup { files, tmp_bytes, ..bed.setup() }).await;
        assert_eq!(say(&guest, "hostname").await, "a-machine\n");
        assert_eq!(say(&guest, "cat /etc/machine-id").await, format!("{}\n", "a1".repeat(16)));
        assert_eq!(
            say(&guest, "cat /etc/resolv.conf /etc/hosts /opt/new/file").await,
            "content of /etc/resolv.conf\ncontent of /etc/hosts\ncontent of /opt/new/file\n"
        );
        assert_eq!(say(&guest, "ulimit -n; ulimit -Hn; ulimit -c").await, "1024\n1024\n0\n");
        assert_eq!(say(&guest, "ls -d /root /home /workspace /work/here").await.lines().count(), 4);
        assert!(say(&guest, "ip addr show lo").await.contains("127.0.0.1"));
        assert!(!say(&guest, "ip addr").await.replace("inet 127.0.0.1", "").contains("inet "));
        assert_eq!(say(&guest, "stat -c %a /tmp /dev/shm /proc /etc").await, "1777\n1777\n555\n755\n");
        assert!(run(&guest, "dd if=/dev/zero of=/tmp/f bs=65536 count=32").await.0 != Outcome::Exited(0));
        say(&guest, "echo x > /etc/new && cat /etc/new").await;
        let now: u64 = say(&guest, "date +%s").await.trim().parse().unwrap();
        assert!(now.abs_diff(since_1970().as_secs()) < 30, "{now}");
        let other = run(&guest, "dd if=/dev/zero of=/root/f bs=1M count=40 2>/dev/null").await.0;
        assert_ne!(other, Outcome::Exited(0), "40 MiB into an upper of 32");
    }
}

#[tokio::test]
async fn nothing_but_the_box_is_in_sight() {
    for bed in beds() {
        let machine = bed.start().await;
        let guest = machine.begin(&bed.setup()).await;
        let devices = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
        let found = say(&guest, "ls /dev").await.replace('\n', " ");
        assert_eq!(found.trim().replace("mqueue ", ""), devices.replace("mqueue ", ""));
        // A device of root's own, or of the image, is none.
        for device in ["/own-device", "/own-null", "/made", "/dev/made", "/tmp/made", "/dev/shm/made"] {
            let script = format!("mknod {device} c 1 3 2>/dev/null; cat {device}");
            let (outcome, _, err) = run(&guest, &script).await;
            assert_ne!(outcome, Outcome::Exited(0), "{device}");
            assert!(err.contains("ermission denied"), "{device}: {err}");
        }
        assert_eq!(
            say(&guest, "ls / | grep -e init -e box -e own -e image; ls /run").await,
            "own-device\nown-null\n"
        );
        let mounts = say(&guest, "cat /proc/mounts").await;
        for hidden in ["erofs", "/dev/vd", "/dev/loop", "cgroup", "devtmpfs /dev", "ext4", "rootfs"] {
            assert!(!mounts.contains(&format!("{hidden} ")), "{hidden}: {mounts}");
        }
        let mut own =
            say(&guest, "cat /proc/1/root/etc/machine-id 2>/dev/null; ls /proc/1/cwd/ 2>&1 || true").await;
        own.truncate(200);
        assert!(!own.contains("init\n"), "{own}");
        let groups = say(&guest, "cat /proc/self/cgroup").await;
        assert!(!groups.contains("box"), "{groups}");
        for path in
            ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/new", "/proc/sys/vm/overcommit_memory"]
        {
            let (outcome, _, err) = run(&guest, &format!("echo x > {path}")).await;
            assert_ne!(outcome, Outcome::Exited(0), "{path}");
            assert!(err.contains("ead-only") || err.contains("nonexistent"), "{path}: {err}");
        }
        for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"] {
            assert_eq!(say(&guest, &format!("if test -e {path}; then cat {path}; fi")).await, "", "{path}");
        }
        assert_eq!(say(&guest, "grep -c NoNewPrivs:.1 /proc/self/status").await, "1\n");
        let bounding = say(&guest, "grep -i capbnd /proc/self/status").await;
        assert!(bounding.ends_with("00000000a80425fb\n"), "{bounding}");
        assert!(say(&guest, "ls -l /proc/1/exe 2>&1 || true").await.contains("denied"));
    }
}

#[tokio::test]
async fn a_read_only_root_has_writable_places() {
    for bed in beds() {
        let machine = bed.start().await;
        let setup = bed.setup();
        let root = Root { read_only: true, ..setup.root.clone() };
        let guest = machine.begin(&MachineSetup { root, ..setup }).await;
        for place in ["/", "/etc", "/dev", "/root", "/work/here"] {
            let (outcome, _, err) = run(&guest, &format!("echo x > {place}/f")).await;
            assert!(outcome != Outcome::Exited(0) && err.contains("ead-only"), "{place}: {err}");
        }
        let script = "for d in /tmp /dev/shm; do echo x > $d/f && cat $d/f; done; echo lost > /dev/null";
        assert_eq!(say(&guest, script).await, "x\nx\n");
        assert_eq!(say(&guest, "stat -c %a /tmp").await, "1777\n");
    }
}

#[tokio::test]
async fn a_machine_for_one_stream_ends_with_it() {
    for bed in beds() {
        let machine = bed.start().await;
        let guest = machine.begin(&MachineSetup { exit_with_stream: true, ..bed.setup() }).await;
        let other = machine.again().await;
        assert_eq!(say(&other, "echo here").await, "here\n");
        drop(other);
        assert_eq!(say(&guest, "echo still here").await, "still here\n");
        drop(guest);
        machine.end().await;
    }
}

#[tokio::test]
async fn a_lasting_machine_outlives_its_streams() {
    for bed in beds() {
        let machine = bed.start().await;
        // Somebody who goes before anything is said, and one who goes in the middle.
        drop(machine.connect().await);
        let mut short = machine.connect().await;
        short.write_all(&[9, 0, 0]).await.unwrap();
        drop(short);
        let guest = machine.begin(&bed.setup()).await;
        let mut detached = shell("echo begun; sleep 600");
        detached.detached_log_limit = Some(1 << 16);
        let id = guest.exec(&detached).await.unwrap().id;
        drop(guest);
        let guest = machine.again().await;
        let info = guest.executions().await.unwrap();
        assert!(info.iter().any(|info| info.id == id && info.state == ExecutionState::Running));
        guest.kill(&id, Signal::KILL).await.unwrap();
        assert_eq!(guest.wait(&id).await.unwrap(), Outcome::Signaled(Signal::KILL));
        guest.power_off(Duration::ZERO).await.unwrap();
        machine.end().await;
    }
}

#[tokio::test]
async fn what_is_written_outlives_the_machine() {
    for bed in beds() {
        let setup = bed.setup();
        let root = Root { upper: bed.kept(), ..setup.root.clone() };
        let setup = MachineSetup { root, ..setup };
        let machine = bed.start().await;
        let guest = machine.begin(&setup).await;
        say(&guest, "echo kept > /root/file; chmod 700 /tmp; rm /etc/hosts 2>/dev/null; touch /etc/hosts")
            .await;
        // What a tenant may leave for the next start.
        say(&guest, "mkdir /x; rm -r /srv 2>/dev/null; ls -d /x").await;
        let mut detached =
            shell("trap 'echo told > /root/told; exit 3' TERM; echo ready > /root/ready; sleep 600 & wait");
        detached.detached_log_limit = Some(1 << 16);
        let id = guest.exec(&detached).await.unwrap().id;
        until("the trap is set", async || run(&guest, "cat /root/ready").await.0 == Outcome::Exited(0)).await;
        guest.power_off(Duration::from_secs(20)).await.unwrap();
        machine.end().await;

        let machine = bed.start().await;
        let files = vec![given("/etc/hosts", "new\n")];
        let guest = machine.begin(&MachineSetup { files, hostname: "again".into(), ..setup }).await;
        assert_eq!(
            say(&guest, "cat /root/file /root/told /etc/hosts; hostname").await,
            "kept\ntold\nnew\nagain\n"
        );
        assert_eq!(say(&guest, "stat -c %a /tmp").await, "700\n", "the box's own choice");
        let infos = guest.executions().await.unwrap();
        assert!(infos.iter().any(|info| info.id == id), "its log is there: {infos:?}");
        guest.power_off(Duration::from_secs(1)).await.unwrap();
        machine.end().await;
    }
}

#[tokio::test]
async fn a_network_is_what_was_said_and_nothing_else() {
    let network = Network {
        interface: "eth0".into(),
        mac: Some([2, 0, 0, 0, 0, 9].into()),
        address: [10, 9, 8, 7].into(),
        prefix: 32,
        // QEMU's own.
        gateway: Some([10, 0, 2, 2].into()),
        mtu: 1400,
        version_6: None,
    };
    for bed in beds() {
        let machine = bed.start().await;
        let setup = MachineSetup { network: Some(network.clone()), ..bed.setup() };
        let guest = match machine.try_to_begin(&setup, &Setup::default()).await {
            Ok(guest) => guest,
            Err(error) if !bed.is_virtual() => {
                println!("SKIPPED: this kernel gave the bed no network device: {error}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let shown = say(&guest, "ip addr show eth0").await;
        for wanted in ["mtu 1400", "02:00:00:00:00:09", "inet 10.9.8.7/32", ",UP"] {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
        assert!(!shown.contains("inet6"), "{shown}");
        let routes = say(&guest, "ip route").await;
        assert!(routes.contains("default via 10.0.2.2 dev eth0"), "{routes}");
        drop((guest, machine));

        let (address, gateway) =
            ([0xfd; 16].into(), Some([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into()));
        let version_6 = Some(NetworkVersion6 { address, prefix: 64, gateway });
        let own =
            Network { address: [10, 0, 2, 15].into(), prefix: 24, mac: None, version_6, ..network.clone() };
        let machine = bed.start().await;
        let guest = machine.begin(&MachineSetup { network: Some(own), ..setup }).await;
        let shown = say(&guest, "ip addr show eth0; ip -6 route").await;
        for wanted in
            ["10.0.2.15/24", "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd/64", "default via fe80::1 dev eth0"]
        {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
        if bed.is_virtual() {
            say(&guest, "ping -c 1 -W 10 10.0.2.2").await;
        }
        drop((guest, machine));

        let version_6 = Some(NetworkVersion6 { address: [0xfd; 16].into(), prefix: 128, gateway: None });
        let alone = Network { gateway: None, version_6, ..network.clone() };
        let machine = bed.start().await;
        let guest = machine.begin(&MachineSetup { network: Some(alone), ..bed.setup() }).await;
        let shown = say(&guest, "ip addr show eth0; ip route; ip -6 route").await;
        for wanted in
            ["NOARP", "default dev eth0 scope link", "10.9.8.7/32", "/128", "default dev eth0  metric"]
        {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
    }
}

#[tokio::test]
async fn what_can_not_be_done_is_named_and_ends_the_machine() {
    for bed in beds() {
        let setup = bed.setup();
        let root = setup.root.clone();
        let no_device = Root { device: "/dev/nonesuch".into(), ..root.clone() };
        let no_kind = Root { file_system: "nonesuch".into(), ..root.clone() };
        let wrong_kind = Root { file_system: "ext4".into(), ..root };
        let mount = LiveMount {
            port: 9,
            path: b"/workspace".to_vec().into(),
            read_only: false,
            token: [7; 32].into(),
            is_file: false,
        };
        let network = Network {
            interface: "eth9".into(),
            mac: None,
            address: [10, 0, 0, 2].into(),
            prefix: 24,
            gateway: Some([10, 0, 0, 1].into()),
            mtu: 1500,
            version_6: None,
        };
        let cases = [
            ("no device /dev/nonesuch", MachineSetup { root: no_device, ..setup.clone() }),
            ("lacks the file system nonesuch", MachineSetup { root: no_kind, ..setup.clone() }),
            ("is not ext4, or is damaged", MachineSetup { root: wrong_kind, ..setup.clone() }),
            ("/workspace can't be mounted", MachineSetup { mounts: vec![mount], ..setup.clone() }),
            ("network interface eth9", MachineSetup { network: Some(network), ..setup.clone() }),
            ("fewer than 32", MachineSetup { entropy: vec![1; 31].into(), ..setup.clone() }),
            ("the path holds", MachineSetup { files: vec![given("/a/../b", "")], ..setup.clone() }),
        ];
        for (expected, setup) in cases {
            let machine = bed.start().await;
            match machine.try_to_begin(&setup, &Setup::default()).await.map(drop) {
                Err(GateError::Refused { reason }) => assert!(reason.contains(expected), "{reason}"),
                other => panic!("{expected}: {other:?}"),
            }
            let console = machine.end().await;
            assert!(console.contains(expected), "{console}");
        }
        let machine = bed.start().await;
        let filter = Setup { system_call_filter: vec![1], ..Setup::default() };
        match machine.try_to_begin(&setup, &filter).await.map(drop) {
            Err(GateError::Refused { reason }) => assert!(reason.contains("filter system calls"), "{reason}"),
            other => panic!("{other:?}"),
        }
        machine.end().await;
    }
}

#[tokio::test]
async fn a_filter_of_system_calls_does_not_keep_a_machine_from_ending() {
    for bed in beds() {
        let machine = bed.start().await;
        // ld the number; the machine's end is refused, all else allowed.
        let refused = |call: i64| [&[0x15, 0, 0, 1][..], &(call as u32).to_ne_bytes()].concat();
        let refuse = [0x06, 0, 0, 0, 1, 0, 5, 0].to_vec();
        let allow = [0x06, 0, 0, 0, 0, 0, 0xff, 0x7f].to_vec();
        let load = [0x20, 0, 0, 0, 0, 0, 0, 0].to_vec();
        let program = [load, refused(169), refuse.clone(), refused(142), refuse, allow].concat();
        let filter = Setup { system_call_filter: program, ..Setup::default() };
        // What the agent of other boxes keeps: not the right to end the machine.
        let mut setup = MachineSetup { exit_with_stream: true, ..bed.setup() };
        setup.agent_capabilities = 0xa804_25fb;
        let guest = match machine.try_to_begin(&setup, &filter).await {
            Ok(guest) => guest,
            Err(error) => panic!("{error}\n{}", machine.console()),
        };
        assert_eq!(say(&guest, "grep -c Seccomp:.2 /proc/self/status").await, "1\n");
        drop(guest);
        let console = machine.end().await;
        assert!(!console.contains("could not power off") && !console.contains("panic"), "{console}");
    }
}

#[tokio::test]
async fn limits_are_kept_or_refused() {
    for bed in beds() {
        let machine = bed.start().await;
        let limits = Limits { pids: Some(24), memory_bytes: Some(48 << 20) };
        let setup = MachineSetup { limits, ..bed.setup() };
        if !bed.is_virtual() {
            // This kernel's controllers may be another hierarchy's.
            match machine.try_to_begin(&setup, &Setup::default()).await.map(drop) {
                Err(GateError::Refused { reason }) => {
                    assert!(reason.contains("lacks the control group controller"), "{reason}");
                }
                other => println!("SKIPPED: the limits of this kernel's own control groups: {other:?}"),
            }
            continue;
        }
        let guest = machine.begin(&setup).await;
        let bomb = "i=0; while test $i -lt 60; do sleep 5 & i=$((i+1)); done; wait";
        let (_, _, err) = run(&guest, bomb).await;
        assert!(err.contains("fork"), "{err}");
        assert_eq!(say(&guest, "echo alive").await, "alive\n");
        let (outcome, ..) = run(&guest, "dd if=/dev/zero of=/dev/null bs=100M count=1").await;
        assert_ne!(outcome, Outcome::Exited(0), "100 MiB of 48");
        let (outcome, ..) = run(&guest, "dd if=/dev/zero of=/dev/shm/f bs=1M count=90").await;
        assert_ne!(outcome, Outcome::Exited(0), "90 MiB of /dev/shm of 48");
        assert_eq!(say(&guest, "rm -f /dev/shm/f; cat /proc/self/cgroup").await, "0::/commands\n");
    }
}

#[tokio::test]
async fn two_machines_draw_different_numbers() {
    for bed in beds() {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let machine = bed.start().await;
            let guest = machine.begin(&bed.setup()).await;
            let random = guest.read_file(&BoxPath::new("/proc/sys/kernel/random/uuid").unwrap()).await;
            drop(random.unwrap());
            seen.push(say(&guest, "head -c 32 /dev/urandom | od -A n -t x1").await);
        }
        assert_ne!(seen[0], seen[1]);
    }
}
