//! Masking what looks like a secret in the arguments of a command. A guess, and one that errs towards masking: what can't
//! be recognised as a secret is written, which is why the log is readable for its owner only and why
//! [`crate::Arguments::Program`] exists.

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// Parts of names whose values are secrets; compared without case, `-`, `_` and `.`.
const SECRET_PARTS: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "credential",
    "authorization",
    "cookie",
    "sessionid",
];

/// Whole names whose values are secrets.
const SECRET_NAMES: [&str; 5] = ["auth", "pass", "pwd", "pat", "bearer"];

/// How tokens of well-known services begin, with the length from which it is one.
const TOKEN_SHAPES: [(&str, usize); 18] = [
    ("ak_", 24),
    ("sk-", 20),
    ("sk_", 20),
    ("pk_live_", 20),
    ("rk_live_", 20),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("github_pat_", 20),
    ("glpat-", 20),
    ("xox", 20),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("hf_", 20),
    ("npm_", 20),
    ("eyJ", 30),
];

/// What may stand between two words.
fn is_delimiter(character: char) -> bool {
    character.is_whitespace() || "\"'`;&|()<>,{}[]?\\".contains(character)
}

/// What the word before says of the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Nothing.
    Anything,
    /// It is a secret.
    Secret,
    /// It is a scheme of authorization (`Bearer`) with the secret behind it, or the secret itself.
    Scheme,
    /// `name:secret`.
    Login,
    /// It is the sign between a name and its secret.
    Sign,
    /// All that follows, up to a quote, is secret: a cookie header.
    Rest,
}

/// The arguments with their secrets masked: `--password=...`, `--token ...`, `NAME_TOKEN=...`, `Authorization: ...`,
/// `https://user:...@host`, tokens of well-known shapes and private keys; also inside of longer texts, such as a script
/// for a shell.
pub fn redact_arguments(arguments: &[String]) -> Vec<String> {
    let mut redactor = Redactor::default();
    arguments.iter().map(|argument| redactor.argument(argument)).collect()
}

/// The same for one text.
pub fn redact_text(text: &str) -> String {
    Redactor::default().text(text)
}

struct Redactor {
    expected: Expected,
    /// Whether `-u` means a login: `curl` and the like.
    logins: bool,
}

impl Default for Redactor {
    fn default() -> Self {
        Self { expected: Expected::Anything, logins: false }
    }
}

impl Redactor {
    fn argument(&mut self, argument: &str) -> String {
        // An argument of its own is the value whole, spaces included; another option is none.
        if self.expected == Expected::Secret && !argument.starts_with("--") && !argument.is_empty() {
            self.expected = Expected::Anything;
            return MASK.to_owned();
        }
        self.text(argument)
    }

    fn text(&mut self, text: &str) -> String {
        if let Some(at) = text.find("PRIVATE KEY-----") {
            let begin = text[..at].rfind("-----BEGIN").unwrap_or(at);
            return format!("{}{MASK}", self.words(&text[..begin]));
        }
        self.words(text)
    }

    fn words(&mut self, text: &str) -> String {
        let mut output = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let length = rest.find(|character| !is_delimiter(character)).unwrap_or(rest.len());
            let (between, after) = rest.split_at(length);
            output.push_str(between);
            rest = after;
            // A quoted secret goes up to its closing quote, spaces included.
            let quote = between.chars().next_back().filter(|last| matches!(last, '"' | '\'' | '`'));
            if let (Expected::Secret, Some(quote)) = (self.expected, quote)
                && !rest.is_empty()
            {
                let end = rest.find(quote).unwrap_or(rest.len());
                output.push_str(MASK);
                self.expected = Expected::Anything;
                rest = &rest[end..];
                continue;
            }
            if self.expected == Expected::Rest && !rest.is_empty() {
                output.push_str(MASK);
                self.expected = Expected::Anything;
                rest = &rest[rest.find(['"', '\'', '`']).unwrap_or(rest.len())..];
                continue;
            }
            let length = rest.find(is_delimiter).unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            if !word.is_empty() {
                output.push_str(&self.word(word, after));
            }
            rest = after;
        }
        output
    }

    fn word(&mut self, word: &str, after: &str) -> String {
        match std::mem::replace(&mut self.expected, Expected::Anything) {
            Expected::Secret if !word.starts_with("--") => return MASK.to_owned(),
            Expected::Scheme => {
                let scheme = ["bearer", "basic", "token", "digest", "negotiate", "apikey"];
                if scheme.contains(&word.to_ascii_lowercase().as_str()) {
                    self.expected = Expected::Secret;
                    return word.to_owned();
                }
                return MASK.to_owned();
            }
            Expected::Login => {
                if let Some((name, _)) = word.split_once(':') {
                    return format!("{name}:{MASK}");
                }
            }
            Expected::Sign => {
                let value = word.trim_start_matches([':', '=']);
                if value.is_empty() {
                    self.expected = Expected::Secret;
                    return word.to_owned();
                }
                return format!("{}{MASK}", &word[..word.len() - value.len()]);
            }
            Expected::Secret | Expected::Rest | Expected::Anything => {}
        }
        let program = word.rsplit('/').next().unwrap_or(word);
        if ["curl", "wget", "http", "https", "xh"].contains(&program) {
            self.logins = true;
        }
        if self.logins && ["-u", "--user", "-U", "--proxy-user"].contains(&word) {
            self.expected = Expected::Login;
            return word.to_owned();
        }
        if let Some(masked) = userinfo(word) {
            return masked;
        }
        self.named(word, after).unwrap_or_else(|| shapes(word))
    }

    /// `NAME=VALUE`, `NAME:VALUE`, `--NAME` and `Bearer`.
    fn named(&mut self, word: &str, after: &str) -> Option<String> {
        if let Some(at) = word.find(['=', ':'])
            && is_secret_name(&word[..at])
        {
            let (name, value) = word.split_at(at + 1);
            if !value.is_empty() {
                return Some(format!("{name}{MASK}"));
            }
            let header = |part| word.ends_with(':') && name.to_ascii_lowercase().contains(part);
            self.expected = match () {
                () if header("authorization") => Expected::Scheme,
                () if header("cookie") => Expected::Rest,
                () => Expected::Secret,
            };
            return Some(word.to_owned());
        }
        if !is_secret_name(word) {
            return None;
        }
        // `"token": "..."` in JSON, `token : ...` in YAML, `--token ...` anywhere.
        let next = after.trim_start_matches(['"', '\'', '\\', ' ']);
        let value_follows = next.starts_with(':') || next.starts_with('=');
        if word.starts_with('-') || word.eq_ignore_ascii_case("bearer") {
            self.expected = Expected::Secret;
        } else if value_follows {
            self.expected = Expected::Sign;
        }
        Some(word.to_owned())
    }
}

/// Whether a variable, option, header or key of this name holds a secret.
fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    SECRET_NAMES.contains(&plain.as_str()) || SECRET_PARTS.iter().any(|part| plain.contains(part))
}

/// `scheme://user:secret@host`, masked.
fn userinfo(word: &str) -> Option<String> {
    let (scheme, rest) = word.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let (login, _) = authority.rsplit_once('@')?;
    let (user, _) = login.split_once(':')?;
    Some(format!("{scheme}://{user}:{MASK}{}", &rest[login.len()..]))
}

/// Tokens that are known by how they begin, anywhere in the word.
fn shapes(word: &str) -> String {
    let mut output = String::with_capacity(word.len());
    for piece in word.split_inclusive(['=', ':', '/', '@', '#', '+', '%']) {
        let bare = piece.trim_end_matches(['=', ':', '/', '@', '#', '+', '%']);
        let known =
            TOKEN_SHAPES.iter().any(|(begin, length)| bare.starts_with(begin) && bare.len() >= *length);
        if known {
            output.push_str(MASK);
            output.push_str(&piece[bare.len()..]);
        } else {
            output.push_str(piece);
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        redact_arguments(&arguments).join("\u{1f}")
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let token = "ghp_0123456789abcdefghijklmnop";
        for arguments in [
            &["mysql", "--password=hunter2"][..],
            &["tool", "--token", "hunter2"],
            &["tool", "--api-key", "hunter2 with spaces"],
            &["env", "AWS_SECRET_ACCESS_KEY=hunter2", "x"],
            &["curl", "-H", "Authorization: Bearer hunter2", "https://h/"],
            &["curl", "-H", "authorization: hunter2"],
            &["curl", "-HX-Api-Key: hunter2"],
            &["curl", "-u", "ann:hunter2", "https://h/"],
            &["git", "clone", "https://ann:hunter2@host/x.git"],
            &["git", "clone", &format!("https://{token}@host/x.git")],
            &["sh", "-c", "export DB_PASSWORD='hunter2 more'; run"],
            &["sh", "-c", "export DB_PASSWORD=hunter2; run"],
            &["sh", "-c", "curl -H \"Authorization: Basic hunter2\" h"],
            &["sh", "-c", "curl -u ann:hunter2 h"],
            &["curl", "-d", "{\"token\": \"hunter2\", \"a\": 1}"],
            &["curl", "https://h/p?a=1&access_token=hunter2&b=2"],
            &["echo", token],
            &["deploy", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"],
            &["x", "Cookie: a=hunter2; b=hunter2"],
            &["x", "-H", "Proxy-Authorization: Bearer hunter2"],
        ] {
            let shown = masked(arguments);
            assert!(!shown.contains("hunter2") && !shown.contains("more"), "{shown}");
            assert!(!shown.contains(token) && shown.contains(MASK), "{shown}");
        }
    }

    #[test]
    fn all_else_stays() {
        for arguments in [
            &["python3", "-c", "print(6*7)"][..],
            &["mkdir", "-p", "/a/b"],
            &["docker", "run", "-u", "1000:1000", "image:tag"],
            &["sh", "-c", "for i in 1 2; do echo \"$i: x=1\" | tee a.txt; done"],
            &["git", "clone", "https://host/x.git"],
            &["git", "clone", "ssh://git@host:22/x.git"],
            &["cargo", "test", "--package=agentkernel-audit", "--", "--nocapture"],
            &["sk-short", "eyJ", "akin"],
            &["", " ", "ä ö"],
        ] {
            assert_eq!(masked(arguments), arguments.join("\u{1f}"));
        }
    }

    #[test]
    fn an_option_behind_an_option_is_no_secret() {
        assert_eq!(masked(&["x", "--token", "--verbose", "y"]), "x\u{1f}--token\u{1f}--verbose\u{1f}y");
    }

    proptest! {
        #[test]
        fn any_text_is_redacted_without_a_panic(texts in prop::collection::vec("\\PC{0,80}", 0..5)) {
            redact_arguments(&texts);
        }

        #[test]
        fn a_named_secret_never_survives(value in "[A-Za-z0-9]{6,30}", name in "(TOKEN|my_password|X-Api-Key|clientSecret)") {
            for text in [format!("{name}={value}"), format!("a; {name}='{value}' b"), format!("{name}: {value}")] {
                prop_assert!(!redact_text(&text).contains(&value), "{}", redact_text(&text));
            }
        }
    }
}
