//! Boxes without a record: one customer each, nothing left.

use agentkernel_backend::BackendError;
use agentkernel_model::Outcome;

use super::super::ask::{count_processes, eventually, request, run, script, shell, unique_sleep, within};
use super::super::scene::Scene;

pub(in super::super) async fn start_fresh(scene: &Scene) {
    let first = scene.launch().await;
    shell(&*first.guest(), "echo mine > /tmp/f; echo mine > /root/f; echo mine > /dev/shm/f; rm /etc/passwd")
        .await;
    first.destroy().await.expect("destroyed");
    let second = scene.guest().await;
    let text =
        "for d in /tmp /root /dev/shm; do test -e $d/f && echo $d; done; test -e /etc/passwd && echo fresh";
    assert_eq!(shell(&*second, text).await, "fresh\n");
}

pub(in super::super) async fn destroy_ends_commands(scene: &Scene) {
    let made = scene.launch().await;
    let guest = made.guest();
    let execution = guest.exec(&request(&["sleep", "1000"])).await.expect("started");
    within("the end of the box", made.destroy()).await.expect("destroyed");
    match within("the end of the command", execution.control.wait()).await {
        Ok(Outcome::BoxEnded) | Err(BackendError::BoxEnded { .. }) => {}
        other => panic!("{other:?}"),
    }
    let result = within("an answer", guest.exec(&request(&["true"]))).await.map(drop);
    assert!(matches!(result, Err(BackendError::BoxEnded { .. })), "{result:?}");
    let result = within("an answer", guest.processes()).await.map(drop);
    assert!(matches!(result, Err(BackendError::BoxEnded { .. })), "{result:?}");
}

/// Whether a process of this machine has `text` in its arguments.
fn on_this_machine(text: &str) -> bool {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let arguments = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    arguments.into_iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

pub(in super::super) async fn destroy_leaves_no_process(scene: &Scene) {
    let made = scene.launch().await;
    let guest = made.guest();
    let seconds = unique_sleep();
    shell(&*guest, &format!("(sleep {seconds} >/dev/null 2>&1 &) ; true")).await;
    made.destroy().await.expect("destroyed");
    assert!(!on_this_machine(&seconds), "a process outlives its box");
}

pub(in super::super) async fn dropped_is_reclaimed(scene: &Scene) {
    let made = scene.launch().await;
    let guest = made.guest();
    let seconds = unique_sleep();
    let execution = guest.exec(&request(&["sleep", &seconds])).await.expect("started");
    eventually("the command", || async { count_processes(&*guest, &seconds).await == 1 }).await;
    drop((execution, guest, made));
    eventually("the end of its processes", || async { !on_this_machine(&seconds) }).await;
    let other = scene.another_process();
    eventually("nothing left", || async {
        other.reclaim(&[]).await.expect("recovered");
        scene.leftovers().is_empty()
    })
    .await;
    let again = other.reclaim(&[]).await.expect("recovered again");
    assert!(again.objects.is_empty(), "a second recovery finds nothing: {again:?}");
}

pub(in super::super) async fn reclaim_leaves_the_living(scene: &Scene) {
    let guest = scene.guest().await;
    let reclaimed = scene.another_process().reclaim(&[]).await.expect("recovered");
    assert!(reclaimed.objects.is_empty(), "{reclaimed:?}");
    assert_eq!(shell(&*guest, "echo alive").await, "alive\n");
}

pub(in super::super) async fn twenty_at_once(scene: &Scene) {
    let mut tasks = Vec::new();
    for number in 0..20u8 {
        let (backend, spec) = (std::sync::Arc::clone(scene.backend()), scene.spec());
        tasks.push(tokio::spawn(async move {
            let made = backend.launch(&spec).await.expect("launched");
            let text =
                format!("test -e /tmp/f && exit 99; echo {number} > /tmp/f; cat /tmp/f; exit {number}");
            let done = run(&*made.guest(), &script(&text)).await;
            made.destroy().await.expect("destroyed");
            assert_eq!(
                (done.outcome, done.stdout),
                (Outcome::Exited(number), format!("{number}\n").into_bytes())
            );
        }));
    }
    for task in tasks {
        within("a box", task).await.expect("no panic");
    }
}
