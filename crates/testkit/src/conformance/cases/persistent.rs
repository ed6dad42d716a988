//! Sandboxes that outlive their maker.

use std::time::{Duration, Instant};

use agentkernel_backend::BackendError;
use agentkernel_model::{Outcome, Signal};

use super::super::ask::{
    count_processes, eventually, read_until, request, run, script, shell, unique_sleep, within,
};
use super::super::scene::{GRACE, Scene};

pub(in super::super) async fn keep_files(scene: &Scene) {
    let (record, guest) = scene.started().await;
    shell(&*guest, "echo kept > /root/f; mkdir -p /var/d; ln -s /root/f /var/d/l; echo x > /etc/later").await;
    let backend = scene.backend();
    for (text, output) in [
        ("cat /root/f /var/d/l /etc/later; rm /etc/later; echo more >> /root/f", "kept\nkept\nx\n"),
        ("cat /root/f; test -e /etc/later || echo gone", "kept\nmore\ngone\n"),
    ] {
        backend.stop(&record, GRACE).await.expect("stopped");
        backend.start(&record).await.expect("started again");
        let guest = backend.connect(&record).await.expect("connected");
        assert_eq!(shell(&*guest, text).await, output);
    }
}

pub(in super::super) async fn verbs_can_be_repeated(scene: &Scene) {
    let record = scene.record();
    let backend = scene.backend();
    for _ in 0..2 {
        backend.create(&record).await.expect("created");
    }
    backend.start(&record).await.expect("started");
    let guest = backend.connect(&record).await.expect("connected");
    let mut execution = guest.exec(&script("echo up; exec sleep 1000")).await.expect("started");
    read_until(&mut execution.stdout, "up\n").await;
    let isolation = backend.start(&record).await.expect("started again");
    assert_eq!(&isolation.backend, backend.name());
    assert_eq!(guest.executions().await.expect("a list").len(), 1, "a second start leaves the first running");
    drop(execution);
    for _ in 0..2 {
        backend.stop(&record, GRACE).await.expect("stopped");
    }
    for _ in 0..2 {
        backend.remove(&record).await.expect("removed");
    }
}

pub(in super::super) async fn running_is_the_truth(scene: &Scene) {
    let record = scene.record();
    let backend = scene.backend();
    assert!(backend.running(&record).await.expect("an answer").is_none(), "before it is made");
    backend.create(&record).await.expect("created");
    assert!(backend.running(&record).await.expect("an answer").is_none(), "before it is started");
    let isolation = backend.start(&record).await.expect("started");
    assert_eq!(backend.running(&record).await.expect("an answer"), Some(isolation.clone()));
    assert_eq!(scene.another_process().running(&record).await.expect("an answer"), Some(isolation));
    backend.stop(&record, GRACE).await.expect("stopped");
    assert!(backend.running(&record).await.expect("an answer").is_none(), "after a stop");
    backend.start(&record).await.expect("started");
    backend.remove(&record).await.expect("removed while it runs");
    assert!(backend.running(&record).await.expect("an answer").is_none(), "after removal");
}

pub(in super::super) async fn wrong_phase(scene: &Scene) {
    let record = scene.record();
    let backend = scene.backend();
    assert!(backend.start(&record).await.is_err(), "started without create");
    assert!(backend.connect(&record).await.is_err(), "connected without create");
    backend.create(&record).await.expect("created");
    match within("an answer", backend.connect(&record)).await.map(drop) {
        Err(BackendError::WrongPhase { name, .. }) => assert_eq!(name, record.name.as_str()),
        other => panic!("connected to what doesn't run: {other:?}"),
    }
}

pub(in super::super) async fn survive_their_maker(scene: &Scene) {
    let record = scene.record();
    {
        let first = scene.another_process();
        first.create(&record).await.expect("created");
        first.start(&record).await.expect("started");
        let guest = first.connect(&record).await.expect("connected");
        shell(&*guest, "echo here > /tmp/f").await;
    }
    let guest = scene.backend().connect(&record).await.expect("connected");
    assert_eq!(shell(&*guest, "cat /tmp/f").await, "here\n");
}

pub(in super::super) async fn used_by_several_at_once(scene: &Scene) {
    let (record, first) = scene.started().await;
    let second = scene.another_process().connect(&record).await.expect("connected");
    let (one, two) = (script("sleep 0.1; echo one"), script("sleep 0.1; echo two"));
    let (one, two) = tokio::join!(run(&*first, &one), run(&*second, &two));
    assert_eq!((one.text(), two.text()), ("one\n", "two\n"));
    // One client's end is not another's.
    drop(second);
    assert_eq!(shell(&*first, "echo still").await, "still\n");
}

pub(in super::super) async fn client_death_kills_its_commands(scene: &Scene) {
    let (record, first) = scene.started().await;
    let seconds = unique_sleep();
    let second = scene.another_process().connect(&record).await.expect("connected");
    let execution = second.exec(&request(&["sleep", &seconds])).await.expect("started");
    eventually("the command", || async { count_processes(&*first, &seconds).await == 1 }).await;
    drop((execution, second));
    eventually("its end", || async { count_processes(&*first, &seconds).await == 0 }).await;
    assert!(scene.backend().running(&record).await.expect("an answer").is_some());
}

pub(in super::super) async fn stop_ends_commands(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let execution = guest.exec(&request(&["sleep", "1000"])).await.expect("started");
    scene.another_process().stop(&record, GRACE).await.expect("stopped");
    match within("the end of the command", execution.control.wait()).await {
        Ok(Outcome::BoxEnded | Outcome::Signaled(Signal::TERM | Signal::KILL))
        | Err(BackendError::BoxEnded { .. }) => {}
        other => panic!("{other:?}"),
    }
    let result = within("an answer", guest.exec(&request(&["true"]))).await.map(drop);
    assert!(matches!(result, Err(BackendError::BoxEnded { .. })), "{result:?}");
}

pub(in super::super) async fn stop_asks_first(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let text = "trap 'echo asked > /root/asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let mut execution = guest.exec(&script(text)).await.expect("started");
    read_until(&mut execution.stdout, "ready\n").await;
    let backend = scene.backend();
    let started = Instant::now();
    backend.stop(&record, Duration::from_secs(60)).await.expect("stopped");
    assert!(started.elapsed() < Duration::from_secs(30), "nobody needed all the grace");
    backend.start(&record).await.expect("started again");
    let guest = backend.connect(&record).await.expect("connected");
    assert_eq!(shell(&*guest, "cat /root/asked").await, "asked\n");
}

pub(in super::super) async fn stop_ends_the_stubborn(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let mut execution =
        guest.exec(&script("trap '' TERM; echo ready; while :; do sleep 0.05; done")).await.expect("started");
    read_until(&mut execution.stdout, "ready\n").await;
    within("the stop", scene.backend().stop(&record, Duration::from_millis(300))).await.expect("stopped");
    match within("the end of the command", execution.control.wait()).await {
        Ok(Outcome::BoxEnded | Outcome::Signaled(Signal::KILL)) | Err(BackendError::BoxEnded { .. }) => {}
        other => panic!("{other:?}"),
    }
}

pub(in super::super) async fn remove_while_used(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let execution = guest.exec(&request(&["sleep", "1000"])).await.expect("started");
    within("the removal", scene.another_process().remove(&record)).await.expect("removed");
    match within("the end of the command", execution.control.wait()).await {
        Ok(Outcome::BoxEnded | Outcome::Signaled(Signal::KILL | Signal::TERM))
        | Err(BackendError::BoxEnded { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(scene.backend().running(&record).await.expect("an answer").is_none());
    assert!(scene.backend().start(&record).await.is_err(), "started after removal");
}

pub(in super::super) async fn remove_takes_all(scene: &Scene) {
    let (record, guest) = scene.started().await;
    shell(&*guest, "mkdir -p /root/a/b; echo x > /root/a/b/c; chmod 000 /root/a").await;
    drop(guest);
    scene.backend().remove(&record).await.expect("removed");
    let left: Vec<_> = std::fs::read_dir(&record.dir)
        .map(|entries| entries.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "left in the record's folder: {left:?}");
}

pub(in super::super) async fn are_apart(scene: &Scene) {
    let (_, first) = scene.started().await;
    let (_, second) = scene.started().await;
    shell(&*first, "echo mine > /tmp/f; echo mine > /root/f").await;
    assert_eq!(shell(&*second, "test -e /tmp/f || test -e /root/f || echo alone").await, "alone\n");
}

pub(in super::super) async fn reclaim_leaves_them(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let reclaimed = scene.another_process().reclaim(std::slice::from_ref(&record)).await.expect("recovered");
    assert!(reclaimed.objects.is_empty(), "{reclaimed:?}");
    assert_eq!(shell(&*guest, "echo alive").await, "alive\n");
}
