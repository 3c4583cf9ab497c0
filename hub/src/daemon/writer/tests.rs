//! The writer without threads and links: what it answers, and what it does when the database fails.

use super::*;
use crate::ca::Authority;
use crate::control::{Reply, Request};
use crate::daemon::event::{EVENTS_MAX, Newcomer};
use crate::devices;
use tempfile::TempDir;
use tt_migrations::{policy, runner};
use tt_protocol::frame::{EdgeFrame, Hello, PROTOCOL, Report};
use tt_protocol::number::{Epoch, Seq, Version};

struct Bench {
    _dir: TempDir,
    writer: Writer,
    _inbox: mpsc::Receiver<Event>,
    _jobs: queue::Receiver<Job>,
}

/// A device's end of a link.
struct End {
    decision: oneshot::Receiver<Result<EdgeId, Goodbye>>,
    close: oneshot::Receiver<Goodbye>,
    frames: mpsc::Receiver<HubFrame>,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tablet_counter.db");
    runner::apply_all(&rusqlite::Connection::open(&path).unwrap(), 0).unwrap();
    let mut store = HubStore::open(&path, policy::shipped()).unwrap();
    let conn = store.connection();
    let sql = "INSERT INTO _sync_edge(device, name, role, enrolled_at, cert_sha256) VALUES (1, 'a', 'station', 1, ?1)";
    conn.execute(sql, [[1_u8; 32]]).unwrap();
    let authority = Arc::new(Authority::create(dir.path()).unwrap());
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let (feeds, jobs) = queue::channel();
    let host = Host { fingerprint: authority.fingerprint(), addresses: vec!["hub:1".into()] };
    let writer = Writer::new(Parts {
        shared: Shared::new(events, store.version(), Watermark::default()),
        store,
        path,
        host,
        authority,
        feeds,
        audits: queue::channel().0,
        course: Arc::default(),
        watermark: Watermark::default(),
        keep: Keep::default(),
        maintenance: crate::upkeep::Settings::default(),
    });
    Bench { _dir: dir, writer, _inbox: inbox, _jobs: jobs }
}

impl Bench {
    fn up(&mut self, link: LinkId, cert_sha256: [u8; 32]) -> End {
        let (frames_in, frames) = mpsc::channel(8);
        let (close_in, close) = oneshot::channel();
        let (answer, decision) = oneshot::channel();
        self.writer.hear(Event::Up(Box::new(Newcomer {
            link,
            cert_sha256,
            address: "10.0.0.1:5".parse().unwrap(),
            outlet: Outlet { frames: frames_in, close: close_in },
            answer,
        })));
        self.writer.step();
        End { decision, close, frames }
    }

    fn ask(&mut self, request: Request) -> Reply {
        let (answer, mut reply) = oneshot::channel();
        self.writer.hear(Event::Ask(request, answer));
        self.writer.step();
        reply.try_recv().unwrap()
    }
}

#[test]
fn only_known_devices_link_and_the_newest_link_counts() {
    let mut bench = bench();
    let mut stranger = bench.up(1, [9; 32]);
    assert!(matches!(stranger.decision.try_recv().unwrap(), Err(Goodbye::Refused(_))));
    let mut first = bench.up(2, [1; 32]);
    assert_eq!(first.decision.try_recv().unwrap(), Ok(EdgeId(1)));
    let mut second = bench.up(3, [1; 32]);
    assert!(matches!(first.close.try_recv().unwrap(), Goodbye::Later(_)));
    assert!(second.close.try_recv().is_err(), "still linked");
    let Reply::State(state) = bench.ask(Request::State) else { panic!("no state") };
    assert_eq!(state.linked, [1]);
}

#[test]
fn what_a_device_says_first_is_on_the_list_before_any_tick() {
    let mut bench = bench();
    let _end = bench.up(1, [1; 32]);
    let hello = Hello {
        protocol: PROTOCOL,
        edge: EdgeId(1),
        epoch: Epoch(1),
        cursor: Version(0),
        last_seq: Seq(0),
        last_hash: [0; 32],
        first_held: Seq(0),
        seed_wanted: false,
        order_done: 0,
        now: clock::now(),
    };
    bench.writer.hear(Event::Frame(1, EdgeFrame::Hello(hello)));
    bench.writer.step();
    let report = Report { clock_offset_ms: 7, ..Report::default() };
    bench.writer.hear(Event::Frame(1, EdgeFrame::Report(report)));
    bench.writer.step();
    let other = rusqlite::Connection::open(&bench.writer.path).unwrap();
    let state = devices::by_name(&other, "a").unwrap().unwrap().state;
    assert_eq!((state.unsent, state.clock_offset_ms), (Some(0), Some(7)));
}

#[test]
fn a_revoked_device_hears_it_and_is_cut_off_in_the_same_step() {
    let mut bench = bench();
    let mut end = bench.up(1, [1; 32]);
    let reply = bench.ask(Request::Revoke { name: "a".into() });
    assert_eq!(reply, Reply::Revoked { device: Some(1) });
    assert!(matches!(end.frames.try_recv().unwrap(), HubFrame::Refused(_)));
    assert!(matches!(end.close.try_recv().unwrap(), Goodbye::Refused(_)));
    let mut again = bench.up(2, [1; 32]);
    assert!(
        matches!(again.decision.try_recv().unwrap(), Err(Goodbye::Refused(reason)) if reason.contains("revoked"))
    );
}

#[test]
fn a_device_that_leaves_is_cut_off_and_hears_it_without_a_greeting() {
    let mut bench = bench();
    let mut end = bench.up(1, [1; 32]);
    bench.writer.hear(Event::Frame(1, EdgeFrame::Leave));
    bench.writer.step();
    assert!(
        matches!(end.frames.try_recv().unwrap(), HubFrame::Refused(reason) if reason.contains("has left"))
    );
    assert!(matches!(end.close.try_recv().unwrap(), Goodbye::Refused(_)));
    let other = rusqlite::Connection::open(&bench.writer.path).unwrap();
    assert!(devices::by_name(&other, "a").unwrap().unwrap().revoked_at.is_some());
    let mut again = bench.up(2, [1; 32]);
    assert!(matches!(again.decision.try_recv().unwrap(), Err(Goodbye::Refused(_))));
}

#[test]
fn a_device_that_was_revoked_in_the_file_is_noticed() {
    let mut bench = bench();
    let mut end = bench.up(1, [1; 32]);
    let other = rusqlite::Connection::open(&bench.writer.path).unwrap();
    devices::revoke(&other, "a", Millis(5)).unwrap();
    bench.writer.record();
    bench.writer.step();
    assert!(matches!(end.close.try_recv().unwrap(), Goodbye::Refused(_)));
}

#[test]
fn a_failing_database_sends_devices_away_until_it_works_again() {
    let mut bench = bench();
    let mut end = bench.up(1, [1; 32]);
    bench.writer.fail(&StoreError::Sqlite(rusqlite::Error::InvalidQuery));
    assert!(matches!(end.close.try_recv().unwrap(), Goodbye::Later(_)));
    assert!(bench.writer.shared.failing().is_some());
    assert!(matches!(bench.ask(Request::Revoke { name: "a".into() }), Reply::Failed { .. }));
    let mut refused = bench.up(2, [1; 32]);
    assert!(matches!(refused.decision.try_recv().unwrap(), Err(Goodbye::Later(_))));
    bench.writer.hear(Event::Frame(2, EdgeFrame::Ping(1)));
    bench.writer.trouble.failed_at = Millis(0);
    bench.writer.hear(Event::Tick);
    assert!(bench.writer.shared.failing().is_none());
    let mut back = bench.up(3, [1; 32]);
    assert_eq!(back.decision.try_recv().unwrap(), Ok(EdgeId(1)));
}

#[test]
fn a_device_that_takes_no_frames_does_not_hold_up_the_writer() {
    let mut bench = bench();
    let mut end = bench.up(1, [1; 32]);
    for number in 0..9 {
        bench.writer.hear(Event::Frame(1, EdgeFrame::Ping(number)));
    }
    bench.writer.step();
    assert!(matches!(end.close.try_recv().unwrap(), Goodbye::Later(reason) if reason.contains("slowly")));
}

#[test]
fn the_log_is_moved_into_the_file_before_it_grows_long() {
    let mut bench = bench();
    let program = rusqlite::Connection::open(&bench.writer.path).unwrap();
    program.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    for number in 0..300 {
        let sql = "INSERT INTO employees(username, full_name, password_hash) VALUES (?1, 'A', '')";
        program.execute(sql, [number]).unwrap();
        bench.writer.hear(Event::Written);
        bench.writer.step();
    }
    let engine = bench.writer.engine.as_mut().unwrap();
    assert_eq!(engine.store().version().0, 300, "each was cut");
    let (pages, moved) = wal_pages(engine.store_mut()).unwrap();
    assert!(pages < 2 * WAL_PAGES_MAX, "{pages} pages, {moved} of them moved");
}

#[test]
fn free_pages_are_given_back_between_merges_and_only_when_that_gains_something() {
    let mut bench = bench();
    let conn = bench.writer.engine.as_mut().unwrap().store_mut().connection();
    crate::upkeep::vacuum_whole(conn, Millis(0)).unwrap();
    conn.execute_batch(
        "CREATE TABLE kept(a INTEGER PRIMARY KEY, b BLOB);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
           INSERT INTO kept(b) SELECT zeroblob(4000) FROM n;
         DELETE FROM kept WHERE a > 1000;",
    )
    .unwrap();
    let look = |bench: &mut Bench| {
        let conn = bench.writer.engine.as_mut().unwrap().store_mut().connection();
        crate::upkeep::Look::at(conn).unwrap()
    };
    let full = look(&mut bench);
    assert!(full.free_bytes > 10 << 20, "{full:?}");
    bench.writer.look_after_now(clock::now()).unwrap();
    assert_eq!(look(&mut bench).bytes, full.bytes, "the first look only decides");
    bench.writer.look_after_now(clock::now()).unwrap();
    let begun = look(&mut bench);
    assert!(begun.bytes < full.bytes && begun.free_bytes > 0, "a little at a time: {begun:?}");
    let mut end = bench.up(1, [1; 32]);
    assert_eq!(end.decision.try_recv().unwrap(), Ok(EdgeId(1)), "devices are served meanwhile");
    while look(&mut bench).free_bytes > 0 {
        bench.writer.look_after_now(clock::now()).unwrap();
    }
    bench.writer.step();
    assert!(bench.writer.shared.failing().is_none());
}
