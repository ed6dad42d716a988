//! The fake Firecracker itself: it takes nothing that the real one would refuse, so that what passes here means something.

use agentkernel_backend_firecracker::api::{Client, LogLevel, Logger, Metrics, Serial};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use libtest_mimic::Trial;
use tokio::net::{UnixListener, UnixStream};

use crate::fake::{self, Plan};
use crate::stage::{Stage, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("strict::what_the_rules_do_not_know_is_refused", what_the_rules_do_not_know_is_refused),
        trial("strict::what_no_machine_uses_is_right_too", what_no_machine_uses_is_right_too),
    ]
}

async fn ask(stage: &Stage, method: &str, path: &str, body: &str) -> (u16, String) {
    let stream = UnixStream::connect(stage.path("api.sock")).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move { connection.await.unwrap_or_default() });
    let request = Request::builder().method(method).uri(path).header("Content-Type", "application/json");
    let request = request.body(Full::new(bytes::Bytes::from(body.to_owned()))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn what_the_rules_do_not_know_is_refused() {
    let stage = Stage::new();
    let listener = UnixListener::bind(stage.path("api.sock")).unwrap();
    tokio::spawn(fake::serve(listener, Plan::default()));
    let machine = r#"{"vcpu_count":1,"mem_size_mib":128}"#;
    let refused = [
        ("PUT", "/machine", machine, "there is no"),
        ("POST", "/machine-config", machine, "there is no"),
        ("PUT", "/drives/", "{}", "there is no"),
        (
            "PUT",
            "/machine-config",
            r#"{"vcpu_count":1,"mem_size_mib":128,"ht_enabled":true}"#,
            "unknown field",
        ),
        ("PUT", "/machine-config", r#"{"vcpu_count":1}"#, "missing field"),
        ("PUT", "/machine-config", r#"{"vcpu_count":64,"mem_size_mib":128}"#, "can't be 64"),
        ("PUT", "/machine-config", r#"{"vcpu_count":"1","mem_size_mib":128}"#, "can't be"),
        ("PUT", "/machine-config", "", "no content"),
        ("PUT", "/machine-config", "{", "rule"),
        ("GET", "/version", "{}", "none belongs"),
        ("PATCH", "/vm", r#"{"state":"Paused"}"#, "not supported in"),
        ("PUT", "/snapshot/create", r#"{"mem_file_path":"m","snapshot_path":"s"}"#, "not supported in"),
        ("PUT", "/actions", r#"{"action_type":"InstanceStart"}"#, "kernel configuration"),
        ("PUT", "/actions", r#"{"action_type":"Stop"}"#, "can't be"),
        ("PUT", "/vsock", r#"{"guest_cid":2,"uds_path":"v.sock"}"#, "can't be 2"),
        (
            "PUT",
            "/drives/drive0",
            r#"{"drive_id":"drive1","is_root_device":false,"is_read_only":true,"path_on_host":"x"}"#,
            "the id of the path",
        ),
        ("PUT", "/drives/a-b", r#"{"drive_id":"a-b","is_root_device":false}"#, "can't be"),
        (
            "PUT",
            "/network-interfaces/eth0",
            r#"{"iface_id":"eth0","host_dev_name":"t","guest_mac":"06:00"}"#,
            "can't be",
        ),
        (
            "PUT",
            "/network-interfaces/eth0",
            r#"{"iface_id":"eth0","host_dev_name":"t","tx_rate_limiter":{"bandwidth":{"size":1}}}"#,
            "missing field `refill_time`",
        ),
    ];
    for (method, path, body, reason) in refused {
        let (status, answer) = ask(&stage, method, path, body).await;
        assert_eq!(status, 400, "{method} {path} {body}");
        assert!(answer.contains(reason), "{method} {path} {body}: {answer}");
    }
    assert_eq!(ask(&stage, "PUT", "/machine-config", machine).await.0, 204);
}

async fn what_no_machine_uses_is_right_too() {
    let stage = Stage::new();
    let listener = UnixListener::bind(stage.path("api.sock")).unwrap();
    tokio::spawn(fake::serve(listener, Plan::default()));
    let client = Client::new(&stage.path(""), "api.sock").unwrap();
    let logger = Logger {
        log_path: Some("log".to_owned()),
        level: LogLevel::Warning,
        show_level: true,
        show_log_origin: false,
    };
    client.put_logger(&logger).await.unwrap();
    client.put_metrics(&Metrics { metrics_path: "metrics".to_owned() }).await.unwrap();
    client
        .put_serial(&Serial { serial_out_path: Some("serial".to_owned()), rate_limiter: None })
        .await
        .unwrap();
    assert!(client.balloon_statistics().await.is_err());
    assert_eq!(client.version().await.unwrap().to_string(), "1.12.0");
}
