//! Disks that are really full: small file systems in memory, at every size from nothing to enough.
//!
//! Only root may mount one; where the tests are run by somebody else, that is said and they are skipped.

use super::{add_employees, assert_all_restore, litter, unpacked};
use crate::program::{Folder, names};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A disk of so many KiB.
struct Disk(PathBuf);

impl Disk {
    /// None when the system lets us mount none.
    fn mount(at: &Path, kib: usize) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={kib}k,mode=0700");
        let said = run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at));
        match said {
            Ok(said) if said.status.success() => Some(Self(at.to_owned())),
            Ok(said) => skip(&String::from_utf8_lossy(&said.stderr)),
            Err(error) => skip(&error.to_string()),
        }
    }

    fn resize(&self, kib: usize) {
        self.remount(&format!("size={kib}k"));
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(run(Command::new("mount").args(["-o", &options]).arg(&self.0)).unwrap().status.success());
    }
}

fn run(command: &mut Command) -> std::io::Result<Output> {
    command.output()
}

fn skip(why: &str) -> Option<Disk> {
    eprintln!("no small disk can be mounted here ({}): skipped; run as root", why.trim());
    None
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: what still has a file open there must not keep the disk.
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

/// Rows that hardly compress, so that sizes mean something.
fn fill(conn: &Connection, rows: u32) {
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
               INSERT INTO employees(username, full_name, password_hash)
               SELECT hex(randomblob(16)), 'fill', hex(randomblob(200)) FROM n";
    conn.execute(sql, [rows]).unwrap();
}

/// All of backups that is on a disk, whatever it is called.
fn everything(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| name != "journal" && name != "tt-hub.id").collect()
}

#[test]
fn a_vault_that_runs_full_at_any_byte_lists_nothing_that_does_not_restore_and_keeps_no_piece() {
    let folder = Folder::with_hub();
    let place = folder.beside("disk");
    let Some(disk) = Disk::mount(&place, 64) else { return };
    let settings = format!(
        "backup.vault = [{{ name = \"primary\", path = \"backups/primary\" }}, {{ name = \"disk\", path = {place:?} }}]"
    );
    fs::write(folder.data().join("hub.toml"), settings).unwrap();
    fill(&Connection::open(folder.database()).unwrap(), 1_500);
    let (mut failed, mut fine) = (0, 0);
    for kib in [16, 64, 160, 256, 320, 384, 416, 448, 512, 640, 1_024] {
        disk.resize(kib);
        add_employees(&Connection::open(folder.database()).unwrap(), &format!("at {kib}"), 1);
        let said = folder.hub(&["backup", "--tier", "yearly"]);
        let in_vault = everything(&place);
        match said.code {
            0 => {
                fine += 1;
                let newest = in_vault.iter().rfind(|name| name.ends_with(".db.gz")).unwrap();
                let sql = "SELECT count(*) FROM employees WHERE username = ?1";
                let has: i64 = unpacked(&place.join(newest))
                    .query_row(sql, [format!("at {kib}-0")], |row| row.get(0))
                    .unwrap();
                assert_eq!(has, 1, "{kib} KiB: it said that it was done");
            }
            _ => {
                failed += 1;
                assert!(said.stderr.contains("disk"), "{kib} KiB: {}", said.stderr);
            }
        }
        assert_all_restore(&folder);
        // The next size is the first byte again.
        for name in in_vault {
            fs::remove_file(place.join(name)).unwrap();
        }
    }
    assert!(failed > 3 && fine > 0, "{failed} failed, {fine} were fine");
    disk.resize(64 << 10);
    folder.hub(&["verify"]).fine();
    folder.hub(&["backup"]).fine();
    assert_eq!(litter(&folder), [""; 0]);
    assert!(names(&place).iter().all(|name| !name.starts_with('.')), "{:?}", names(&place));
}

#[test]
fn a_disk_on_which_nothing_can_be_written_any_more_has_good_copies_all_the_same() {
    let folder = Folder::with_hub();
    let place = folder.beside("disk");
    let Some(disk) = Disk::mount(&place, 4 << 10) else { return };
    let settings = format!(
        "backup.vault = [{{ name = \"primary\", path = \"backups/primary\" }}, {{ name = \"disk\", path = {place:?} }}]"
    );
    fs::write(folder.data().join("hub.toml"), settings).unwrap();
    folder.hub(&["backup"]).fine();
    disk.remount("ro");
    let said = folder.hub(&["verify"]).fine();
    assert!(said.stdout.contains("disk verified") && !said.stdout.contains("DAMAGED"), "{}", said.stdout);
    assert!(said.stderr.contains("good, but that cannot be written down"), "{}", said.stderr);
}

#[test]
fn a_hub_whose_own_disk_is_full_restores_whole_or_changes_nothing() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder.data(), 80 << 10) else { return };
    folder.hub(&["init"]).fine();
    let open = Connection::open(folder.database()).unwrap();
    fill(&open, 2_000);
    let id = folder.json(&["backup", "--tier", "yearly"])["id"].as_str().unwrap().to_owned();
    add_employees(&open, "later", 2);
    let later = "SELECT count(*) FROM employees WHERE username LIKE 'later-%'";
    let is_old = || open.query_row(later, [], |row| row.get::<_, i64>(0)).unwrap() == 2;
    let (mut failed, mut fine) = (0, 0);
    for free_kib in
        [0, 100, 400, 800, 1_200, 1_600, 2_000, 2_600, 3_200, 4_000, 5_000, 6_000, 8_000, 20_000, 80_000]
    {
        let ballast = folder.data().join("ballast");
        let _ = fs::remove_file(&ballast);
        let free = free(&folder.data());
        fs::write(&ballast, vec![7; usize::try_from(free.saturating_sub(free_kib << 10)).unwrap()]).unwrap();
        let said = folder.hub(&["restore", &id, "--force"]);
        let sound: String = open.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok", "{free_kib} KiB");
        if said.code == 0 {
            fine += 1;
            assert!(!is_old(), "{free_kib} KiB: it said that it was done");
            fs::remove_file(&ballast).unwrap();
            add_employees(&open, "later", 2);
        } else {
            failed += 1;
            assert!(is_old(), "{free_kib} KiB: {}", said.stderr);
        }
        assert!(!folder.data().join("backups/.restore").exists(), "{free_kib} KiB");
    }
    assert!(failed > 3 && fine > 0, "{failed} failed, {fine} were fine");
    // A backup is refused before it takes the room that counts need.
    fs::write(
        folder.data().join("ballast"),
        vec![7; usize::try_from(free(&folder.data()) - (8 << 20)).unwrap()],
    )
    .unwrap();
    let refused = folder.hub(&["backup"]).failure();
    assert!(refused.contains("make room"), "{refused}");
    fs::remove_file(folder.data().join("ballast")).unwrap();
    folder.hub(&["backup"]).fine();
    assert_all_restore(&folder);
    assert_eq!(litter(&folder), [""; 0]);
    drop(open);
    drop(disk);
}

/// Bytes that a file may still take.
fn free(folder: &Path) -> u64 {
    let said = run(Command::new("df").args(["--output=avail", "-B1"]).arg(folder)).unwrap();
    String::from_utf8(said.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
}
