//! A stretch of bad wireless: a UDP relay between devices and a hub that can be cut and mended.
//!
//! While it is cut, every packet is lost in both directions and neither side is told, as when a
//! scanner goes behind a shelf. It can cut itself in the middle of a transfer, and follow a hub that
//! moves. Both ends are on loopback.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

/// Largest UDP datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// How often a quiet relay looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);
/// After so many looks without an answer the way back of a device is closed: more than a minute and a half, which no
/// link survives in silence. The next packet opens another.
const LOOKS_MAX: u32 = 500;

/// A running relay; dropping it ends it.
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    hub: RwLock<SocketAddr>,
    cut: AtomicBool,
    ended: AtomicBool,
    moved: AtomicU64,
    /// Bytes towards the hub.
    sent: AtomicU64,
    /// Bytes towards the devices.
    received: AtomicU64,
    /// Sum of both at which it cuts itself.
    cut_at: AtomicU64,
}

impl State {
    /// Counts a datagram. False when it is lost.
    fn carry(&self, counter: &AtomicU64, len: usize) -> bool {
        if self.cut.load(Ordering::SeqCst) {
            return false;
        }
        counter.fetch_add(len as u64, Ordering::SeqCst);
        if self.bytes() >= self.cut_at.load(Ordering::SeqCst) {
            self.cut.store(true, Ordering::SeqCst);
        }
        true
    }

    fn bytes(&self) -> u64 {
        self.sent.load(Ordering::SeqCst) + self.received.load(Ordering::SeqCst)
    }
}

impl Relay {
    /// Starts a relay to `hub` on a free port of loopback.
    ///
    /// # Errors
    /// When the system refuses a socket.
    pub fn start(hub: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        let state = Arc::new(State {
            hub: RwLock::new(hub),
            cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
        });
        let shared = Arc::clone(&state);
        thread::Builder::new().name("relay".into()).spawn(move || forward(&socket, &shared))?;
        Ok(Self { address, state })
    }

    /// Where devices send to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loses everything from now on.
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
    }

    /// Loses everything once so many more bytes were carried, both directions together.
    pub fn cut_after(&self, bytes: u64) {
        self.state.cut_at.store(self.bytes() + bytes, Ordering::SeqCst);
    }

    /// True while it loses everything.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.state.cut.load(Ordering::SeqCst)
    }

    /// Carries packets again.
    pub fn mend(&self) {
        self.state.cut_at.store(u64::MAX, Ordering::SeqCst);
        self.state.cut.store(false, Ordering::SeqCst);
    }

    /// Gives every device a new address, as a change of access point does.
    pub fn move_devices(&self) {
        self.state.moved.fetch_add(1, Ordering::SeqCst);
    }

    /// Leads to a hub that listens somewhere else now.
    pub fn lead_to(&self, hub: SocketAddr) {
        *self.state.hub.write().unwrap_or_else(PoisonError::into_inner) = hub;
        self.move_devices();
    }

    /// Bytes carried so far, both directions, without UDP and IP headers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state.bytes()
    }

    /// Bytes carried so far from devices to the hub.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Bytes carried so far from the hub to devices.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.state.received.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
    }
}

/// From devices to the hub; one upstream socket per device.
fn forward(socket: &UdpSocket, state: &Arc<State>) {
    let mut upstream: HashMap<(SocketAddr, u64), Way> = HashMap::new();
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    // Only a refused timeout could make it wait for ever, and then the process's end ends it.
    let _ = socket.set_read_timeout(Some(LOOK));
    while !state.ended.load(Ordering::SeqCst) {
        let Ok((len, device)) = socket.recv_from(&mut datagram) else {
            continue;
        };
        if !state.carry(&state.sent, len) {
            continue;
        }
        let key = (device, state.moved.load(Ordering::SeqCst));
        if upstream.get(&key).is_none_or(|way| way.closed.load(Ordering::SeqCst)) {
            upstream.retain(|_, way| !way.closed.load(Ordering::SeqCst));
        }
        let up = match upstream.entry(key) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => match open(socket, device, state) {
                Ok(made) => place.insert(made),
                Err(_) => continue,
            },
        };
        // What cannot be sent is lost: it is wireless.
        let _ = up.socket.send(&datagram[..len]);
    }
}

/// A way to the hub for one address of a device, until its thread for the answers gives up.
struct Way {
    socket: UdpSocket,
    closed: Arc<AtomicBool>,
}

/// A socket towards the hub, with a thread that carries the answers back.
fn open(socket: &UdpSocket, device: SocketAddr, state: &Arc<State>) -> io::Result<Way> {
    let up = UdpSocket::bind("127.0.0.1:0")?;
    up.connect(*state.hub.read().unwrap_or_else(PoisonError::into_inner))?;
    up.set_read_timeout(Some(LOOK))?;
    let (down, back, state) = (up.try_clone()?, socket.try_clone()?, Arc::clone(state));
    let closed = Arc::new(AtomicBool::new(false));
    let shut = Arc::clone(&closed);
    thread::Builder::new().name("relay-back".into()).spawn(move || {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        let mut silent = 0;
        while !state.ended.load(Ordering::SeqCst) && silent < LOOKS_MAX {
            let Ok(len) = down.recv(&mut datagram) else {
                silent += 1;
                continue;
            };
            silent = 0;
            if state.carry(&state.received, len) {
                let _ = back.send_to(&datagram[..len], device);
            }
        }
        shut.store(true, Ordering::SeqCst);
    })?;
    Ok(Way { socket: up, closed })
}
