//! Which of several formats the client wants.

use std::convert::Infallible;

use agentkernel_api::ErrorCode;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::answer::Refusal;

/// The media types that a client takes, with their weights. Empty where it named none: then it takes all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Accepts(Vec<(String, f32)>);

impl Accepts {
    fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let ranges = values.flat_map(|value| value.split(',')).filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            Some((name, weight.unwrap_or(0.0)))
        });
        Self(ranges.collect())
    }

    fn weight(&self, offer: &str) -> f32 {
        let group = offer.split('/').next().unwrap_or_default();
        let matches = |range: &str| match range.strip_suffix("/*") {
            Some("*") => 1,
            Some(of) if of == group => 2,
            None if range == offer => 3,
            _ => 0,
        };
        let best = self.0.iter().map(|(range, weight)| (matches(range), *weight)).max_by_key(|found| found.0);
        best.filter(|found| found.0 > 0).map_or(0.0, |found| found.1)
    }

    /// The offer that the client wants most; of equals the first. The first offer also answers clients that ask for
    /// `application/json`, which is what errors come in: those of the v0.4 wire format send nothing else.
    pub(crate) fn choose(&self, offers: &[&'static str]) -> Result<&'static str, Refusal> {
        let first = *offers.first().unwrap_or(&"application/json");
        if self.0.is_empty() {
            return Ok(first);
        }
        let mut best = (first, self.weight(first).max(self.weight("application/json")));
        for offer in offers.iter().skip(1) {
            let weight = self.weight(offer);
            // Named beats a wildcard: `*/*` asks for nothing special.
            if weight > best.1 || weight > 0.0 && self.names(offer) && !self.names(best.0) {
                best = (offer, weight);
            }
        }
        if best.1 > 0.0 {
            return Ok(best.0);
        }
        let message = format!("none of the formats in Accept is to be had here: {}", offers.join(", "));
        Err(Refusal::new(ErrorCode::NotAcceptable, message))
    }

    fn names(&self, offer: &str) -> bool {
        self.0.iter().any(|(range, weight)| range == offer && *weight > 0.0)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Accepts {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [&str; 2] = ["application/json", "application/x-frames"];

    fn chosen(accept: &str) -> Option<&'static str> {
        Accepts::parse(std::iter::once(accept)).choose(&OFFERS).ok()
    }

    #[test]
    fn what_is_named_is_given_and_the_first_otherwise() {
        assert_eq!(Accepts::default().choose(&OFFERS).ok(), Some(OFFERS[0]));
        assert_eq!(chosen("*/*"), Some(OFFERS[0]));
        assert_eq!(chosen("application/*"), Some(OFFERS[0]));
        assert_eq!(chosen("application/x-frames"), Some(OFFERS[1]));
        assert_eq!(chosen("application/x-frames, */*;q=0.1"), Some(OFFERS[1]));
        assert_eq!(chosen("application/json, application/x-frames;q=0.5"), Some(OFFERS[0]));
        assert_eq!(chosen("application/x-frames;q=0"), None);
        assert_eq!(chosen("image/png"), None);
    }

    #[test]
    fn json_stands_for_a_stream_too() {
        let accepts = Accepts::parse(std::iter::once("application/json"));
        assert_eq!(
            accepts.choose(&["text/event-stream", "application/x-frames"]).ok(),
            Some("text/event-stream")
        );
    }
}
