//! TLS: the certificate, its key, and how far the key may be readable.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate or key that is longer is none.
const MOST_BYTES: u64 = 1 << 20;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("could not read the {what} {}: {source}", path.display())]
    Read {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM form", path.display())]
    Content {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Everybody can read the key.
    #[error("the private key {} can be read by everybody: chmod 600 it, and take a new one if others have been on this machine", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// They don't belong together, or are of a kind that isn't known.
    #[error("certificate {} and private key {} can't be used", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// Reads certificate (with the chain behind it) and key.
pub fn load_tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let (pem, _) = read("certificate", certificate)?;
    let absent = |what, path: &Path| TlsError::Content { what, path: path.to_owned() };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| absent("certificate", certificate))?;
    if chain.is_empty() {
        return Err(absent("certificate", certificate));
    }
    let (pem, mode) = read("private key", key)?;
    if mode & 0o007 != 0 {
        return Err(TlsError::Exposed { path: key.to_owned() });
    }
    let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| absent("private key", key))?;
    let unusable =
        |source| TlsError::Unusable { certificate: certificate.to_owned(), key: key.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The bytes, and the mode of the very file that they came from.
fn read(what: &'static str, path: &Path) -> Result<(Vec<u8>, u32), TlsError> {
    let fail = |source| TlsError::Read { what, path: path.to_owned(), source };
    let file = File::open(path).map_err(fail)?;
    let mode = file.metadata().map_err(fail)?.mode();
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(fail)?;
    Ok((bytes, mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_everybody_reads_and_files_of_something_else_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        assert!(matches!(load_tls(&certificate, &key), Err(TlsError::Read { what: "certificate", .. })));
        std::fs::write(&certificate, "x").unwrap();
        assert!(matches!(load_tls(&certificate, &key), Err(TlsError::Content { what: "certificate", .. })));
        std::fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        std::fs::write(&key, "x").unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(load_tls(&certificate, &key), Err(TlsError::Exposed { .. })));
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(matches!(load_tls(&certificate, &key), Err(TlsError::Content { what: "private key", .. })));
    }
}
