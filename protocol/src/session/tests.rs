//! Both ends where feeds cannot go on: another epoch, a history that was cut, an order, and files that are not
//! what they say.

use super::edge::{self, EdgeSession, FeedVerdict};
use super::hub::{self, HubSession, Staged, Standing};
use crate::frame::{Ack, EdgeFrame, Hello, HubFrame, PROTOCOL, Pull, Welcome};
use crate::number::{EdgeId, Epoch, Millis, Seq, Version};

const NOW: Millis = Millis(5);

/// A device that has cut nine changesets, keeps those from 4 on, and has seen version 50.
fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        edge: EdgeId(1),
        epoch: Epoch(1),
        cursor: Version(50),
        last_seq: Seq(9),
        last_hash: [9; 32],
        first_held: Seq(4),
        seed_wanted: false,
        order_done: 0,
        now: NOW,
    }
}

/// A hub that knows all of that.
fn standing() -> Standing {
    Standing {
        epoch: Epoch(1),
        version: Version(60),
        merged: Seq(9),
        merged_as: Version(49),
        hash_of_last: Some([9; 32]),
        watermark: Version(0),
        forgotten: Version(0),
        order: 0,
        now: NOW,
    }
}

/// The hub as it was after changeset 6, in its next epoch.
fn put_back() -> Standing {
    let (version, merged, merged_as) = (Version(61), Seq(6), Version(30));
    Standing { epoch: Epoch(2), version, merged, merged_as, hash_of_last: None, ..standing() }
}

fn outputs_of(hello: &Hello, standing: &Standing) -> Vec<hub::Output> {
    let mut session = HubSession::new(hello.edge, Staged::default());
    session.handle_standing(hello, standing);
    std::iter::from_fn(|| session.poll_output()).collect()
}

fn welcome(hello: &Hello, standing: &Standing) -> Welcome {
    match outputs_of(hello, standing).pop() {
        Some(hub::Output::Send(HubFrame::Welcome(welcome))) => welcome,
        other => panic!("no welcome but {other:?}"),
    }
}

fn refusal(hello: &Hello, standing: &Standing) -> String {
    match outputs_of(hello, standing).pop() {
        Some(hub::Output::Close(reason)) => reason,
        other => panic!("no refusal but {other:?}"),
    }
}

/// A session that was welcomed, and all that it asks for but greetings, pings and the clock.
fn welcomed(hello: &Hello, standing: &Standing) -> (EdgeSession, Vec<edge::Output>) {
    let mut session = EdgeSession::new(hello.clone(), true);
    session.handle_frame(NOW, HubFrame::Welcome(welcome(hello, standing)));
    let asked = asked(&mut session);
    (session, asked)
}

fn asked(session: &mut EdgeSession) -> Vec<edge::Output> {
    let all = std::iter::from_fn(|| session.poll_output());
    let rest = |output: &edge::Output| {
        !matches!(
            output,
            edge::Output::Send(EdgeFrame::Hello(_) | EdgeFrame::Ping(_))
                | edge::Output::ClockOffset(_)
                | edge::Output::Acknowledge(_)
        )
    };
    all.filter(rest).collect()
}

#[test]
fn a_device_that_needs_no_snapshot_goes_on_with_feeds() {
    assert!(!welcome(&hello(), &standing()).seed);
    let (mut session, asked_for) = welcomed(&hello(), &standing());
    assert_eq!(asked_for, [edge::Output::Look(Seq(9))]);
    session.handle_waiting(None);
    assert!(!session.is_seeding());
}

#[test]
fn a_hub_in_a_new_epoch_gets_again_what_it_lacks_and_then_the_device_takes_a_snapshot() {
    let (mut session, first) = welcomed(&hello(), &put_back());
    assert_eq!(first, [edge::Output::Reopen(Seq(6)), edge::Output::Look(Seq(6))]);
    for seq in 7..=9 {
        session.handle_waiting(Some((Seq(seq), 1)));
        assert_eq!(asked(&mut session), [edge::Output::SendPiece(Seq(seq), 0)], "no feed is asked for");
        let ack = Ack { seq: Seq(seq), version: Version(seq + 60), caught_up: false, watermark: Version(0) };
        session.handle_frame(NOW, HubFrame::Ack(ack));
        assert_eq!(asked(&mut session), [edge::Output::Look(Seq(seq))]);
    }
    session.handle_waiting(None);
    assert_eq!(asked(&mut session), [edge::Output::Cut], "what is uncut goes in before");
    session.handle_cut(None);
    let fetch = edge::Output::Fetch { epoch: Epoch(2), at_least: Version(69), order: 0 };
    assert_eq!(asked(&mut session), [fetch]);
    session.handle_dirty();
    assert_eq!(asked(&mut session), [], "while it is under way nothing is cut");
    session.handle_seeded(FeedVerdict::Applied, Version(69));
    assert!(!session.is_seeding() && !session.in_step());
    assert_eq!(asked(&mut session), [edge::Output::Cut]);
    session.handle_cut(None);
    let pull = Pull { cursor: Version(69), wait: false };
    assert_eq!(asked(&mut session), [edge::Output::Send(EdgeFrame::Pull(pull))]);
}

#[test]
fn a_snapshot_that_something_uncut_stands_against_is_asked_for_again_after_a_cut() {
    let (mut session, _) = welcomed(&hello(), &Standing { order: 3, ..standing() });
    session.handle_waiting(None);
    session.handle_cut(None);
    let fetch = |at_least| edge::Output::Fetch { epoch: Epoch(1), at_least: Version(at_least), order: 3 };
    assert_eq!(asked(&mut session), [edge::Output::Cut, fetch(49)]);
    session.handle_seeded(FeedVerdict::CutFirst, Version(50));
    assert_eq!(asked(&mut session), [edge::Output::Cut]);
    session.handle_cut(Some(Seq(10)));
    session.handle_waiting(Some((Seq(10), 1)));
    let ack = Ack { seq: Seq(10), version: Version(70), caught_up: false, watermark: Version(0) };
    session.handle_frame(NOW, HubFrame::Ack(ack));
    session.handle_waiting(None);
    assert_eq!(asked(&mut session).last(), Some(&fetch(70)), "it must hold the last cut");
}

#[test]
fn a_snapshot_that_was_cut_off_goes_on_without_another_cut() {
    let there = Standing { forgotten: Version(55), ..standing() };
    let mut session = EdgeSession::new(hello(), true);
    session.resume_fetch(Epoch(1), Version(52));
    session.handle_frame(NOW, HubFrame::Welcome(welcome(&hello(), &there)));
    let fetch = edge::Output::Fetch { epoch: Epoch(1), at_least: Version(52), order: 0 };
    assert_eq!(asked(&mut session), [fetch, edge::Output::Look(Seq(9))]);
}

#[test]
fn whoever_feeds_cannot_help_takes_a_snapshot() {
    let seed = |hello: &Hello, standing: &Standing| welcome(hello, standing).seed;
    assert!(seed(&Hello { seed_wanted: true, ..hello() }, &standing()), "a person wants it");
    assert!(seed(&hello(), &Standing { forgotten: Version(51), ..standing() }), "the history is cut");
    assert!(!seed(&hello(), &Standing { forgotten: Version(50), ..standing() }), "up to its cursor only");
    assert!(seed(&hello(), &Standing { order: 4, ..standing() }), "the operator has ordered it");
    assert!(
        !seed(&Hello { order_done: 4, ..hello() }, &Standing { order: 4, ..standing() }),
        "and it is done"
    );
}

#[test]
fn what_nobody_has_any_more_is_told_and_what_follows_it_is_taken() {
    let older = Standing { merged: Seq(1), ..put_back() };
    let outputs = outputs_of(&hello(), &older);
    assert_eq!(outputs, [hub::Output::Skip { hello: hello(), from: Seq(2), to: Seq(3) }], "no welcome yet");
    let put_back = Standing { merged: Seq(3), merged_as: Version(61), version: Version(61), ..older.clone() };
    let welcome = welcome(&hello(), &put_back);
    assert_eq!((welcome.merged, welcome.merged_as), (Seq(3), Version(61)), "the version that they became");
    let nothing_kept = Hello { first_held: Seq(10), ..hello() };
    let skip = hub::Output::Skip { hello: nothing_kept.clone(), from: Seq(2), to: Seq(9) };
    assert_eq!(outputs_of(&nothing_kept, &older), [skip]);
}

#[test]
fn a_file_that_is_not_what_it_says_is_refused_with_what_to_do() {
    let by_hand = |text: &str| assert!(text.contains("tt-hub restore"), "{text}");
    by_hand(&refusal(&Hello { epoch: Epoch(2), ..hello() }, &standing()));
    by_hand(&refusal(&hello(), &Standing { version: Version(40), ..standing() }));
    by_hand(&refusal(&hello(), &Standing { merged: Seq(1), ..standing() }));
    let rescue = |text: &str| assert!(text.contains("--rescue"), "{text}");
    for there in [standing(), Standing { merged: Seq(12), ..put_back() }] {
        rescue(&refusal(&Hello { last_seq: Seq(8), ..hello() }, &there));
    }
    rescue(&refusal(&Hello { last_hash: [8; 32], ..hello() }, &standing()));
    let skipped = Standing { hash_of_last: Some([0; 32]), ..standing() };
    assert!(!welcome(&hello(), &skipped).seed, "of a changeset that was skipped nobody knows the hash");
}
