//! A bucket of a real object store as a vault, beside a folder and alone.

use crate::daemon::until;
use crate::program::{Folder, names};
use crate::store::Store;
use rusqlite::Connection;
use serde_json::Value as Json;
use std::fs;
use std::time::Duration;

struct Site {
    folder: Folder,
    store: Store,
}

impl Site {
    fn new() -> Option<Self> {
        let site = Self { folder: Folder::with_hub(), store: Store::start(&[])? };
        let bucket = site.bucket();
        site.configure(&site.folder, &format!("{{ name = \"near\", path = \"backups/near\" }}, {bucket}"));
        Some(site)
    }

    fn bucket(&self) -> String {
        format!("{{ name = \"far\", s3 = {} }}", self.store.settings(", prefix = \"site\""))
    }

    fn configure(&self, folder: &Folder, vaults: &str) {
        self.store.write_keys(&folder.data());
        fs::write(folder.data().join("hub.toml"), format!("[backup]\nvault = [{vaults}]\n")).unwrap();
    }

    fn add(&self, name: &str) {
        let conn = Connection::open(self.folder.database()).unwrap();
        conn.busy_timeout(Duration::from_secs(30)).unwrap();
        let sql = "INSERT INTO employees(username, full_name, password_hash) VALUES (?1, 'ours', '')";
        conn.execute(sql, [name]).unwrap();
    }

    /// How far the journal is in the bucket, as `status` says it.
    fn lag(&self) -> Json {
        self.folder.json(&["status"])["journal"]["lag"][1]["versions"].clone()
    }

    /// Nothing that was said or written has the secret.
    fn keeps_secret(&self, said: &str) {
        let mut texts = vec![said.to_owned(), self.folder.hub(&["status", "--json"]).fine().stdout];
        texts.push(self.folder.hub(&["health", "--json"]).stdout);
        for entry in fs::read_dir(self.folder.data().join("backups")).unwrap() {
            texts.extend(fs::read_to_string(entry.unwrap().path()));
        }
        assert!(texts.iter().all(|text| !text.contains(self.store.secret())), "{texts:?}");
    }
}

fn states(backup: &Json) -> Vec<&str> {
    backup["vaults"].as_array().unwrap().iter().map(|vault| vault["state"].as_str().unwrap()).collect()
}

fn ours(folder: &Folder) -> Vec<String> {
    let conn = Connection::open(folder.database()).unwrap();
    let sql = "SELECT username FROM employees WHERE full_name = 'ours' ORDER BY username";
    let mut statement = conn.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn what_is_in_the_bucket_alone_gives_a_burnt_hub_back_to_its_last_count() {
    let Some(mut site) = Site::new() else { return };
    site.add("kept");
    let made = site.folder.json(&["backup", "--tier", "daily"]);
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        (states(&made), &made["vaults"][1]["path"]),
        (vec!["verified"; 2], &"s3://tablets/site".into())
    );
    let keys = site.store.tell("keys");
    for ending in ["db.gz", "db.gz.sha256", "json"] {
        assert!(keys.split(' ').any(|key| key == format!("site/{id}.{ending}")), "{keys}");
    }

    let daemon = site.folder.serve();
    site.add("later");
    until("the journal is in the bucket", || {
        site.folder.json(&["status"])["version"].as_u64() > made["version"].as_u64() && site.lag() == 0
    });
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0));
    assert!(site.store.tell("keys").contains("site/journal/"));
    let version = site.folder.json(&["status"])["version"].to_string();

    site.store.tell(&format!("damage site/{id}.db.gz"));
    let verified = site.folder.json(&["verify"]);
    assert_eq!(states(&verified[0]), ["verified", "repaired"], "{verified}");
    assert_eq!(states(&site.folder.json(&["verify"])[0]), ["verified"; 2]);
    site.keeps_secret("");

    for (arguments, rows) in [(vec![id], vec!["kept"]), (vec!["--at", &version], vec!["kept", "later"])] {
        let folder = Folder::with_hub();
        site.configure(&folder, &site.bucket());
        // The copy of it that was kept elsewhere: without it the bucket belongs to another hub.
        for file in names(&site.folder.data().join("ca")) {
            let of = |folder: &Folder| folder.data().join("ca").join(&file);
            fs::copy(of(&site.folder), of(&folder)).unwrap();
        }
        let mut command = vec!["restore", "--force"];
        command.extend(&arguments);
        folder.hub(&command).fine();
        assert_eq!(ours(&folder), rows, "{arguments:?}");
    }
}

#[test]
fn a_store_that_is_down_hurts_nobody_and_gets_its_copy_later() {
    let Some(mut site) = Site::new() else { return };
    site.add("kept");
    site.store.tell("down");
    let daemon = site.folder.serve();
    let said = site.folder.hub(&["backup", "--tier", "daily", "--json"]);
    let made: Json = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(states(&made), ["verified", "failed"], "{made}");
    assert!(said.stderr.contains("far"), "{}", said.stderr);
    until("the near vault has the journal", || {
        site.folder.json(&["status"])["journal"]["lag"][0]["versions"] == 0
    });
    site.keeps_secret(&said.stderr);
    site.store.tell("up");
    let verified = site.folder.json(&["verify"]);
    assert_eq!(states(&verified[0]), ["verified", "repaired"], "{verified}");
    until("the bucket has the journal too", || site.lag() == 0);
    drop(daemon);
}

#[test]
fn a_bucket_that_lets_nothing_be_removed_takes_backups_and_the_journal() {
    let Some(mut site) = Site::new() else { return };
    site.store.tell("deletes no");
    let daemon = site.folder.serve();
    assert_eq!(states(&site.folder.json(&["backup", "--tier", "daily"])), ["verified"; 2]);
    // More parts than one segment may have, so that some should go.
    for number in 0..80 {
        site.add(&format!("count-{number:02}"));
        until("it is in the bucket", || {
            let parts = site.store.tell("keys");
            site.lag() == 0 && parts.split(' ').filter(|key| key.ends_with(".part")).count() > number
        });
    }
    drop(daemon);
}
