//! What is known of one backup: a JSON file beside each copy, written last.
//!
//! * A backup without a manifest does not exist.
//! * Every vault has its own: the facts are the same, but when and how that copy was read back is the vault's.
//! * `seal` is the SHA-256 of all before it, so that a manifest that rots is known as such.

use super::contents::Contents;
use super::retention::Point;
use super::tier::Tier;
use super::{calendar, due};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

/// Every name of ours begins so.
const PREFIX: &str = "tablet_counter_";
/// How this file is built; another number is another shape.
const FORMAT: u32 = 1;
/// No manifest is longer: more than thousands of tables.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// The facts of one backup, and how one copy of it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) id: String,
    pub(crate) tier: Tier,
    /// The bucket of the calendar that it fills.
    pub(crate) slot: String,
    /// UTC.
    pub(crate) taken_at: String,
    /// How often the hub's clock had gone back before. Older manifests do not say it.
    #[serde(default)]
    pub(crate) clock_life: u64,
    /// Name of the compressed file, the same in every vault.
    pub(crate) file: String,
    /// Of the compressed file.
    pub(crate) sha256: String,
    /// Length of the compressed file.
    pub(crate) bytes: u64,
    pub(crate) database_sha256: String,
    pub(crate) database_bytes: u64,
    /// The hub's version and incarnation.
    pub(crate) version: u64,
    pub(crate) epoch: u64,
    /// A short name for all tables, indexes and triggers as declared.
    pub(crate) schema: String,
    /// The last step of the hub's schema.
    pub(crate) schema_step: u64,
    /// The program that made it.
    pub(crate) made_by: String,
    pub(crate) contents: Contents,
    /// When this copy was last read back whole, and how.
    pub(crate) verified: Option<Verified>,
    /// What was wrong when it was last read back.
    pub(crate) damaged: Option<String>,
}

/// A copy that was read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verified {
    /// UTC.
    pub(crate) at: String,
    pub(crate) how: String,
}

/// What a manifest is made from.
pub(crate) struct Facts<'f> {
    pub(crate) tier: Tier,
    pub(crate) slot: String,
    pub(crate) taken_at: String,
    pub(crate) stamp: &'f str,
    pub(crate) taken: &'f super::snapshot::Taken,
    pub(crate) packed: &'f super::pack::Packed,
}

impl Manifest {
    pub(crate) fn new(facts: Facts<'_>) -> Self {
        let Facts { tier, slot, taken_at, stamp, taken, packed } = facts;
        let id = id(tier, stamp);
        Self {
            format: FORMAT,
            file: file(&id),
            id,
            tier,
            slot,
            taken_at,
            clock_life: 0,
            sha256: packed.sha256.clone(),
            bytes: packed.bytes,
            database_sha256: packed.database_sha256.clone(),
            database_bytes: packed.database_bytes,
            version: taken.version,
            epoch: taken.epoch,
            schema: taken.schema.clone(),
            schema_step: taken.schema_step,
            made_by: concat!("tt-hub ", env!("CARGO_PKG_VERSION")).to_owned(),
            contents: taken.contents.clone(),
            verified: None,
            damaged: None,
        }
    }

    /// The same facts, whatever is said of the copy.
    pub(crate) fn is_of_same_backup(&self, other: &Self) -> bool {
        let facts = |manifest: &Self| Self { verified: None, damaged: None, ..manifest.clone() };
        facts(self) == facts(other)
    }

    /// How far the database was when it was taken.
    pub(crate) const fn point(&self) -> Point {
        Point { epoch: self.epoch, version: self.version }
    }

    /// When this copy was last read back, in seconds since 1970. A reading that lies in the future of `now` is none: a
    /// clock was wrong, and nobody knows when it was.
    pub(crate) fn read_at(&self, now: i64) -> Option<i64> {
        let at = self.verified.as_ref().and_then(|verified| calendar::moment(&verified.at));
        at.filter(|at| *at <= now + due::AHEAD_MAX)
    }

    /// The line of the `.sha256` file, as `sha256sum -c` reads it.
    pub(crate) fn checksum_line(&self) -> String {
        format!("{}  {}\n", self.sha256, self.file)
    }

    /// As it stands in a vault.
    pub(crate) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut value = serde_json::to_value(self)?;
        if let Json::Object(map) = &mut value {
            let seal = seal(map);
            map.insert("seal".to_owned(), Json::String(seal));
        }
        let mut bytes = serde_json::to_vec_pretty(&value)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads what [`Self::to_bytes`] wrote; the error says what is wrong with it.
    pub(crate) fn from_bytes(id: &str, bytes: &[u8]) -> Result<Self, String> {
        let not = |what: &dyn std::fmt::Display| format!("its manifest cannot be read: {what}");
        let mut map: Map<String, Json> = serde_json::from_slice(bytes).map_err(|error| not(&error))?;
        let sealed = map.shift_remove("seal");
        if sealed != Some(Json::String(seal(&map))) {
            return Err(not(&"its bytes are not those that were written"));
        }
        if map.get("format") != Some(&Json::from(FORMAT)) {
            return Err(not(&"another version of tt-hub wrote it"));
        }
        let manifest: Self = serde_json::from_value(Json::Object(map)).map_err(|error| not(&error))?;
        if manifest.id != id || manifest.file != file(id) {
            return Err(not(&"it belongs to another backup"));
        }
        Ok(manifest)
    }
}

fn seal(map: &Map<String, Json>) -> String {
    // A map of JSON values always has a text.
    let text = serde_json::to_string(map).unwrap_or_default();
    HEXLOWER.encode(&Sha256::digest(text))
}

/// The id of a backup, which is the stem of its files.
pub(crate) fn id(tier: Tier, stamp: &str) -> String {
    format!("{PREFIX}{tier}_{stamp}")
}

/// The compressed database.
pub(crate) fn file(id: &str) -> String {
    format!("{id}.db.gz")
}

/// Its checksum.
pub(crate) fn checksum_file(id: &str) -> String {
    format!("{id}.db.gz.sha256")
}

/// Its manifest.
pub(crate) fn manifest_file(id: &str) -> String {
    format!("{id}.json")
}

/// The id in the name of a file that could be ours, and its ending.
pub(crate) fn parse_name(name: &str) -> Option<(&str, &str)> {
    let (id, ending) = name.split_once('.')?;
    let (tier, stamp) = id.strip_prefix(PREFIX)?.split_once('_')?;
    let is_tier = super::tier::TIERS.iter().any(|plan| plan.tier.word() == tier);
    let is_stamp = stamp.len() == 15
        && stamp
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 8 { byte == b'_' } else { byte.is_ascii_digit() });
    (is_tier && is_stamp && ["db.gz", "db.gz.sha256", "json"].contains(&ending)).then_some((id, ending))
}

#[cfg(test)]
impl Manifest {
    /// One of a database that is not there, for tests.
    pub(crate) fn sample(tier: Tier, taken_at: String) -> Self {
        use super::{pack::Packed, snapshot::Taken};
        let taken = Taken {
            contents: Contents::default(),
            version: 7,
            epoch: 1,
            schema: "ab".into(),
            schema_step: 0,
        };
        let packed = Packed { sha256: "1".into(), bytes: 2, database_sha256: "3".into(), database_bytes: 4 };
        let digits: String = taken_at.chars().filter(char::is_ascii_digit).collect();
        let stamp = format!("{}_{}", &digits[..8], &digits[8..]);
        let (slot, stamp, taken, packed) = (taken_at[..10].to_owned(), stamp.as_str(), &taken, &packed);
        Self::new(Facts { tier, slot, taken_at, stamp, taken, packed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest::sample(Tier::Daily, "2024-12-06T02:00:00Z".into())
    }

    #[test]
    fn every_flipped_bit_of_a_manifest_is_found() {
        let manifest = manifest();
        let bytes = manifest.to_bytes().unwrap();
        assert_eq!(Manifest::from_bytes(&manifest.id, &bytes), Ok(manifest.clone()));
        for bit in 0..bytes.len() * 8 {
            let mut rotten = bytes.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            let read = Manifest::from_bytes(&manifest.id, &rotten);
            // Between the values a line may end otherwise and mean the same.
            assert!(read.is_err() || read == Ok(manifest.clone()), "bit {bit}");
        }
        for length in 0..bytes.len() - 2 {
            assert!(Manifest::from_bytes(&manifest.id, &bytes[..length]).is_err());
        }
        assert!(Manifest::from_bytes("another", &bytes).is_err());
    }

    #[test]
    fn only_our_own_names_are_ours() {
        assert_eq!(manifest().file, "tablet_counter_daily_20241206_020000.db.gz");
        for ours in [file, checksum_file, manifest_file] {
            assert!(parse_name(&ours(&manifest().id)).is_some());
        }
        for strange in [
            "tablet_counter.db",
            "tablet_counter_daily_20241206_020000.db",
            "tablet_counter_daily_20241206.db.gz",
            "tablet_counter_daily_20241206_020000.meta.json",
            "tablet_counter_minutely_20241206_020000.json",
            "notes.json",
        ] {
            assert_eq!(parse_name(strange), None, "{strange}");
        }
    }
}
