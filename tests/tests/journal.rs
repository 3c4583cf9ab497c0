//! The journal of the hub: crashes between any two of its steps, damaged and lost files, replay up to a moment.
//!
//! * `bench`: a journaled hub in a temporary folder, and what is done to it
//! * `crashes`: between commit, append, fsync and delete
//! * `damage`: flipped bytes, lost and doubled segments, torn tails
//! * `moments`: replay to versions and seconds, also across a restore
//! * `sizes`: bytes per row and per commit

#[path = "journal/bench.rs"]
mod bench;
#[path = "journal/crashes.rs"]
mod crashes;
#[path = "journal/damage.rs"]
mod damage;
#[path = "journal/moments.rs"]
mod moments;
#[path = "journal/sizes.rs"]
mod sizes;
