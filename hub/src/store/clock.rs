//! The time that SQLite tells on the merge's connection is the merge's own: a column's default must come out the
//! same when the journal is replayed years later.
//!
//! SQLite has no way to set its clock, so its functions of time are replaced by ones that put the merge's time
//! where somebody says 'now', and ask a connection of their own for the rest.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Result, params_from_iter};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tt_protocol::number::Millis;

/// Functions, and whether something stands before the time.
const FUNCTIONS: [(&str, usize); 6] =
    [("date", 0), ("time", 0), ("datetime", 0), ("julianday", 0), ("unixepoch", 0), ("strftime", 1)];
/// What a default can say without parentheses, and what that is.
const WORDS: [(&str, &str); 3] =
    [("current_date", "date"), ("current_time", "time"), ("current_timestamp", "datetime")];

/// The merge's time.
#[derive(Clone, Debug, Default)]
pub(crate) struct MergeClock(Arc<AtomicI64>);

impl MergeClock {
    /// Makes a connection tell this time.
    pub(crate) fn rule(&self, conn: &Connection) -> Result<()> {
        let plain = Arc::new(Mutex::new(Connection::open_in_memory()?));
        // Indexes and CHECKs of programs use them with columns, which SQLite allows only for such functions.
        let flags = FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_INNOCUOUS
            | FunctionFlags::SQLITE_DETERMINISTIC;
        for (name, at) in FUNCTIONS {
            let (clock, plain) = (self.clone(), Arc::clone(&plain));
            conn.create_scalar_function(name, -1, flags, move |context| {
                let arguments = clock.arguments(context, at)?;
                ask(&plain, name, arguments)
            })?;
        }
        for (word, name) in WORDS {
            let (clock, plain) = (self.clone(), Arc::clone(&plain));
            conn.create_scalar_function(word, 0, flags, move |_| {
                ask(&plain, name, vec![clock.now(), Value::Text("unixepoch".into())])
            })?;
        }
        Ok(())
    }

    /// Sets the time.
    pub(crate) fn set(&self, now: Millis) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    /// Seconds since 1970 to the millisecond, which SQLite takes for a time with the word unixepoch.
    fn now(&self) -> Value {
        Value::Text(format!("{:.3}", self.0.load(Ordering::Relaxed) as f64 / 1_000.0))
    }

    /// The arguments, with our time in place of 'now' or of nothing.
    fn arguments(&self, context: &Context<'_>, at: usize) -> Result<Vec<Value>> {
        let mut given: Vec<Value> =
            (0..context.len()).map(|place| context.get(place)).collect::<Result<_>>()?;
        let is_now =
            |value: ValueRef<'_>| matches!(value, ValueRef::Text(text) if text.eq_ignore_ascii_case(b"now"));
        if given.len() == at || (given.len() > at && is_now(context.get_raw(at))) {
            given.splice(at..(at + 1).min(given.len()), [self.now(), Value::Text("unixepoch".into())]);
        }
        Ok(given)
    }
}

fn ask(plain: &Mutex<Connection>, name: &str, arguments: Vec<Value>) -> Result<Value> {
    let plain = plain.lock().unwrap_or_else(PoisonError::into_inner);
    let sql = format!("SELECT {name}({})", vec!["?"; arguments.len()].join(", "));
    plain.prepare_cached(&sql)?.query_row(params_from_iter(arguments), |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_ask_for_the_time_is_told_the_merges_time() {
        let conn = Connection::open_in_memory().unwrap();
        let clock = MergeClock::default();
        clock.rule(&conn).unwrap();
        clock.set(Millis(1_800_000_000_123));
        for (sql, told) in [
            ("CURRENT_TIMESTAMP", "2027-01-15 08:00:00"),
            ("CURRENT_DATE", "2027-01-15"),
            ("CURRENT_TIME", "08:00:00"),
            ("datetime('now')", "2027-01-15 08:00:00"),
            ("datetime('NOW', '+1 day')", "2027-01-16 08:00:00"),
            ("datetime()", "2027-01-15 08:00:00"),
            ("date('2001-02-03', '+1 day')", "2001-02-04"),
            ("strftime('%Y-%m-%d %H:%M:%f', 'now')", "2027-01-15 08:00:00.123"),
            ("strftime('%Y')", "2027"),
            ("unixepoch('now')", "1800000000"),
            ("CAST((julianday('now') - 2440587.5) * 86400.0 AS INTEGER)", "1800000000"),
        ] {
            let found: String =
                conn.query_row(&format!("SELECT CAST({sql} AS TEXT)"), [], |row| row.get(0)).unwrap();
            assert_eq!(found, told, "{sql}");
        }
    }

    #[test]
    fn a_default_and_an_index_of_a_program_work() {
        let conn = Connection::open_in_memory().unwrap();
        let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY, day TEXT, at TEXT DEFAULT CURRENT_TIMESTAMP, x TEXT DEFAULT (date('now')));
                   CREATE INDEX i ON t(date(day))";
        conn.execute_batch(sql).unwrap();
        let clock = MergeClock::default();
        clock.rule(&conn).unwrap();
        clock.set(Millis(86_400_000));
        conn.execute("INSERT INTO t(day) VALUES ('2001-02-03')", []).unwrap();
        let found: (String, String) = conn
            .query_row("SELECT at, x FROM t WHERE date(day) = '2001-02-03'", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(found, ("1970-01-02 00:00:00".into(), "1970-01-02".into()));
    }
}
