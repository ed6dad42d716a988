//! Where in a file something is.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a configuration file, as editors count: lines and columns (characters) from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub path: PathBuf,
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Location {
    /// The place of byte `offset` of `text`; an offset outside or inside a character is moved back to one that exists.
    pub(crate) fn of_offset(path: &Path, text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let start_of_line = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[start_of_line..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let at = |offset| {
            let place = Location::of_offset(Path::new("f"), "aä\nb", offset);
            (place.line, place.column)
        };
        assert_eq!(
            [at(0), at(1), at(2), at(3), at(4), at(99)],
            [(1, 1), (1, 2), (1, 2), (1, 3), (2, 1), (2, 2)]
        );
    }
}
