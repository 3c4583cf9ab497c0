//! What a program's transaction does to the things that are looked at in the end, as one line of the ledger.
//!
//! A thing has a kind and a name, such as `row packing-1a#17` or `good common-3`, and a value in every file. A
//! transaction sets it, adds to it, or takes it away. That is all that the ledger knows of SQL.

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};

/// Something that is in the database once: kind and name.
pub(super) type Thing = (String, String);

/// One thing that a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// The thing has this value now.
    Set(Thing, String),
    /// So much is added to the thing.
    Add(Thing, i64),
    /// The thing is gone.
    Gone(Thing),
    /// Of this thing the value is one that somebody has written: programs write it as they like.
    Any(Thing, String),
}

impl Deed {
    pub(super) fn set(kind: &str, name: &str, value: impl ToString) -> Self {
        Self::Set((kind.into(), name.into()), value.to_string())
    }

    pub(super) fn add(kind: &str, name: &str, amount: i64) -> Self {
        Self::Add((kind.into(), name.into()), amount)
    }

    pub(super) fn gone(kind: &str, name: &str) -> Self {
        Self::Gone((kind.into(), name.into()))
    }

    pub(super) fn any(kind: &str, name: &str, value: &str) -> Self {
        Self::Any((kind.into(), name.into()), value.into())
    }

    /// `["set", "row", "packing-1a#17", "common-3 25"]`.
    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Set((kind, name), value) => json!(["set", kind, name, value]),
            Self::Add((kind, name), amount) => json!(["add", kind, name, amount]),
            Self::Gone((kind, name)) => json!(["gone", kind, name]),
            Self::Any((kind, name), value) => json!(["any", kind, name, value]),
        }
    }

    pub(super) fn from_json(json: &Json) -> anyhow::Result<Self> {
        let text = |at: usize| json[at].as_str().with_context(|| format!("{json} has no text at {at}"));
        let thing = || anyhow::Ok((text(1)?.to_owned(), text(2)?.to_owned()));
        Ok(match text(0)? {
            "set" => Self::Set(thing()?, text(3)?.to_owned()),
            "add" => Self::Add(thing()?, json[3].as_i64().with_context(|| format!("{json} adds no number"))?),
            "gone" => Self::Gone(thing()?),
            "any" => Self::Any(thing()?, text(3)?.to_owned()),
            other => bail!("the ledger knows no `{other}`"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for deed in [
            Deed::set("row", "a#1", "common-1 5"),
            Deed::add("good", "common-1", -5),
            Deed::gone("row", "a#1/2"),
            Deed::any("name", "common-1", "a#3"),
        ] {
            assert_eq!(Deed::from_json(&deed.to_json()).unwrap(), deed);
        }
        assert!(Deed::from_json(&json!(["lose", "row", "a#1"])).is_err());
    }
}
