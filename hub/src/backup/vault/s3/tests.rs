//! The vault against a real store that checks signatures, and against one that never answers.

use super::client::Patience;
use super::upload::PART_BYTES;
use super::*;
use crate::backup::vault::tests::conforms;
use crate::backup::vault::{get, put};
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;
use store::Store;
use tempfile::TempDir;

#[path = "../../../../tests/cli/store.rs"]
mod store;

/// Of one who does not wait long, and asks again at once.
const BRISK: Patience = Patience {
    connect: Duration::from_secs(5),
    answer: Duration::from_secs(20),
    body: Duration::from_secs(60),
    tries: 2,
    pause: Duration::from_millis(1),
    rest: Duration::ZERO,
    rest_silent: Duration::ZERO,
};

struct Bench {
    dir: TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Option<Self> {
        let (dir, store) = (tempfile::tempdir().unwrap(), Store::start(&[])?);
        store.write_keys(dir.path());
        Some(Self { dir, store })
    }

    fn vault(&self, more: &str) -> S3Vault {
        vault(&self.store.settings(more), self.dir.path(), BRISK)
    }
}

fn vault(settings: &str, folder: &Path, patience: Patience) -> S3Vault {
    let read: toml::Table = toml::from_str(&format!("s3 = {settings}")).unwrap();
    let settings: S3Settings = read["s3"].clone().try_into().unwrap();
    settings.check().unwrap();
    S3Vault::patient("far", &settings, folder, patience)
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn a_bucket_is_a_vault_and_so_is_a_part_of_one() {
    let Some(bench) = Bench::new() else { return };
    conforms(&bench.vault(", prefix = \"site/hub\""));
    conforms(&bench.vault(", prefix = \"site/hub-2\""));
    let whole = bench.vault("");
    conforms(&whole);
    assert_eq!(whole.place(), "s3://tablets/");
    assert!(whole.is_far());
}

#[test]
fn a_file_of_any_length_comes_back_and_what_was_given_up_leaves_nothing() {
    let Some(mut bench) = Bench::new() else { return };
    let vault = bench.vault(", prefix = \"site\"");
    for (number, length) in
        [0, 1, 64 << 10, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 7].iter().enumerate()
    {
        let (name, bytes) = (format!("file-{number}"), bytes(*length));
        put(&vault, &name, &bytes).unwrap();
        assert!(get(&vault, &name, *length as u64).unwrap() == bytes, "{length}");
    }
    assert_eq!(bench.store.tell("uploads"), "0");
    let before = vault.list().unwrap();
    for keep in [false, true] {
        let mut upload = vault.begin("half").unwrap();
        upload.write_all(&bytes(PART_BYTES + 1)).unwrap();
        assert_eq!((bench.store.tell("uploads").as_str(), vault.list().unwrap()), ("1", before.clone()));
        if keep {
            // As when the power fails.
            std::mem::forget(upload);
        } else {
            drop(upload);
            assert_eq!(bench.store.tell("uploads"), "0", "aborted");
        }
    }
    bench.vault(", prefix = \"other\"").tidy().unwrap();
    assert_eq!(bench.store.tell("uploads"), "1", "it is another vault's");
    vault.tidy().unwrap();
    assert_eq!((bench.store.tell("uploads").as_str(), vault.list().unwrap()), ("0", before));
}

#[test]
fn a_list_of_many_pages_is_whole() {
    let Some(mut bench) = Bench::new() else { return };
    let vault = bench.vault(", prefix = \"site\"");
    bench.store.tell("fill site/ 2345");
    bench.store.tell("fill site/journal/ 20");
    bench.store.tell("fill elsewhere/ 20");
    let names = vault.list().unwrap();
    assert_eq!((names.len(), names[0].as_str(), names[2344].as_str()), (2_345, "000000", "002344"));
    assert_eq!(vault.part("journal").list().unwrap().len(), 20);
}

#[test]
fn a_store_that_refuses_says_why_and_never_with_what_it_was_asked() {
    let Some(mut bench) = Bench::new() else { return };
    let vault = bench.vault("");
    put(&vault, "a", b"one").unwrap();
    bench.store.tell("deletes no");
    let error = vault.remove("a").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("lets nothing be removed"), "{error}");
    bench.store.tell("deletes yes");

    let other = bench.store.settings("").replace("\"tablets\"", "\"nowhere\"");
    let error = self::vault(&other, bench.dir.path(), BRISK).list().unwrap_err();
    assert!(
        error.kind() != io::ErrorKind::NotFound && error.to_string().contains("make the bucket"),
        "{error}"
    );

    let path = bench.dir.path().join("keys.toml");
    let wrong = bench.store.secret().chars().rev().collect::<String>();
    fs::write(&path, fs::read_to_string(&path).unwrap().replace(bench.store.secret(), &wrong)).unwrap();
    for error in
        [vault.list().unwrap_err(), put(&vault, "b", b"two").unwrap_err(), vault.read("a").err().unwrap()]
    {
        let said = format!("{error} {error:?}");
        assert!(said.contains("check the credentials"), "{said}");
        assert!(!said.contains(&wrong) && !said.to_lowercase().contains("signature="), "{said}");
    }
    bench.store.write_keys(bench.dir.path());
    assert_eq!(get(&vault, "a", 9).unwrap(), b"one", "new keys need no new start");
}

#[test]
fn a_store_that_is_away_is_no_empty_one_and_is_used_again_when_it_is_back() {
    let Some(mut bench) = Bench::new() else { return };
    let vault = bench.vault("");
    put(&vault, "a", b"one").unwrap();
    bench.store.tell("down");
    for error in
        [vault.list().unwrap_err(), put(&vault, "b", b"two").unwrap_err(), vault.read("a").err().unwrap()]
    {
        assert!(
            error.kind() != io::ErrorKind::NotFound && error.to_string().contains("check that"),
            "{error}"
        );
    }
    bench.store.tell("up");
    assert_eq!(vault.list().unwrap(), ["a"]);
}

#[test]
fn what_is_replaced_while_it_is_read_is_an_error_and_not_a_mixture() {
    let Some(bench) = Bench::new() else { return };
    let vault = bench.vault("");
    let mut content = bytes(1 << 20);
    put(&vault, "a", &content).unwrap();
    let mut reading = vault.read("a").unwrap();
    content.reverse();
    put(&vault, "a", &content).unwrap();
    let error = io::copy(&mut reading, &mut io::sink()).unwrap_err();
    assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("replaced"), "{error}");
}

#[test]
fn only_a_store_whose_certificate_is_trusted_is_spoken_to() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("store.pem"), dir.path().join("store.key"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let Some(store) = Store::start(&[&certificate, &key]) else { return };
    store.write_keys(dir.path());
    let vault = |more: &str| vault(&store.settings(more), dir.path(), BRISK);
    let trusting = vault(", ca = \"store.pem\"");
    put(&trusting, "a", b"one").unwrap();
    assert_eq!(get(&trusting, "a", 9).unwrap(), b"one");
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(dir.path().join("other.pem"), other.cert.pem()).unwrap();
    let error = vault(", ca = \"other.pem\"").list().unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    fs::write(dir.path().join("none.pem"), "nothing").unwrap();
    assert!(vault(", ca = \"none.pem\"").list().unwrap_err().to_string().contains("there are none"));
}

#[test]
fn a_store_that_never_answers_is_waited_for_once_and_then_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("keys.toml"), "access_key_id = \"a\"\nsecret_access_key = \"b\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(dir.path().join("keys.toml"), mode).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = format!(
        "{{ endpoint = \"http://{}\", bucket = \"b\", credentials = \"keys.toml\" }}",
        silent.local_addr().unwrap()
    );
    let patience =
        Patience { answer: Duration::from_millis(20), rest_silent: Duration::from_secs(3_600), ..BRISK };
    let vault = vault(&settings, dir.path(), patience);
    assert_eq!(vault.list().unwrap_err().kind(), io::ErrorKind::TimedOut);
    let error = put(&vault, "a", b"one").unwrap_err();
    assert!(error.kind() == io::ErrorKind::TimedOut && error.to_string().contains("PUT"), "{error}");
    silent.set_nonblocking(true).unwrap();
    let asked = std::iter::from_fn(|| silent.accept().ok()).count();
    assert_eq!(asked, 1, "the one try of the first request, and none of the second");
}
