//! A UDP relay between a device and the hub, for one device at a time.
//!
//! It stands for the network: it can begin to send to the hub from another address, as when a device
//! changes from one wireless network to another, and it can swallow all that the hub answers.

use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    upstream: watch::Sender<Arc<UdpSocket>>,
    hub: SocketAddr,
    packets: watch::Receiver<usize>,
    tasks: [JoinHandle<()>; 2],
}

impl Relay {
    pub(crate) async fn to(hub: SocketAddr, swallow_answers: bool) -> Self {
        let down = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = down.local_addr().unwrap();
        let (upstream, seen) = watch::channel(connected(hub).await);
        let (device, device_seen) = watch::channel(None);
        let (count, packets) = watch::channel(0);
        let tasks = [
            tokio::spawn(forward(Arc::clone(&down), device, seen.clone(), count)),
            tokio::spawn(backward(down, device_seen, seen, swallow_answers)),
        ];
        Self { address, upstream, hub, packets, tasks }
    }

    /// From now on the hub sees another address. Gives it.
    pub(crate) async fn move_on(&self) -> SocketAddr {
        let socket = connected(self.hub).await;
        let address = socket.local_addr().unwrap();
        self.upstream.send_replace(socket);
        address
    }

    /// From now on the device's packets go to another hub.
    pub(crate) async fn move_to(&self, hub: SocketAddr) {
        self.upstream.send_replace(connected(hub).await);
    }

    /// Waits until so many packets went to the hub.
    pub(crate) async fn forwarded(&self, packets: usize) {
        self.packets.clone().wait_for(|seen| *seen >= packets).await.unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn connected(hub: SocketAddr) -> Arc<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(hub).await.unwrap();
    Arc::new(socket)
}

async fn forward(
    down: Arc<UdpSocket>,
    device: watch::Sender<Option<SocketAddr>>,
    upstream: watch::Receiver<Arc<UdpSocket>>,
    count: watch::Sender<usize>,
) {
    let mut packet = vec![0; 65_536];
    loop {
        let (bytes, from) = down.recv_from(&mut packet).await.unwrap();
        device.send_replace(Some(from));
        let socket = Arc::clone(&upstream.borrow());
        // A lost packet is what networks do.
        let _ = socket.send(&packet[..bytes]).await;
        count.send_modify(|packets| *packets += 1);
    }
}

async fn backward(
    down: Arc<UdpSocket>,
    device: watch::Receiver<Option<SocketAddr>>,
    mut upstream: watch::Receiver<Arc<UdpSocket>>,
    swallow: bool,
) {
    let mut packet = vec![0; 65_536];
    loop {
        let socket = Arc::clone(&upstream.borrow_and_update());
        let received = tokio::select! {
            received = socket.recv(&mut packet) => received,
            _ = upstream.changed() => continue,
        };
        let to = *device.borrow();
        if let (Ok(bytes), Some(to), false) = (received, to, swallow) {
            let _ = down.send_to(&packet[..bytes], to).await;
        }
    }
}
