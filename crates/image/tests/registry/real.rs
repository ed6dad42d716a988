//! A real registry, where one is running (the test bed).

use std::path::PathBuf;

use agentkernel_image::{Blobs, ImageError, Platform, RegistrySettings, fetch};

use crate::scene::{Told, settings};

const IMAGES: [&str; 4] = ["debian", "busybox", "musl", "static"];

fn bed(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("SKIPPED: {name} is not set; `cargo xtask test-bed start` starts a registry");
    }
    value
}

async fn pull(registry: &str, image: &str, settings: &RegistrySettings) -> Result<usize, ImageError> {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(&folder.path().join("images"));
    let reference = format!("{registry}/agentkernel-test/{image}:1").parse().unwrap();
    let told = Told::default();
    let image = fetch(&blobs, &reference, settings, &told).await?;
    assert!(!image.layers.is_empty());
    assert_eq!(blobs.partial_bytes().unwrap(), 0);
    // The second needs the manifest's digest only.
    let by_digest = reference.with_digest(image.manifest_digest);
    let nobody = RegistrySettings::default();
    let again = fetch(&blobs, &by_digest, &nobody, &told).await?;
    assert_eq!(again.layers, image.layers);
    Ok(image.layers.len())
}

#[tokio::test]
async fn every_image_of_the_bed_is_pulled() {
    let Some(registry) = bed("AGENTKERNEL_TEST_REGISTRY") else { return };
    for image in IMAGES {
        pull(&registry, image, &settings(&registry)).await.unwrap();
    }
    let error = pull(&registry, "absent", &settings(&registry)).await.unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
    let mut other = settings(&registry);
    other.platform = Some("linux/s390x".parse().unwrap());
    let error = pull(&registry, "static", &other).await.unwrap_err().to_string();
    assert!(error.contains(&format!("there is {}", Platform::of_this_machine())), "{error}");
}

#[tokio::test]
async fn a_registry_with_passwords_is_used_with_one_only() {
    let Some(registry) = bed("AGENTKERNEL_TEST_REGISTRY_AUTH") else { return };
    let mut settings = settings(&registry);
    let error = pull(&registry, "static", &settings).await.unwrap_err();
    assert!(matches!(error, ImageError::Denied { .. }), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    for (password, is_right) in [("secret", true), ("wrong", false)] {
        let auths = serde_json::json!({"auths": {&registry: {"username": "user", "password": password}}});
        std::fs::write(&path, auths.to_string()).unwrap();
        settings.credential_files = vec![path.clone()];
        let pulled = pull(&registry, "static", &settings).await;
        assert_eq!(pulled.is_ok(), is_right, "{pulled:?}");
    }
}

#[tokio::test]
async fn a_registry_with_tls_is_trusted_by_its_authority_only() {
    let (Some(registry), Some(bed)) = (bed("AGENTKERNEL_TEST_REGISTRY_TLS"), bed("AGENTKERNEL_TEST_BED"))
    else {
        return;
    };
    let strangers = RegistrySettings::default();
    let error = pull(&registry, "static", &strangers).await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer") && error.contains("ca = "), "{error}");
    let known =
        RegistrySettings { ca_files: vec![PathBuf::from(bed).join("ca.pem")], ..RegistrySettings::default() };
    pull(&registry, "static", &known).await.unwrap();
    // Named insecure, it is asked in plain HTTP, which it doesn't speak.
    let error = pull(&registry, "static", &settings(&registry)).await.unwrap_err().to_string();
    assert!(error.contains(&registry), "{error}");
}
