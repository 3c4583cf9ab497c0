//! HTTPS: real handshakes, with the token, with a client's certificate, with a stranger's, with files that are wrong, and
//! with files that are replaced.

use crate::daemon::{addresses, until};
use crate::program::{DEADLINE, Folder};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value as Json;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

/// An authority with one certificate of it, in PEM form.
struct Made {
    authority: String,
    certificate: String,
    key: String,
}

fn made(name: &str) -> Made {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    Made { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}

/// A hub with a certificate for `hub.example.com`, which asks for the token, and knows the authority of `clients`.
fn hub(site: &Made, clients: &Made) -> Folder {
    let folder = Folder::with_hub();
    let settings = "http_names = [\"hub.example.com\"]\n[http_tls]\ncertificate = \"tls/hub.pem\"\n\
                    key = \"tls/hub.key\"\nclient_ca = \"tls/clients.pem\"\n";
    fs::write(folder.data().join("hub.toml"), settings).unwrap();
    fs::create_dir(folder.data().join("tls")).unwrap();
    for (file, text) in
        [("hub.pem", &site.certificate), ("hub.key", &site.key), ("clients.pem", &clients.authority)]
    {
        fs::write(folder.data().join("tls").join(file), text).unwrap();
    }
    folder
}

/// One request over TLS, with a certificate of one's own or without; the whole answer.
fn ask(http: &str, site: &Made, own: Option<&Made>, head: &str) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(site.authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let name = ServerName::try_from("hub.example.com").unwrap();
    let socket = TcpStream::connect(http)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket);
    write!(stream, "GET {head}Host: hub.example.com\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        // The server closes the socket without the last word of TLS.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => Ok(answer),
        done => done.map(|_| answer),
    }
}

#[test]
fn over_tls_a_token_or_a_certificate_lets_in_and_a_strangers_does_not() {
    let (site, clients, strangers) = (made("hub.example.com"), made("operator"), made("operator"));
    let folder = hub(&site, &clients);
    let _daemon = folder.serve();
    let http = addresses(&folder)["http"].as_str().unwrap().to_owned();
    let status = |own, head: &str| ask(&http, &site, own, head).map(|answer| answer[9..12].to_owned());
    assert_eq!(status(None, "/healthz HTTP/1.1\r\n").unwrap(), "200");
    assert_eq!(status(None, "/api HTTP/1.1\r\n").unwrap(), "401", "neither");
    let token = fs::read_to_string(folder.data().join("http.token")).unwrap();
    let bearer = format!("/api HTTP/1.1\r\nAuthorization: Bearer {}\r\n", token.trim());
    assert_eq!(status(None, &bearer).unwrap(), "200", "the token");
    assert_eq!(status(Some(&clients), "/api HTTP/1.1\r\n").unwrap(), "200", "the certificate");
    assert!(status(Some(&strangers), "/healthz HTTP/1.1\r\n").is_err(), "another authority's");
    assert!(ask(&http, &strangers, None, "/healthz HTTP/1.1\r\n").is_err(), "the hub is who it says");
    let mut plain = TcpStream::connect(&http).unwrap();
    plain.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(plain, "GET /healthz HTTP/1.1\r\nHost: hub.example.com\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // What comes is an alert, or nothing.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (site, other) = (made("hub.example.com"), made("hub.example.com"));
    let cases: [(&str, Option<&str>, &str); 4] = [
        ("hub.key", None, "hub.key holds no private key"),
        ("hub.pem", Some(""), "hub.pem holds no certificate"),
        ("hub.key", Some(&other.key), "certificate and key cannot be used together"),
        ("clients.pem", Some("none"), "clients.pem holds no certificate"),
    ];
    for (file, text, told) in cases {
        let folder = hub(&site, &other);
        let path = folder.data().join("tls").join(file);
        text.map_or_else(|| fs::remove_file(&path), |text| fs::write(&path, text)).unwrap();
        let said = folder.hub(&["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]).failure();
        assert!(said.contains(told) && said.contains("[http_tls]"), "{said}");
    }
}

/// What `tt-hub health` says of the certificate.
fn health(folder: &Folder) -> (String, String) {
    let report: Json = serde_json::from_str(&folder.hub(&["health", "--json"]).stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "https").unwrap();
    (check["state"].as_str().unwrap().to_owned(), check["what"].as_str().unwrap().to_owned())
}

#[test]
fn renewed_files_are_taken_over_by_the_running_hub_and_unfit_ones_are_not() {
    let (old, new, clients) = (made("hub.example.com"), made("hub.example.com"), made("operator"));
    let folder = hub(&old, &clients);
    let daemon = folder.serve();
    let http = addresses(&folder)["http"].as_str().unwrap().to_owned();
    let speaks_as = |site: &Made| ask(&http, site, None, "/healthz HTTP/1.1\r\n").is_ok();
    assert!(speaks_as(&old) && !speaks_as(&new));
    let (state, what) = health(&folder);
    assert!(state == "healthy" && what.contains("is good until"), "{what}");

    let write = |name: &str, text: &str| fs::write(folder.data().join("tls").join(name), text).unwrap();
    write("hub.pem", &new.certificate);
    while !daemon.line().contains("the page goes on with the certificate that it had") {}
    assert!(speaks_as(&old), "a certificate whose key is not there changes nothing");
    let (state, what) = health(&folder);
    assert!(state == "warning" && what.contains("cannot be used together"), "{what}");

    write("hub.key", &new.key);
    until("the new certificate", || speaks_as(&new));
    assert!(!speaks_as(&old));
    assert_eq!(health(&folder).0, "healthy");
}

#[test]
fn a_certificate_that_has_ended_is_named() {
    let (mut site, clients) = (made("hub.example.com"), made("operator"));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["hub.example.com".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    (site.certificate, site.key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    let (state, what) = health(&hub(&site, &clients));
    assert!(state == "warning" && what.contains("certificate ended"), "{what}");
}
