//! TLS of the HTTP server: a certificate and its key from files, and, if the operator wants it, an authority whose
//! clients need no token.
//!
//! * TLS 1.2 and 1.3, the cryptography of `ring` named explicitly.
//! * A client without a certificate gets in and needs the token; one with a certificate of another authority does not
//!   get in at all.
//! * Here files are read once; `renewal` reads them again when they are replaced.

use crate::config::HttpTls;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore, ServerConfig};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

/// A moment that comes after every certificate's: the end of the year 9999 and one second.
const FAR: u64 = 253_402_300_800;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read, or is something else.
    #[error("[http_tls] of hub.toml: {path} holds no {what} in PEM form: {problem}", path = .path.display())]
    File { what: &'static str, path: PathBuf, problem: String },
    /// They do not belong together.
    #[error("[http_tls] of hub.toml: certificate and key cannot be used together: {0}")]
    Pair(rustls::Error),
    /// The authority of clients cannot be one.
    #[error("[http_tls] of hub.toml: {path} cannot judge clients: {problem}", path = .path.display())]
    Clients { path: PathBuf, problem: String },
}

/// What takes connections in, made of what the files hold now. Paths are those in the settings, relative ones from the
/// hub's folder.
pub(super) fn acceptor(folder: &Path, settings: &HttpTls) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(folder.join(&settings.certificate))?;
    let path = folder.join(&settings.key);
    let key = PrivateKeyDer::from_pem_file(&path).map_err(|error| TlsError::File {
        what: "private key",
        path,
        problem: error.to_string(),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let path = folder.join(file);
            let unfit = |problem: String| TlsError::Clients { path: path.clone(), problem };
            let mut roots = RootCertStore::empty();
            for root in certificates(path.clone())? {
                roots.add(root).map_err(|error| unfit(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unfit(error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// When the certificate begins and ends, in seconds since 1970, if it says so.
///
/// There is no reader of certificates here but the one that judges them: asked at a moment that lies outside of any
/// certificate's time, it tells what that time is.
pub(crate) fn life(folder: &Path, settings: &HttpTls) -> Result<Option<(i64, i64)>, TlsError> {
    let chain = certificates(folder.join(&settings.certificate))?;
    let Some(own) = chain.first() else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    roots.add(own.clone()).map_err(TlsError::Pair)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let Ok(judge) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() else {
        return Ok(None);
    };
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let at = |seconds| {
        let moment = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        match judge.verify_server_cert(own, &[], &name, &[], moment) {
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before: bound,
                ..
            }))
            | Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after: bound,
                ..
            })) => i64::try_from(bound.as_secs()).ok(),
            _ => None,
        }
    };
    Ok(at(0).zip(at(FAR)))
}

/// At least one certificate.
fn certificates(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let problem = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => "it is empty".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(TlsError::File { what: "certificate", path, problem })
}
