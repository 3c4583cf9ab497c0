//! What goes in goes in once and whole, what does not is named, and nothing is left of what failed.

use super::*;
use crate::inbox::LINE_BYTES_MAX;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let conn = Connection::open(bench.db()).unwrap();
        conn.execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE parents(id INTEGER PRIMARY KEY);
             CREATE TABLE scans(id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT NOT NULL UNIQUE, n INTEGER CHECK (n < 100),
               parent INTEGER REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .unwrap();
        bench
    }

    fn db(&self) -> PathBuf {
        self.folder.path().join("a.db")
    }

    fn file(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn import(&self, path: &Path, change: impl FnOnce(&mut Job<'_>)) -> Result<Verdict, InboxError> {
        self.import_with(&mut record::open(&self.db()).unwrap(), path, change)
    }

    fn import_with(
        &self,
        conn: &mut Connection,
        path: &Path,
        change: impl FnOnce(&mut Job<'_>),
    ) -> Result<Verdict, InboxError> {
        let mapping = Mapping::of_table("scans", ",").unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut job = Job {
            path,
            name,
            mapping: &mapping,
            by_hand: false,
            again: false,
            equal_files: false,
            dry_run: false,
            large: false,
        };
        change(&mut job);
        import(conn, &job, &mut |_, _| {})
    }

    fn number(&self, sql: &str) -> i64 {
        Connection::open(self.db()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn scans(&self) -> i64 {
        self.number("SELECT COUNT(*) FROM scans")
    }
}

fn taken(verdict: Verdict) -> Taken {
    match verdict {
        Verdict::In(taken) => taken,
        Verdict::Known(known, _) => panic!("it is known: {known:?}"),
        Verdict::Whole(whole) => panic!("it was refused: {whole:?}"),
    }
}

fn why(verdict: Verdict) -> String {
    match verdict {
        Verdict::In(_) => panic!("it went in"),
        Verdict::Known(known, _) => known.refusal(),
        Verdict::Whole(whole) => whole.why,
    }
}

const FIVE: &[u8] = b"code,n\na,1\nb,\na,2\nc,100\n,3\n";

#[test]
fn lines_that_fit_go_in_and_the_others_are_named() {
    let bench = Bench::new();
    let taken = taken(bench.import(&bench.file("five.csv", FIVE), |_| {}).unwrap());
    assert_eq!((taken.lines, taken.rejected, bench.scans()), (2, 3, 2));
    let lines: Vec<u64> = taken.reasons.iter().map(|one| one.line).collect();
    assert_eq!(lines, [4, 5, 6]);
    for (one, word) in taken.reasons.iter().zip(["UNIQUE", "CHECK", "NOT NULL"]) {
        assert!(one.reason.contains(word), "{one:?}");
    }
    assert_eq!(bench.number("SELECT COUNT(*) FROM scans WHERE code = 'b' AND n IS NULL"), 1);
    assert_eq!(bench.number("SELECT MAX(id) FROM scans"), 2, "a line that is taken back leaves no trace");
}

#[test]
fn a_content_goes_in_once_whatever_its_name_unless_a_person_says_so() {
    let bench = Bench::new();
    let (one, two) = (bench.file("1.csv", b"n\n1\n"), bench.file("2.csv", b"n\n1\n"));
    let rows = bench.file("3.csv", b"code,n\nx,1\n");
    assert!(why(bench.import(&one, |_| {}).unwrap()).contains("no line of it"), "a code is missing");
    taken(bench.import(&rows, |_| {}).unwrap());
    assert!(why(bench.import(&rows, |_| {}).unwrap()).contains("went in at"));
    let copy = bench.file("4.csv", b"code,n\nx,1\n");
    assert!(why(bench.import(&copy, |_| {}).unwrap()).contains("as 3.csv (1 line)"));
    bench.number("SELECT 1");
    Connection::open(bench.db()).unwrap().execute_batch("DELETE FROM scans").unwrap();
    taken(bench.import(&copy, |job| job.equal_files = true).unwrap());
    assert!(why(bench.import(&copy, |job| job.equal_files = true).unwrap()).contains("went in at"));
    Connection::open(bench.db()).unwrap().execute_batch("DELETE FROM scans").unwrap();
    taken(bench.import(&copy, |job| job.again = true).unwrap());
    assert_eq!(bench.scans(), 1);
    drop(two);
}

#[test]
fn a_file_that_went_on_growing_after_it_went_in_is_refused_whole() {
    let bench = Bench::new();
    let path = bench.file("log.csv", b"code\na\nb\n");
    taken(bench.import(&path, |_| {}).unwrap());
    bench.file("log.csv", b"code\na\nb\nc\n");
    assert!(why(bench.import(&path, |_| {}).unwrap()).contains("its first 9 bytes went in"));
    bench.file("log.csv", b"code\nd\ne\nf\n");
    assert_eq!(taken(bench.import(&path, |_| {}).unwrap()).lines, 3, "another beginning is another file");
}

#[test]
fn a_dry_run_shows_what_would_go_in_and_writes_nothing() {
    let bench = Bench::new();
    let path = bench.file("five.csv", FIVE);
    let taken = taken(bench.import(&path, |job| job.dry_run = true).unwrap());
    assert_eq!((taken.lines, taken.rejected), (2, 3));
    let tables = "SELECT COUNT(*) FROM sqlite_schema WHERE name LIKE '\\_sync%' ESCAPE '\\'";
    assert_eq!((bench.scans(), bench.number(tables)), (0, 0));
}

#[test]
fn what_is_not_understood_is_refused_whole_with_the_reason() {
    let bench = Bench::new();
    for (text, reason) in [
        (&b"\xFF\xFEc\0o\0d\0e\0\n\0"[..], "UTF-16"),
        (b"code,m\na,1\n", "table scans has no column `m`"),
        (b"code,\xF1\na,1\n", "the header cannot be read: the line is not UTF-8"),
        (b"code,n,code\n", "the column `code` twice"),
        (b"code,n\na\nb\n", "no line of it can go in"),
    ] {
        let path = bench.file("strange.csv", text);
        let said = why(bench.import(&path, |_| {}).unwrap());
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(bench.scans(), 0);
    let path = bench.file("empty.csv", b"");
    assert_eq!(taken(bench.import(&path, |_| {}).unwrap()).lines, 0, "there is nothing wrong with nothing");
}

#[test]
fn rows_that_only_do_not_fit_together_are_refused_at_the_end() {
    let bench = Bench::new();
    let path = bench.file("orphans.csv", b"code,parent\na,\nb,77\n");
    assert!(why(bench.import(&path, |_| {}).unwrap()).contains("FOREIGN KEY"));
    assert_eq!(bench.scans(), 0);
    assert!(why(bench.import(&path, |_| {}).unwrap()).contains("FOREIGN KEY"), "it was not noted as in");
}

#[test]
fn a_full_disk_is_no_fault_of_a_line() {
    let bench = Bench::new();
    let text: String = (0..5_000).map(|n| format!("{n:0>100}\n")).collect();
    let path = bench.file("large.csv", format!("code\n{text}").as_bytes());
    let mut conn = record::open(&bench.db()).unwrap();
    conn.pragma_update(None, "max_page_count", 40).unwrap();
    let error = bench.import_with(&mut conn, &path, |_| {}).err().unwrap();
    assert!(error.to_string().contains("full"), "{error}");
    assert_eq!(bench.scans(), 0);
    conn.pragma_update(None, "max_page_count", 100_000).unwrap();
    assert_eq!(taken(bench.import_with(&mut conn, &path, |_| {}).unwrap()).lines, 5_000);
}

#[test]
fn a_file_that_is_taken_at_the_same_time_goes_in_once() {
    let bench = Bench::new();
    let text: String = (0..500).map(|n| format!("c{n}\n")).collect();
    let path = bench.file("once.csv", format!("code\n{text}").as_bytes());
    let verdicts: Vec<bool> = std::thread::scope(|scope| {
        let one = || matches!(bench.import(&path, |_| {}).unwrap(), Verdict::In(_));
        let all: Vec<_> = (0..6).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(verdicts.iter().filter(|is_in| **is_in).count(), 1, "{verdicts:?}");
    assert_eq!(bench.scans(), 500);
}

#[test]
fn a_line_without_end_is_rejected_and_the_next_ones_go_in() {
    let bench = Bench::new();
    let mut text = b"code\n".to_vec();
    text.extend(vec![b'x'; 20 * LINE_BYTES_MAX]);
    text.extend(b"\nshort\n");
    let taken = taken(bench.import(&bench.file("long.csv", &text), |_| {}).unwrap());
    assert_eq!((taken.lines, taken.rejected), (1, 1));
    assert!(taken.reasons[0].reason.contains("64 KiB"), "{:?}", taken.reasons);
}

#[test]
fn nothing_but_an_ordinary_file_is_read() {
    let bench = Bench::new();
    let target = bench.file("target.csv", b"code\na\n");
    let link = bench.folder.path().join("link.csv");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for path in [link.as_path(), bench.folder.path()] {
        let error = bench.import(path, |_| {}).err().unwrap();
        assert!(matches!(error, InboxError::NoFile(_)), "{error}");
    }
    assert_eq!(bench.scans(), 0);
}

#[test]
fn a_large_file_is_taken_only_by_whoever_says_so() {
    let bench = Bench::new();
    let line = format!("{},100\n", "x".repeat(10_000));
    let path = bench.file("large.csv", format!("code,n\n{}", line.repeat(450)).as_bytes());
    let why = |outcome: Result<Verdict, InboxError>| match outcome.unwrap() {
        Verdict::Whole(whole) => whole.why,
        _ => panic!("nothing of it can go in"),
    };
    assert!(why(bench.import(&path, |_| {})).contains("4 MiB"), "and `--large` is named");
    assert!(why(bench.import(&path, |job| job.large = true)).contains("no line of it"), "it was read");
    assert!(matches!(too_large(crate::inbox::LARGE_BYTES_MAX + 1, true), Some(Strange::TooLarge)));
}

#[test]
fn a_device_without_ids_rejects_no_line_and_the_file_waits() {
    let bench = Bench::new();
    let conn = Connection::open(bench.db()).unwrap();
    conn.execute_batch(&format!(
        "CREATE TRIGGER none_left AFTER INSERT ON scans WHEN NEW.id > 2
         BEGIN SELECT RAISE(ABORT, '{NO_FREE_ID} scans'); END"
    ))
    .unwrap();
    let path = bench.file("a.csv", b"code,n\na,1\nb,200\nc,3\nd,4\n");
    assert!(matches!(bench.import(&path, |_| {}), Err(InboxError::NoIds(_))));
    assert_eq!(bench.number("SELECT COUNT(*) FROM scans"), 0, "it goes in whole, when it does");
    conn.execute_batch("DROP TRIGGER none_left").unwrap();
    assert!(matches!(bench.import(&path, |_| {}), Ok(Verdict::In(Taken { lines: 3, rejected: 1, .. }))));
}
