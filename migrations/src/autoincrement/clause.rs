//! Finds the place in a `CREATE TABLE` text where AUTOINCREMENT belongs.
//!
//! Pure text work. It relies on what SQLite's grammar guarantees and on nothing else: PRIMARY and KEY
//! are reserved, so unquoted and directly inside the outer parentheses they can only be the clause that
//! declares the key. Whatever does not look like that is refused, never guessed.

use crate::tokens::{Kind, Token, TokenError, tokenize};

/// Where the word stands or belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The table has AUTOINCREMENT already.
    Present,
    /// The word belongs behind the byte with this number.
    After(usize),
}

/// Why no place was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClauseError {
    /// The text cannot even be cut into tokens.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It is not the text of a table with a list of columns.
    #[error("it is not CREATE TABLE with a list of columns")]
    NoColumns,
    /// PRIMARY KEY is missing or stands there more than once.
    #[error("PRIMARY KEY stands in it {0} times")]
    Keys(usize),
    /// The parentheses do not match.
    #[error("its parentheses do not match")]
    Parentheses,
}

/// The text with AUTOINCREMENT put in, or none if it is there already.
pub(super) fn with_autoincrement(sql: &str) -> Result<Option<String>, ClauseError> {
    Ok(match place(sql)? {
        Place::Present => None,
        Place::After(at) => Some(format!("{} AUTOINCREMENT{}", &sql[..at], &sql[at..])),
    })
}

/// The text with the word taken out again, as [`with_autoincrement`] has put it in; none if it is not there so.
pub(super) fn without_autoincrement(sql: &str) -> Result<Option<String>, ClauseError> {
    const WORD: &str = " AUTOINCREMENT";
    let with = |bare: &String| matches!(with_autoincrement(bare), Ok(Some(again)) if again == sql);
    let bare = sql.match_indices(WORD).map(|(at, _)| format!("{}{}", &sql[..at], &sql[at + WORD.len()..]));
    Ok(if place(sql)? == Place::Present { bare.into_iter().find(with) } else { None })
}

/// Finds the place for the word.
pub(super) fn place(sql: &str) -> Result<Place, ClauseError> {
    let mut tokens = tokenize(sql)?;
    tokens.retain(|token| token.kind != Kind::Comment);
    let keys = primary_keys(&tokens)?;
    let [key] = keys[..] else {
        return Err(ClauseError::Keys(keys.len()));
    };
    if tokens.get(key + 2).is_some_and(|token| token.is_mark("(")) {
        table_constraint(&tokens, key + 2)
    } else {
        column_constraint(&tokens, key + 2)
    }
}

/// Positions of `PRIMARY KEY` directly inside the outer parentheses.
fn primary_keys(tokens: &[Token<'_>]) -> Result<Vec<usize>, ClauseError> {
    let open = tokens.iter().position(|token| token.is_mark("(")).ok_or(ClauseError::NoColumns)?;
    let head = &tokens[..open];
    let temporary = head.get(1).is_some_and(|token| token.is_word("TEMP") || token.is_word("TEMPORARY"));
    let creates = head.first().is_some_and(|token| token.is_word("CREATE"))
        && head.get(1 + usize::from(temporary)).is_some_and(|token| token.is_word("TABLE"))
        && !head.iter().any(|token| token.is_word("AS"));
    if !creates {
        return Err(ClauseError::NoColumns);
    }
    let close = matching(tokens, open)?;
    let mut depth = 0_usize;
    let mut found = Vec::new();
    for at in open..close {
        if tokens[at].is_mark("(") {
            depth += 1;
        } else if tokens[at].is_mark(")") {
            depth -= 1;
        } else if depth == 1 && tokens[at].is_word("PRIMARY") && tokens[at + 1].is_word("KEY") {
            found.push(at);
        }
    }
    Ok(found)
}

/// Position of the parenthesis that closes the one at `open`.
fn matching(tokens: &[Token<'_>], open: usize) -> Result<usize, ClauseError> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.is_mark("(") {
            depth += 1;
        } else if token.is_mark(")") {
            depth -= 1;
            if depth == 0 {
                return Ok(at);
            }
        }
    }
    Err(ClauseError::Parentheses)
}

/// `PRIMARY KEY (id ASC AUTOINCREMENT) ON CONFLICT …`: the word stands inside, at the end.
fn table_constraint(tokens: &[Token<'_>], open: usize) -> Result<Place, ClauseError> {
    let close = matching(tokens, open)?;
    Ok(place_behind(&tokens[close - 1]))
}

/// `id INTEGER PRIMARY KEY ASC ON CONFLICT … AUTOINCREMENT`: the word stands last.
fn column_constraint(tokens: &[Token<'_>], after_key: usize) -> Result<Place, ClauseError> {
    let word = |at: usize, keyword: &str| tokens.get(at).is_some_and(|token| token.is_word(keyword));
    let mut next = after_key;
    if word(next, "ASC") || word(next, "DESC") {
        next += 1;
    }
    if word(next, "ON") && word(next + 1, "CONFLICT") {
        next += 3;
    }
    if word(next, "AUTOINCREMENT") {
        next += 1;
    }
    tokens.get(next - 1).map(place_behind).ok_or(ClauseError::Parentheses)
}

fn place_behind(last: &Token<'_>) -> Place {
    if last.is_word("AUTOINCREMENT") { Place::Present } else { Place::After(last.range.end) }
}

#[cfg(test)]
mod tests {
    use super::{ClauseError, with_autoincrement, without_autoincrement};

    #[test]
    fn the_word_goes_where_the_grammar_wants_it() {
        for (before, after) in [
            (
                "CREATE TABLE t(id INTEGER PRIMARY KEY)",
                "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT)",
            ),
            (
                "CREATE TABLE t(id INTEGER PRIMARY KEY ASC ON CONFLICT ABORT NOT NULL, a)",
                "CREATE TABLE t(id INTEGER PRIMARY KEY ASC ON CONFLICT ABORT AUTOINCREMENT NOT NULL, a)",
            ),
            (
                "CREATE TABLE t(id INTEGER, CONSTRAINT k PRIMARY KEY(id ASC) ON CONFLICT FAIL)",
                "CREATE TABLE t(id INTEGER, CONSTRAINT k PRIMARY KEY(id ASC AUTOINCREMENT) ON CONFLICT FAIL)",
            ),
            (
                "CREATE TABLE t(a TEXT DEFAULT 'PRIMARY KEY', id INTEGER PRIMARY/*x*/KEY--end\n)",
                "CREATE TABLE t(a TEXT DEFAULT 'PRIMARY KEY', id INTEGER PRIMARY/*x*/KEY AUTOINCREMENT--end\n)",
            ),
        ] {
            assert_eq!(with_autoincrement(before).expect(before).as_deref(), Some(after));
            assert_eq!(with_autoincrement(after).expect(after), None);
            assert_eq!(without_autoincrement(after).expect(after).as_deref(), Some(before));
            assert_eq!(without_autoincrement(before).expect(before), None);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, error) in [
            ("CREATE VIRTUAL TABLE t USING fts5(a)", ClauseError::NoColumns),
            ("CREATE TABLE t", ClauseError::NoColumns),
            ("CREATE TABLE t(a, b)", ClauseError::Keys(0)),
            ("CREATE TABLE t(a PRIMARY KEY, b PRIMARY KEY)", ClauseError::Keys(2)),
            ("CREATE TABLE t(a CHECK (a > 0", ClauseError::Parentheses),
        ] {
            assert_eq!(with_autoincrement(text), Err(error), "{text}");
        }
    }
}
