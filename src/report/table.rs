//! Tables for lists: headers, columns under each other, no spaces at the end of a line.

use std::fmt;

use super::row::printable;

/// Spaces between two columns.
const GAP: &str = "   ";

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    header: String,
    right: bool,
}

impl Column {
    /// A column of words.
    #[must_use]
    pub fn left(header: &str) -> Self {
        Self { header: header.to_owned(), right: false }
    }

    /// A column of numbers: they stand at its right side.
    #[must_use]
    pub fn right(header: &str) -> Self {
        Self { header: header.to_owned(), right: true }
    }
}

/// A table; its text is what it displays as, one line for the headers and one for each row.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row. Cells without a column are not shown, missing ones are empty; control characters become `?`,
    /// so that no name from outside moves the cursor.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(|cell| printable(cell.as_ref())).collect());
    }

    fn widths(&self) -> Vec<usize> {
        let width = |text: &str| text.chars().count();
        let widest = |index: usize, column: &Column| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| width(cell));
            cells.max().unwrap_or(0).max(width(&column.header))
        };
        self.columns.iter().enumerate().map(|(index, column)| widest(index, column)).collect()
    }

    fn line<'a>(&self, widths: &[usize], cell: impl Fn(usize) -> &'a str) -> String {
        let mut line = String::new();
        for (index, (column, &width)) in self.columns.iter().zip(widths).enumerate() {
            let gap = if index == 0 { "" } else { GAP };
            let cell = cell(index);
            let padded = if column.right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line = line + gap + &padded;
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let header = |index: usize| self.columns.get(index).map_or("", |c| c.header.as_str());
        writeln!(f, "{}", self.line(&widths, header))?;
        for row in &self.rows {
            let cell = |index: usize| row.get(index).map_or("", String::as_str);
            writeln!(f, "{}", self.line(&widths, cell))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new([Column::left("NAME"), Column::right("SIZE"), Column::left("CREATED")]);
        table.row(["alpine:3.20", "7.8MB", "2 days ago"]);
        table.row(["ü", "107.4MB", ""]);
        table.row(["bad\x1b[2J\n"]);
        let expected = [
            "NAME             SIZE   CREATED",
            "alpine:3.20     7.8MB   2 days ago",
            "ü             107.4MB",
            "bad?[2J?",
            "",
        ];
        assert_eq!(table.to_string(), expected.join("\n"));
    }

    proptest! {
        #[test]
        fn a_row_is_always_one_line_without_spaces_at_its_end(
            cells in prop::collection::vec(prop::collection::vec("\\PC{0,10}[\n\t ]?", 0..4), 0..8)
        ) {
            let mut table = Table::new([Column::left("A"), Column::right("B")]);
            for row in &cells {
                table.row(row);
            }
            let text = table.to_string();
            prop_assert_eq!(text.split('\n').count(), cells.len() + 2);
            prop_assert!(text.split('\n').all(|line| line.trim_end() == line));
        }
    }
}
