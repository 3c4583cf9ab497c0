//! The links of the running hub: one task per device reads, another writes, and snapshots have their own.
//!
//! Nothing is decided here. Frames become events for the writer in the order in which they came, and a
//! device that sends faster than the hub merges waits in QUIC's own flow control.

use super::event::{Event, FRAMES_MAX, Goodbye, Newcomer, Outlet, Shared};
use super::snapshots::Snapshots;
use crate::engine::LinkId;
use crate::link::{Arrival, FrameReceiver, FrameSender, LinkError, Listener, refuse, serve_enrolment};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tt_protocol::enrol::EnrolReply;
use tt_protocol::frame::{EdgeFrame, HubFrame, from_bytes, to_bytes};
use tt_protocol::link::{CLOSE_STOPPING, close_reason};
use tt_protocol::number::EdgeId;

/// How long the last frames of a link that is closed may take to arrive. A revoked device is cut off
/// after this, whatever it does.
const LAST_FRAMES_DEADLINE: Duration = Duration::from_millis(500);

/// Takes in all that arrives, until the listener is closed.
pub(super) async fn accept(listener: &mut Listener, shared: &Arc<Shared>, snapshots: &Arc<Snapshots>) {
    let mut last: LinkId = 0;
    while let Some(arrival) = listener.accept().await {
        match arrival {
            Arrival::Joining(connection) => {
                tokio::spawn(enrol(connection, Arc::clone(shared)));
            }
            Arrival::Device { cert_sha256, connection } => {
                last += 1;
                let link = Link {
                    id: last,
                    connection,
                    shared: Arc::clone(shared),
                    snapshots: Arc::clone(snapshots),
                };
                tokio::spawn(link.serve(cert_sha256));
            }
        }
    }
}

async fn enrol(connection: Connection, shared: Arc<Shared>) {
    let from = connection.remote_address();
    let decide = async |request| {
        let (answer, decision) = oneshot::channel();
        // When the writer is gone, so is the answer's sender.
        let _ = shared.events.send(Event::Enrol(Box::new(request), answer)).await;
        decision.await.unwrap_or_else(|_| EnrolReply::Refused {
            reason: "the hub is stopping; try again in a moment".into(),
        })
    };
    if let Err(error) = serve_enrolment(connection, decide).await {
        tracing::info!(%from, %error, "an enrolment was broken off");
    }
}

/// One connection of a device.
struct Link {
    id: LinkId,
    connection: Connection,
    shared: Arc<Shared>,
    snapshots: Arc<Snapshots>,
}

impl Link {
    async fn serve(self, cert_sha256: [u8; 32]) {
        let (frames, queue) = mpsc::channel(FRAMES_MAX);
        let (close, closing) = oneshot::channel();
        let (answer, decision) = oneshot::channel();
        let newcomer = Newcomer {
            link: self.id,
            cert_sha256,
            address: self.connection.remote_address(),
            outlet: Outlet { frames, close },
            answer,
        };
        // When the writer is gone, so is the answer's sender.
        let _ = self.shared.events.send(Event::Up(Box::new(newcomer))).await;
        match decision.await {
            Ok(Ok(edge)) => {
                self.carry(edge, queue, closing).await;
                // A writer that is gone has no links.
                let _ = self.shared.events.send(Event::Down(self.id)).await;
            }
            Ok(Err(goodbye)) => say(&self.connection, &goodbye),
            Err(_) => say(&self.connection, &stopping()),
        }
    }

    async fn carry(
        &self,
        edge: EdgeId,
        queue: mpsc::Receiver<HubFrame>,
        mut closing: oneshot::Receiver<Goodbye>,
    ) {
        let stream = tokio::select! {
            stream = self.connection.accept_bi() => stream,
            goodbye = &mut closing => return say(&self.connection, &goodbye.unwrap_or_else(|_| stopping())),
        };
        let Ok((send, receive)) = stream else { return };
        let sending = tokio::spawn(send_frames(send, queue, edge, Arc::clone(&self.shared)));
        tokio::select! {
            () = self.read_frames(edge, receive) => {}
            () = self.serve_snapshots(edge) => {}
            goodbye = closing => {
                let abort = sending.abort_handle();
                last_frames(sending).await;
                abort.abort();
                return say(&self.connection, &goodbye.unwrap_or_else(|_| stopping()));
            }
        }
        sending.abort();
    }

    /// Hands frames to the writer until the link is over.
    async fn read_frames(&self, edge: EdgeId, receive: RecvStream) {
        let mut receiver = FrameReceiver::new(receive);
        loop {
            let error = match receiver.recv().await {
                Ok(Some(bytes)) => match from_bytes::<EdgeFrame>(&bytes) {
                    Ok(frame) => {
                        self.shared.traffic.received(edge, bytes.len());
                        if self.shared.events.send(Event::Frame(self.id, frame)).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    Err(error) => LinkError::from(error),
                },
                // It has no more to say, but may still fetch a snapshot.
                Ok(None) => self.connection.closed().await.into(),
                Err(error) => error,
            };
            match error {
                LinkError::Closed(_) | LinkError::Lost(_) => {
                    tracing::info!(device = %edge, %error, "unlinked")
                }
                error => {
                    tracing::warn!(device = %edge, %error, "a device sent what is no frame");
                    refuse(&self.connection, &error.to_string());
                }
            }
            return;
        }
    }

    /// Serves snapshots until the connection is gone.
    async fn serve_snapshots(&self, edge: EdgeId) {
        while let Ok(stream) = self.connection.accept_bi().await {
            let snapshots = Arc::clone(&self.snapshots);
            tokio::spawn(async move { snapshots.serve(edge, stream).await });
        }
        std::future::pending().await
    }
}

async fn send_frames(
    send: SendStream,
    mut queue: mpsc::Receiver<HubFrame>,
    edge: EdgeId,
    shared: Arc<Shared>,
) -> Option<SendStream> {
    let mut sender = FrameSender::new(send);
    while let Some(frame) = queue.recv().await {
        // The reading side hears of a lost link, too, and ends it.
        let bytes = to_bytes(&frame);
        sender.send(&bytes).await.ok()?;
        shared.traffic.sent(edge, bytes.len());
    }
    sender.finish();
    Some(sender.into_stream())
}

/// Waits a moment until the device has the last frames, so that closing does not overtake them.
async fn last_frames(sending: JoinHandle<Option<SendStream>>) {
    let taken = async {
        if let Ok(Some(stream)) = sending.await {
            let _ = stream.stopped().await;
        }
    };
    // A device that does not take them is told the reason by the closing packet.
    let _ = timeout(LAST_FRAMES_DEADLINE, taken).await;
}

fn stopping() -> Goodbye {
    Goodbye::Later("the hub is stopping".into())
}

fn say(connection: &Connection, goodbye: &Goodbye) {
    match goodbye {
        Goodbye::Refused(reason) => refuse(connection, reason),
        Goodbye::Later(reason) => connection.close(VarInt::from_u32(CLOSE_STOPPING), close_reason(reason)),
    }
}
