//! An entry of the conflict list as the JSON that scripts read.

use super::decode;
use rusqlite::Result;
use serde_json::{Map, Value as Json, json};
use tt_protocol::merge::Clash;
use tt_protocol::value::Value;

pub(super) fn to_json(row: &rusqlite::Row<'_>, name_of: &impl Fn(u16) -> String) -> Result<Json> {
    let key: Vec<(String, Value)> = decode(&row.get::<_, Vec<u8>>(3)?)?;
    let clashes: Vec<Clash> = decode(&row.get::<_, Vec<u8>>(4)?)?;
    let held: Option<Vec<(String, Value)>> =
        row.get::<_, Option<Vec<u8>>>(5)?.map(|bytes| decode(&bytes)).transpose()?;
    let kept_from: Option<u16> = row.get(6)?;
    Ok(json!({
        "id": row.get::<_, i64>(0)?,
        "kind": row.get::<_, String>(1)?,
        "table": row.get::<_, String>(2)?,
        "key": object(&key),
        "columns": clashes.iter().map(|clash| json!({
            "name": clash.name,
            "base": value(&clash.base),
            "kept": value(&clash.kept),
            "lost": value(&clash.lost),
        })).collect::<Vec<_>>(),
        "row": held.as_ref().map(|row| object(row)),
        "rows": row.get::<_, i64>(12)?,
        "kept_from": kept_from.map(name_of),
        "kept_at": row.get::<_, Option<i64>>(7)?,
        "lost_from": name_of(row.get(8)?),
        "lost_at": row.get::<_, i64>(9)?,
        "action": row.get::<_, String>(10)?,
        "state": row.get::<_, String>(11)?,
        "decision": row.get::<_, Option<String>>(13)?,
        "decided_at": row.get::<_, Option<i64>>(14)?,
    }))
}

fn object(row: &[(String, Value)]) -> Json {
    Json::Object(row.iter().map(|(name, held)| (name.clone(), value(held))).collect::<Map<_, _>>())
}

/// A value as JSON. What JSON cannot say exactly is an object that names its class.
pub(crate) fn value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(number) => json!(number),
        Value::Real(number) if number.is_finite() => json!(number),
        Value::Real(number) => json!({ "real": number.to_string() }),
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "text": data_encoding::HEXLOWER.encode(bytes) }),
        },
        Value::Blob(bytes) => json!({ "blob": data_encoding::HEXLOWER.encode(bytes) }),
    }
}
