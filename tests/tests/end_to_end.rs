//! Hubs, devices and programs as real processes, over a wireless that can be cut.
//!
//! * `warehouse`: a hub, its devices and the wireless between them, for one test
//! * `kills`: daemons die by `kill -9` at random moments, and no count is lost
//! * `whole`: a large transaction is seen whole or not at all, whatever happens to the link
//! * `sync`: what `sync` promises to scripts, and what a revoked device hears
//! * `mistakes`: wrong tokens, files and lines: a clear reason, an exit code, and no harm
//! * `status`: the keys of `status --json`, and what counts as unsent
//! * `clocks`: the clock of a device was set while no daemon ran
//! * `decision`: what the operator decides on a running hub is on every running device
//! * `existing`: a device brings the file that its program has always used
//! * `ages`: files of two ages of the real program, adopted, replicated and still in use
//! * `older`: programs with an older SQLite, and what they do to the file under a running daemon
//! * `live`: what is written anywhere is everywhere soon, also after a change of address
//! * `refused`: what keeps the hub's rows out of a device, and triggers that do not fire, are named on both sides
//! * `interrupted`: a join that was cut off or killed goes on with the same token
//! * `leave`: a device leaves its hub, and its program's file is as if nobody had ever joined it
//! * `migrate`: the operator changes the schema while devices are linked, away, or die
//! * `restore`: the operator restores a running hub while devices are linked
//! * `copies`: backups while devices write, read by other people's programs
//! * `guide`: the guide for a program that runs already, typed line by line
//! * `held`: a restore while a program has the hub's file open, with a statement half read
//! * `hostile`: files given to `restore` that are cut off, endless, foreign or malicious
//! * `lost`: the hub's machine is gone, and a new one is made from the vaults
//! * `journal`: every acknowledged changeset is in the journal, the vaults have it, and a row has a history
//! * `reseed`: a file made anew from the hub's rows, by command, by order, and when the hub was put back
//! * `behind`: a device whose rows are behind fetches only those that differ, also over a link that is cut
//! * `rescue`: copied files and files put back are stopped, and their work comes in once
//! * `salvage`: a damaged file is taken apart, and what can be read of it comes in once
//! * `lost_device`: the unsent work of a device that is gone comes out of its file, once
//! * `idle`: a device that has nothing to do sleeps
//! * `stopped`: a device that is asked to stop while it starts ends cleanly
//! * `keyless`: a table without a primary key is named, loudly, everywhere

#[path = "end_to_end/ages.rs"]
mod ages;
#[path = "end_to_end/behind.rs"]
mod behind;
#[path = "end_to_end/clocks.rs"]
mod clocks;
#[path = "end_to_end/copies.rs"]
mod copies;
#[path = "end_to_end/decision.rs"]
mod decision;
#[path = "end_to_end/existing.rs"]
mod existing;
#[path = "end_to_end/guide.rs"]
mod guide;
#[path = "end_to_end/held.rs"]
mod held;
#[path = "end_to_end/hostile.rs"]
mod hostile;
#[path = "end_to_end/idle.rs"]
mod idle;
#[path = "end_to_end/interrupted.rs"]
mod interrupted;
#[path = "end_to_end/journal.rs"]
mod journal;
#[path = "end_to_end/keyless.rs"]
mod keyless;
#[path = "end_to_end/kills.rs"]
mod kills;
#[path = "end_to_end/leave.rs"]
mod leave;
#[path = "end_to_end/live.rs"]
mod live;
#[path = "end_to_end/lost.rs"]
mod lost;
#[path = "end_to_end/lost_device.rs"]
mod lost_device;
#[path = "end_to_end/migrate.rs"]
mod migrate;
#[path = "end_to_end/mistakes.rs"]
mod mistakes;
#[path = "end_to_end/older.rs"]
mod older;
#[path = "end_to_end/refused.rs"]
mod refused;
#[path = "end_to_end/rescue.rs"]
mod rescue;
#[path = "end_to_end/reseed.rs"]
mod reseed;
#[path = "end_to_end/restore.rs"]
mod restore;
#[path = "end_to_end/salvage.rs"]
mod salvage;
#[path = "end_to_end/status.rs"]
mod status;
#[path = "end_to_end/stopped.rs"]
mod stopped;
#[path = "end_to_end/sync.rs"]
mod sync;
#[path = "end_to_end/warehouse.rs"]
mod warehouse;
#[path = "end_to_end/whole.rs"]
mod whole;
