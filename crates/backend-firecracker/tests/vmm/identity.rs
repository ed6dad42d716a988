//! Addresses of machines that come from one template or one snapshot: each is told others than any other.

use std::collections::HashSet;

use agentkernel_model::{NetworkAccess, SandboxSpec};
use agentkernel_protocol::decode;
use agentkernel_protocol::machine::{MachineSetup, Network};
use agentkernel_testkit::conformance::{eventually, within};
use libtest_mimic::Trial;

use crate::copies::{good, running, spec, told_renewal, told_setup};
use crate::fake::TOLD_SETUP;
use crate::stage::Stage;
use crate::templates::template;
use crate::world::World;

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("identity::no_two_machines_are_told_one_address", || {
        if let Some(world) = World::new() {
            world.on_host(no_two_machines_are_told_one_address);
        }
        Ok(())
    })]
}

async fn no_two_machines_are_told_one_address() {
    let stage = Stage::new();
    let backend = stage.backend_with(&good(), &stage.firecracker_settings());
    let snapshots = backend.snapshots().unwrap();
    let spec = SandboxSpec { network: NetworkAccess::On, ..spec(&*backend).await };
    let mut told: Vec<Network> = Vec::new();

    let mut made = Vec::new();
    for number in 0..3 {
        made.push(within("a box", backend.launch(&spec)).await.unwrap());
        eventually("a template", async || template(&stage).is_some()).await;
        let restored = stage
            .rooms()
            .iter()
            .filter(|room| room.join("restored.state").symlink_metadata().is_ok())
            .count();
        assert_eq!(restored, number, "all but the first come from its template");
    }
    for room in stage.rooms() {
        let setup: MachineSetup = decode(&std::fs::read(room.join(TOLD_SETUP)).unwrap()).unwrap();
        told.extend(setup.network);
    }
    let mut records = vec![running(&stage, &*backend, &spec, 1).await];
    told.extend(told_setup(&records[0]).network);
    let folder = stage.path("taken");
    std::fs::create_dir(&folder).unwrap();
    snapshots.take(&records[0], &folder).await.unwrap();
    for number in 2..=3 {
        let copy = stage.record(&spec, number);
        within("a copy", snapshots.restore(&copy, &folder)).await.unwrap();
        told.extend(told_renewal(&copy).identity.unwrap().network);
        records.push(copy);
    }
    assert_eq!(told.len(), 6);
    let links: HashSet<_> = told.iter().map(|network| network.mac.unwrap().to_vec()).collect();
    let addresses: HashSet<_> = told.iter().map(|network| network.address.to_vec()).collect();
    assert_eq!((links.len(), addresses.len()), (6, 6), "{told:?}");

    for one in made {
        within("its end", one.destroy()).await.unwrap();
    }
    for record in &records {
        backend.remove(record).await.unwrap();
    }
    assert!(stage.processes().is_empty(), "{:?}", stage.processes());
}
