//! Reads from the first words of a statement what it does.
//!
//! SQLite's grammar puts the name of what is changed near the beginning; nothing behind that is read.

use super::{Action, ScriptError};
use crate::tokens::Token;

/// Begin or end a transaction, or reach another file.
const NOT_ALLOWED: [&str; 9] =
    ["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "VACUUM", "ATTACH", "DETACH"];
/// Numbers in the file's head that belong to the programs.
const MARKS: [&str; 2] = ["user_version", "application_id"];
/// Would let a statement write what SQLite keeps for itself.
const UNSAFE: [&str; 2] = ["writable_schema", "journal_mode"];

/// A place among the tokens of one statement.
struct Words<'t, 's> {
    tokens: &'t [Token<'s>],
}

impl Words<'_, '_> {
    fn take(&mut self, word: &str) -> bool {
        let found = self.tokens.first().is_some_and(|token| token.is_word(word));
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn skip(&mut self, words: &[&str]) {
        for word in words {
            self.take(word);
        }
    }

    /// A name, with or without `main.` before it.
    fn name(&mut self) -> Option<String> {
        let first = self.tokens.first()?.name()?;
        if self.tokens.get(1).is_some_and(|token| token.is_mark(".")) {
            let name = self.tokens.get(2)?.name()?;
            self.tokens = self.tokens.get(3..)?;
            return first.eq_ignore_ascii_case("main").then_some(name);
        }
        self.tokens = &self.tokens[1..];
        Some(first)
    }
}

pub(super) fn action(tokens: &[Token<'_>], text: &str) -> Result<Action, ScriptError> {
    let mut words = Words { tokens };
    if let Some(word) = NOT_ALLOWED.iter().find(|word| words.take(word)) {
        return Err(ScriptError::NotAllowed((*word).to_owned()));
    }
    let found = if words.take("CREATE") {
        if words.take("TEMP") || words.take("TEMPORARY") {
            return Err(ScriptError::NotAllowed("a temporary table".to_owned()));
        }
        create(&mut words)
    } else if words.take("DROP") {
        drop_one(&mut words)
    } else if words.take("ALTER") {
        words.skip(&["TABLE"]);
        alter(&mut words)
    } else if words.take("PRAGMA") {
        return pragma(&mut words, text);
    } else {
        rows(&mut words)
    };
    found.ok_or_else(|| ScriptError::Unknown(text.chars().take(80).collect()))
}

fn create(words: &mut Words<'_, '_>) -> Option<Action> {
    words.skip(&["UNIQUE", "VIRTUAL"]);
    let what = kind(words)?;
    words.skip(&["IF", "NOT", "EXISTS"]);
    let name = words.name()?;
    Some(if what == "table" { Action::CreateTable(name) } else { Action::Create { what, name } })
}

fn drop_one(words: &mut Words<'_, '_>) -> Option<Action> {
    let what = kind(words)?;
    words.skip(&["IF", "EXISTS"]);
    let name = words.name()?;
    Some(if what == "table" { Action::DropTable(name) } else { Action::Drop { what, name } })
}

fn kind(words: &mut Words<'_, '_>) -> Option<&'static str> {
    ["table", "index", "view", "trigger"].into_iter().find(|what| words.take(what))
}

fn alter(words: &mut Words<'_, '_>) -> Option<Action> {
    let table = words.name()?;
    if words.take("ADD") {
        words.skip(&["COLUMN"]);
        return Some(Action::AddColumn { table, column: words.name()? });
    }
    if words.take("DROP") {
        words.skip(&["COLUMN"]);
        return Some(Action::DropColumn { table, column: words.name()? });
    }
    if !words.take("RENAME") {
        return None;
    }
    if words.take("TO") {
        return Some(Action::RenameTable { from: table, to: words.name()? });
    }
    words.skip(&["COLUMN"]);
    let from = words.name()?;
    words.skip(&["TO"]);
    Some(Action::RenameColumn { table, from, to: words.name()? })
}

fn pragma(words: &mut Words<'_, '_>, text: &str) -> Result<Action, ScriptError> {
    let name = words.name().unwrap_or_default().to_ascii_lowercase();
    if UNSAFE.contains(&name.as_str()) {
        return Err(ScriptError::NotAllowed(text.to_owned()));
    }
    Ok(if MARKS.contains(&name.as_str()) { Action::Mark } else { Action::Look })
}

fn rows(words: &mut Words<'_, '_>) -> Option<Action> {
    if words.take("WITH") {
        skip_to_verb(words)?;
    }
    if ["SELECT", "VALUES", "ANALYZE", "REINDEX", "EXPLAIN"].iter().any(|word| words.take(word)) {
        return Some(Action::Look);
    }
    let insert = words.take("INSERT") || words.take("REPLACE");
    let update = !insert && words.take("UPDATE");
    if !insert && !update && !words.take("DELETE") {
        return None;
    }
    if words.take("OR") {
        words.tokens = words.tokens.get(1..)?;
    }
    words.skip(&["INTO", "FROM"]);
    Some(Action::Rows { table: words.name()? })
}

/// Behind the parentheses of WITH stands the statement itself.
fn skip_to_verb(words: &mut Words<'_, '_>) -> Option<()> {
    let mut depth = 0usize;
    let verb = words.tokens.iter().position(|token| {
        if token.is_mark("(") {
            depth += 1;
        } else if token.is_mark(")") {
            depth = depth.saturating_sub(1);
        }
        depth == 0
            && ["INSERT", "REPLACE", "UPDATE", "DELETE", "SELECT"].iter().any(|word| token.is_word(word))
    })?;
    words.tokens = &words.tokens[verb..];
    Some(())
}
