//! URLs: what callers name is data and stays it, whatever characters it holds.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Error;

/// All but the unreserved characters (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One part of a path, or one value of a query.
pub(crate) fn part(text: &str) -> String {
    match text {
        // Proxies take these two away.
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => utf8_percent_encode(text, ESCAPED).to_string(),
    }
}

/// Below `/sandboxes/NAME`.
pub(crate) fn of_sandbox(name: &str, rest: &str) -> String {
    format!("/sandboxes/{}{rest}", part(name))
}

/// The route of a file.
pub(crate) fn of_file(name: &str, path: &str) -> Result<String, Error> {
    let inside = absolute(path)?;
    let parts: Vec<String> = inside.split('/').map(part).collect();
    Ok(of_sandbox(name, &format!("/files/{}", parts.join("/"))))
}

/// A route that takes the path of a file in its query.
pub(crate) fn with_path(name: &str, route: &str, path: &str) -> Result<String, Error> {
    absolute(path)?;
    Ok(of_sandbox(name, &format!("/{route}?path={}", part(path))))
}

/// The path without its first slash.
fn absolute(path: &str) -> Result<&str, Error> {
    path.strip_prefix('/').ok_or_else(|| Error::Request {
        what: "the path",
        problem: format!("{path:?} is not absolute: it must begin with a slash"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_can_not_leave_their_place() {
        assert_eq!(of_sandbox("a/../b?c#d", "/exec"), "/sandboxes/a%2F..%2Fb%3Fc%23d/exec");
        assert_eq!(of_sandbox("..", ""), "/sandboxes/%2E%2E");
        assert_eq!(of_file("n", "/a b/%2e/ü").unwrap(), "/sandboxes/n/files/a%20b/%252e/%C3%BC");
        assert_eq!(with_path("n", "stat", "/a&b").unwrap(), "/sandboxes/n/stat?path=%2Fa%26b");
        assert!(of_file("n", "relative").is_err());
    }

    proptest! {
        #[test]
        fn every_path_makes_a_url_that_says_it_again(path in "/\\PC{0,40}") {
            let route = of_file("n", &path).unwrap();
            let uri: hyper::Uri = route.parse().unwrap();
            prop_assert_eq!(uri.query(), None);
            let decoded = percent_encoding::percent_decode_str(uri.path()).decode_utf8().unwrap().into_owned();
            prop_assert_eq!(decoded.strip_prefix("/sandboxes/n/files").unwrap(), path);
        }
    }
}
