//! The numbers that name things on the way of a count, each as its own type so that a sequence
//! number cannot be passed where a version is meant.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

number!(
    /// A device number, unique for the life of a hub and never given out twice. The hub is 0.
    EdgeId(u16)
);
number!(
    /// Number of a changeset within one edge, from 1 upwards without gaps. 0 means "none yet".
    Seq(u64)
);
number!(
    /// The hub's count of merged changesets, its own local ones included. 0 is the empty history.
    Version(u64)
);
number!(
    /// The hub's incarnation: a restore begins a new one. From 1 upwards.
    Epoch(u64)
);
number!(
    /// Milliseconds since 1970-01-01 UTC. Signed, because a device with a flat battery may be earlier.
    Millis(i64)
);

impl EdgeId {
    /// The hub itself, as a writer of rows.
    pub const HUB: Self = Self(0);
}

impl Seq {
    /// The next number in the same edge.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Version {
    /// The version after one more merged changeset.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
