//! Work that nobody waits for gives way to what stations wait for.

use std::thread;

/// Nine times less than others get of a processor that several want, and all of one that is idle (`sched(7)`).
const NICE: i32 = 10;

/// From here on this thread, and each one that it starts, gives way to others. For good: only a superuser may take it
/// back.
pub(crate) fn give_way() {
    // Where the system does not allow it, the work is done all the same.
    let _ = rustix::process::nice(NICE);
}

/// Does the work on a thread of its own, which gives way. None: it died.
pub(crate) fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let gives_way = move || {
            give_way();
            work()
        };
        scope.spawn(gives_way).join().ok()
    })
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::nice(0).unwrap()
    }

    #[test]
    fn only_the_thread_that_does_the_work_and_those_that_it_starts_give_way() {
        let before = niceness();
        let inside = on_own_thread(|| (niceness(), thread::spawn(niceness).join().unwrap())).unwrap();
        assert_eq!(inside, ((before + NICE).min(19), (before + NICE).min(19)));
        assert_eq!(niceness(), before);
    }
}
