//! Following a server that sends us elsewhere, as registries do for the content of layers. Credentials are shown to the
//! server that was asked and to nobody else, and TLS is never left.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Response, Url};

use crate::error::{quoted, tame};
use crate::registry::endpoint::Endpoint;
use crate::registry::failure::{Failure, of_transport};

const REDIRECTS_MAX: usize = 10;

/// Gets `url` of `endpoint`, wherever it is by now.
pub(crate) async fn get(
    http: &Client,
    endpoint: &Endpoint,
    mut url: Url,
    headers: &HeaderMap,
    mut authorization: Option<HeaderValue>,
) -> Result<Response, Failure> {
    let asked = url.origin();
    for _ in 0..=REDIRECTS_MAX {
        let mut request = http.get(url.clone()).headers(headers.clone());
        if let Some(authorization) = &authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let response = request.send().await.map_err(|error| of_transport(error, endpoint))?;
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(response);
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        url = target(&url, location).map_err(|why| Failure::answer(endpoint, "a redirect", why))?;
        if url.origin() != asked {
            // Not given back either when the other host sends us back.
            authorization = None;
        }
    }
    Err(Failure::answer(endpoint, "a redirect", format!("there are more than {REDIRECTS_MAX} in a row")))
}

fn target(from: &Url, location: Option<&str>) -> Result<Url, String> {
    let location = location.ok_or("it doesn't say where to")?;
    let mut target =
        from.join(location).map_err(|error| format!("{} is no address: {error}", quoted(location)))?;
    match (from.scheme(), target.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => return Err(format!("from TLS to plain HTTP, at {:?}", host(&target))),
        (_, other) => return Err(format!("to an address of kind {}", quoted(other))),
    }
    // Credentials that a server makes up for another one.
    if target.set_username("").is_err() || target.set_password(None).is_err() {
        return Err("to an address without a host".to_owned());
    }
    target.set_fragment(None);
    Ok(target)
}

fn host(url: &Url) -> String {
    tame(url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_within_tls_and_brings_no_login() {
        let to =
            |from: &str, location: &str| target(&Url::parse(from).unwrap(), Some(location)).map(String::from);
        for (from, location, expected) in [
            ("https://a/v2/x", "/y?z=1#f", "https://a/y?z=1"),
            ("https://a/v2/x", "https://u:p@b/y", "https://b/y"),
            ("http://a/", "http://b/", "http://b/"),
            ("http://a/", "https://b/", "https://b/"),
        ] {
            assert_eq!(to(from, location).unwrap(), expected);
        }
        let error = to("https://a/", "http://a/").unwrap_err();
        assert!(error.contains("from TLS to plain HTTP"), "{error}");
        for bad in ["ftp://a/", "unix:/run/docker.sock", "data:text/plain,x", "http://"] {
            assert!(to("http://a/", bad).is_err(), "{bad}");
        }
        assert!(target(&Url::parse("https://a/").unwrap(), None).is_err());
    }
}
