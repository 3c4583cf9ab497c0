//! Decisions, rows and values in words, for the history and for reasons.

use super::Decision;
use tt_protocol::value::Value;

/// A value is cut off after so many characters: the entry's row has it whole.
const VALUE_CHARS_MAX: usize = 60;

/// What the history says about a decision. `values` are the ones that an edit came to.
pub(super) fn history(decision: &Decision, values: &[(String, Value)]) -> String {
    match decision {
        Decision::TakeWinner => "the winner was confirmed".to_owned(),
        Decision::TakeLoser => "the loser was taken".to_owned(),
        Decision::Dismiss => "dismissed".to_owned(),
        Decision::Edit(_) => format!("edited: {}", pairs(values, ", ")),
    }
}

/// A row's table and key.
pub(super) fn row(table: &str, key: &[(String, Value)]) -> String {
    format!("{table} {}", pairs(key, " "))
}

fn pairs(values: &[(String, Value)], between: &str) -> String {
    values.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(between)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            match text.char_indices().nth(VALUE_CHARS_MAX) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text.into_owned(),
            }
        }
        Value::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_told_with_its_values() {
        let values =
            [("good", Value::Integer(5)), ("note", Value::text(&"ü".repeat(70))), ("x", Value::Null)];
        let values = values.map(|(name, value)| (name.to_owned(), value));
        let said = history(&Decision::Edit(Vec::new()), &values);
        assert_eq!(said, format!("edited: good=5, note={}…, x=NULL", "ü".repeat(60)));
    }
}
