//! The timers of the link: each wakes the process once, when it is due.
//!
//! The runtime keeps its timers in a wheel. It looks at a far one up to three times before it is due, and wakes at the
//! old time of one that was put off; QUIC puts its timers off with every packet. On a link that only keeps itself alive
//! that would be most of what wakes the device, so these are timers of the kernel.

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// As the runtime, with [`Alarm`]s for timers.
#[derive(Debug)]
pub(super) struct Alarms;

impl Runtime for Alarms {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        // Without a descriptor left, the link wakes more often and lives.
        Alarm::new(at).map_or_else(|_| TokioRuntime.new_timer(at), |alarm| Box::pin(alarm))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// A timer of the kernel that can be waited for.
#[derive(Debug)]
struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    fn new(at: Instant) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "unsound for types that give another descriptor each time; this one owns its own"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        let alarm = Self(timer);
        alarm.arm(at)?;
        Ok(alarm)
    }

    fn arm(&self, at: Instant) -> io::Result<()> {
        // Zero would mean never.
        let left = at.saturating_duration_since(TokioRuntime.now()).max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

impl AsyncTimer for Alarm {
    fn reset(self: Pin<&mut Self>, at: Instant) {
        self.arm(at).expect("the kernel takes any time for a timer that is open");
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // The only error is that of a runtime that ends.
            let Ok(mut due) = ready!(self.0.poll_read_ready(cx)) else { return Poll::Ready(()) };
            match read(due.get_inner(), &mut [0; 8]) {
                Err(Errno::AGAIN) => due.clear_ready(),
                Err(Errno::INTR) => {}
                _ => {
                    due.clear_ready();
                    return Poll::Ready(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    /// Far enough that no test waits for it.
    const FAR: Duration = Duration::from_secs(3_600);

    fn run(work: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    }

    fn is_due(alarm: &mut Alarm) -> impl Future<Output = bool> {
        poll_fn(|cx| Poll::Ready(Pin::new(&mut *alarm).poll(cx).is_ready()))
    }

    #[test]
    fn an_alarm_rings_once_and_again_after_it_was_set() {
        run(async {
            let mut alarm = Alarm::new(TokioRuntime.now()).unwrap();
            poll_fn(|cx| Pin::new(&mut alarm).poll(cx)).await;
            assert!(!is_due(&mut alarm).await, "once");
            let soon = TokioRuntime.now() + Duration::from_millis(5);
            Pin::new(&mut alarm).reset(soon);
            poll_fn(|cx| Pin::new(&mut alarm).poll(cx)).await;
            assert!(TokioRuntime.now() >= soon, "not before");
        });
    }

    #[test]
    fn an_alarm_that_is_put_off_does_not_ring_at_its_old_time() {
        run(async {
            let mut alarm = Alarm::new(TokioRuntime.now()).unwrap();
            Pin::new(&mut alarm).reset(TokioRuntime.now() + FAR);
            assert!(!is_due(&mut alarm).await);
            Pin::new(&mut alarm).reset(TokioRuntime.now());
            poll_fn(|cx| Pin::new(&mut alarm).poll(cx)).await;
        });
    }
}
