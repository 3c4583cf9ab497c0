//! Somebody else sends bytes to the hub's ports.

use crate::soak::site::Site;
use anyhow::Context as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

/// Datagrams and lines at a time.
const SENT: u64 = 200;

pub(super) fn garbage(site: &mut Site) -> anyhow::Result<String> {
    let address = site.addresses()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for _ in 0..SENT {
        let bytes = noise(site, 1_400);
        // What is not taken is as good.
        let _ = socket.send_to(&bytes, address["quic"].as_str().context("a port for links")?);
    }
    for _ in 0..8 {
        let Ok(mut stream) = TcpStream::connect(address["http"].as_str().context("a port for pages")?) else {
            continue;
        };
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut bytes = noise(site, 4_000);
        if site.random.once_in(2) {
            bytes.splice(0..0, *b"POST /api/conflicts/1 HTTP/1.1\r\nHost: localhost\r\n");
        }
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0; 1_024]);
    }
    site.hub_must(&["status"])?;
    Ok("garbage was sent to the hub's ports".to_owned())
}

fn noise(site: &mut Site, most: u64) -> Vec<u8> {
    let len = site.random.below(most);
    (0..len).map(|_| site.random.next().to_le_bytes()[0]).collect()
}
