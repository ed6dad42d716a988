//! `WWW-Authenticate`: how a server wants to know who asks (RFC 9110, section 11). Hostile text.

/// One way to say who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case: `basic`, `bearer`.
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of one header's value, as far as it can be understood.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = Rest(header);
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest.skip_separators();
        let word = rest.token();
        if word.is_empty() {
            return challenges;
        }
        if let (Some(value), Some(challenge)) = (rest.value(), challenges.last_mut()) {
            challenge.parameters.push((word.to_ascii_lowercase(), value));
        } else {
            challenges.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
        }
    }
}

/// What isn't read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip_separators(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
    }

    fn token(&mut self) -> &'a str {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
        let end = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        token
    }

    /// What stands behind a `=`, if one follows.
    fn value(&mut self) -> Option<String> {
        self.0 =
            self.0.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_start_matches([' ', '\t', '=']);
        let Some(quoted) = self.0.strip_prefix('"') else { return Some(self.token().to_owned()) };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.0 = &quoted[at + 1..];
                    return Some(value);
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                c => value.push(c),
            }
        }
        self.0 = "";
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_challenges_of_registries_are_understood() {
        let hub = parse(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
        );
        assert_eq!((hub.len(), hub[0].scheme.as_str()), (1, "bearer"));
        assert_eq!(hub[0].parameter("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(hub[0].parameter("scope"), Some("repository:a/b:pull,push"));
        let two = parse(r#"Negotiate, BASIC Realm = "a \"b\", c", charset=UTF-8, Bearer realm=x"#);
        let schemes: Vec<_> = two.iter().map(|challenge| challenge.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        assert_eq!(two[1].parameter("realm"), Some("a \"b\", c"));
        assert_eq!(two[1].parameter("charset"), Some("UTF-8"));
        assert_eq!(parse(""), []);
        assert_eq!(parse("Bearer realm=\"open")[0].parameter("realm"), Some("open"));
    }

    proptest! {
        #[test]
        fn any_header_is_read_to_its_end(text in "\\PC{0,60}|([ab=\", \\\\]){0,40}") {
            prop_assert!(parse(&text).len() <= text.len());
        }
    }
}
