//! `DIR/inbox.toml`: which files are taken, and what their columns are. `deploy/inbox.toml` shows every key.
//!
//! What cannot be right is said when the file is read, with the key that is wrong: no file is taken by a mapping
//! that is understood in part.

use super::kind::Kind;
use super::pattern;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its name in the daemon's folder.
pub(crate) const NAME: &str = "inbox.toml";
/// The watched folder, unless the configuration names another.
const FOLDER: &str = "inbox";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// It is no such configuration.
    #[error(
        "{path} cannot be used: {what}; deploy/inbox.toml shows every key. No file is taken until it is put right"
    )]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// The configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// The watched folder.
    pub(crate) folder: PathBuf,
    /// How long a file must stay as it is before it is taken.
    pub(crate) settle: Duration,
    /// How often the folder is looked at although nothing was noticed.
    pub(crate) rescan: Duration,
    /// A file with the content of another one is taken when its name is another.
    pub(crate) equal_files: bool,
    mappings: Vec<Mapping>,
}

/// What the lines of a file become.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// Counts.
    Count(Kind),
    /// Rows of this table.
    Table(String),
}

/// How files of a name are read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mapping {
    /// The pattern of their names.
    pub(crate) name: String,
    /// What their lines become.
    pub(crate) target: Target,
    /// What looks wrong about a count is taken as it is.
    pub(crate) confirmed: bool,
    /// Fixed, or by the name's end.
    pub(super) format: Option<Format>,
    pub(super) delimiter: u8,
    pub(super) header: bool,
    pub(super) columns: BTreeMap<String, Source>,
    pub(super) constants: BTreeMap<String, Value>,
    pub(super) lookup: BTreeMap<String, Lookup>,
}

/// How the lines of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Cells and a delimiter.
    Csv,
    /// One object a line.
    Json,
}

/// Where a field comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Source {
    /// The column of that name, or the key.
    Name(String),
    /// The column of that number, from 1.
    Number(usize),
}

/// How a value becomes another one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lookup {
    pub(super) table: String,
    pub(super) by: Vec<String>,
    pub(super) give: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    folder: Option<PathBuf>,
    #[serde(default = "one_second")]
    settle_s: f64,
    #[serde(default = "ten_seconds")]
    rescan_s: f64,
    #[serde(default)]
    equal_files: Equal,
    #[serde(default)]
    file: Vec<WrittenMapping>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Equal {
    #[default]
    Reject,
    Take,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMapping {
    name: String,
    #[serde(default)]
    count: Option<Kind>,
    #[serde(default)]
    table: Option<String>,
    #[serde(default)]
    confirmed: bool,
    #[serde(default)]
    format: Option<Format>,
    #[serde(default = "comma")]
    delimiter: String,
    #[serde(default = "yes")]
    header: bool,
    #[serde(default)]
    columns: BTreeMap<String, Source>,
    #[serde(default)]
    constants: BTreeMap<String, Value>,
    #[serde(default)]
    lookup: BTreeMap<String, Lookup>,
}

const fn one_second() -> f64 {
    1.0
}

const fn ten_seconds() -> f64 {
    10.0
}

const fn yes() -> bool {
    true
}

fn comma() -> String {
    ",".to_owned()
}

impl Config {
    /// The configuration of this folder; None when there is none, and then there is no inbox.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>, ConfigError> {
        let path = dir.join(NAME);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, dir).map(Some).map_err(|what| ConfigError::Wrong { path, what }),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// Without a configuration, files can be taken by hand.
    pub(crate) fn empty(dir: &Path) -> Self {
        Self::parse("", dir).expect("every key has a default")
    }

    fn parse(text: &str, dir: &Path) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
        let mappings = written.file.into_iter().map(WrittenMapping::check);
        Ok(Self {
            folder: dir.join(written.folder.unwrap_or_else(|| FOLDER.into())),
            settle: seconds("settle_s", written.settle_s, 0.01)?,
            rescan: seconds("rescan_s", written.rescan_s, 0.1)?,
            equal_files: matches!(written.equal_files, Equal::Take),
            mappings: mappings.collect::<Result<_, _>>()?,
        })
    }

    /// The first mapping whose pattern the name fits.
    pub(crate) fn mapping(&self, name: &str) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| pattern::fits(&mapping.name, name))
    }
}

impl Mapping {
    /// Files whose columns have the names of the table's.
    pub(crate) fn of_table(table: &str, delimiter: &str) -> Result<Self, String> {
        let text = "name = \"*\"\n";
        let written: WrittenMapping = toml::from_str(text).expect("every other key has a default");
        WrittenMapping { table: Some(table.to_owned()), delimiter: delimiter.to_owned(), ..written }.check()
    }

    pub(super) fn format(&self, name: &str) -> Format {
        let lower = name.to_ascii_lowercase();
        let is_json = [".jsonl", ".ndjson", ".json"].iter().any(|end| lower.ends_with(end));
        self.format.unwrap_or(if is_json { Format::Json } else { Format::Csv })
    }

    /// The field that a column is taken for when the mapping names no columns.
    pub(super) fn field(&self, column: &str) -> String {
        match self.target {
            Target::Count(_) => column.to_ascii_lowercase(),
            Target::Table(_) => column.to_owned(),
        }
    }
}

#[cfg(test)]
impl Mapping {
    /// One [[file]] by itself.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str::<WrittenMapping>(text).map_err(|error| error.to_string())?.check()
    }
}

impl WrittenMapping {
    fn check(self) -> Result<Mapping, String> {
        let name = self.name;
        let wrong = |what: &str| Err(format!("[[file]] \"{name}\": {what}"));
        let target = match (self.count, self.table) {
            (Some(kind), None) => Target::Count(kind),
            (None, Some(table)) if is_ours(&table) => return wrong("`table` must be one of the program's"),
            (None, Some(table)) => Target::Table(table),
            _ => return wrong("say either `count` or `table`"),
        };
        let mut fields = self.columns.keys().chain(self.constants.keys()).chain(self.lookup.keys());
        if let Target::Count(kind) = target
            && let Some(field) = fields.find(|field| !kind.knows(field))
        {
            return wrong(&format!("a count has no field `{field}`, but {}", kind.names()));
        }
        let numbered = self.columns.values().any(|source| matches!(source, Source::Number(_)));
        let named = self.columns.values().any(|source| matches!(source, Source::Name(_)));
        if self.columns.values().any(|source| *source == Source::Number(0)) {
            return wrong("columns are numbered from 1");
        }
        if !self.header && (named || !numbered) && self.format != Some(Format::Json) {
            return wrong("without a header, `columns` gives each field the number of its column");
        }
        if self.lookup.values().any(|lookup| lookup.by.is_empty() || is_ours(&lookup.table)) {
            return wrong("a lookup needs `by`, and asks one of the program's tables");
        }
        if self.constants.values().any(|value| value.is_array() || value.is_object()) {
            return wrong("a constant is a text, a number, true or false");
        }
        let delimiter = if self.delimiter == "tab" { "\t" } else { self.delimiter.as_str() };
        let &[delimiter] = delimiter.as_bytes() else {
            return wrong("`delimiter` is one sign, or tab");
        };
        Ok(Mapping {
            name,
            target,
            confirmed: self.confirmed,
            format: self.format,
            delimiter,
            header: self.header,
            columns: self.columns,
            constants: self.constants,
            lookup: self.lookup,
        })
    }
}

fn is_ours(table: &str) -> bool {
    let lower = table.to_ascii_lowercase();
    lower.starts_with("_sync_") || lower.starts_with("sqlite_")
}

fn seconds(key: &str, value: f64, least: f64) -> Result<Duration, String> {
    if value.is_finite() && (least..=3_600.0).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(format!("`{key}` takes seconds, from {least} to 3600"))
}

#[cfg(test)]
mod tests;
