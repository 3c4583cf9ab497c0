//! One file, the program that writes it and the daemon that cuts it, with the words of the stories.

use crate::shadow::{Change, Recorder, Shadow};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Params, TransactionBehavior};
use std::path::PathBuf;
use tempfile::TempDir;
use tt_migrations::capture::collect::{clear, collect};
use tt_migrations::capture::ids;
use tt_migrations::capture::install::{Installed, install};
use tt_migrations::replica::Replica;
use tt_migrations::value::bound;
use tt_protocol::number::EdgeId;
use tt_protocol::policy::Policy;
use tt_protocol::value::Value;

/// The device time that the tests give to fresh rows.
pub(crate) const NOW: i64 = 1_700_000_000_000;

/// One device's file.
pub(crate) struct Station {
    folder: TempDir,
    pub(crate) device: EdgeId,
    pub(crate) program: Connection,
    pub(crate) daemon: Connection,
    pub(crate) replica: Replica,
    pub(crate) shadow: Shadow,
}

impl Station {
    /// A file with this schema, captured by device 7.
    pub(crate) fn new(schema: &str) -> Self {
        Self::of_device(schema, 7)
    }

    pub(crate) fn of_device(schema: &str, device: u16) -> Self {
        let folder = TempDir::new().expect("folder");
        let program = open(&folder);
        program.execute_batch(schema).expect("schema");
        Self::adopt(folder, program, device)
    }

    /// Takes over a file `station.db` that already lies in the folder.
    pub(crate) fn adopt(folder: TempDir, program: Connection, device: u16) -> Self {
        let daemon = open(&folder);
        daemon.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).expect("triggers off");
        daemon.execute_batch("PRAGMA foreign_keys = OFF").expect("foreign keys off");
        let mut station = Self {
            folder,
            device: EdgeId(device),
            program,
            daemon,
            replica: Replica::default(),
            shadow: Shadow::default(),
        };
        station.install();
        station.shadow = Shadow::of(&station.daemon, &station.replica);
        station
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("station.db")
    }

    /// Installs or repairs capture; what it found.
    pub(crate) fn install(&mut self) -> Installed {
        let tx = self.daemon.transaction_with_behavior(TransactionBehavior::Immediate).expect("write lock");
        let installed = install(&tx, &Policy::default(), self.device).expect("installed");
        tx.commit().expect("commit");
        self.replica = installed.replica.clone();
        installed
    }

    /// The program runs statements that must succeed.
    pub(crate) fn run(&self, sql: &str) -> &Self {
        self.program.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        self
    }

    /// The program runs a statement that must fail; the message.
    pub(crate) fn refused(&self, sql: &str) -> String {
        self.program.execute_batch(sql).expect_err(sql).to_string()
    }

    /// One integer as the program sees it.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.number_with(sql, [])
    }

    pub(crate) fn number_with(&self, sql: &str, params: impl Params) -> i64 {
        self.program.query_row(sql, params, |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Inserts with an automatic id and returns it.
    pub(crate) fn insert(&self, sql: &str) -> i64 {
        self.run(sql);
        self.program.last_insert_rowid()
    }

    /// Cuts without comparing: what the cut reports, in order.
    pub(crate) fn cut_unchecked(&mut self) -> Recorder {
        let mut recorder = Recorder::default();
        let tx = self.daemon.transaction_with_behavior(TransactionBehavior::Immediate).expect("write lock");
        for tracked in self.replica.tables.values() {
            let collected = collect(&tx, tracked, NOW, &mut recorder).expect("collect");
            clear(&tx, tracked, collected, self.device).expect("clear");
        }
        tx.commit().expect("commit");
        recorder
    }

    /// Cuts, holds the report against the shadow, and cuts once more, which must report nothing.
    pub(crate) fn check_cut(&mut self) -> Result<Recorder, String> {
        let first = self.cut_unchecked();
        self.shadow.apply(&self.replica, &first)?;
        let live = Shadow::of(&self.daemon, &self.replica);
        if let Some(difference) = self.shadow.difference(&live) {
            return Err(difference);
        }
        let second = self.cut_unchecked();
        if second.changes.is_empty() {
            Ok(first)
        } else {
            Err(format!("a second cut reports {:?}", second.changes))
        }
    }

    /// A checked cut, told in one short line per change: `+ table key`, `- table key`, `~ table key: columns`.
    pub(crate) fn cut(&mut self) -> Vec<String> {
        let recorder = self.check_cut().unwrap_or_else(|what| panic!("{what}"));
        let mut told: Vec<_> =
            recorder.changes.iter().map(|(table, change, _)| self.tell(table, change)).collect();
        told.sort();
        told
    }

    fn tell(&self, table: &str, change: &Change) -> String {
        let tracked = self.replica.get(table).expect("known table");
        let key = |row: &[Value]| row[..tracked.keys()].iter().map(show).collect::<Vec<_>>().join(",");
        match change {
            Change::Insert(row) => format!("+ {table} {}", key(row)),
            Change::Delete(row) => format!("- {table} {}", key(row)),
            Change::Update { changed, live, .. } => {
                let names: Vec<_> = changed.iter().map(|place| tracked.names[*place].as_str()).collect();
                format!("~ {table} {}: {}", key(live), names.join(","))
            }
        }
    }

    /// The daemon applies a row of another device, key first, and settles the ids, in one transaction.
    pub(crate) fn apply_foreign(&mut self, table: &str, row: &[Value]) {
        let tx = self.daemon.transaction_with_behavior(TransactionBehavior::Immediate).expect("write lock");
        let tracked = self.replica.get(table).expect("known table");
        let values = rusqlite::params_from_iter(bound(row.iter().map(Value::as_ref)));
        tx.execute(&tracked.insert, values).expect("foreign row");
        ids::settle(&tx, tracked, self.device).expect("settle");
        tx.commit().expect("commit");
    }

    /// The daemon makes sure that every table has ids to hand out.
    pub(crate) fn settle(&mut self) {
        let tx = self.daemon.transaction_with_behavior(TransactionBehavior::Immediate).expect("write lock");
        for tracked in self.replica.tables.values() {
            ids::settle(&tx, tracked, self.device).expect("settle");
        }
        tx.commit().expect("commit");
    }

    pub(crate) fn place(&self, table: &str) -> ids::Place {
        ids::place(&self.daemon, self.replica.get(table).expect("known table")).expect("place")
    }
}

fn open(folder: &TempDir) -> Connection {
    Connection::open(folder.path().join("station.db")).expect("open")
}

/// A value as a person would write it.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Blob(bytes) => format!("x{bytes:?}"),
    }
}
