//! What the service manager hears, where there is one: ready, alive, stopping.
//!
//! Alive means that events are carried at all. A thread that is busy for long (a migration, a restore) must not be
//! killed for it, and one that dies ends the process anyway.

use sd_notify::NotifyState;

/// Events come in: a unit of `Type=notify` has started.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Answers the watchdog, if the unit has one; never ends.
pub(super) async fn keep_alive() {
    let Some(within) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(within / 3).await;
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager does not hear");
    }
}
