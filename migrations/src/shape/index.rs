//! The parts of an index that only its text tells: expressions and the WHERE clause.
//!
//! SQLite's pragmas say which columns are indexed and with which collation; an expression has no name
//! there. Comments are left out, because the parts become parts of our own statements.

use crate::quote::ident;
use crate::tokens::{Kind, Token, tokenize};
use rusqlite::{Connection, OptionalExtension as _, Result};

/// Name and collation of each indexed term; no name for an expression.
pub(super) fn columns(conn: &Connection, index: &str) -> Result<Vec<(Option<String>, String)>> {
    let sql = "SELECT name, coll FROM pragma_index_xinfo(?1) WHERE \"key\" = 1 ORDER BY seqno";
    conn.prepare_cached(sql)?.query_map([index], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

type Terms = Vec<(String, String)>;

/// The terms as SQL with their collations, and the WHERE clause of a partial index.
pub(super) fn terms_and_predicate(
    conn: &Connection,
    index: &str,
    named: Option<&[(String, String)]>,
    partial: bool,
) -> Result<(Terms, Option<String>)> {
    if let (Some(named), false) = (named, partial) {
        return Ok((quoted(named), None));
    }
    let sql: Option<String> = conn
        .query_row("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?1", [index], |row| {
            row.get(0)
        })
        .optional()?
        .flatten();
    let sql = sql.unwrap_or_default();
    let tokens: Vec<_> =
        tokenize(&sql).unwrap_or_default().into_iter().filter(|token| token.kind != Kind::Comment).collect();
    let predicate = partial.then(|| predicate(&tokens));
    if let Some(named) = named {
        return Ok((quoted(named), predicate));
    }
    let collations: Vec<_> = columns(conn, index)?.into_iter().map(|(_, collation)| collation).collect();
    let texts = expressions(&tokens);
    if texts.len() != collations.len() {
        return Ok((Vec::new(), predicate));
    }
    Ok((texts.into_iter().zip(collations).collect(), predicate))
}

fn quoted(named: &[(String, String)]) -> Terms {
    named.iter().map(|(name, collation)| (ident(name), collation.clone())).collect()
}

fn predicate(tokens: &[Token<'_>]) -> String {
    let from = tokens.iter().rposition(|token| token.is_word("WHERE")).map_or(tokens.len(), |at| at + 1);
    join(&tokens[from..])
}

/// What stands between the commas of `ON table (…)`, without the words about order and collation.
fn expressions(tokens: &[Token<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut depth = 0usize;
    let mut from = 0;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_mark("(") {
            depth += 1;
            if depth == 1 {
                from = at + 1;
            }
        } else if token.is_mark(")") {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                found.push(expression(&tokens[from..at]));
                return found;
            }
        } else if token.is_mark(",") && depth == 1 {
            found.push(expression(&tokens[from..at]));
            from = at + 1;
        }
    }
    Vec::new()
}

fn expression(mut tokens: &[Token<'_>]) -> String {
    if let Some((last, rest)) = tokens.split_last()
        && (last.is_word("ASC") || last.is_word("DESC"))
    {
        tokens = rest;
    }
    if let [rest @ .., collate, _] = tokens
        && collate.is_word("COLLATE")
    {
        tokens = rest;
    }
    join(tokens)
}

fn join(tokens: &[Token<'_>]) -> String {
    tokens.iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{expressions, predicate};
    use crate::tokens::tokenize;

    #[test]
    fn terms_are_cut_out_without_order_and_collation() {
        let sql = "CREATE UNIQUE INDEX \"i (x)\" ON t(lower(a, 'b') COLLATE NOCASE DESC, b + 1, \"c d\") WHERE a > (1)";
        let tokens = tokenize(sql).expect(sql);
        assert_eq!(expressions(&tokens), ["lower ( a , 'b' )", "b + 1", "\"c d\""]);
        assert_eq!(predicate(&tokens), "a > ( 1 )");
    }
}
