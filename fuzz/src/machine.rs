//! What is said on a machine's first stream before frames: by a host to its agent, and by an agent, which may be any, to the
//! host.

use agentkernel_protocol::machine::{
    GivenFile, Limits, LiveMount, MAX_MACHINE_SETUP, MachineSetup, Network, NetworkVersion6, Root, Upper,
    ask_machine_setup, needs_machine_setup, send_machine_setup,
};
use agentkernel_protocol::{GateError, decode, encode};

/// The most characters of a reason for people.
const MOST_REASON: usize = 2000;

/// Set-ups, with and without the length before them, and answers.
pub fn seeds() -> Vec<Vec<u8>> {
    let setups = [whole(), least()].map(|setup| encode(&setup));
    let length = |setup: &Vec<u8>| u32::try_from(setup.len()).unwrap_or(0).to_le_bytes().to_vec();
    let mut seeds: Vec<Vec<u8>> =
        setups.iter().map(|setup| [length(setup), setup.clone()].concat()).collect();
    seeds.extend(setups);
    seeds.extend([b"MR".to_vec(), b"R".to_vec(), b"MF\x03\0why".to_vec(), b"F\xff\xff\x1b[31m".to_vec()]);
    seeds
}

/// Nothing panics, what is read is written the same again, and nothing is believed by its claimed length.
pub fn check(input: &[u8]) {
    if let Ok(setup) = decode::<MachineSetup>(input) {
        let again: MachineSetup = decode(&encode(&setup)).expect("what was read can be read again");
        assert_eq!(again, setup);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let asked = runtime.block_on(ask_machine_setup(&mut tokio::io::join(input, tokio::io::sink())));
    if let Ok(setup) = asked {
        assert!(encode(&setup).len() <= MAX_MACHINE_SETUP && input.len() > 4);
    }
    let host = async {
        let mut stream = tokio::io::join(input, tokio::io::sink());
        if needs_machine_setup(&mut stream).await? {
            send_machine_setup(&mut stream, &least()).await?;
        }
        Ok::<_, GateError>(())
    };
    if let Err(error) = runtime.block_on(host) {
        let text = error.to_string();
        assert!(text.chars().count() <= MOST_REASON && !text.chars().any(char::is_control), "{text:?}");
    }
}

fn least() -> MachineSetup {
    let upper = Upper::Memory { bytes: None };
    MachineSetup {
        hostname: String::new(),
        root: Root { device: "/dev/vda".into(), file_system: "erofs".into(), upper, read_only: false },
        network: None,
        files: Vec::new(),
        machine_id: [0; 16].into(),
        entropy: vec![0; 32].into(),
        wall_clock_ns: None,
        limits: Limits::default(),
        tmp_bytes: None,
        workdir: b"/".to_vec().into(),
        mounts: Vec::new(),
        exit_with_stream: false,
        agent_capabilities: 0,
        command_capabilities: 0,
        open_files: None,
    }
}

fn whole() -> MachineSetup {
    let path = |path: &str| path.as_bytes().to_vec().into();
    let mut setup = least();
    setup.root.upper = Upper::Device { path: "/dev/vdb".into(), file_system: "ext4".into() };
    setup.network = Some(Network {
        interface: "eth0".into(),
        mac: Some([2; 6].into()),
        address: [10, 0, 0, 2].into(),
        prefix: 30,
        gateway: Some([10, 0, 0, 1].into()),
        mtu: 1500,
        version_6: Some(NetworkVersion6 {
            address: [1; 16].into(),
            prefix: 64,
            gateway: Some([2; 16].into()),
        }),
    });
    setup.files = vec![GivenFile { path: path("/etc/hosts"), mode: 0o644, content: path("content") }];
    setup.limits = Limits { pids: Some(1), memory_bytes: Some(2) };
    setup.mounts = vec![LiveMount {
        port: 3,
        path: path("/workspace"),
        read_only: true,
        token: [5; 32].into(),
        is_file: false,
    }];
    (setup.wall_clock_ns, setup.tmp_bytes, setup.open_files) = (Some(u64::MAX), Some(4), Some(5));
    setup
}
