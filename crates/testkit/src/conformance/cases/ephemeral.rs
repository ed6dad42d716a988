//! Boxes without a record: one customer each, nothing left.

use agentkernel_backend::{BackendError, HandOver};
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

/// A box that nobody has used, on its way; `None` where this backend's boxes stay in their process, which is then all that
/// can be asked of it.
async fn on_its_way(scene: &Scene) -> Option<HandOver> {
    let mut made = scene.launch().await;
    within("the agent's hello", made.ready()).await.expect("it serves");
    match made.hand_over().await {
        Ok(handed) => Some(handed),
        Err(made) => {
            scene.skip("boxes of this backend stay in the process that made them".to_owned());
            shell(&*made.guest(), "true").await;
            made.destroy().await.expect("destroyed");
            None
        }
    }
}

pub(in super::super) async fn handed_over(scene: &Scene) {
    let Some(handed) = on_its_way(scene).await else { return };
    let other = scene.another_process();
    let reclaimed = other.reclaim(&[]).await.expect("recovered");
    assert!(reclaimed.objects.is_empty(), "it has an owner on its way too: {reclaimed:?}");
    let taken = within("the box", other.take_over(handed)).await.expect("taken over");
    assert_eq!(&taken.isolation().backend, other.name());
    let seconds = unique_sleep();
    let guest = taken.guest();
    let text = format!("(sleep {seconds} >/dev/null 2>&1 &); echo alive");
    assert_eq!(shell(&*guest, &text).await, "alive\n");
    // The maker's recovery leaves it alone.
    let reclaimed = scene.backend().reclaim(&[]).await.expect("recovered");
    assert!(reclaimed.objects.is_empty(), "{reclaimed:?}");
    let used = taken.hand_over().await;
    let Err(taken) = used else { panic!("a box that was used is given away") };
    within("its end", taken.destroy()).await.expect("destroyed");
    assert!(!on_this_machine(&seconds), "a process outlives its box");
    assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
}

pub(in super::super) async fn left_to_its_maker(scene: &Scene) {
    let Some(handed) = on_its_way(scene).await else { return };
    let other = scene.another_process();
    let taken = within("the box", other.take_over(handed)).await.expect("taken over");
    let seconds = unique_sleep();
    let text = format!("(sleep {seconds} >/dev/null 2>&1 &); echo alive");
    assert_eq!(shell(&*taken.guest(), &text).await, "alive\n");
    within("its end", taken.leave()).await.expect("left");
    // Nobody recovers anything here.
    eventually("nothing left", || async { !on_this_machine(&seconds) && scene.leftovers().is_empty() }).await;
}

pub(in super::super) async fn lost_on_the_way(scene: &Scene) {
    let Some(handed) = on_its_way(scene).await else { return };
    drop(handed);
    let other = scene.another_process();
    eventually("nothing left", || async {
        other.reclaim(&[]).await.expect("recovered");
        scene.leftovers().is_empty()
    })
    .await;
    let strange = HandOver {
        backend: scene.backend().name().clone(),
        state: serde_json::json!({ "id": "0123456789abcdef" }),
        descriptors: Vec::new(),
    };
    assert!(other.take_over(strange).await.is_err(), "nonsense is no box");
}

pub(in super::super) async fn end_is_noticed(scene: &Scene) {
    let mut made = scene.launch().await;
    within("the agent's hello", made.ready()).await.expect("it serves");
    let Some(mut end) = made.end() else {
        scene.skip("the end of a box that waits can't be seen here".to_owned());
        made.destroy().await.expect("destroyed");
        return;
    };
    let early = tokio::time::timeout(std::time::Duration::from_millis(50), &mut end).await;
    assert!(early.is_err(), "it has not ended yet");
    made.destroy().await.expect("destroyed");
    within("the notice", end).await;
}
