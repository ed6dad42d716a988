//! `KEY=VALUE` marks.

/// Why a text is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give a label as KEY=VALUE")]
pub(crate) struct LabelError;

/// Splits at the first `=`.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), LabelError> {
    let (key, value) = text.split_once('=').ok_or(LabelError)?;
    if key.is_empty() {
        return Err(LabelError);
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_equals_sign_divides() {
        assert_eq!(parse_label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(parse_label("a="), Ok(("a".to_owned(), String::new())));
        assert!(parse_label("a").is_err() && parse_label("=b").is_err());
    }
}
