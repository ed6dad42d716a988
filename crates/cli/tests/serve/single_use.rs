//! Warm boxes are used once: nothing of one run is there in the next.

use std::collections::BTreeSet;

use serde_json::json;

use crate::place::Place;
use crate::process::{mark, sleeps, wait_until};
use crate::same_results::{ready, warm_daemon};
use crate::server::Server;

/// Says what an earlier run left, and leaves as much as it can.
fn script(mark: &str) -> String {
    format!(
        "for place in /tmp /var/tmp /dev/shm /run /root /home /etc /usr /; do \
           [ -e $place/mark-{mark} ] && echo left: $place; : > $place/mark-{mark}; \
         done 2>/dev/null; \
         for process in /proc/[0-9]*; do \
           tr '\\0' ' ' < $process/cmdline 2>/dev/null | grep -q '^sleep {mark}' && echo left: process; \
         done; \
         env | grep -q MARK-{mark} && echo left: environment; \
         hostname mark-{mark} 2>/dev/null; \
         (setsid sleep {mark} >/dev/null 2>&1 </dev/null &) ; \
         [ -r /proc/sys/kernel/random/boot_id ]; stat -L -c %i /proc/self/ns/pid; hostname"
    )
}

/// Checks what `count` runs said.
#[track_caller]
fn assert_strangers(outputs: &[String], mark: &str) {
    for output in outputs {
        assert!(!output.contains("left:"), "a run saw another one's: {output}");
        assert!(!output.contains(&format!("mark-{mark}\nmark")), "{output}");
    }
    let hosts: BTreeSet<&str> = outputs.iter().filter_map(|output| output.lines().last()).collect();
    assert!(hosts.iter().all(|host| !host.contains("mark") || hosts.len() == 1), "{hosts:?}");
    wait_until("what the runs left to end with them", || !sleeps(mark));
}

#[test]
fn runs_over_the_daemon_are_strangers() {
    let Some(place) = Place::new("runs over the daemon") else { return };
    let daemon = warm_daemon(&place);
    let mark = mark();
    let script = script(&mark);
    let variable = format!("MARK-{mark}=1");
    let outputs: Vec<String> = (0..20)
        .map(|n| {
            // However busy the machine is.
            wait_until("a warm box", || ready(&daemon) > 0);
            let env = if n % 2 == 0 { &["--env", &variable[..]][..] } else { &[] };
            // A run that was given the variable itself looks for it in vain elsewhere.
            let script = if n % 2 == 0 { script.replace("left: environment", "") } else { script.clone() };
            place.ok(&[&["run"], env, &["sh", "-c", &script]].concat())
        })
        .collect();
    assert_strangers(&outputs, &mark);
    let pool = daemon.get("/pool").data();
    assert!(pool["templates"][0]["hits"].as_u64() >= Some(20), "{pool}");
}

#[test]
fn runs_over_http_are_strangers() {
    let Some(place) = Place::new("runs over HTTP") else { return };
    let server = Server::start(&place);
    let mark = mark();
    let body = json!({ "command": ["sh", "-c", script(&mark)] });
    // The pool learns what is asked for.
    server.post("/run", &json!({ "command": ["true"] })).data();
    let mut warm = 0;
    let outputs: Vec<String> = (0..30)
        .map(|_| {
            wait_until("a warm box", || ready(&server) > 0);
            let data = server.post("/run", &body).data();
            warm += u32::from(data["warm"] == true);
            data["stdout"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_strangers(&outputs, &mark);
    assert_eq!(warm, 30, "{}", server.get("/pool").text());
    // Who doesn't want a warm one doesn't get one.
    let cold = server.post("/run", &json!({ "command": ["true"], "fast": false })).data();
    assert_eq!(cold["warm"], false);
}

/// Many at once: each box goes to one of them.
#[test]
fn a_box_is_given_to_one_only() {
    let Some(place) = Place::new("boxes and many clients") else { return };
    let server = Server::start(&place);
    server.post("/run", &json!({ "command": ["true"] })).data();
    wait_until("warm boxes", || ready(&server) > 1);
    let script = "mkdir /tmp/taken || echo twice; ls /proc | grep -c '^[0-9]'; sleep 0.05; echo end";
    let outputs = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let body = json!({ "command": ["sh", "-c", script] });
                    (0..10).map(|_| server.post("/run", &body).data()).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(outputs.len(), 80);
    for data in &outputs {
        let text = data["stdout"].as_str().unwrap();
        assert!(!text.contains("twice") && text.ends_with("end\n"), "{data}");
    }
    assert!(outputs.iter().any(|data| data["warm"] == true), "{}", server.get("/pool").text());
}
