//! How names and texts are written into SQL that we generate.
//!
//! Values of programs are bound, never written. Names cannot be bound, and `CREATE TRIGGER` takes no
//! parameters at all, so these two functions are the only way of putting either into a statement.

/// A name as an SQL identifier: in double quotes, quotes inside doubled.
#[must_use]
pub fn ident(name: &str) -> String {
    quoted(name, '"')
}

/// A text as an SQL literal: in single quotes, quotes inside doubled.
///
/// SQLite ends a statement at a NUL byte, so a text that holds one is written as a cast of its bytes.
#[must_use]
pub fn text(value: &str) -> String {
    if !value.contains('\0') {
        return quoted(value, '\'');
    }
    let hex: String = value.bytes().map(|byte| format!("{byte:02X}")).collect();
    format!("CAST(X'{hex}' AS TEXT)")
}

fn quoted(value: &str, quote: char) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push(quote);
    for letter in value.chars() {
        if letter == quote {
            out.push(quote);
        }
        out.push(letter);
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::{ident, text};
    use rusqlite::Connection;

    #[test]
    fn sqlite_reads_back_what_was_quoted() {
        let conn = Connection::open_in_memory().expect("memory");
        for odd in ["", "plain", "it's", "say \"so\"", "a]b`c", "two\nlines", "größe", "''", "a\0b", "select"]
        {
            let sql = format!("SELECT {}", text(odd));
            let back: String = conn.query_row(&sql, [], |row| row.get(0)).expect("literal");
            assert_eq!(back, odd);
            if odd.is_empty() || odd.contains('\0') {
                continue;
            }
            conn.execute_batch(&format!("CREATE TABLE {0}({0} INT)", ident(odd))).expect("identifier");
            let found: bool = conn
                .query_row("SELECT count(*) = 1 FROM pragma_table_info(?1) WHERE name = ?1", [odd], |r| {
                    r.get(0)
                })
                .expect("table_info");
            assert!(found, "{odd}");
        }
    }
}
