//! The program `tt-hub` as a person or a script meets it: arguments in, text, JSON and exit codes out.
//!
//! Every test has a folder of its own and port 0, waits with a deadline, and stops its daemons when it
//! ends, however it ends.
//!
//! * `program`: runs the program, and keeps what it said
//! * `init`: a hub is there whole or not at all, and what it adopts stays as it was
//! * `read`: the JSON that scripts read
//! * `decide`: the operator decides about the conflict list
//! * `migrate`: numbered changes of the schema, with and without the daemon
//! * `maintain`: statistics and free pages, beside the daemon and alone
//! * `backup`: what is listed restores
//! * `bucket`: an object store as a vault, and `store`, which is one
//! * `health`: is all well, for people and scripts
//! * `http`: the page's server: what it tells and does, and whom it refuses
//! * `tls`: HTTPS, with the token or with a certificate
//! * `restore`: what a backup held is the database again, or nothing has changed
//! * `daemon`: where it listens, that it is alone, and how it stops

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[path = "cli/backup.rs"]
mod backup;
#[cfg(feature = "s3")]
#[path = "cli/bucket.rs"]
mod bucket;
#[path = "cli/daemon.rs"]
mod daemon;
#[path = "cli/decide.rs"]
mod decide;
#[path = "cli/health.rs"]
mod health;
#[path = "cli/http.rs"]
mod http;
#[path = "cli/init.rs"]
mod init;
#[path = "cli/maintain.rs"]
mod maintain;
#[path = "cli/migrate.rs"]
mod migrate;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/read.rs"]
mod read;
#[path = "cli/restore.rs"]
mod restore;
#[cfg(feature = "s3")]
#[path = "cli/store.rs"]
mod store;
#[path = "cli/tls.rs"]
mod tls;

use program::{Folder, tt_hub};

#[test]
fn what_is_not_understood_is_bad_usage() {
    let folder = Folder::new();
    for arguments in [
        &["nonsense"][..],
        &[],
        &["invite"],
        &["invite", "a", "--ttl", "soon"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--advertise", "no-port"],
        &["conflicts", "show", "x"],
        &["conflicts", "show", "all"],
        &["conflicts", "take", "7"],
        &["conflicts", "take", "7", "both"],
        &["conflicts", "edit", "7"],
        &["conflicts", "dismiss", "x"],
        &["conflicts", "--kind", "odd"],
        &["migrate", "down"],
        &["backup", "--tier", "minutely"],
        &["verify", "a", "b"],
        &["prune", "now"],
        &["maintain", "--dry-run", "--forget-before", "7"],
        &["restore"],
        &["restore", "a", "--at", "7"],
    ] {
        let said = folder.hub(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.stderr);
        assert!(!said.stderr.is_empty());
    }
    assert_eq!(tt_hub(&["--help"]).code, 0);
    assert!(tt_hub(&["--version"]).stdout.starts_with("tt-hub "));
}

#[cfg(not(feature = "s3"))]
#[test]
fn a_hub_that_was_built_without_object_stores_says_how_to_build_them_in() {
    let folder = Folder::with_hub();
    let settings =
        "backup.vault = [{ name = \"far\", s3 = { endpoint = \"https://s3.example\", bucket = \"b\" } }]";
    std::fs::write(folder.data().join("hub.toml"), settings).unwrap();
    for command in [&["serve"][..], &["backup"], &["health"]] {
        let said = folder.hub(command).failure();
        assert!(said.contains("hub.toml") && said.contains("--features s3"), "{command:?}: {said}");
    }
}

#[test]
fn without_a_hub_every_command_names_the_folder_and_init() {
    let folder = Folder::new();
    for command in [
        &["serve"][..],
        &["invite", "a"],
        &["edges"],
        &["revoke", "a"],
        &["status"],
        &["conflicts"],
        &["migrate"],
        &["migrate", "up"],
        &["backup"],
        &["backups"],
        &["verify"],
        &["prune"],
        &["health"],
        &["drill"],
        &["maintain"],
        &["maintain", "--dry-run"],
        &["restore", "a", "--force"],
    ] {
        let said = folder.hub(command);
        assert_eq!(said.code, 1, "{command:?}");
        let folder = folder.data().display().to_string();
        assert!(
            said.stderr.contains(&folder) && said.stderr.contains("init") && said.stderr.lines().count() == 1,
            "{command:?}: {}",
            said.stderr
        );
    }
}
