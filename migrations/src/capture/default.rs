//! A column's default as an expression.
//!
//! SQLite keeps a default as it was written, without the parentheses: a literal, a signed number, an
//! expression, or a bare or double-quoted word, which is an old spelling of a text.

use crate::quote::text;
use crate::tokens::{Kind, tokenize};

/// The default in parentheses, so that it can stand in any statement.
pub(super) fn expression(sql: &str) -> String {
    let tokens: Vec<_> =
        tokenize(sql).unwrap_or_default().into_iter().filter(|token| token.kind != Kind::Comment).collect();
    let value = match &tokens[..] {
        [word] if word.kind == Kind::Word && !is_keyword(word.text) => text(word.text),
        [quoted] if quoted.kind == Kind::Quoted => text(&quoted.name().unwrap_or_default()),
        _ => tokens.iter().map(|token| token.text).collect::<Vec<_>>().join(" "),
    };
    format!("({value})")
}

fn is_keyword(word: &str) -> bool {
    const KEYWORDS: [&str; 6] =
        ["NULL", "TRUE", "FALSE", "CURRENT_TIME", "CURRENT_DATE", "CURRENT_TIMESTAMP"];
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::expression;

    #[test]
    fn every_spelling_of_a_default() {
        let spellings = [
            "5",
            "-5",
            "'it''s'",
            "\"say \"\"so\"\"\"",
            "Active",
            "true",
            "datetime('now')",
            "[a b]",
            "1 -- one",
        ];
        let read: Vec<_> = spellings.into_iter().map(expression).collect();
        let wanted = [
            "(5)",
            "(- 5)",
            "('it''s')",
            "('say \"so\"')",
            "('Active')",
            "(true)",
            "(datetime ( 'now' ))",
            "('a b')",
            "(1)",
        ];
        assert_eq!(read, wanted);
    }
}
