//! What can go wrong, how often, and what must be mended later.

use crate::sim::random::Random;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A device's wireless is gone for a while.
    Cut,
    /// It goes in the middle of a transfer.
    CutLater,
    /// It comes and goes.
    Flap,
    /// The device gets another address.
    Move,
    /// `kill -9` of a device's daemon.
    EdgeKilled,
    /// A device's daemon is away for a while.
    EdgeAway,
    /// A device's daemon is started again, in order.
    EdgeRestarted,
    /// A device's daemon gets no time for a while.
    EdgeAsleep,
    /// `kill -9` of the hub's daemon.
    HubKilled,
    /// The hub's daemon is started again, in order.
    HubRestarted,
    /// The hub's daemon gets no time for a while.
    HubAsleep,
    /// `kill -9` of a program, in a transaction if possible.
    ProgramKilled,
    /// A backup, which is no fault but must not be one.
    Backup,
    /// A backup is killed.
    BackupKilled,
    /// The hub's daemon is killed while a backup is made.
    HubKilledInBackup,
    /// The hub is brought back to an earlier moment.
    Restore,
    /// A restore is killed.
    RestoreKilled,
    /// The last restore is undone.
    RestoreUndone,
    /// A copy of a backup rots.
    Rot,
    /// A vault is away for a while.
    VaultAway,
    /// A restore is rehearsed, old backups are removed, the hub's file is tidied.
    Drill,
    Prune,
    Maintain,
    /// A device is ordered to make its file anew.
    Reseed,
    /// Somebody sends garbage to the hub's ports.
    Garbage,
    /// The clock of a device was wrong and is set.
    Clock,
    /// A device is lost, and another one takes its place.
    Lost,
    /// The image of a device is used for a second one.
    Cloned,
    /// An earlier file of a device is put back.
    PutBack,
    /// The schema changes.
    Migrate,
    /// The disk of a device is full for a while.
    DiskFull,
}

/// How often each comes, in parts of all.
const WEIGHTS: &[(Fault, u64)] = &[
    (Fault::Cut, 10),
    (Fault::CutLater, 6),
    (Fault::Flap, 5),
    (Fault::Move, 5),
    (Fault::EdgeKilled, 8),
    (Fault::EdgeAway, 5),
    (Fault::EdgeRestarted, 4),
    (Fault::EdgeAsleep, 5),
    (Fault::HubKilled, 4),
    (Fault::HubRestarted, 3),
    (Fault::HubAsleep, 3),
    (Fault::ProgramKilled, 8),
    (Fault::Backup, 5),
    (Fault::BackupKilled, 3),
    (Fault::HubKilledInBackup, 2),
    (Fault::Restore, 3),
    (Fault::RestoreKilled, 2),
    (Fault::RestoreUndone, 2),
    (Fault::Rot, 3),
    (Fault::VaultAway, 2),
    (Fault::Drill, 1),
    (Fault::Prune, 1),
    (Fault::Maintain, 2),
    (Fault::Reseed, 2),
    (Fault::Garbage, 2),
    (Fault::Clock, 2),
    (Fault::Lost, 2),
    (Fault::Cloned, 2),
    (Fault::PutBack, 2),
    (Fault::Migrate, 1),
    (Fault::DiskFull, 3),
];

impl Fault {
    /// The next one.
    pub(super) fn choose(random: &mut Random) -> Self {
        let all: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut left = random.below(all);
        for (fault, weight) in WEIGHTS {
            if left < *weight {
                return *fault;
            }
            left -= weight;
        }
        Self::Cut
    }
}

/// What must be put right again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mend {
    /// The wireless of this device.
    Link(String),
    /// The daemon of this device is away.
    Daemon(String),
    /// The daemon of this device sleeps.
    Wake(String),
    /// The second vault is away.
    Vault,
    /// The disk of this device is full.
    Disk(String),
}

/// What must be put right, and after how many more faults.
pub(super) type Mends = Vec<(u64, Mend)>;
