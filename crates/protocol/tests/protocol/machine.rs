//! The set-up of a machine keeps its form, and nothing that claims to be one does harm.

use agentkernel_protocol::machine::{
    GivenFile, Limits, LiveMount, MachineSetup, Network, NetworkVersion6, Root, Upper, ask_machine_setup,
    needs_machine_setup,
};
use agentkernel_protocol::{decode, encode};
use proptest::prelude::*;

fn whole() -> MachineSetup {
    MachineSetup {
        hostname: "a-box".into(),
        root: Root {
            device: "/dev/vda".into(),
            file_system: "erofs".into(),
            upper: Upper::Device { path: "/dev/vdb".into(), file_system: "ext4".into() },
            read_only: true,
        },
        network: Some(Network {
            interface: "eth0".into(),
            mac: Some([2, 0, 0, 0, 0, 1].into()),
            address: [10, 1, 2, 3].into(),
            prefix: 30,
            gateway: Some([10, 1, 2, 1].into()),
            mtu: 1500,
            version_6: Some(NetworkVersion6 {
                address: [0xfd; 16].into(),
                prefix: 64,
                gateway: Some([0xfe; 16].into()),
            }),
        }),
        files: vec![GivenFile {
            path: b"/etc/hosts".to_vec().into(),
            mode: 0o644,
            content: b"127.0.0.1 localhost\n".to_vec().into(),
        }],
        machine_id: [0xab; 16].into(),
        entropy: (0..32).collect::<Vec<u8>>().into(),
        wall_clock_ns: Some(1_700_000_000_000_000_000),
        limits: Limits { pids: Some(64), memory_bytes: Some(1 << 27) },
        tmp_bytes: Some(1 << 20),
        workdir: b"/workspace".to_vec().into(),
        mounts: vec![LiveMount {
            port: 2000,
            path: b"/workspace".to_vec().into(),
            read_only: false,
            token: [3; 32].into(),
            is_file: false,
        }],
        exit_with_stream: true,
        agent_capabilities: 0xa804_25fb,
        command_capabilities: 0x2425,
        open_files: Some(1024),
    }
}

#[test]
fn version_one_is_still_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/machine-setup-v1.bin");
    if std::env::var_os("AGENTKERNEL_BLESS").is_some() {
        std::fs::write(path, encode(&whole())).unwrap();
    }
    let golden = std::fs::read(path).unwrap();
    assert_eq!(decode::<MachineSetup>(&golden), Ok(whole()));
    assert_eq!(encode(&whole()), golden, "what is written has changed");
}

#[test]
fn a_half_is_refused() {
    let bytes = encode(&whole());
    for cut in 0..bytes.len() {
        assert!(decode::<MachineSetup>(&bytes[..cut]).is_err(), "{cut}");
    }
}

fn on_one_thread<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn a_damaged_set_up_is_read_the_same_again_or_refused(at in 0_usize..1000, byte: u8) {
        let mut bytes = encode(&whole());
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(read) = decode::<MachineSetup>(&bytes) {
            prop_assert_eq!(decode::<MachineSetup>(&encode(&read)), Ok(read));
        }
    }

    #[test]
    fn any_bytes_on_a_stream_end_both_sides(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let guest = on_one_thread(ask_machine_setup(&mut tokio::io::join(&bytes[..], tokio::io::sink())));
        let host = on_one_thread(needs_machine_setup(&mut &bytes[..]));
        prop_assert!(guest.is_err());
        prop_assert_eq!(host.is_ok(), matches!(bytes.first(), Some(b'M' | b'R')));
    }
}
