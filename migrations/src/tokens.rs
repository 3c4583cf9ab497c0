//! A tokenizer for SQLite's SQL that keeps the byte range of everything it finds.
//!
//! It exists for reading and editing the schema's own text: SQLite answers most questions about a table
//! through its pragmas, but not where in `CREATE TABLE` a clause stands. It follows SQLite's tokenizer,
//! not the SQL standard, and judges nothing beyond what ends where.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or a name without quotes.
    Word,
    /// A name in `"double quotes"`, `[brackets]` or `` `backticks` ``.
    Quoted,
    /// A text in `'single quotes'`. SQLite takes it as a name, too, where only a name can stand.
    Text,
    /// A number, also a hexadecimal one.
    Number,
    /// A blob literal such as `x'00ff'`.
    Blob,
    /// A bound parameter: `?1`, `:name`, `@name`, `$name`.
    Parameter,
    /// A comment, `-- to the end of the line` or `/* in between */`.
    Comment,
    /// Punctuation and operators, the ones of several letters as one token.
    Mark,
}

/// A piece of an SQL text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Exactly as it stands in the text.
    pub text: &'a str,
    /// Where it stands, in bytes.
    pub range: Range<usize>,
}

impl Token<'_> {
    /// Whether this is the given keyword. A quoted name never is.
    #[must_use]
    pub fn is_word(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether this is the given punctuation.
    #[must_use]
    pub fn is_mark(&self, mark: &str) -> bool {
        self.kind == Kind::Mark && self.text == mark
    }

    /// The name that this token stands for when it stands where a name is expected: without its quotes.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let inner = || &self.text[1..self.text.len() - 1];
        match (self.kind, self.text.as_bytes().first()) {
            (Kind::Word, _) => Some(self.text.to_owned()),
            (Kind::Quoted, Some(b'[')) => Some(inner().to_owned()),
            (Kind::Quoted, Some(b'`')) => Some(inner().replace("``", "`")),
            (Kind::Quoted, _) => Some(inner().replace("\"\"", "\"")),
            (Kind::Text, _) => Some(inner().replace("''", "'")),
            _ => None,
        }
    }
}

/// A text that SQLite would not read either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A quote without its partner.
    #[error("the quote that opens at byte {0} of the SQL text is never closed")]
    Unclosed(usize),
    /// A character that no token begins with.
    #[error("unexpected {found:?} at byte {at} of the SQL text")]
    Unexpected {
        /// The character.
        found: char,
        /// Where it stands.
        at: usize,
    },
}

/// All tokens of an SQL text in order, comments included, white space left out.
///
/// # Errors
/// [`TokenError`] for an open quote or a character that cannot stand in SQL.
pub fn tokenize(sql: &str) -> Result<Vec<Token<'_>>, TokenError> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if is_space(byte) {
            at += 1;
            continue;
        }
        let (kind, length) = measure(sql, at)?;
        let range = at..at + length;
        at = range.end;
        found.push(Token { kind, text: &sql[range.clone()], range });
    }
    Ok(found)
}

/// Kind and length in bytes of the token that begins at `at`.
fn measure(sql: &str, at: usize) -> Result<(Kind, usize), TokenError> {
    let rest = &sql.as_bytes()[at..];
    let second = rest.get(1).copied().unwrap_or(0);
    let quoted = |close| closed(&rest[1..], close).map(|n| n + 1).ok_or(TokenError::Unclosed(at));
    Ok(match rest[0] {
        b'\'' => (Kind::Text, quoted(b'\'')?),
        b'"' => (Kind::Quoted, quoted(b'"')?),
        b'`' => (Kind::Quoted, quoted(b'`')?),
        b'[' => {
            let end = rest.iter().position(|&b| b == b']').ok_or(TokenError::Unclosed(at))?;
            (Kind::Quoted, end + 1)
        }
        b'x' | b'X' if second == b'\'' => (Kind::Blob, quoted_blob(rest, at)?),
        b'-' if second == b'-' => {
            (Kind::Comment, rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()))
        }
        b'/' if second == b'*' => (Kind::Comment, block_comment(rest)),
        b'?' => (Kind::Parameter, 1 + run(&rest[1..], |b| b.is_ascii_digit())),
        b'@' | b':' | b'$' | b'#' if is_name(second) => (Kind::Parameter, 1 + run(&rest[1..], is_name)),
        b'0'..=b'9' => (Kind::Number, number(rest)),
        b'.' if second.is_ascii_digit() => (Kind::Number, number(rest)),
        first if is_name(first) && first != b'$' => (Kind::Word, run(rest, is_name)),
        _ => (Kind::Mark, mark(sql, at)?),
    })
}

/// Length up to and with the closing quote; a doubled quote is part of the text.
fn closed(inside: &[u8], quote: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = inside.get(at) {
        if byte != quote {
            at += 1;
        } else if inside.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
    None
}

fn quoted_blob(rest: &[u8], at: usize) -> Result<usize, TokenError> {
    closed(&rest[2..], b'\'').map(|length| length + 2).ok_or(TokenError::Unclosed(at))
}

/// SQLite lets the end of the text close a comment.
fn block_comment(rest: &[u8]) -> usize {
    rest[2..].windows(2).position(|pair| pair == b"*/").map_or(rest.len(), |inside| inside + 4)
}

fn number(rest: &[u8]) -> usize {
    if rest[0] == b'0' && matches!(rest.get(1), Some(b'x' | b'X')) {
        return 2 + run(&rest[2..], |b| b.is_ascii_hexdigit() || b == b'_');
    }
    let digits = |from: usize| run(&rest[from..], |b| b.is_ascii_digit() || b == b'_');
    let mut length = digits(0);
    if rest.get(length) == Some(&b'.') {
        length += 1 + digits(length + 1);
    }
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits((length + 1 + sign).min(rest.len()));
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

fn mark(sql: &str, at: usize) -> Result<usize, TokenError> {
    const LONG: [&str; 9] = ["->>", "->", "||", "<=", "<>", "<<", ">=", ">>", "=="];
    let rest = &sql[at..];
    if let Some(long) = LONG.iter().find(|long| rest.starts_with(**long)) {
        return Ok(long.len());
    }
    if rest.starts_with("!=") {
        return Ok(2);
    }
    let found = rest.chars().next().unwrap_or('\0');
    if "(),;.+-*/%<>=&|~".contains(found) { Ok(1) } else { Err(TokenError::Unexpected { found, at }) }
}

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|&&byte| belongs(byte)).count()
}

/// Every byte above ASCII counts as a letter, as in SQLite.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

#[cfg(test)]
mod tests {
    use super::{Kind, TokenError, tokenize};

    fn kinds(sql: &str) -> Vec<(Kind, &str)> {
        tokenize(sql).expect(sql).into_iter().map(|token| (token.kind, token.text)).collect()
    }

    #[test]
    fn names_in_all_four_styles() {
        let sql = r#"plain "a ""b""" [c d] `e``f` 'g''h' größe _x1$"#;
        let names: Vec<_> = tokenize(sql).expect(sql).iter().filter_map(super::Token::name).collect();
        assert_eq!(names, ["plain", "a \"b\"", "c d", "e`f", "g'h", "größe", "_x1$"]);
    }

    #[test]
    fn literals_comments_and_marks() {
        use Kind::{Blob, Comment, Mark, Number, Parameter, Text, Word};
        assert_eq!(
            kinds("x'0f' X 1.5e-3 .5 0xFF 7e -- tail\n/* a ' b */ a->>'$.b'||?1 :n <> != ;"),
            [
                (Blob, "x'0f'"),
                (Word, "X"),
                (Number, "1.5e-3"),
                (Number, ".5"),
                (Number, "0xFF"),
                (Number, "7"),
                (Word, "e"),
                (Comment, "-- tail"),
                (Comment, "/* a ' b */"),
                (Word, "a"),
                (Mark, "->>"),
                (Text, "'$.b'"),
                (Mark, "||"),
                (Parameter, "?1"),
                (Parameter, ":n"),
                (Mark, "<>"),
                (Mark, "!="),
                (Mark, ";"),
            ]
        );
    }

    #[test]
    fn ranges_cut_the_same_text_out_again() {
        let sql = "CREATE TABLE [t] (id INTEGER, -- key\n \"n\" TEXT DEFAULT 'ä''b')";
        for token in tokenize(sql).expect(sql) {
            assert_eq!(&sql[token.range.clone()], token.text);
        }
    }

    #[test]
    fn open_quotes_are_errors_and_open_comments_are_not() {
        for open in ["'abc", "\"abc", "[abc", "`abc", "x'00"] {
            assert_eq!(tokenize(open), Err(TokenError::Unclosed(0)), "{open}");
        }
        assert_eq!(kinds("a /* to the end"), [(Kind::Word, "a"), (Kind::Comment, "/* to the end")]);
        assert_eq!(tokenize("a \\"), Err(TokenError::Unexpected { found: '\\', at: 2 }));
        assert_eq!(tokenize("").expect("empty"), []);
    }
}
