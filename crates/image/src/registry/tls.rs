//! Whom we believe to be a registry: the system's certificate authorities and those that the user names.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::{ImageError, RegistrySettings};

/// Where systems keep their certificate authorities in one file; the first that there is counts.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Arch, Gentoo, NixOS
    "/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // CentOS
    "/etc/ssl/ca-bundle.pem",             // openSUSE
    "/etc/ssl/cert.pem",                  // Alpine, macOS, the BSDs
];

/// The side of TLS that asks. A system without any certificate authority is fine as long as nobody is asked by TLS.
pub(crate) fn client_config(settings: &RegistrySettings) -> Result<ClientConfig, ImageError> {
    let mut roots = RootCertStore::empty();
    if let Some(bundle) = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists()) {
        // One of the system's certificates that we don't understand must not keep us from the others.
        let certificates = CertificateDer::pem_file_iter(bundle);
        roots.add_parsable_certificates(certificates.into_iter().flatten().filter_map(Result::ok));
    } else {
        tracing::warn!("no certificate authorities found; only those of `ca` in `[images]` are known");
    }
    for path in &settings.ca_files {
        add_file(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| setting(Path::new("TLS"), error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), ImageError> {
    let wrong = |error: String| setting(path, error);
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    let before = roots.len();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.len() == before { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(()) }
}

fn setting(path: &Path, why: String) -> ImageError {
    ImageError::Setting { setting: "images.ca", value: path.display().to_string(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "nothing\n").unwrap();
        for path in [empty, folder.path().join("absent.pem")] {
            let settings = RegistrySettings { ca_files: vec![path.clone()], ..RegistrySettings::default() };
            let error = client_config(&settings).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
        assert!(client_config(&RegistrySettings::default()).is_ok());
    }
}
