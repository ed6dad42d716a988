//! Text to syntax tree.

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(Vec<u8>),
    /// `$NAME`, `$?`, `$1`, ...
    Variable(Vec<u8>),
    /// `"$@"`.
    Arguments,
    /// `$((NAME+N))`.
    Sum(Vec<u8>, i64),
}

pub(super) type Word = Vec<Part>;

/// `2>file`, `<file`, `>&2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) from: u8,
    pub(super) to: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Read(Word),
    Truncate(Word),
    Append(Word),
    Duplicate(u8),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Simple { assignments: Vec<(Vec<u8>, Word)>, words: Vec<Word> },
    Group { list: List, subshell: bool },
    If { branches: Vec<(List, List)>, otherwise: List },
    Loop { condition: List, until: bool, body: List },
    For { name: Vec<u8>, words: Vec<Word>, body: List },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) negated: bool,
    pub(super) body: Body,
    pub(super) redirects: Vec<Redirect>,
}

/// Commands joined by `&&` (true) and `||` (false).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) first: Command,
    pub(super) rest: Vec<(bool, Command)>,
    pub(super) background: bool,
}

pub(super) type List = Vec<Item>;

/// What the shell can't read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the fake's shell can't read {what} at byte {at}")]
pub(super) struct SyntaxError {
    what: String,
    at: usize,
}

pub(super) fn parse(script: &[u8]) -> Result<List, SyntaxError> {
    let mut parser = Parser { text: script, at: 0 };
    let list = parser.list(&[])?;
    if parser.at < script.len() { Err(parser.error("this")) } else { Ok(list) }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

const WORD_END: &[u8] = b" \t\n;&|()<>";

impl Parser<'_> {
    fn error(&self, what: &str) -> SyntaxError {
        let rest = String::from_utf8_lossy(&self.text[self.at.min(self.text.len())..]);
        SyntaxError { what: format!("{what} {:?}", rest.chars().take(20).collect::<String>()), at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, token: &[u8]) -> bool {
        let here = self.text[self.at..].starts_with(token);
        if here {
            self.at += token.len();
        }
        here
    }

    fn blanks(&mut self, newlines: bool) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' => self.at += 1,
                b'\n' if newlines => self.at += 1,
                b'#' => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => break,
            }
        }
    }

    /// Whether the reserved word `word` stands here.
    fn at_keyword(&self, word: &[u8]) -> bool {
        let rest = &self.text[self.at..];
        rest.starts_with(word) && rest.get(word.len()).is_none_or(|byte| WORD_END.contains(byte))
    }

    fn keyword(&mut self, word: &[u8]) -> Result<(), SyntaxError> {
        self.blanks(true);
        if !self.at_keyword(word) {
            return Err(self.error(&format!("(expected {:?})", String::from_utf8_lossy(word))));
        }
        self.at += word.len();
        Ok(())
    }

    fn list(&mut self, ends: &[&[u8]]) -> Result<List, SyntaxError> {
        let mut list = List::new();
        loop {
            self.blanks(true);
            if self.peek().is_none_or(|byte| byte == b')') || ends.iter().any(|end| self.at_keyword(end)) {
                return Ok(list);
            }
            let mut item = Item { first: self.command()?, rest: Vec::new(), background: false };
            loop {
                self.blanks(false);
                let and = if self.eat(b"&&") {
                    true
                } else if self.eat(b"||") {
                    false
                } else {
                    break;
                };
                self.blanks(true);
                item.rest.push((and, self.command()?));
            }
            item.background = self.eat(b"&");
            list.push(item);
            self.blanks(false);
            if !self.eat(b";") && self.peek() == Some(b'|') {
                return Err(self.error("a pipeline"));
            }
        }
    }

    fn command(&mut self) -> Result<Command, SyntaxError> {
        self.blanks(false);
        let negated = self.at_keyword(b"!");
        if negated {
            self.at += 1;
            self.blanks(false);
        }
        let body = if self.eat(b"(") {
            let list = self.list(&[])?;
            if !self.eat(b")") {
                return Err(self.error("an open group"));
            }
            Body::Group { list, subshell: true }
        } else if self.at_keyword(b"{") {
            self.at += 1;
            let list = self.list(&[b"}"])?;
            self.keyword(b"}")?;
            Body::Group { list, subshell: false }
        } else if self.at_keyword(b"if") {
            self.conditional()?
        } else if self.at_keyword(b"while") || self.at_keyword(b"until") {
            let until = self.at_keyword(b"until");
            self.at += 5;
            let condition = self.list(&[b"do"])?;
            Body::Loop { condition, until, body: self.loop_body()? }
        } else if self.at_keyword(b"for") {
            self.at += 3;
            self.each()?
        } else {
            return self.simple(negated);
        };
        let mut redirects = Vec::new();
        self.blanks(false);
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
            self.blanks(false);
        }
        Ok(Command { negated, body, redirects })
    }

    fn conditional(&mut self) -> Result<Body, SyntaxError> {
        let mut branches = Vec::new();
        let mut otherwise = List::new();
        self.keyword(b"if")?;
        loop {
            let condition = self.list(&[b"then"])?;
            self.keyword(b"then")?;
            branches.push((condition, self.list(&[b"elif", b"else", b"fi"])?));
            if self.at_keyword(b"elif") {
                self.at += 4;
                continue;
            }
            if self.at_keyword(b"else") {
                self.at += 4;
                otherwise = self.list(&[b"fi"])?;
            }
            self.keyword(b"fi")?;
            return Ok(Body::If { branches, otherwise });
        }
    }

    fn loop_body(&mut self) -> Result<List, SyntaxError> {
        self.keyword(b"do")?;
        let body = self.list(&[b"done"])?;
        self.keyword(b"done")?;
        Ok(body)
    }

    fn each(&mut self) -> Result<Body, SyntaxError> {
        self.blanks(false);
        let name = self.name();
        self.keyword(b"in")?;
        let mut words = Vec::new();
        loop {
            self.blanks(false);
            if self.eat(b";") || self.eat(b"\n") {
                break;
            }
            words.push(self.word()?);
        }
        Ok(Body::For { name, words, body: self.loop_body()? })
    }

    fn name(&mut self) -> Vec<u8> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
        self.text[start..self.at].to_vec()
    }

    fn simple(&mut self, negated: bool) -> Result<Command, SyntaxError> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks(false);
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if self.peek().is_none_or(|byte| WORD_END.contains(&byte)) {
                break;
            }
            if words.is_empty() {
                let start = self.at;
                let name = self.name();
                if !name.is_empty() && self.eat(b"=") {
                    let empty = self.peek().is_none_or(|byte| WORD_END.contains(&byte));
                    assignments.push((name, if empty { Word::new() } else { self.word()? }));
                    continue;
                }
                self.at = start;
            }
            words.push(self.word()?);
        }
        if words.is_empty() && assignments.is_empty() && redirects.is_empty() {
            return Err(self.error("an empty command before"));
        }
        Ok(Command { negated, body: Body::Simple { assignments, words }, redirects })
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, SyntaxError> {
        let digit = self.peek().filter(u8::is_ascii_digit);
        let operator = self.text.get(self.at + usize::from(digit.is_some())).copied();
        let Some(operator @ (b'<' | b'>')) = operator else { return Ok(None) };
        self.at += 1 + usize::from(digit.is_some());
        let from = digit.map_or(u8::from(operator == b'>'), |digit| digit - b'0');
        if self.eat(b"&") {
            let to = self.peek().filter(u8::is_ascii_digit).ok_or_else(|| self.error("a redirection to"))?;
            self.at += 1;
            return Ok(Some(Redirect { from, to: Target::Duplicate(to - b'0') }));
        }
        let append = operator == b'>' && self.eat(b">");
        self.blanks(false);
        let word = self.word()?;
        let to = match (operator, append) {
            (b'<', _) => Target::Read(word),
            (_, true) => Target::Append(word),
            (_, false) => Target::Truncate(word),
        };
        Ok(Some(Redirect { from, to }))
    }

    fn word(&mut self) -> Result<Word, SyntaxError> {
        let mut word = Word::new();
        let mut text = Vec::new();
        let mut quoted = false;
        let mut any = false;
        while let Some(byte) = self.peek() {
            if !quoted && WORD_END.contains(&byte) {
                break;
            }
            any = true;
            self.at += 1;
            match byte {
                b'"' => quoted = !quoted,
                b'\'' if !quoted => {
                    let rest = &self.text[self.at..];
                    let end = rest
                        .iter()
                        .position(|byte| *byte == b'\'')
                        .ok_or_else(|| self.error("an open quote"))?;
                    text.extend_from_slice(&rest[..end]);
                    self.at += end + 1;
                }
                b'\\' => {
                    let next = self.peek().ok_or_else(|| self.error("a last backslash"))?;
                    if quoted && !b"$`\"\\".contains(&next) {
                        text.push(b'\\');
                    }
                    text.push(next);
                    self.at += 1;
                }
                b'$' => {
                    if !text.is_empty() {
                        word.push(Part::Text(std::mem::take(&mut text)));
                    }
                    word.push(self.expansion()?);
                }
                b'`' => return Err(self.error("a command substitution")),
                _ => text.push(byte),
            }
        }
        if quoted || !any {
            return Err(self.error("an open quote or missing word"));
        }
        if !text.is_empty() || word.is_empty() {
            word.push(Part::Text(text));
        }
        Ok(word)
    }

    fn expansion(&mut self) -> Result<Part, SyntaxError> {
        if self.eat(b"((") {
            let name = self.name();
            let sign = if self.eat(b"+") {
                1
            } else if self.eat(b"-") {
                -1
            } else {
                return Err(self.error("a sum"));
            };
            let number = String::from_utf8_lossy(&self.name()).parse::<i64>();
            let number = number.map_err(|_| self.error("a number before"))?;
            return if self.eat(b"))") {
                Ok(Part::Sum(name, sign * number))
            } else {
                Err(self.error("a sum"))
            };
        }
        if self.eat(b"@") {
            return Ok(Part::Arguments);
        }
        if let Some(special) = self.peek().filter(|byte| b"?$!#0123456789".contains(byte)) {
            self.at += 1;
            return Ok(Part::Variable(vec![special]));
        }
        let braced = self.eat(b"{");
        let name = self.name();
        if name.is_empty() || (braced && !self.eat(b"}")) {
            return Err(self.error("an expansion"));
        }
        Ok(Part::Variable(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_suite_uses_is_read() {
        for script in [
            "exit 7",
            "printf out; printf err >&2",
            "i=0; while [ $i -lt 10 ]; do echo $i; i=$((i+1)); done",
            "until [ -e /tmp/go ]; do sleep 0.01; done; echo b",
            "(sleep 1; echo late) & echo early",
            "if ! test -t 0; then echo 'no tty'; elif true; then :; else exit 1; fi 2>/dev/null",
            "for a in 1 2 3; do echo \"$a $@ ${HOME}\"; done >> /tmp/x && cat < /tmp/x || { echo no; exit 3; }",
        ] {
            parse(script.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_it_lacks_is_refused() {
        for script in ["a | b", "echo `x`", "echo 'open", "if true; then", "( a", "; a", "a )"] {
            assert!(parse(script.as_bytes()).is_err(), "{script}");
        }
    }
}
