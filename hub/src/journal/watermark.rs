//! The version that is safe in two vaults, or in the only one: what edges need not keep any more.
//!
//! A vault has a version safe when it has a verified backup and, without a gap from there, the journal up to that
//! version. Who ships works that out; who writes only reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tt_protocol::number::Version;

/// Shared between who ships and who writes. It never goes back while a hub runs.
#[derive(Clone, Debug, Default)]
pub struct Watermark(Arc<AtomicU64>);

impl Watermark {
    /// The version that is safe.
    #[must_use]
    pub fn version(&self) -> Version {
        Version(self.0.load(Ordering::Acquire))
    }

    /// Takes note of a version that is safe. True when it is news.
    pub fn raise(&self, version: Version) -> bool {
        self.0.fetch_max(version.0, Ordering::AcqRel) < version.0
    }
}

/// The version that is safe, from what each vault has safe.
#[must_use]
pub fn safe(vaults: &[Version]) -> Version {
    let mut versions = vaults.to_vec();
    versions.sort_unstable();
    match versions.as_slice() {
        [] => Version(0),
        [only] => *only,
        [.., second, _] => *second,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_safe_when_two_vaults_have_it_or_the_only_one() {
        let safe = |versions: &[u64]| safe(&versions.iter().copied().map(Version).collect::<Vec<_>>()).0;
        assert_eq!(safe(&[]), 0);
        assert_eq!(safe(&[7]), 7);
        assert_eq!(safe(&[7, 0]), 0);
        assert_eq!(safe(&[3, 9, 5]), 5);
    }

    #[test]
    fn the_watermark_never_goes_back() {
        let watermark = Watermark::default();
        assert!(watermark.raise(Version(5)));
        assert!(!watermark.raise(Version(4)) && !watermark.raise(Version(5)));
        assert_eq!(watermark.clone().version(), Version(5));
    }
}
