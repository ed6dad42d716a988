//! Who is asked, by which way, and what they are shown.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use agentkernel_image::{ImageError, Reference};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::fake::{Fake, Reply};
use crate::scene::{REPOSITORY, Sample, Scene, settings};

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Docker's configuration with a login for the scene's registry.
fn log_in(scene: &mut Scene, user: &str, password: &str) {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let text = format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, scene.registry.name);
    configure(scene, &text);
}

fn configure(scene: &mut Scene, text: &str) {
    let path = scene.folder().join("config.json");
    std::fs::write(&path, text).unwrap();
    scene.settings.credential_files = vec![scene.folder().join("absent.json"), path];
}

/// Asks for `user:secret` for everything under `/v2/`.
fn demand_password(registry: &Fake) {
    let expected = basic("user", "secret");
    registry.rule(move |request| {
        let is_known = request.header("authorization") == Some(&expected);
        let challenge = Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}"#);
        (!is_known).then(|| challenge.header("WWW-Authenticate", "Basic realm=\"fake\""))
    });
}

/// Asks for the token that was given last; `token1`, `token2`, ... are given by `server`.
fn demand_token(registry: &Fake, server: &Fake, lifetime_seconds: u64) {
    let given = std::sync::Arc::new(std::sync::Mutex::new(0));
    let (current, name) = (given.clone(), server.name.clone());
    registry.rule(move |request| {
        let expected = format!("Bearer token{}", current.lock().unwrap());
        let is_known = request.header("authorization") == Some(&expected);
        let challenge =
            format!("Bearer realm=\"http://{name}/token\",service=\"fake\",scope=\"repository:other:push\"");
        let is_wanted = request.path.contains("/v2/");
        (is_wanted && !is_known).then(|| Reply::new(401, "").header("WWW-Authenticate", challenge))
    });
    server.rule(move |request| {
        if !request.path.starts_with("/token") {
            return None;
        }
        let mut number = given.lock().unwrap();
        *number += 1;
        Some(Reply::new(
            200,
            format!(r#"{{"access_token":"token{number}","expires_in":{lifetime_seconds}}}"#),
        ))
    });
}

#[tokio::test]
async fn a_password_is_shown_to_who_asks_for_it_and_once_known_at_once() {
    let sample = Sample::new(&[10, 20]);
    let mut scene = Scene::with(&sample).await;
    demand_password(&scene.registry);
    let error = scene.refused().await;
    assert!(error.contains("doesn't give image") && error.contains("to everybody"), "{error}");
    assert!(error.contains(&format!("docker login {}", scene.registry.name)), "{error}");

    log_in(&mut scene, "user", "secret");
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);
    let unknown = |request: &&crate::fake::Request| request.header("authorization").is_none();
    // One by the pull that was refused, one that began this.
    assert_eq!(scene.registry.seen("").iter().filter(unknown).count(), 2);

    log_in(&mut scene, "user", "geheim");
    let error = scene.refused().await;
    assert!(
        error.contains("user \"user\"") && error.contains("config.json") && !error.contains("geheim"),
        "{error}"
    );
}

#[tokio::test]
async fn one_token_serves_all_requests_while_it_lives() {
    let sample = Sample::new(&[10, 20, 30, 40, 50]);
    let scene = Scene::with(&sample).await;
    demand_token(&scene.registry, &scene.registry, 300);
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);
    let tokens = scene.registry.seen("/token");
    assert_eq!(tokens.len(), 1);
    let expected =
        format!("/token?service=fake&scope=repository%3A{}%3Apull", REPOSITORY.replace('/', "%2F"));
    assert_eq!(tokens[0].path, expected, "our own scope is asked for, not what the registry makes up");
    assert_eq!(tokens[0].header("authorization"), None);
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_whether_we_know_it_or_not() {
    let sample = Sample::new(&[10, 20]);
    let mut scene = Scene::with(&sample).await;
    demand_token(&scene.registry, &scene.registry, 1);
    log_in(&mut scene, "user", "secret");
    scene.pull().await.unwrap();
    let tokens = scene.registry.seen("/token");
    assert!(tokens.len() > 1, "a token of one second is too old for the next request");
    let is_shown =
        |request: &crate::fake::Request| request.header("authorization") == Some(&basic("user", "secret"));
    // The first is asked for because of the challenge, when the credentials are looked for.
    assert!(tokens.iter().all(is_shown), "{tokens:?}");

    // The registry forgets the token although it should still live.
    let scene = Scene::with(&sample).await;
    demand_token(&scene.registry, &scene.registry, 300);
    let mut is_first = true;
    let server = scene.registry.clone();
    scene.registry.rule(move |request| {
        let is_blob = request.path.contains("/blobs/") && std::mem::take(&mut is_first);
        let challenge = format!("Bearer realm=\"http://{}/token\"", server.name);
        is_blob.then(|| Reply::new(401, "").header("WWW-Authenticate", challenge))
    });
    scene.pull().await.unwrap();
    assert_eq!(scene.registry.seen("/token").len(), 2);
}

#[tokio::test]
async fn a_refresh_token_is_posted_and_a_token_server_without_tls_is_refused_for_registries_with() {
    let sample = Sample::new(&[10]);
    let mut scene = Scene::with(&sample).await;
    demand_token(&scene.registry, &scene.registry, 300);
    let text = format!(r#"{{"auths": {{"{}": {{"identitytoken": "re fresh"}}}}}}"#, scene.registry.name);
    configure(&mut scene, &text);
    scene.pull().await.unwrap();
    let token = &scene.registry.seen("/token")[0];
    assert_eq!((token.method.as_str(), token.path.as_str()), ("POST", "/token"));
    assert!(token.body.contains("grant_type=refresh_token") && token.body.contains("refresh_token=re+fresh"));
}

#[tokio::test]
async fn a_helper_that_fails_is_named_where_it_was_needed_and_only_there() {
    let sample = Sample::new(&[10]);
    let mut scene = Scene::with(&sample).await;
    configure(&mut scene, r#"{"credsStore": "gone"}"#);
    scene.pull().await.unwrap();
    demand_password(&scene.registry);
    let error = scene.refused().await;
    assert!(error.contains("docker-credential-gone isn't in any folder of PATH"), "{error}");

    let helper = scene.folder().join("docker-credential-here");
    std::fs::write(&helper, "#!/bin/sh\necho '{\"Username\":\"user\",\"Secret\":\"secret\"}'\n").unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    scene.settings.helper_folders = vec![scene.folder().to_owned()];
    configure(&mut scene, r#"{"credsStore": "here"}"#);
    scene.pull().await.unwrap();
}

#[tokio::test]
async fn another_host_gets_the_request_but_not_the_credentials() {
    let sample = Sample::new(&[50_000]);
    let mut scene = Scene::with(&sample).await;
    demand_password(&scene.registry);
    log_in(&mut scene, "user", "secret");
    let other = Fake::start().await;
    sample.push(&other);
    let (from, to) = (sample.layer_path(0), format!("http://x:y@{}{}", other.name, sample.layer_path(0)));
    scene.registry.rule(move |request| {
        (request.path == from && request.header("authorization").is_some())
            .then(|| Reply::new(307, "").header("Location", to.clone()))
    });
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);
    let elsewhere = other.seen("");
    assert_eq!(elsewhere.len(), 1);
    assert_eq!(
        elsewhere[0].header("authorization"),
        None,
        "neither ours nor those that the redirect makes up"
    );
}

#[tokio::test]
async fn redirects_end_and_lead_to_http_only() {
    let sample = Sample::new(&[10]);
    for (location, expected) in [
        (sample.layer_path(0), "more than 10 in a row"),
        ("file:///etc/passwd".to_owned(), "of kind \"file\""),
        ("http://".to_owned(), "is no address"),
    ] {
        let scene = Scene::with(&sample).await;
        let path = sample.layer_path(0);
        scene.registry.rule(move |request| {
            (request.path == path).then(|| Reply::new(302, "").header("Location", location.clone()))
        });
        let error = scene.refused().await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn mirrors_are_asked_first_and_the_registry_where_they_fail() {
    let sample = Sample::new(&[50_000, 60_000]);
    let mut scene = Scene::with(&sample).await;
    let (lacking, lying) = (Fake::start().await, Fake::start().await);
    sample.push(&lying);
    lying.put(&sample.layer_path(1), "", &vec![0; 60_000]);
    let mirrors = vec![format!("http://{}/cache", lacking.name), format!("http://{}", lying.name)];
    scene.settings.mirrors.insert(scene.registry.name.clone(), mirrors);
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);
    assert_eq!(lacking.seen("/v2/cache/team/app/manifests/1").len(), 1);
    assert_eq!(lying.seen("").len(), 4, "manifest, configuration and both layers");
    let from_registry: Vec<_> = scene.registry.seen("").into_iter().map(|request| request.path).collect();
    assert_eq!(from_registry, [sample.layer_path(1)], "only what the mirror has wrong");
    let retries = scene.told.retries();
    assert!(retries[0].starts_with(&format!("mirror {}: it doesn't have it", lacking.name)), "{retries:?}");
}

#[tokio::test]
async fn mirrors_serve_when_the_registry_is_away_and_all_are_named_when_nobody_answers() {
    let sample = Sample::new(&[50_000]);
    let mut scene = Scene::with(&sample).await;
    let mirror = scene.registry.name.clone();
    scene.settings.mirrors.insert("registry.invalid".to_owned(), vec![mirror.clone()]);
    let reference: Reference = format!("registry.invalid/{REPOSITORY}:1").parse().unwrap();
    let image = scene.pull_as(&reference).await.unwrap();
    assert_eq!(image.names[0], reference.to_string(), "it is called as it was asked for");

    scene.registry.rule(|_| Some(Reply::new(503, "")));
    scene.settings.insecure.insert("registry.invalid".to_owned());
    scene.settings.patience.connect = Duration::from_secs(1);
    let error = scene.pull_as(&reference).await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&format!("mirror {mirror}: 503")), "{error}");
}

#[tokio::test]
async fn a_proxy_is_used_but_for_hosts_that_need_none() {
    let sample = Sample::new(&[50_000]);
    let mut scene = Scene::with(&sample).await;
    let proxy = Fake::start().await;
    sample.push(&proxy);
    scene.settings.proxies.http = Some(format!("http://me:secret@{}", proxy.name));
    scene.pull().await.unwrap();
    assert!(proxy.seen("").is_empty(), "loopback is reached directly");

    // Only the proxy could know this name.
    let reference: Reference = format!("registry.invalid:5000/{REPOSITORY}:1").parse().unwrap();
    scene.settings.insecure.insert("registry.invalid:5000".to_owned());
    std::fs::remove_dir_all(scene.images()).unwrap();
    scene.pull_as(&reference).await.unwrap();
    scene.assert_whole(&sample);
    let seen = proxy.seen("http://registry.invalid:5000/v2/");
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].header("proxy-authorization"), Some(basic("me", "secret").as_str()));

    scene.settings.proxies.no_proxy = Some("example.com,registry.invalid".to_owned());
    let error = scene.pull_as(&reference).await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
    assert_eq!(proxy.seen("").len(), 3);
}

#[tokio::test]
async fn a_registry_with_tls_is_asked_through_connect() {
    let scene = Scene::with(&Sample::new(&[10])).await;
    let proxy = Fake::start().await;
    let mut settings = settings("nobody");
    settings.proxies.https = Some(format!("http://{}", proxy.name));
    let reference: Reference = format!("registry.invalid/{REPOSITORY}:1").parse().unwrap();
    let pulled = agentkernel_image::fetch(&scene.blobs(), &reference, &settings, &scene.told).await;
    assert!(matches!(pulled, Err(ImageError::Unreachable { .. })));
    let seen = proxy.seen("registry.invalid:443");
    assert!(seen.iter().all(|request| request.method == "CONNECT") && !seen.is_empty(), "{seen:?}");
}
