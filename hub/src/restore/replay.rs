//! From a backup to a moment after it.

use super::{RestoreError, Target};
use crate::backup::manifest::Manifest;
use std::path::Path;

/// Brings the fetched backup at `database` to the target, which is not older than it. A backup of exactly that
/// version is there already.
pub(super) fn up_to(database: &Path, manifest: &Manifest, target: Target) -> Result<(), RestoreError> {
    debug_assert!(database.is_file(), "it was fetched");
    match target {
        Target::Version(version) if version == manifest.version => Ok(()),
        _ => Err(RestoreError::Journal { to: target.to_string(), id: manifest.id.clone() }),
    }
}
