//! Query parameters, by name. Those that a route doesn't know are refused: a misspelt one must not be silently none.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::answer::Refusal;

/// The parameters of one request, decoded once.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query (`application/x-www-form-urlencoded`); what is not UTF-8 is refused.
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| Refusal::invalid(format!("query parameter {text:?} is not UTF-8")))
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// Refuses all but these.
    pub(crate) fn only<T: AsRef<str>>(&self, known: &[T]) -> Result<(), Refusal> {
        match self.0.iter().find(|(name, _)| !known.iter().any(|known| known.as_ref() == name)) {
            None => Ok(()),
            Some((name, _)) => {
                let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(Refusal::invalid(format!("unknown query parameter {name:?}; known here: {known}")))
            }
        }
    }

    /// The value of `name`, if it was given; once at most.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        match (values.next(), values.next()) {
            (found, None) => Ok(found.map(|(_, value)| value.as_str())),
            _ => Err(Refusal::invalid(format!("query parameter {name:?} is given more than once"))),
        }
    }

    /// The value of `name`, which must be given.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name)?.ok_or_else(|| Refusal::invalid(format!("query parameter {name:?} is missing")))
    }

    /// The value of `name` as whatever is wanted.
    pub(crate) fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal>
    where
        T::Err: std::fmt::Display,
    {
        let parse = |text: &str| {
            text.parse()
                .map_err(|error| Refusal::invalid(format!("query parameter {name}={text:?}: {error}")))
        };
        self.text(name)?.map(parse).transpose()
    }

    /// Whether `name` is `true`; `false` where it is not given.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        Ok(self.value(name)?.unwrap_or(false))
    }

    /// All values of `name`.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_once_and_checked() {
        let parameters = Parameters::parse("path=%2Ftmp%2Fa+b%252e&offset=7&follow=true").unwrap();
        assert_eq!(parameters.required("path").unwrap(), "/tmp/a b%2e");
        assert_eq!(parameters.value::<u64>("offset").unwrap(), Some(7));
        assert!(parameters.flag("follow").unwrap());
        assert!(!parameters.flag("recursive").unwrap());
        assert!(parameters.required("mode").is_err());
        assert!(parameters.value::<u64>("path").is_err());
        assert!(parameters.only(&["path", "offset", "follow"]).is_ok());
        let refusal = parameters.only(&["path", "offset"]).unwrap_err();
        assert_eq!(refusal.message, "unknown query parameter \"follow\"; known here: path, offset");
    }

    #[test]
    fn twice_is_refused_where_once_is_meant() {
        let parameters = Parameters::parse("label=a&label=b").unwrap();
        assert_eq!(parameters.all("label").collect::<Vec<_>>(), ["a", "b"]);
        assert!(parameters.text("label").is_err());
        assert!(Parameters::parse("path=%ff").is_err());
    }
}
