//! All that is known of one thing: names and values, the values under each other.

use super::row::printable;

/// One line for each name and value. Control characters become `?`, as in tables.
#[must_use]
pub fn fields(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 1;
    let line = |(name, value): &(String, String)| {
        format!("{:width$} {}", printable(name) + ":", printable(value)).trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_under_each_other_each_on_one_line() {
        let rows = [("Name", "debian"), ("Architecture", "amd64\n"), ("Author", "")];
        let rows = rows.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(&rows), "Name:         debian\nArchitecture: amd64?\nAuthor:\n");
    }
}
