//! Posts to a small HTTP server of this process, which answers by a script.

use super::*;
use serde_json::Value as Json;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

/// Enough for a try on a busy machine; the pauses are none.
const PATIENCE: Patience = Patience { try_for: Duration::from_secs(20), pauses: [Duration::ZERO; 2] };

/// Answers one connection after the other; 0 is one that never answers. Gives the address and what was posted.
fn server(statuses: &'static [u16]) -> (Uri, Receiver<(String, Json)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/alerts/secret", listener.local_addr().unwrap());
    let (sender, posts) = channel();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            sender.send(read(&mut stream)).unwrap();
            match status {
                0 => silent.push(stream),
                status => {
                    let more = "Location: /elsewhere\r\nContent-Length: 0\r\nConnection: close";
                    write!(stream, "HTTP/1.1 {status} So\r\n{more}\r\n\r\n").unwrap();
                }
            }
        }
        // The silent ones stay open as long as anybody waits for what is posted.
        while sender.send((String::new(), Json::Null)).is_ok() {
            thread::park_timeout(Duration::from_millis(10));
        }
    });
    (address.parse().unwrap(), posts)
}

fn read(stream: &mut TcpStream) -> (String, Json) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

/// The posts that came before the script's end.
fn posts(posts: &Receiver<(String, Json)>) -> Vec<(String, Json)> {
    posts.iter().take_while(|(head, _)| !head.is_empty()).collect()
}

/// What stands in the log once a post is over.
fn alerts(address: Uri, patience: Patience) -> String {
    let dir = tempfile::tempdir().unwrap();
    let problems =
        [Problem::warning("a is gone".into()), Problem { kind: Kind::Critical, what: "b is lost".into() }];
    let webhook = Webhook::with(address, patience);
    webhook.tell(dir.path(), 1_795_953_600, "nothing was wrong", &[]);
    webhook.tell(dir.path(), 1_795_953_600, "a run", &problems);
    drop(webhook);
    fs::read_to_string(dir.path().join("backup_alerts.log")).unwrap_or_default()
}

#[test]
fn problems_are_posted_as_they_are_documented() {
    let (address, came) = server(&[200]);
    assert_eq!(alerts(address, PATIENCE), "");
    let came = posts(&came);
    let [(head, post)] = came.as_slice() else { panic!("{came:?}") };
    assert!(head.starts_with("POST /alerts/secret HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json\r\n"), "{head}");
    let keys: Vec<&String> = post.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["program", "folder", "at", "kind", "run", "problems", "text"]);
    assert_eq!(
        (&post["program"], &post["kind"], &post["run"]),
        (&json!("tt-hub"), &json!("CRITICAL"), &json!("a run"))
    );
    assert_eq!(post["problems"][0], json!({ "kind": "WARNING", "what": "a is gone" }));
    assert_eq!(post["text"], "WARNING: a is gone\nCRITICAL: b is lost");
    assert_eq!(post["at"], calendar::utc(1_795_953_600));
}

#[test]
fn what_may_pass_is_tried_again_and_a_refusal_is_not() {
    let (address, came) = server(&[500, 503, 200]);
    assert_eq!(alerts(address, PATIENCE), "");
    assert_eq!(posts(&came).len(), 3);

    let (address, came) = server(&[500, 502, 500]);
    let said = alerts(address, PATIENCE);
    assert!(said.contains("WARNING: the alert was not posted to 127.0.0.1: it answers 500"), "{said}");
    assert!(!said.contains("secret") && said.lines().count() == 1, "{said}");
    assert_eq!(posts(&came).len(), 3);

    for status in [&[404][..], &[302]] {
        let (address, came) = server(status);
        assert!(alerts(address, PATIENCE).contains(&format!("it answers {}", status[0])));
        assert_eq!(posts(&came).len(), 1);
    }
}

#[test]
fn one_that_never_answers_or_is_not_there_is_given_up() {
    let (address, came) = server(&[0, 0, 0]);
    let short = Patience { try_for: Duration::from_millis(300), ..PATIENCE };
    let said = alerts(address, short);
    assert!(said.contains("was not posted") && said.contains("timeout"), "{said}");
    assert_eq!(posts(&came).len(), 3);

    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = alerts(format!("http://{dead}/").parse().unwrap(), PATIENCE);
    assert!(said.contains("was not posted to 127.0.0.1"), "{said}");
}

#[test]
fn a_run_does_not_wait_for_its_post() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let (go, gone) = channel();
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read(&mut stream);
        gone.recv().unwrap();
        write!(stream, "HTTP/1.1 204 So\r\nConnection: close\r\n\r\n").unwrap();
    });
    let dir = tempfile::tempdir().unwrap();
    let webhook = Webhook::with(address, PATIENCE);
    webhook.tell(dir.path(), 0, "a run", &[Problem::warning("a".into())]);
    // The answer comes only now: whoever had waited for it would have given up.
    go.send(()).unwrap();
    drop(webhook);
    answering.join().unwrap();
    assert!(!dir.path().join("backup_alerts.log").exists(), "it was posted");
}

#[test]
fn only_https_leaves_this_machine_unless_that_is_allowed() {
    for (text, plain, is_right) in [
        ("https://hooks.example.com/a?b=c", false, true),
        ("http://127.0.0.1:8080/", false, true),
        ("http://[::1]:8080/", false, true),
        ("http://localhost/a", false, true),
        ("http://hooks.example.com/", false, false),
        ("http://127.0.0.1@hooks.example.com/", false, false),
        ("http://192.168.0.7/", true, true),
        ("ftp://hooks.example.com/", true, false),
        ("hooks.example.com", true, false),
        ("https://", true, false),
        ("/alerts", true, false),
    ] {
        assert_eq!(address(text, plain).is_ok(), is_right, "{text}");
    }
}
