//! The counts that a line can be, the fields of each, and the way from fields to a recorded count: the same as
//! that of the station page and of `tt-edge count`.

use super::fields::Fields;
use super::unfit::Unfit;
use crate::record::{self, Direct, Entry};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// As on the station page: finished displays and packs.
    Packaged,
    /// As on the station page: what one machine's counter says.
    Machine,
    /// As on the station page: tablets left in a bag.
    Bag,
    /// As `tt-edge count`: what is given, without looking for a bag.
    Direct,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Text,
    Number,
}

use Holds::{Number, Text};

const PACKAGED: [(&str, Holds); 13] = [
    ("employee", Text),
    ("day", Text),
    ("notes", Text),
    ("product", Text),
    ("receipt", Text),
    ("box", Number),
    ("bag", Number),
    ("cases", Number),
    ("displays", Number),
    ("packs", Number),
    ("loose", Number),
    ("reopened", Number),
    ("damaged", Number),
];
const MACHINE: [(&str, Holds); 9] = [
    ("employee", Text),
    ("day", Text),
    ("notes", Text),
    ("product", Text),
    ("receipt", Text),
    ("box", Number),
    ("bag", Number),
    ("machine", Number),
    ("counter", Number),
];
const BAG: [(&str, Holds); 7] = [
    ("employee", Text),
    ("day", Text),
    ("notes", Text),
    ("tablet", Text),
    ("box", Number),
    ("bag", Number),
    ("tablets", Number),
];
const DIRECT: [(&str, Holds); 13] = [
    ("employee", Text),
    ("notes", Text),
    ("product", Text),
    ("receipt", Text),
    ("po", Text),
    ("item", Text),
    ("box", Number),
    ("bag", Number),
    ("displays", Number),
    ("packs", Number),
    ("loose", Number),
    ("damaged", Number),
    ("good", Number),
];

impl Kind {
    /// The fields that it knows.
    const fn fields(self) -> &'static [(&'static str, Holds)] {
        match self {
            Self::Packaged => &PACKAGED,
            Self::Machine => &MACHINE,
            Self::Bag => &BAG,
            Self::Direct => &DIRECT,
        }
    }

    /// True when there is such a field.
    pub(super) fn knows(self, field: &str) -> bool {
        self.fields().iter().any(|(known, _)| *known == field)
    }

    /// The names of its fields, for a person.
    pub(super) fn names(self) -> String {
        self.fields().iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ")
    }

    /// Records a line in the caller's transaction.
    ///
    /// # Errors
    /// When it is no such count, somebody would have to be asked, or SQLite refuses.
    pub(super) fn record(self, conn: &Connection, fields: Fields, confirmed: bool) -> Result<(), Unfit> {
        let mut given = Map::new();
        for (name, value) in fields {
            let holds = self.fields().iter().find(|(known, _)| *known == name);
            let Some((_, holds)) = holds else {
                return Err(Unfit::Count(format!("it has no field `{name}`")));
            };
            given.insert(name.clone(), convert(&name, *holds, value)?);
        }
        given.retain(|_, value| !value.is_null());
        let unlike = |error: serde_json::Error| Unfit::Count(error.to_string());
        if self == Self::Direct {
            let direct: Direct = serde_json::from_value(Value::Object(given)).map_err(unlike)?;
            return direct.record(conn).map(drop).map_err(Unfit::Record);
        }
        let entry: Entry = serde_json::from_value(self.entry(given, confirmed)).map_err(unlike)?;
        record::count(conn, &entry).map_err(Unfit::Record)
    }

    /// The form in which the page hands a count in.
    fn entry(self, mut given: Map<String, Value>, confirmed: bool) -> Value {
        let mut entry = Map::from_iter([("confirmed".to_owned(), json!(confirmed))]);
        for name in ["employee", "day", "notes"] {
            entry.extend(given.remove(name).map(|value| (name.to_owned(), value)));
        }
        if self == Self::Machine {
            let one: Map<_, _> = ["machine", "counter"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), given.remove(name)?)))
                .collect();
            given.insert("machines".to_owned(), json!([one]));
        }
        let kind = match self {
            Self::Packaged => "packaged",
            Self::Machine => "machine",
            Self::Bag | Self::Direct => "bag",
        };
        given.insert("kind".to_owned(), json!(kind));
        entry.insert("count".to_owned(), Value::Object(given));
        Value::Object(entry)
    }
}

fn convert(field: &str, holds: Holds, value: Value) -> Result<Value, Unfit> {
    let wrong = |found: &Value| Unfit::NoNumber {
        field: field.to_owned(),
        found: found.to_string().replace('"', ""),
    };
    match (holds, &value) {
        (_, Value::Null) | (Text, Value::String(_)) => Ok(value),
        (Text, other) => Ok(Value::String(other.to_string())),
        (Number, Value::String(text)) => text.parse::<i64>().map(Value::from).map_err(|_| wrong(&value)),
        (Number, other) => other.as_i64().map(Value::from).ok_or_else(|| wrong(other)),
    }
}
