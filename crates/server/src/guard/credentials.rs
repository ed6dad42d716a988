//! The key that a request brings.

use axum::http::{HeaderMap, HeaderName, header};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a request shows of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    /// A key.
    Key(&'a str),
    /// Something that is none.
    Unreadable,
    /// Nothing.
    Nothing,
}

/// `Authorization: Bearer KEY`, else `X-API-Key: KEY`.
pub(crate) fn presented(headers: &HeaderMap) -> Presented<'_> {
    // Which of two the client means, nobody can say.
    let twice = |name: &HeaderName| headers.get_all(name).iter().nth(1).is_some();
    if twice(&header::AUTHORIZATION) || twice(&X_API_KEY) {
        return Presented::Unreadable;
    }
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let key = value.to_str().ok().and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        return match key {
            Some(key) if !key.is_empty() => Presented::Key(key),
            _ => Presented::Unreadable,
        };
    }
    match headers.get(X_API_KEY) {
        Some(value) => value.to_str().map_or(Presented::Unreadable, |key| Presented::Key(key.trim())),
        None => Presented::Nothing,
    }
}

/// Whether somebody in between passed the request on: then the address says nothing of who sent it.
pub(crate) fn was_forwarded(headers: &HeaderMap) -> bool {
    let marks = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
    marks.into_iter().any(|mark| headers.contains_key(mark))
}
