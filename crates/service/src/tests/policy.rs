//! Scopes.

use agentkernel_api::{
    CreateRequest, ErrorCode, EventKind, MountRequest, PullRequest, RunRequest, WarmRequest,
};

use super::{Bench, caller, code, sh};
use crate::{Input, Scope, Verdict};

#[tokio::test]
async fn readers_only_look() {
    let bench = Bench::new();
    bench.sandbox("a").await;
    let reader = caller(Scope::Read, None);
    let service = &bench.service;
    assert_eq!(service.list(&reader, &[]).await.unwrap().len(), 1);
    service.info(&reader, "a").await.unwrap();
    service.stats(&reader).await.unwrap();
    service.read_content(&reader, "a", "/etc/passwd").await.unwrap();
    assert_eq!(code(service.run(&reader, sh("true"), Input::Request).await), ErrorCode::Forbidden);
    assert_eq!(code(service.start(&reader, "a").await), ErrorCode::Forbidden);
    assert_eq!(code(service.remove(&reader, "a", true).await), ErrorCode::Forbidden);
    assert_eq!(code(service.remove_file(&reader, "a", "/etc/passwd", false).await), ErrorCode::Forbidden);
    assert_eq!(code(service.audit_of(&reader, None, 10).await), ErrorCode::Forbidden);
    service.audit_of(&reader, Some("a"), 10).await.unwrap();
    let denied = bench.audit.actions().into_iter().filter(|(_, verdict)| *verdict == Verdict::Denied).count();
    assert_eq!(denied, 5);
    assert_eq!(service.stats(&reader).await.unwrap().denied, 5);
}

#[tokio::test]
async fn what_reaches_out_of_a_sandbox_is_for_admins() {
    let bench = Bench::new();
    let runner = caller(Scope::Run, None);
    let mut events = bench.service.subscribe(&runner, None).await.unwrap();
    let mount = MountRequest { source: "/tmp".to_owned(), target: "/x".to_owned(), read_only: true };
    let cases = [
        RunRequest { profile: Some("permissive".to_owned()), ..sh("true") },
        RunRequest { allow_unlimited: true, ..sh("true") },
        RunRequest { mounts: vec![mount], ..sh("true") },
    ];
    for request in cases {
        let refused = bench.service.run(&runner, request.clone(), Input::Request).await;
        assert_eq!(code(refused), ErrorCode::Forbidden, "{request:?}");
        assert_eq!(events.next().await.kind, EventKind::Denied);
        // Twice, for what is decided is remembered.
        assert_eq!(
            code(bench.service.run(&runner, request.clone(), Input::Request).await),
            ErrorCode::Forbidden
        );
        assert_eq!(events.next().await.kind, EventKind::Denied);
        bench.try_run(request).await.unwrap();
        assert_eq!(
            (events.next().await.kind, events.next().await.kind),
            (EventKind::CommandStarted, EventKind::CommandEnded)
        );
    }
    let open = CreateRequest { ports: vec!["0.0.0.0:8080:80".to_owned()], ..CreateRequest::default() };
    assert_eq!(code(bench.service.create(&runner, open).await), ErrorCode::Forbidden);
    let pull = PullRequest { image: "alpine".to_owned(), backend: None };
    assert_eq!(code(bench.service.pull(&runner, pull, &()).await), ErrorCode::Forbidden);
    let warm = WarmRequest { count: 1, ..WarmRequest::default() };
    assert_eq!(code(bench.service.warm(&runner, warm).await), ErrorCode::Forbidden);
    assert_eq!(code(bench.service.drain(&runner).await), ErrorCode::Forbidden);
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_server_without_a_pool_says_so() {
    let bench = Bench::new();
    let admin = super::admin();
    assert!(!bench.service.pool_status(&admin).await.unwrap().enabled);
    assert_eq!(code(bench.service.drain(&admin).await), ErrorCode::Unsupported);
    let warm = WarmRequest { count: 0, ..WarmRequest::default() };
    assert_eq!(code(bench.service.warm(&admin, warm).await), ErrorCode::Invalid);
}
