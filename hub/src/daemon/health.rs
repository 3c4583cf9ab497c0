//! `GET /healthz` for supervisors and load balancers: 200 while the hub can write, 503 with the reason
//! while it cannot.
//!
//! HTTP/1.1 by hand, because this is all of it: one request, one answer, then the connection closes.
//! Requests are bounded in size, number and time.

use super::event::Shared;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

const REQUEST_BYTES_MAX: usize = 8 * 1024;
const CONNECTIONS_MAX: usize = 32;
const DEADLINE: Duration = Duration::from_secs(5);
/// A pause after the system refused a connection (too many open files).
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Health {
    shared: Arc<Shared>,
}

impl Health {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) async fn serve(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let shared = Arc::clone(&self.shared);
                    tokio::spawn(async move {
                        // Whoever breaks off or is too slow asks again.
                        let _ = timeout(DEADLINE, answer(stream, &shared)).await;
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
}

async fn answer(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    let line = head.lines().next().unwrap_or_default();
    let (status, body) = respond(line, shared.failing());
    let length = body.len();
    let body = if line.starts_with("HEAD ") { "" } else { &body };
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads up to the empty line that ends a request's head.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < REQUEST_BYTES_MAX {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        head.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn respond(line: &str, failing: Option<String>) -> (&'static str, String) {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    match (method, path, failing) {
        ("GET" | "HEAD", "/healthz", None) => ("200 OK", "ok\n".into()),
        ("GET" | "HEAD", "/healthz", Some(reason)) => ("503 Service Unavailable", format!("{reason}\n")),
        ("GET" | "HEAD", ..) => ("404 Not Found", "there is only /healthz here\n".into()),
        _ => ("405 Method Not Allowed", "GET is all that can be done here\n".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_has_one_page() {
        assert_eq!(respond("GET /healthz HTTP/1.1", None), ("200 OK", "ok\n".into()));
        let full = respond("GET /healthz?x HTTP/1.1", Some("disk full".into()));
        assert_eq!(full, ("503 Service Unavailable", "disk full\n".into()));
        assert!(respond("GET / HTTP/1.1", None).0.starts_with("404"));
        assert!(respond("POST /healthz HTTP/1.1", None).0.starts_with("405"));
        assert!(respond("", None).0.starts_with("405"));
    }

    #[tokio::test]
    async fn a_head_is_bounded() {
        let endless = vec![b'x'; 10 * REQUEST_BYTES_MAX];
        let head = read_head(&mut endless.as_slice()).await.unwrap();
        assert!(head.len() <= REQUEST_BYTES_MAX + 1024);
        let mut request = &b"GET / HTTP/1.1\r\n\r\nrest"[..];
        assert!(read_head(&mut request).await.unwrap().starts_with("GET / "));
    }
}
