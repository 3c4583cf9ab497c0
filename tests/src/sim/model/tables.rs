//! Random tables: every kind of key, every rule for a column, constraints that a merge can break.
//!
//! A table is data that both sides read: SQLite gets it as SQL, the model as columns with their rules.

use super::super::random::Random;
use super::super::schemas::Shape;
use tt_protocol::policy::{HoldDeletes, Policy, TableRule};

/// What a column means when two devices changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Part of the primary key.
    Key,
    /// Differences are added.
    Counter,
    /// The later change wins.
    Plain,
    /// The larger value wins.
    Greatest,
    /// One value with all others of this rule in the table.
    Together,
    /// The later change wins; two rows that differ only here are equal.
    Now,
}

/// Which values programs put into a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// 0 to 8.
    Small,
    /// 0 or 1.
    Flag,
    /// Small numbers, the ends of 64 bits, NULL, sometimes text.
    Count,
    /// Multiples of a quarter, which add exactly in any order.
    Quarters,
    /// A few words.
    Words,
    /// Words in both cases, for keys and unique values.
    Names,
    /// Everything that SQLite can store.
    Anything,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type and constraints.
    pub declared: &'static str,
    /// Its rule.
    pub rule: Rule,
    /// Its values.
    pub domain: Domain,
}

/// Columns of which no two rows have the same values.
#[derive(Clone, Copy, Debug)]
pub struct Unique {
    /// Their names.
    pub columns: &'static [&'static str],
    /// Compared without case.
    pub nocase: bool,
    /// Only rows in which this column is 1 count.
    pub only_where: Option<&'static str>,
}

/// How a table's rows get their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// SQLite chooses a number.
    Automatic,
    /// Numbers that the program chooses, small and at the ends of 64 bits.
    Number,
    /// Words.
    Word,
    /// Words compared without case.
    Nocase,
    /// A number and a word, without a rowid.
    Pair,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// How its rows get their keys.
    pub key: KeyKind,
    /// Key columns first.
    pub columns: Vec<Column>,
    /// Its unique columns.
    pub uniques: Vec<Unique>,
    /// `good` must stay below this.
    pub good_below: Option<i64>,
    /// `low` must not be above `high`.
    pub ordered: bool,
    /// Rows that are equal here are the same thing, whoever made them.
    pub natural: &'static [&'static str],
    /// Only programs at the hub may write it.
    pub hub_only: bool,
    /// Deletes beyond this number and share of the rows wait for the operator.
    pub holds_deletes: Option<(u64, f64)>,
}

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

const fn column(name: &'static str, declared: &'static str, rule: Rule, domain: Domain) -> Column {
    Column { name, declared, rule, domain }
}

impl Table {
    /// A table by chance.
    fn random(name: &'static str, random: &mut Random) -> Self {
        use KeyKind::{Automatic, Nocase, Number, Pair, Word};
        let key = random.pick(&[Automatic, Automatic, Number, Word, Nocase, Pair]);
        let mut table = Self {
            name,
            key,
            columns: key_columns(key),
            uniques: Vec::new(),
            good_below: None,
            ordered: false,
            natural: &[],
            hub_only: false,
            holds_deletes: None,
        };
        table.columns.push(column("good", "INTEGER DEFAULT 0", Rule::Counter, Domain::Small));
        table.good_below = random.once_in(3).then_some(24);
        table.columns.push(column("note", "TEXT", Rule::Plain, Domain::Words));
        let optional: [&[Column]; 6] = [
            &[column("total", "INTEGER", Rule::Counter, Domain::Count)],
            &[column("weight", "REAL", Rule::Counter, Domain::Quarters)],
            &[column("sum", "", Rule::Counter, Domain::Quarters)],
            &[column("what", "", Rule::Plain, Domain::Anything)],
            &[column("seen", "INTEGER", Rule::Greatest, Domain::Small)],
            &[
                column("carrier", "TEXT", Rule::Together, Domain::Words),
                column("carrier_code", "BLOB", Rule::Together, Domain::Words),
            ],
        ];
        for columns in optional {
            if random.once_in(3) {
                table.columns.extend(columns);
            }
        }
        table.constrain(random);
        table
    }

    fn constrain(&mut self, random: &mut Random) {
        if random.once_in(4) {
            self.columns.push(column("made", "TEXT DEFAULT CURRENT_TIMESTAMP", Rule::Now, Domain::Words));
        }
        if random.once_in(4) {
            self.ordered = true;
            self.columns.push(column("low", "INTEGER", Rule::Plain, Domain::Small));
            self.columns.push(column("high", "INTEGER", Rule::Plain, Domain::Small));
        }
        if random.once_in(2) {
            let nocase = random.once_in(3);
            let declared = if nocase { "TEXT COLLATE NOCASE" } else { "TEXT" };
            self.columns.push(column("code", declared, Rule::Plain, Domain::Names));
            let active = random.once_in(3);
            if active {
                self.columns.push(column("active", "INTEGER", Rule::Plain, Domain::Flag));
            }
            let only_where = active.then_some("active");
            self.uniques.push(Unique { columns: &["code"], nocase, only_where });
        }
        if random.once_in(6) {
            self.columns.push(column("row", "INTEGER", Rule::Plain, Domain::Small));
            self.columns.push(column("place", "TEXT", Rule::Plain, Domain::Names));
            self.uniques.push(Unique { columns: &["row", "place"], nocase: false, only_where: None });
        }
    }

    /// Natural keys, roles and bounds by chance. Natural keys without a constraint only where no unique column
    /// stands beside them, and a row's number says which of several equal ones is found.
    pub fn govern(&mut self, random: &mut Random) {
        let with_code = self
            .uniques
            .first()
            .is_some_and(|unique| unique.columns == ["code"] && unique.only_where.is_none());
        if random.once_in(2) {
            self.natural = match self.key {
                _ if with_code => &["code"],
                KeyKind::Automatic | KeyKind::Number if self.uniques.is_empty() => &["note"],
                KeyKind::Word | KeyKind::Nocase => &["name"],
                KeyKind::Pair => &["aisle", "slot"],
                _ => &[],
            };
        }
        self.hub_only = self.key != KeyKind::Nocase && random.once_in(10);
        self.holds_deletes = random.once_in(4).then(|| (1 + random.below(2), 0.3));
    }

    /// The same without sums that can be refused, and without bounds: rows that are gone already are no
    /// deletes, so that these depend on the order.
    pub fn without_limits(&mut self) {
        self.holds_deletes = None;
        if self.is_natural_only() {
            self.natural = &[];
        }
        self.good_below = None;
        for column in self.columns.iter_mut().filter(|column| column.domain == Domain::Count) {
            column.domain = Domain::Small;
        }
    }

    /// Number of key columns.
    #[must_use]
    pub const fn keys(&self) -> usize {
        if matches!(self.key, KeyKind::Pair) { 2 } else { 1 }
    }

    /// True when the key is SQLite's row number.
    #[must_use]
    pub const fn is_numbered(&self) -> bool {
        matches!(self.key, KeyKind::Automatic | KeyKind::Number)
    }

    /// True when no constraint keeps the natural key unique.
    #[must_use]
    pub fn is_natural_only(&self) -> bool {
        self.natural == ["note"]
    }

    /// Place of a column.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Places of the columns with this rule.
    pub fn places(&self, rule: Rule) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(move |place| self.columns[*place].rule == rule)
    }

    /// Names with commas.
    #[must_use]
    pub fn list(&self) -> String {
        self.columns.iter().map(|column| quoted(column.name)).collect::<Vec<_>>().join(", ")
    }

    fn sql(&self) -> String {
        let mut parts: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{} {}", quoted(column.name), column.declared))
            .collect();
        if self.key == KeyKind::Pair {
            parts.push("PRIMARY KEY(aisle, slot)".to_owned());
        }
        parts.extend(self.good_below.map(|limit| format!("CHECK (good < {limit})")));
        if self.ordered {
            parts.push("CHECK (low <= high)".to_owned());
        }
        let rowid = if self.key == KeyKind::Pair { " WITHOUT ROWID" } else { "" };
        let mut sql = format!("CREATE TABLE {}({}){rowid};\n", self.name, parts.join(", "));
        for (at, unique) in self.uniques.iter().enumerate() {
            let columns: Vec<String> = unique.columns.iter().map(|name| quoted(name)).collect();
            let only = unique.only_where.map(|name| format!(" WHERE {name} = 1")).unwrap_or_default();
            let (name, columns) = (self.name, columns.join(", "));
            sql += &format!("CREATE UNIQUE INDEX {name}_{at} ON {name}({columns}){only};\n");
        }
        sql
    }

    fn rule(&self) -> TableRule {
        let names = |rule| self.places(rule).map(|place| self.columns[place].name.to_owned()).collect();
        let group: Vec<String> = names(Rule::Together);
        let bounds = self.holds_deletes.map(|(rows, share)| HoldDeletes { rows, share });
        TableRule {
            key: self.natural.iter().map(|name| (*name).to_owned()).collect(),
            writers: if self.hub_only { vec!["hub".to_owned()] } else { Vec::new() },
            hold_deletes: bounds.unwrap_or(HoldDeletes::STANDARD),
            counters: names(Rule::Counter),
            greatest: names(Rule::Greatest),
            together: if group.is_empty() { Vec::new() } else { vec![group] },
            ..TableRule::ORDINARY
        }
    }
}

fn key_columns(key: KeyKind) -> Vec<Column> {
    let number = |declared| column("id", declared, Rule::Key, Domain::Small);
    let word = |declared| column("name", declared, Rule::Key, Domain::Names);
    match key {
        KeyKind::Automatic => vec![number("INTEGER PRIMARY KEY AUTOINCREMENT")],
        KeyKind::Number => vec![number("INTEGER PRIMARY KEY")],
        KeyKind::Word => vec![word("TEXT PRIMARY KEY")],
        KeyKind::Nocase => vec![word("TEXT PRIMARY KEY COLLATE NOCASE")],
        KeyKind::Pair => vec![
            column("aisle", "INTEGER NOT NULL", Rule::Key, Domain::Small),
            column("slot", "TEXT NOT NULL", Rule::Key, Domain::Names),
        ],
    }
}

fn quoted(name: &str) -> String {
    tt_migrations::quote::ident(name)
}

/// A schema by chance: one to three tables.
#[must_use]
pub fn schema(random: &mut Random) -> Vec<Table> {
    let count = 1 + usize::try_from(random.below(2)).expect("small");
    NAMES[..count].iter().map(|name| Table::random(name, random)).collect()
}

/// The schema as SQLite reads it.
#[must_use]
pub fn shape(tables: &[Table]) -> Shape {
    let sql: String = tables.iter().map(Table::sql).collect();
    // A shape is `Copy` and lives as long as the program: some hundred bytes for each world.
    Shape { name: "model", sql: Box::leak(sql.into_boxed_str()), tables: &[] }
}

/// The policy that says what the columns mean.
#[must_use]
pub fn policy(tables: &[Table]) -> Policy {
    let tables = tables.iter().map(|table| (table.name.to_owned(), table.rule()));
    Policy { tables: tables.collect(), ..Policy::default() }
}
