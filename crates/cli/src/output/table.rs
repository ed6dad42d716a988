//! Columns for people.

use super::{Colour, Style};

/// Rows under a header; each column as wide as its widest cell.
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<(String, Option<Colour>)>>,
}

impl Table {
    /// An empty one.
    pub(crate) fn new(header: impl Into<Vec<&'static str>>) -> Self {
        Self { header: header.into(), rows: Vec::new() }
    }

    /// Adds a row; a cell may have a colour.
    pub(crate) fn row(&mut self, cells: impl Into<Vec<(String, Option<Colour>)>>) {
        let clean = |(text, colour): (String, _)| (printable(&text), colour);
        self.rows.push(cells.into().into_iter().map(clean).collect());
    }

    /// The whole table, each line ended.
    pub(crate) fn render(&self, style: Style) -> String {
        let width = |column: usize| {
            let cells =
                self.rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count());
            cells.chain([self.header[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut lines = String::new();
        let header: Vec<_> = self.header.iter().map(|title| ((*title).to_owned(), None)).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let last = row.len().saturating_sub(1);
            for (column, (text, colour)) in row.iter().enumerate() {
                lines.push_str(&colour.map_or_else(|| text.clone(), |colour| style.paint(colour, text)));
                if column < last {
                    let gap = widths[column] + 2 - text.chars().count();
                    lines.extend(std::iter::repeat_n(' ', gap));
                }
            }
            lines.push('\n');
        }
        lines
    }
}

/// Control characters of names that come out of a sandbox must not reach the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_escapes_are_disarmed() {
        let mut table = Table::new(["NAME", "STATUS"]);
        table.row([("a-long-name".to_owned(), None), ("up".to_owned(), Some(Colour::Green))]);
        table.row([("x\u{1b}[2J".to_owned(), None), ("down".to_owned(), None)]);
        assert_eq!(
            table.render(Style::plain()),
            "NAME         STATUS\na-long-name  up\nx\u{fffd}[2J        down\n"
        );
    }
}
