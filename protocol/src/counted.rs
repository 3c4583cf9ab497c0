//! A number of things as people say it.

use std::fmt::Display;

/// `1 row`, `3 rows`, `2 entries`: the number and the noun that it asks for.
#[must_use]
pub fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    if count == "1" {
        return format!("1 {noun}");
    }
    let stem = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match stem {
        Some(stem) => format!("{count} {stem}ies"),
        None if noun.ends_with('x') => format!("{count} {noun}es"),
        None => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_one_and_the_others_are_many() {
        let said = [
            counted(0, "row"),
            counted(1, "row"),
            counted(21, "row"),
            counted(2, "entry"),
            counted(2, "day"),
            counted(2, "index"),
        ];
        assert_eq!(said, ["0 rows", "1 row", "21 rows", "2 entries", "2 days", "2 indexes"]);
    }
}
