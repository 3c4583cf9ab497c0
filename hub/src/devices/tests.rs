//! Invitations and devices, from the operator's first word to a revoked certificate.

use super::*;
use rusqlite::TransactionBehavior::Immediate;
use std::thread;
use std::time::Duration;
use tt_protocol::token::Secret;

const HOUR_MS: i64 = 3_600_000;
const NOW: Millis = Millis(1_750_000_000_000);

fn database() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    create_tables(&conn).unwrap();
    create_tables(&conn).unwrap();
    conn
}

fn invited(conn: &Connection, name: &str) -> Secret {
    invite(conn, name, "station", HOUR_MS, false, NOW).unwrap().secret
}

fn later(ms: i64) -> Millis {
    Millis(NOW.0 + ms)
}

#[test]
fn an_invited_device_is_admitted_and_found_by_its_certificate() {
    let conn = database();
    let secret = invited(&conn, "station-1");
    let admission = redeem(&conn, &secret, b"key", NOW).unwrap();
    assert_eq!((admission.device, admission.role.as_str()), (EdgeId(1), "station"));
    record_certificate(&conn, EdgeId(1), &[7; 32], NOW).unwrap();
    let device = by_certificate(&conn, &[7; 32]).unwrap().unwrap();
    assert_eq!((device.name.as_str(), device.revoked_at), ("station-1", None));
    assert_eq!(by_certificate(&conn, &[8; 32]).unwrap(), None);
}

#[test]
fn the_secret_is_stored_nowhere() {
    let conn = database();
    let secret = invited(&conn, "a");
    let stored: Vec<u8> =
        conn.query_row("SELECT secret_sha256 FROM _sync_token", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, secret.sha256());
    assert_ne!(&stored[..16], secret.0);
}

#[test]
fn each_refusal_has_its_own_reason() {
    let conn = database();
    let secret = invited(&conn, "a");
    let unknown = redeem(&conn, &Secret([0; 16]), b"key", NOW);
    assert!(matches!(unknown, Err(DevicesError::TokenUnknown)));
    let late = redeem(&conn, &secret, b"key", later(HOUR_MS));
    assert!(matches!(late, Err(DevicesError::TokenExpired(name)) if name == "a"));
    redeem(&conn, &secret, b"key", later(HOUR_MS - 1)).unwrap();
    let other = redeem(&conn, &secret, b"other key", NOW);
    assert!(matches!(other, Err(DevicesError::TokenUsed(name)) if name == "a"));
    revoke(&conn, "a", NOW).unwrap();
    assert!(matches!(redeem(&conn, &secret, b"key", NOW), Err(DevicesError::TokenRevoked(_))));
    assert_eq!(list(&conn).unwrap().len(), 1, "a refusal leaves no device behind");
}

#[test]
fn a_lost_reply_is_repeated_to_the_same_key_while_the_token_lives() {
    let conn = database();
    let secret = invited(&conn, "a");
    let first = redeem(&conn, &secret, b"key", NOW).unwrap();
    assert_eq!(redeem(&conn, &secret, b"key", later(5)).unwrap(), first);
    let late = redeem(&conn, &secret, b"key", later(HOUR_MS));
    assert!(matches!(late, Err(DevicesError::TokenExpired(_))));
}

#[test]
fn replacing_cuts_off_the_old_device_at_once_and_gives_a_new_number() {
    let conn = database();
    redeem(&conn, &invited(&conn, "a"), b"key", NOW).unwrap();
    record_certificate(&conn, EdgeId(1), &[1; 32], NOW).unwrap();
    let again = invite(&conn, "a", "station", HOUR_MS, false, NOW);
    assert!(matches!(again, Err(DevicesError::Exists(name)) if name == "a"));
    let invitation = invite(&conn, "a", "scanner", HOUR_MS, true, later(1)).unwrap();
    assert_eq!(invitation.replaced, Some(EdgeId(1)));
    assert_eq!(by_certificate(&conn, &[1; 32]).unwrap().unwrap().revoked_at, Some(later(1)));
    let admission = redeem(&conn, &invitation.secret, b"key", later(2)).unwrap();
    assert_eq!((admission.device, admission.role.as_str()), (EdgeId(2), "scanner"));
    assert_eq!(by_name(&conn, "a").unwrap().unwrap().device, EdgeId(2));
    let numbers: Vec<_> = list(&conn).unwrap().iter().map(|device| device.device.0).collect();
    assert_eq!(numbers, [2, 1], "the newest of a name comes first");
}

#[test]
fn a_second_invitation_withdraws_the_first() {
    let conn = database();
    let (first, second) = (invited(&conn, "a"), invited(&conn, "a"));
    assert!(matches!(redeem(&conn, &first, b"key", NOW), Err(DevicesError::TokenUnknown)));
    redeem(&conn, &second, b"key", NOW).unwrap();
}

#[test]
fn revoking_says_what_it_did() {
    let conn = database();
    assert!(matches!(revoke(&conn, "a", NOW), Err(DevicesError::Missing(_))));
    let secret = invited(&conn, "a");
    assert_eq!(revoke(&conn, "a", NOW).unwrap(), None, "only an invitation was open");
    assert!(matches!(redeem(&conn, &secret, b"key", NOW), Err(DevicesError::TokenUnknown)));
    redeem(&conn, &invited(&conn, "a"), b"key", NOW).unwrap();
    assert_eq!(revoke(&conn, "a", NOW).unwrap(), Some(EdgeId(1)));
    assert!(matches!(revoke(&conn, "a", NOW), Err(DevicesError::AlreadyRevoked(_))));
}

#[test]
fn numbers_never_come_back_and_run_out_loudly() {
    let conn = database();
    let sql = "INSERT INTO _sync_edge (device, name, role, enrolled_at) VALUES (4094, 'old', 'station', 0)";
    conn.execute(sql, []).unwrap();
    let (last, one_more) = (invited(&conn, "last"), invited(&conn, "one-more"));
    assert_eq!(redeem(&conn, &last, b"key", NOW).unwrap().device, EdgeId(4095));
    assert!(matches!(redeem(&conn, &one_more, b"key", NOW), Err(DevicesError::Full)));
    revoke(&conn, "last", NOW).unwrap();
    assert!(matches!(invite(&conn, "next", "station", 1, false, NOW), Err(DevicesError::Full)));
}

#[test]
fn names_roles_and_lifetimes_are_checked() {
    let conn = database();
    let long = "a".repeat(64);
    for bad in ["", "-a", "A", "a_b", "a b", "ä", "hub", long.as_str()] {
        assert!(matches!(invite(&conn, bad, "station", 1, false, NOW), Err(DevicesError::Name(_))), "{bad}");
        assert!(matches!(invite(&conn, "a", bad, 1, false, NOW), Err(DevicesError::Role(_))), "{bad}");
    }
    assert!(matches!(invite(&conn, "a", "station", 0, false, NOW), Err(DevicesError::Lifetime(0))));
    for good in ["0", "a-", "hub-2", &long[..63]] {
        invite(&conn, good, "station", 1, false, NOW).unwrap();
    }
}

#[test]
fn works_inside_a_transaction_of_the_caller() {
    let mut conn = database();
    let secret = invited(&conn, "a");
    let outer = conn.transaction_with_behavior(Immediate).unwrap();
    redeem(&outer, &secret, b"key", NOW).unwrap();
    assert!(redeem(&outer, &secret, b"other", NOW).is_err(), "a refusal leaves the transaction usable");
    outer.rollback().unwrap();
    assert!(list(&conn).unwrap().is_empty());
    redeem(&conn, &secret, b"other", NOW).unwrap();
}

#[test]
fn one_token_admits_one_of_many_that_come_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    let open = || {
        let conn = Connection::open(&path).unwrap();
        conn.busy_timeout(Duration::from_secs(20)).unwrap();
        conn
    };
    let conn = open();
    conn.pragma_update(None, "journal_mode", "wal").unwrap();
    create_tables(&conn).unwrap();
    let secret = invited(&conn, "a");
    let admitted = thread::scope(|scope| {
        let all: Vec<_> = (0..8_u8)
            .map(|key| {
                let (conn, secret) = (open(), &secret);
                scope.spawn(move || redeem(&conn, secret, &[key], NOW))
            })
            .collect();
        let results: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(
            results.iter().all(|one| matches!(one, Ok(_) | Err(DevicesError::TokenUsed(_)))),
            "{results:?}"
        );
        results.iter().filter(|one| one.is_ok()).count()
    });
    assert_eq!((admitted, list(&conn).unwrap().len()), (1, 1));
}

#[test]
fn state_and_contact_are_kept() {
    let conn = database();
    redeem(&conn, &invited(&conn, "a"), b"key", NOW).unwrap();
    let state = DeviceState {
        cursor: Some(Version(9)),
        unsent: Some(3),
        oldest_unsent_s: Some(60),
        clock_offset_ms: Some(-5),
        schema: Some("v12".into()),
        blocked: Some("waits for schema".into()),
    };
    record_state(&conn, EdgeId(1), &state).unwrap();
    record_contact(&conn, EdgeId(1), "10.0.0.7:5000", later(9)).unwrap();
    let device = by_name(&conn, "a").unwrap().unwrap();
    assert_eq!((device.state, device.last_seen), (state, Some(later(9))));
    assert_eq!(device.address.as_deref(), Some("10.0.0.7:5000"));
    record_state(&conn, EdgeId(1), &DeviceState { unsent: Some(u64::MAX), ..DeviceState::default() })
        .unwrap();
    assert_eq!(by_name(&conn, "a").unwrap().unwrap().state.unsent, Some(u64::MAX / 2));
}
