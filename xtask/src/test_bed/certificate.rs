//! A certificate authority of the bed's own, and a certificate for the loopback that it signed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Two days: beds don't live longer, and an authority that somebody comes to trust by mistake shouldn't either.
const DAYS: &str = "2";

const SETTINGS: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = agentkernel test bed
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1,DNS:localhost
";

/// Writes `ca.pem` into `public`, and `server.pem` and `server.key` into `private`.
pub(crate) fn make(public: &Path, private: &Path) -> Result<()> {
    let settings = private.join("openssl.cnf");
    std::fs::write(&settings, SETTINGS).context("write openssl.cnf")?;
    let openssl = |words: &[&str]| {
        let mut command = Command::new("openssl");
        command::output(command.current_dir(private).args(words)).map(drop)
    };
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority = public.join("ca.pem");
    let authority = authority.to_string_lossy();
    let mut words = vec!["req", "-x509", "-config", "openssl.cnf", "-extensions", "authority", "-days", DAYS];
    words.extend(new_key);
    words.extend(["-keyout", "ca.key", "-out", &authority]);
    openssl(&words)?;
    let mut words = vec!["req", "-new", "-config", "openssl.cnf"];
    words.extend(new_key);
    words.extend(["-keyout", "server.key", "-out", "server.csr"]);
    openssl(&words)?;
    openssl(&[
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        &authority,
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        DAYS,
        "-extfile",
        "openssl.cnf",
        "-extensions",
        "server",
        "-out",
        "server.pem",
    ])
}
