//! Memory, open descriptors and folders of the daemons, from one quiet moment to the next.
//!
//! A daemon that never ends must not need more and more: descriptors that grow from each quiet moment to the next, or
//! memory beyond any reason, end the soak.

use super::site::Site;
use anyhow::ensure;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// So many quiet moments in a row with more descriptors each time are a leak.
const GROWS_MAX: u32 = 4;
/// More memory than any of the daemons needs for files of this size.
const RESIDENT_MIB_MAX: u64 = 600;

/// What was seen of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    descriptors: usize,
    grew: u32,
}

/// What was seen of all.
#[derive(Debug, Default)]
pub(super) struct Strain(BTreeMap<u32, Seen>);

impl Strain {
    /// Looks at all daemons. Gives a line for each.
    pub(super) fn look(&mut self, site: &Site) -> anyhow::Result<Vec<String>> {
        let hub = ("hub".to_owned(), site.hub.daemon.as_ref(), site.hub.dir.as_path());
        let devices = site
            .devices
            .iter()
            .map(|device| (device.name.clone(), device.edge.daemon.as_ref(), device.edge.dir.as_path()));
        let mut lines = Vec::new();
        for (name, daemon, dir) in std::iter::once(hub).chain(devices) {
            let Some(daemon) = daemon else { continue };
            let (resident, descriptors) = (resident_mib(daemon.pid())?, descriptors(daemon.pid())?);
            let grew = self.note(daemon.pid(), descriptors);
            lines.push(format!(
                "{name} (pid {}): {resident} MiB resident, {descriptors} descriptors, {} MiB in its folder",
                daemon.pid(),
                bytes(dir) >> 20
            ));
            ensure!(grew < GROWS_MAX, "{name} has more descriptors at each quiet moment: {descriptors} now");
            ensure!(resident < RESIDENT_MIB_MAX, "{name} needs {resident} MiB of memory");
        }
        Ok(lines)
    }

    /// Gives how often in a row there were more.
    fn note(&mut self, pid: u32, descriptors: usize) -> u32 {
        let seen = self.0.entry(pid).or_insert(Seen { descriptors, grew: 0 });
        let grew = if descriptors > seen.descriptors { seen.grew + 1 } else { 0 };
        *seen = Seen { descriptors, grew };
        grew
    }
}

fn resident_mib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0);
    Ok(kib >> 10)
}

fn descriptors(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Bytes of all files below a folder. What goes while it is looked at counts nothing.
fn bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grows_each_time_is_a_leak() {
        let mut strain = Strain::default();
        let grew: Vec<u32> =
            [20, 21, 22, 22, 23, 24, 25, 26].into_iter().map(|count| strain.note(1, count)).collect();
        assert_eq!(grew, [0, 1, 2, 0, 1, 2, 3, 4]);
        assert_eq!(strain.note(2, 100), 0, "another process");
    }
}
