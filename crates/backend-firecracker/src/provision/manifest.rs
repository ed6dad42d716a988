//! The list of files and digests, as sha256sum(1) writes it.

use std::collections::BTreeMap;

use agentkernel_image::Digest;

/// Its name in a source.
pub const MANIFEST: &str = "SHA256SUMS";

/// The most bytes of it that are read.
pub(super) const MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// Digests by name. Lines are `DIGEST`, two spaces (or a space and `*`), and the name; `./` before it is nothing. Names of
/// other files may stand there too; the same name with two digests is an error.
pub(super) fn parse(text: &[u8]) -> Result<BTreeMap<String, Digest>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text".to_owned())?;
    let mut files = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || format!("line {} is not a SHA-256 digest and a name", number + 1);
        let (hex, rest) = line.split_at_checked(64).ok_or_else(wrong)?;
        let name = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *")).ok_or_else(wrong)?;
        let name = name.strip_prefix("./").unwrap_or(name).trim_end();
        let digest = digest_of(hex).ok_or_else(wrong)?;
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(wrong());
        }
        if files.insert(name.to_owned(), digest).is_some_and(|other| other != digest) {
            return Err(format!("line {} gives a file a second digest", number + 1));
        }
    }
    Ok(files)
}

/// A digest written as 64 hexadecimal digits.
pub(super) fn digest_of(hex: &str) -> Option<Digest> {
    format!("sha256:{}", hex.to_ascii_lowercase()).parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_sha256sum_writes_is_read() {
        let hex = Digest::of(b"x").hex();
        let text =
            format!("{hex}  firecracker-x86_64\n{hex} *./jailer-x86_64\n\n{}  v\n", hex.to_uppercase());
        let files = parse(text.as_bytes()).unwrap();
        assert_eq!(
            files.keys().map(String::as_str).collect::<Vec<_>>(),
            ["firecracker-x86_64", "jailer-x86_64", "v"]
        );
        assert!(files.values().all(|digest| *digest == Digest::of(b"x")));
    }

    #[test]
    fn anything_else_is_an_error_with_its_line() {
        let hex = Digest::of(b"x").hex();
        let other = Digest::of(b"y").hex();
        for (text, expected) in [
            ("zz  a".to_owned(), "line 1 is"),
            (format!("{hex}  a\n{hex} a"), "line 2 is"),
            (format!("{hex}  ../a"), "line 1 is"),
            (format!("{hex}  "), "line 1 is"),
            (format!("{hex}  a\n{other}  a"), "line 2 gives"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        assert!(parse(b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(parse(&bytes));
        }
    }
}
