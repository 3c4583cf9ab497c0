//! A migration's SQL, statement by statement: what each of them does to which table.
//!
//! * SQLite runs the statements; here is only read what it will do, so that a change which a program made
//!   by itself is recognised, names can be followed, and statements about rows run at the hub alone.
//! * What a migration may not do (end its transaction, open another file, touch our own tables) is
//!   refused before anything runs.

mod read;

use crate::tokens::{Kind, Token, TokenError, tokenize};

/// What one statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `CREATE TABLE`, also a virtual one.
    CreateTable(String),
    /// `DROP TABLE`.
    DropTable(String),
    /// `ALTER TABLE … RENAME TO`.
    RenameTable {
        /// Its name before.
        from: String,
        /// Its name afterwards.
        to: String,
    },
    /// `ALTER TABLE … ADD COLUMN`.
    AddColumn {
        /// The table.
        table: String,
        /// The new column.
        column: String,
    },
    /// `ALTER TABLE … DROP COLUMN`.
    DropColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// `ALTER TABLE … RENAME COLUMN`.
    RenameColumn {
        /// The table.
        table: String,
        /// The column's name before.
        from: String,
        /// Its name afterwards.
        to: String,
    },
    /// `CREATE` of an index, a view or a trigger.
    Create {
        /// As `sqlite_schema` calls it.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// `DROP` of an index, a view or a trigger.
    Drop {
        /// As `sqlite_schema` calls it.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// `INSERT`, `REPLACE`, `UPDATE` or `DELETE`.
    Rows {
        /// The table that is written.
        table: String,
    },
    /// Numbers in the file's head that programs look at.
    Mark,
    /// Everything that leaves nothing behind: `SELECT`, `PRAGMA`, `ANALYZE`. It is not run.
    Look,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement<'s> {
    /// Its text, without the semicolon behind it.
    pub sql: &'s str,
    /// What it does.
    pub action: Action,
}

/// Why a text is no migration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// It cannot be cut into tokens.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A statement that a migration may not hold.
    #[error(
        "it holds {0}, which a migration may not: it runs in one transaction of the hub, in the hub's file"
    )]
    NotAllowed(String),
    /// It names a table of ours.
    #[error("it names \"{0}\": what begins with _sync_ belongs to the hub and its devices")]
    Ours(String),
    /// A statement that is not understood.
    #[error("it holds a statement that is not understood: {0}")]
    Unknown(String),
}

/// Cuts a migration into its statements.
///
/// # Errors
/// [`ScriptError`] when it holds what a migration may not.
pub fn parse(sql: &str) -> Result<Vec<Statement<'_>>, ScriptError> {
    let mut tokens = tokenize(sql)?;
    tokens.retain(|token| token.kind != Kind::Comment);
    let ours = |token: &&Token<'_>| {
        matches!(token.kind, Kind::Word | Kind::Quoted)
            && token.name().is_some_and(|name| name.to_ascii_lowercase().starts_with("_sync_"))
    };
    if let Some(token) = tokens.iter().find(ours) {
        return Err(ScriptError::Ours(token.name().unwrap_or_default()));
    }
    let mut statements = Vec::new();
    let mut rest = tokens.as_slice();
    while !rest.is_empty() {
        let length = length(rest);
        let (one, after) = rest.split_at(length);
        rest = after.get(1..).unwrap_or_default();
        if let (Some(first), Some(last)) = (one.first(), one.last()) {
            let text = &sql[first.range.start..last.range.end];
            statements.push(Statement { sql: text, action: read::action(one, text)? });
        }
    }
    Ok(statements)
}

/// Tokens up to the semicolon that ends the first statement. A trigger's body has semicolons of its own;
/// the one that ends it stands behind `; END`.
fn length(tokens: &[Token<'_>]) -> usize {
    let mut words = tokens.iter();
    let trigger = words.next().is_some_and(|token| token.is_word("CREATE"))
        && words.next().is_some_and(|token| token.is_word("TRIGGER"));
    let ends = |place: &usize| {
        tokens[*place].is_mark(";")
            && (!trigger || *place >= 2 && tokens[place - 1].is_word("END") && tokens[place - 2].is_mark(";"))
    };
    (0..tokens.len()).find(ends).unwrap_or(tokens.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(sql: &str) -> Vec<Action> {
        parse(sql).expect(sql).into_iter().map(|statement| statement.action).collect()
    }

    fn own(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn every_statement_that_changes_a_table_is_read() {
        let found = actions(
            "-- a comment; with a semicolon
             CREATE TABLE IF NOT EXISTS main.\"a b\"(x DEFAULT ';'); drop table [c];;
             ALTER TABLE t RENAME TO u; ALTER TABLE t ADD c INT; alter table `t` add column \"d e\" TEXT;
             ALTER TABLE t DROP COLUMN c; ALTER TABLE t DROP d; ALTER TABLE t RENAME COLUMN a TO b;
             ALTER TABLE main.t RENAME a TO b",
        );
        let table = || own("t");
        assert_eq!(
            found,
            [
                Action::CreateTable(own("a b")),
                Action::DropTable(own("c")),
                Action::RenameTable { from: table(), to: own("u") },
                Action::AddColumn { table: table(), column: own("c") },
                Action::AddColumn { table: table(), column: own("d e") },
                Action::DropColumn { table: table(), column: own("c") },
                Action::DropColumn { table: table(), column: own("d") },
                Action::RenameColumn { table: table(), from: own("a"), to: own("b") },
                Action::RenameColumn { table: table(), from: own("a"), to: own("b") },
            ]
        );
    }

    #[test]
    fn rows_indexes_views_and_triggers_are_told_apart() {
        let found = actions(
            "CREATE UNIQUE INDEX IF NOT EXISTS i ON t(a); DROP VIEW IF EXISTS v;
             CREATE TRIGGER g AFTER UPDATE ON t BEGIN UPDATE t SET a = CASE WHEN 1 THEN 2 END; DELETE FROM u; END;
             WITH x AS (SELECT 1 FROM (SELECT 2)) INSERT OR IGNORE INTO t SELECT * FROM x;
             UPDATE OR REPLACE main.t SET a = 1; DELETE FROM \"t\"; REPLACE INTO t VALUES (1);
             PRAGMA user_version = 7; PRAGMA foreign_keys = OFF; SELECT 1; ANALYZE",
        );
        let rows = || Action::Rows { table: own("t") };
        assert_eq!(
            found,
            [
                Action::Create { what: "index", name: own("i") },
                Action::Drop { what: "view", name: own("v") },
                Action::Create { what: "trigger", name: own("g") },
                rows(),
                rows(),
                rows(),
                rows(),
                Action::Mark,
                Action::Look,
                Action::Look,
                Action::Look,
            ]
        );
    }

    #[test]
    fn a_statement_is_cut_out_whole() {
        let sql = "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END; UPDATE t SET a = ';' -- x\n;";
        let found: Vec<_> = parse(sql).expect("two").into_iter().map(|statement| statement.sql).collect();
        assert_eq!(found, ["CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END", "UPDATE t SET a = ';'"]);
    }

    #[test]
    fn what_would_leave_the_transaction_or_the_file_is_refused() {
        for sql in [
            "BEGIN",
            "COMMIT",
            "END",
            "ROLLBACK TO x",
            "SAVEPOINT x",
            "RELEASE x",
            "VACUUM",
            "ATTACH 'x' AS y",
            "DETACH y",
            "CREATE TEMP TABLE x(a)",
        ] {
            assert!(matches!(parse(sql), Err(ScriptError::NotAllowed(_))), "{sql}");
        }
        for sql in
            ["DELETE FROM _sync_outbox", "SELECT * FROM \"_SYNC_state\"", "PRAGMA writable_schema = ON"]
        {
            assert!(parse(sql).is_err(), "{sql}");
        }
        assert!(matches!(parse("FROBNICATE t"), Err(ScriptError::Unknown(_))));
        assert!(matches!(parse("SELECT 'open"), Err(ScriptError::Token(_))));
        assert_eq!(parse(" ; -- nothing\n;"), Ok(Vec::new()));
    }
}
