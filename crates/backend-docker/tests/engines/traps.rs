//! Images that want to be started instead of the agent.

use std::os::unix::fs::DirBuilderExt;

use agentkernel_backend::BoxRecord;
use agentkernel_model::{ImageRef, NetworkAccess, Outcome};
use bollard::models::{ContainerConfig, ContainerCreateBody};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use futures_util::future::join_all;

use crate::bed::{Bed, shell, spec};

/// The bed's busybox with a link at `link` to a program of its own, below a volume that engines mount after the agent.
fn layer(link: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut program = tar::Header::new_ustar();
    program.set_mode(0o755);
    let text = b"#!/bin/sh\nexec sleep 100\n";
    program.set_size(text.len() as u64);
    builder.append_data(&mut program, "a/b/c/agent", &text[..]).unwrap();
    let mut symlink = tar::Header::new_ustar();
    symlink.set_entry_type(tar::EntryType::Symlink);
    symlink.set_size(0);
    let target = if link.ends_with("agent") { "/a/b/c/agent" } else { "/a/b/c" };
    builder.append_link(&mut symlink, link, target).unwrap();
    builder.into_inner().unwrap()
}

/// Makes the image; its name.
async fn trap(bed: &Bed, number: usize, link: &str, volume: &str) -> String {
    let engine = bed.engine();
    let body = ContainerCreateBody {
        image: Some("agentkernel-test/busybox:1".to_owned()),
        cmd: Some(vec!["x".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let made = engine.create_container(None, body).await.unwrap().id;
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    engine.upload_to_container(&made, Some(options), bollard::body_full(layer(link).into())).await.unwrap();
    let repository = format!("localhost/agentkernel-test-trap-{}-{number}", std::process::id());
    let options = CommitContainerOptionsBuilder::default()
        .container(&made)
        .repo(&repository)
        .tag("1")
        .changes(&format!("VOLUME {volume}"))
        .build();
    engine.commit_container(options, ContainerConfig::default()).await.unwrap();
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    engine.remove_container(&made, Some(options)).await.unwrap();
    format!("{repository}:1")
}

#[tokio::test]
async fn an_image_is_never_started_instead_of_the_agent() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let traps = [
            (".agentkernel/agent", "/a/b/c"),
            (".agentkernel", "/a/b/c"),
            // Where the folder itself is a volume, what the image has there shows only once the container is started.
            (".agentkernel/agent", "/.agentkernel"),
        ];
        for (number, (link, volume)) in traps.into_iter().enumerate() {
            let name = trap(&bed, number, link, volume).await;
            let image: ImageRef = name.parse().unwrap();
            let ready = backend.images().unwrap().find(&image).await.unwrap().unwrap();
            let mut spec = spec(&*backend).await;
            (spec.image, spec.image_id) = (image, Some(ready.id));
            let result = backend.launch(&spec).await.map(drop);
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            bed.engine().remove_image(&name, Some(options), None).await.unwrap();
            let text = result.expect_err("it was started").to_string();
            assert!(text.contains("agentkernel's own place"), "{} {link} {volume}: {text}", bed.kind.name());
        }
        let leases = state.path().join(bed.kind.name()).join("leases");
        assert_eq!(std::fs::read_dir(leases).unwrap().count(), 0);
    }
}

/// The filter must know the network, although the start itself makes it: its gateway is the host.
#[tokio::test]
async fn a_sandbox_that_makes_the_network_cannot_reach_its_gateway() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let mut spec = spec(&*backend).await;
        spec.network = NetworkAccess::On;
        let dir = state.path().join("gate");
        std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        let id = format!("{:08x}0000ga7e", std::process::id()).replace('g', "6");
        let record = BoxRecord { name: "gate".parse().unwrap(), id, spec, dir };
        backend.create(&record).await.unwrap();
        // In use by another test just now: then there is nothing to see here.
        bed.engine().remove_network("agentkernel").await.ok();
        backend.start(&record).await.unwrap();
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = format!(
            "python3 -c 'import socket, struct\nrows=[l.split() for l in open(\"/proc/net/route\")]\n\
             g=[r[2] for r in rows if r[1]==\"00000000\"][0]\n\
             a=socket.inet_ntoa(struct.pack(\"<I\",int(g,16)))\nprint(a)\n\
             s=socket.socket(); s.settimeout(5); s.connect((a,{port}))'"
        );
        let guest = backend.connect(&record).await.unwrap();
        let (outcome, text) = shell(&*guest, &script).await;
        drop(guest);
        backend.remove(&record).await.unwrap();
        assert!(text.contains("Refused") && outcome != Outcome::Exited(0), "{}: {text}", bed.kind.name());
        assert!(listener.accept().is_err(), "{}: somebody connected", bed.kind.name());
    }
}

/// With the network missing, several processes make it at once; Docker 20.10 then has it twice.
#[tokio::test]
async fn a_network_that_was_made_twice_is_one_again() {
    for bed in Bed::all() {
        // In use by another test just now: then there is nothing to see here.
        bed.engine().remove_network("agentkernel").await.ok();
        let launches = (0..3).map(|_| async {
            let state = tempfile::tempdir().unwrap();
            let backend = bed.open(state.path());
            let mut spec = spec(&*backend).await;
            spec.network = NetworkAccess::On;
            let made = backend.launch(&spec).await.unwrap();
            assert_eq!(shell(&*made.guest(), "echo a").await.1, "a\n");
            made.destroy().await.unwrap();
        });
        join_all(launches).await;
    }
}
