//! The shape of the tables in a file, read from SQLite itself: any schema works, not only ours.
//!
//! Tables of ours (`_sync_…`), of SQLite, virtual tables with their shadows, and views are left out.
//! Generated columns are left out of a table's columns: every node computes them by itself.

mod index;

use rusqlite::{Connection, Result};
use std::collections::BTreeMap;

/// A stored column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name as declared.
    pub name: String,
    /// Declared type, possibly empty.
    pub declared: String,
    /// NOT NULL.
    pub not_null: bool,
    /// Default as SQL text.
    pub default: Option<String>,
}

/// A UNIQUE constraint or unique index other than the primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// Name of the index.
    pub index: String,
    /// Column and collation, in order. None where the index holds an expression.
    pub columns: Option<Vec<(String, String)>>,
    /// What is indexed as SQL of the table's columns, with its collation, in order: a quoted column or an
    /// expression. Empty where the index's text is not understood.
    pub terms: Vec<(String, String)>,
    /// The WHERE clause of a partial index.
    pub predicate: Option<String>,
}

/// A declared foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Columns of the child.
    pub columns: Vec<String>,
    /// The parent table as written in the child.
    pub parent: String,
    /// Columns of the parent, its primary key where the child names none.
    pub parent_columns: Vec<String>,
}

/// One ordinary table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Name as declared.
    pub name: String,
    /// Stored columns in the file's order.
    pub columns: Vec<Column>,
    /// Primary key: column and collation, in key order. Empty where the table has none.
    pub key: Vec<(String, String)>,
    /// The key is SQLite's own row number (`INTEGER PRIMARY KEY`).
    pub rowid_key: bool,
    /// Names of the generated columns, which no change of ours carries.
    pub generated: Vec<String>,
    /// A STRICT table: its columns of type ANY convert nothing.
    pub strict: bool,
    /// Unique constraints besides the key.
    pub uniques: Vec<Unique>,
    /// Foreign keys to other tables or itself.
    pub foreign_keys: Vec<ForeignKey>,
}

/// All tables of a file by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// Ordinary tables, with and without a key.
    pub tables: BTreeMap<String, Table>,
}

impl Table {
    /// Key columns first, then the others in the file's order: the order of every change of ours.
    #[must_use]
    pub fn ordered(&self) -> Vec<&Column> {
        let is_key = |column: &&Column| self.key.iter().any(|(name, _)| *name == column.name);
        let keys = self.key.iter().filter_map(|(name, _)| self.column(name));
        keys.chain(self.columns.iter().filter(|column| !is_key(column))).collect()
    }

    /// Names in the order of [`Table::ordered`].
    #[must_use]
    pub fn ordered_names(&self) -> Vec<String> {
        self.ordered().iter().map(|column| column.name.clone()).collect()
    }

    /// A column by name, as SQLite compares names: without regard to ASCII case.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The type whose affinity is the one that SQLite derives from the declared type
    /// (sqlite.org/datatype3.html, section 3.1; a STRICT table's ANY converts nothing).
    #[must_use]
    pub fn affinity(&self, column: &Column) -> &'static str {
        let upper = column.declared.to_ascii_uppercase();
        let has = |part: &str| upper.contains(part);
        if has("INT") {
            "INT"
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            "TEXT"
        } else if has("BLOB") || upper.is_empty() || (self.strict && upper == "ANY") {
            "BLOB"
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            "REAL"
        } else {
            "NUMERIC"
        }
    }

    /// Names of the key columns.
    pub fn key_names(&self) -> impl Iterator<Item = &str> {
        self.key.iter().map(|(name, _)| name.as_str())
    }
}

impl Schema {
    /// Reads the shape of the main database.
    ///
    /// # Errors
    /// When SQLite cannot read the file.
    pub fn read(conn: &Connection) -> Result<Self> {
        let mut tables = BTreeMap::new();
        for name in table_names(conn)? {
            let table = read_table(conn, &name)?;
            tables.insert(name, table);
        }
        resolve_parents(&mut tables);
        Ok(Self { tables })
    }

    /// A table by name, as SQLite compares names.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables
            .get(name)
            .or_else(|| self.tables.values().find(|table| table.name.eq_ignore_ascii_case(name)))
    }

    /// Foreign keys that point at `parent`, with the child table of each.
    pub fn children<'a>(&'a self, parent: &'a str) -> impl Iterator<Item = (&'a Table, &'a ForeignKey)> {
        self.tables.values().flat_map(move |table| {
            let to_parent = move |key: &&ForeignKey| key.parent.eq_ignore_ascii_case(parent);
            table.foreign_keys.iter().filter(to_parent).map(move |key| (table, key))
        })
    }
}

fn table_names(conn: &Connection) -> Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_sync\\_%' ESCAPE '\\' ORDER BY name";
    conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// One table, or one of ours: the base tables are read the same way.
pub fn read_table(conn: &Connection, name: &str) -> Result<Table> {
    let sql = "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1) WHERE hidden IN (0, 2, 3)";
    let mut columns = Vec::new();
    let mut generated = Vec::new();
    let mut key = Vec::new();
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([name])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(5)? > 0 {
            generated.push(row.get(0)?);
            continue;
        }
        let column =
            Column { name: row.get(0)?, declared: row.get(1)?, not_null: row.get(2)?, default: row.get(3)? };
        let place: i64 = row.get(4)?;
        if place > 0 {
            key.push((place, column.name.clone()));
        }
        columns.push(column);
    }
    key.sort();
    let indexes = read_indexes(conn, name)?;
    let (key, rowid_key) = key_of(&columns, key, indexes.key);
    let foreign_keys = read_foreign_keys(conn, name)?;
    let strict = conn
        .prepare_cached("SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1")?
        .query_row([name], |row| row.get(0))?;
    let uniques = indexes.uniques;
    Ok(Table { name: name.to_owned(), columns, key, rowid_key, generated, strict, uniques, foreign_keys })
}

type Collated = Vec<(String, String)>;

/// The key with its collations. An index of its own tells a key that is not SQLite's row number.
fn key_of(columns: &[Column], key: Vec<(i64, String)>, index: Option<Collated>) -> (Collated, bool) {
    if let Some(collated) = index {
        let with = |name: String| {
            let found = collated.iter().find(|(column, _)| *column == name);
            let collation = found.map_or_else(|| "BINARY".to_owned(), |(_, collation)| collation.clone());
            (name, collation)
        };
        return (key.into_iter().map(|(_, name)| with(name)).collect(), false);
    }
    let single = key.len() == 1;
    let integer = columns.iter().any(|column| {
        key.iter().any(|(_, name)| *name == column.name) && column.declared.eq_ignore_ascii_case("integer")
    });
    (key.into_iter().map(|(_, name)| (name, "BINARY".to_owned())).collect(), single && integer)
}

struct Indexes {
    key: Option<Collated>,
    uniques: Vec<Unique>,
}

fn read_indexes(conn: &Connection, table: &str) -> Result<Indexes> {
    let sql = "SELECT name, origin, partial FROM pragma_index_list(?1) WHERE \"unique\" = 1 ORDER BY name";
    let mut statement = conn.prepare(sql)?;
    let list: Vec<(String, String, bool)> = statement
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_>>()?;
    let mut found = Indexes { key: None, uniques: Vec::new() };
    for (index, origin, partial) in list {
        let columns = index_columns(conn, &index)?;
        if origin == "pk" {
            found.key = columns;
            continue;
        }
        let (terms, predicate) = index::terms_and_predicate(conn, &index, columns.as_deref(), partial)?;
        found.uniques.push(Unique { index, columns, terms, predicate });
    }
    Ok(found)
}

fn index_columns(conn: &Connection, index: &str) -> Result<Option<Collated>> {
    let columns = index::columns(conn, index)?;
    Ok(columns.into_iter().map(|(name, collation)| Some((name?, collation))).collect())
}

fn read_foreign_keys(conn: &Connection, table: &str) -> Result<Vec<ForeignKey>> {
    let sql = "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1) ORDER BY id, seq";
    let mut found: BTreeMap<i64, ForeignKey> = BTreeMap::new();
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        let parent: String = row.get(1)?;
        let entry = found.entry(row.get(0)?).or_insert_with(|| ForeignKey {
            columns: Vec::new(),
            parent,
            parent_columns: Vec::new(),
        });
        entry.columns.push(row.get(2)?);
        entry.parent_columns.extend(row.get::<_, Option<String>>(3)?);
    }
    Ok(found.into_values().collect())
}

/// Fills in the parent's primary key where the child did not name columns.
fn resolve_parents(tables: &mut BTreeMap<String, Table>) {
    let keys: BTreeMap<String, Vec<String>> = tables
        .values()
        .map(|table| (table.name.to_ascii_lowercase(), table.key_names().map(str::to_owned).collect()))
        .collect();
    for key in tables.values_mut().flat_map(|table| &mut table.foreign_keys) {
        if key.parent_columns.is_empty() {
            key.parent_columns = keys.get(&key.parent.to_ascii_lowercase()).cloned().unwrap_or_default();
        }
    }
}
