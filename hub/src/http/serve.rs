//! Accepts connections, and bounds their number, their heads and their patience.

use super::{Renewal, Web, events, routes};
use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

const CONNECTIONS_MAX: usize = 128;
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a request's head may take to come, and an idle connection stays.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long a reader may take nothing of what waits for it.
const STALL: Duration = Duration::from_secs(20);
/// A pause after the system refused a connection (too many open files).
const PAUSE: Duration = Duration::from_millis(100);

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Who asks has shown a certificate that the settings trust.
#[derive(Clone, Copy)]
pub(super) struct Certified;

/// Serves until the daemon ends, over TLS if there is a certificate: for each connection the newest one.
pub(crate) async fn serve(web: Arc<Web>, listener: TcpListener, renewal: Option<Renewal>) {
    events::begin(&web);
    let newest = renewal.map(Renewal::follow);
    let router = routes::router(&web);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let router = router.clone().layer(Extension(Peer(peer)));
                let (stream, tls) = (
                    Patient { stream, stalled: None },
                    newest.as_ref().map(|newest| newest.borrow().clone()),
                );
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => carry_in_secret(stream, router, &tls).await,
                        None => carry(stream, router).await,
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an HTTP client did not get in");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn carry_in_secret(stream: Patient, router: Router, tls: &TlsAcceptor) {
    // Whoever does not come to an end of it in time, or speaks no TLS, asks again.
    let Ok(Ok(stream)) = timeout(HEAD_DEADLINE, tls.accept(stream)).await else { return };
    let is_certified = stream.get_ref().1.peer_certificates().is_some();
    carry(stream, if is_certified { router.layer(Extension(Certified)) } else { router }).await;
}

async fn carry(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(HEAD_BYTES_MAX);
    let io = TokioIo::new(stream);
    // Whoever breaks off or is too slow asks again.
    let _ = http.serve_connection(io, TowerToHyperService::new(router)).await;
}

/// A stream whose reader must take what waits for it in time, or is let go of.
struct Patient {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL)));
        ready!(stalled.as_mut().poll(cx));
        stalled.as_mut().reset(Instant::now() + STALL);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.stream).poll_write(cx, bytes);
        self.watch(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = pin!(&mut self.stream).poll_flush(cx);
        self.watch(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_shutdown(cx)
    }
}
