//! Commands over the bed's port: how an answer begins and ends among whatever the command prints.

use std::io::{BufRead, ErrorKind, Write};

use anyhow::{Context, Result, bail};

/// Copies to `output` what the command that was asked for with `word` prints; returns its exit status. What is left of
/// an earlier command, whose asker has gone, is skipped.
pub(super) fn copy_answer(word: &str, from: &mut impl BufRead, output: &mut impl Write) -> Result<i32> {
    let (begin, end) = (format!("{word} begin\n"), format!("{word} end "));
    let mut line = Vec::new();
    let mut is_ours = false;
    loop {
        line.clear();
        match from.read_until(b'\n', &mut line) {
            Ok(0) => bail!("the bed has gone away"),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("the bed does not answer")
            }
            result => result.context("read from the bed")?,
        };
        if !is_ours {
            is_ours = line.ends_with(begin.as_bytes());
            continue;
        }
        // The end stands behind what the command printed last, which may lack a line break.
        let at = line.windows(end.len()).position(|window| window == end.as_bytes());
        let Some(at) = at else {
            output.write_all(&line)?;
            continue;
        };
        output.write_all(&line[..at])?;
        output.flush()?;
        let status = String::from_utf8_lossy(&line[at + end.len()..]);
        return status.trim().parse().with_context(|| format!("the bed told the status {status:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_is_copied() {
        let mut output = Vec::new();
        let mut said = "rest\nold end 1\nw1 begin\none\ntwow1 end 3\nmore".as_bytes();
        assert_eq!(copy_answer("w1", &mut said, &mut output).unwrap(), 3);
        assert_eq!(output, b"one\ntwo");
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        let mut output = Vec::new();
        assert!(copy_answer("w1", &mut "w1 begin\none\n".as_bytes(), &mut output).is_err());
        assert!(copy_answer("w1", &mut "w1 begin\nw1 end x\n".as_bytes(), &mut output).is_err());
    }
}
