//! Looks at a folder in which everything lies that can lie there, and at what a crash leaves behind.

use super::*;
use std::os::unix::fs::symlink;
use tempfile::TempDir;
use tt_migrations::durable;

struct Bench {
    dir: TempDir,
    inbox: Inbox,
    config: Config,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let conn = Connection::open(dir.path().join("a.db")).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE scans(id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE)")
            .unwrap();
        let text = "[[file]]\nname = \"*.csv\"\ntable = \"scans\"\n";
        fs::write(dir.path().join("inbox.toml"), text).unwrap();
        fs::create_dir(dir.path().join("inbox")).unwrap();
        let config = Config::load(dir.path()).unwrap().unwrap();
        Self { dir, inbox: Inbox::default(), config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("inbox").join(name)
    }

    fn drop_in(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn look(&mut self) -> Looked {
        self.inbox.look(&self.dir.path().join("a.db"), &self.config, &|| false).unwrap()
    }

    /// What is new is seen, and taken at the second look.
    fn look_twice(&mut self) -> u64 {
        self.look().taken + self.look().taken
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn codes(&self) -> String {
        let conn = Connection::open(self.dir.path().join("a.db")).unwrap();
        let sql = "SELECT COALESCE(group_concat(code, ' '), '') FROM (SELECT code FROM scans ORDER BY code)";
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn execute(&self, sql: &str) {
        Connection::open(self.dir.path().join("a.db")).unwrap().execute_batch(sql).unwrap();
    }
}

#[test]
fn a_file_is_taken_when_two_looks_find_the_same() {
    let mut bench = Bench::new();
    bench.drop_in("a.csv", "code\na\n");
    assert_eq!(bench.look(), Looked { taken: 0, unsettled: true });
    bench.drop_in("a.csv", "code\na\nb\n");
    assert_eq!(bench.look(), Looked { taken: 0, unsettled: true }, "somebody still writes it");
    assert_eq!(bench.look(), Looked { taken: 1, unsettled: false });
    assert_eq!((bench.codes().as_str(), bench.text("done/a.csv").as_str()), ("a b", "code\na\nb\n"));
    assert!(!bench.path("a.csv").exists() && !bench.path("rejected").exists());
}

#[test]
fn what_is_not_finished_or_no_file_is_left_alone() {
    let mut bench = Bench::new();
    for name in ["a.csv.part", "b.csv.tmp", ".c.csv", "d.csv~"] {
        bench.drop_in(name, "code\nx\n");
    }
    fs::create_dir(bench.path("folder.csv")).unwrap();
    assert_eq!((bench.look_twice(), bench.codes().as_str()), (0, ""));
    durable::put_in_place(&bench.path("a.csv.part"), &bench.path("a.csv")).unwrap();
    assert_eq!((bench.look_twice(), bench.codes().as_str()), (1, "x"));
    assert!(bench.path("b.csv.tmp").exists() && bench.path("folder.csv").is_dir());
}

#[test]
fn rejected_lines_are_kept_under_their_header_and_can_be_put_right() {
    let mut bench = Bench::new();
    bench.drop_in("a.csv", "code,id\r\na,1\r\na,2\r\n\"b,3\r\nc,x");
    assert_eq!(bench.look_twice(), 1);
    assert_eq!(bench.text("rejected/a.csv"), "code,id\r\na,2\r\n\"b,3\r\nc,x\n");
    let reasons = bench.text("rejected/a.csv.reasons");
    let lines: Vec<&str> = reasons.lines().collect();
    assert!(lines[0].starts_with("line 3: ") && lines[0].contains("UNIQUE"), "{reasons}");
    assert!(lines[1].starts_with("line 4: a quote") && lines[2].contains("id is `x`"), "{reasons}");
    bench.drop_in("a.csv", "code,id\r\nd,2\r\nb,3\r\n");
    assert_eq!((bench.look_twice(), bench.codes().as_str()), (1, "a b d"));
    assert!(bench.path("done/a.csv.2").exists(), "no file of `done/` is written over");
}

#[test]
fn what_cannot_go_in_at_all_is_moved_with_the_reason() {
    let mut bench = Bench::new();
    let outside = bench.dir.path().join("outside.csv");
    fs::write(&outside, "code\nsecret\n").unwrap();
    symlink(&outside, bench.path("link.csv")).unwrap();
    bench.drop_in("letter.txt", "Dear all");
    bench.drop_in("wrong.csv", "kode\na\n");
    bench.drop_in("bad.csv", "code,id\na\n");
    assert_eq!((bench.look_twice(), bench.codes().as_str()), (0, ""));
    for (name, reason) in [
        ("link.csv", "links, folders and devices are not read"),
        ("letter.txt", "no [[file]] of inbox.toml"),
        ("wrong.csv", "no column `kode`"),
        ("bad.csv", "no line of it can go in\nline 2: the line has 1 cells"),
    ] {
        let said = bench.text(&format!("rejected/{name}.reasons"));
        assert!(said.contains(reason), "{name}: {said}");
    }
    assert_eq!(bench.text("rejected/letter.txt"), "Dear all");
    assert!(fs::symlink_metadata(bench.path("rejected/link.csv")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(outside).unwrap(), "code\nsecret\n");
    assert_eq!(names(&bench.path("")).unwrap(), BTreeSet::new());
    assert_eq!(waiting(&bench.config).unwrap(), (0, 4));
}

#[test]
fn a_file_that_is_in_and_cannot_be_moved_waits_and_does_not_go_in_again() {
    let mut bench = Bench::new();
    bench.drop_in("a.csv", "code\na\na\n");
    fs::write(bench.path("done"), "somebody's file").unwrap();
    for _ in 0..4 {
        bench.look();
    }
    assert_eq!(bench.codes(), "a");
    assert!(bench.path("a.csv").exists() && bench.inbox.told.len() == 1, "{:?}", bench.inbox.told);
    fs::remove_file(bench.path("done")).unwrap();
    // A link in its place would lead the file elsewhere.
    symlink(bench.dir.path(), bench.path("done")).unwrap();
    bench.look();
    assert!(bench.path("a.csv").exists());
    fs::remove_file(bench.path("done")).unwrap();
    bench.look();
    assert_eq!(bench.text("done/a.csv"), "code\na\na\n");
    assert_eq!(bench.text("rejected/a.csv"), "code\na\n");
    assert!(!bench.path("rejected/a.csv.2").exists(), "the second try wrote the same file");
    assert_eq!(bench.codes(), "a");
}

#[test]
fn whatever_died_between_the_next_look_ends_it() {
    let mut bench = Bench::new();
    bench.drop_in("a.csv", "code\na\na\n");
    assert_eq!(bench.look_twice(), 1);
    // As after a crash between the commit and the move.
    durable::put_in_place(&bench.path("done/a.csv"), &bench.path("a.csv")).unwrap();
    bench.execute("UPDATE _sync_import SET settled = 0");
    bench.inbox = Inbox::default();
    assert_eq!((bench.look_twice(), bench.codes().as_str()), (0, "a"));
    assert!(bench.path("done/a.csv").exists());
    // As after a crash between the move and its note.
    bench.execute("UPDATE _sync_import SET settled = 0");
    bench.inbox = Inbox::default();
    bench.look();
    bench.drop_in("a.csv", "code\na\na\n");
    assert_eq!((bench.look_twice(), bench.codes().as_str()), (0, "a"));
    let said = bench.text("rejected/a.csv.2.reasons");
    assert!(said.contains("its content went in at"), "a copy that comes later is told: {said}");
}
