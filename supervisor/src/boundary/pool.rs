//! The receiving threads: two wait for calls and handle what comes; others take over when these block.
//!
//! Two, because the kernel wakes a receiver that sleeps in RECV on the caller's processor, and wakes both sides of an ADDFD anywhere
//! (kernel/seccomp.c, `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`). A lone receiver comes back from its ADDFD after the caller's next call, so it
//! sleeps in RECV never, and each open wakes two idle processors. While one of two is in its ADDFD, the other sleeps in RECV.
//!
//! Three while descriptors are handed out in a row. Who of caller and receivers took more than its share of a processor stays queued on it when it
//! sleeps, and wakes up there (kernel/sched/fair.c, `DELAY_DEQUEUE`); the others wake up on an idle one. A read takes receivers more than
//! twice what it takes the caller: by three, each takes less, and the caller stays. For all other calls a third only is woken for nothing:
//! a notification wakes all who wait in RECV.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use super::{Boundary, handle};

/// Threads at most: each held approval and each open that waits has one (I8).
const THREADS_MAX: usize = 1024;
/// After this long in one call a thread no longer counts as receiving.
const PATIENCE: Duration = Duration::from_millis(5);
/// Between looks while nothing goes on.
const IDLE: Duration = Duration::from_millis(50);
/// Threads that receive when none waits.
const RECEIVERS: usize = 2;
/// Descriptors handed out in a row after which one more receives, and how far the row has to shrink for that to end.
const ROW: usize = 64;
const ROW_OVER: usize = 16;
/// What any other answer takes off the row: what runs programs, connects or looks for files that are not there is served by two.
const ROW_BROKEN: usize = 8;
/// Threads that stay parked for the next time.
const PARKED_MAX: usize = 4;

/// Who receives.
pub(super) struct Pool {
    /// Threads that are to receive when none waits.
    receivers: usize,
    /// Descriptors handed out in a row, at most 2 × [`ROW`]; several threads count at once, and a lost one does not matter.
    row: AtomicUsize,
    /// Whether one more receives.
    more: AtomicBool,
    /// Threads inside RECV.
    receiving: AtomicUsize,
    /// Threads in all.
    threads: AtomicUsize,
    /// Threads in a call that waits, for however long.
    waiting: AtomicUsize,
    /// Calls received so far.
    calls: AtomicU64,
    parked: Mutex<Parked>,
    wake: Condvar,
}

#[derive(Default)]
struct Parked {
    waiting: usize,
    tokens: usize,
    ended: bool,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self {
            receivers: if crate::faults::off("receivers") { 1 } else { RECEIVERS },
            row: AtomicUsize::new(0),
            more: AtomicBool::new(false),
            receiving: AtomicUsize::new(0),
            threads: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            parked: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Threads that are to receive now.
    fn wanted(&self) -> usize {
        self.receivers + usize::from(self.more.load(Ordering::Relaxed))
    }

    /// A call was answered, by a descriptor or otherwise; true when one more thread is to receive from now on.
    fn answered(&self, by_descriptor: bool) -> bool {
        let before = self.row.load(Ordering::Relaxed);
        let row = if by_descriptor {
            before.saturating_add(1).min(2 * ROW)
        } else {
            before.saturating_sub(ROW_BROKEN)
        };
        if row != before {
            self.row.store(row, Ordering::Relaxed);
        }
        if row >= ROW && self.receivers > 1 {
            return !self.more.load(Ordering::Relaxed) && !self.more.swap(true, Ordering::Relaxed);
        }
        if row < ROW_OVER && self.more.load(Ordering::Relaxed) {
            self.more.store(false, Ordering::Relaxed);
        }
        false
    }

    /// Sees to it that somebody receives, whatever becomes of this thread; to be called before a wait. False when there are too many threads
    /// for another.
    fn hand_over(&self, boundary: &Arc<Boundary>) -> bool {
        self.receiving.load(Ordering::Acquire) > 0 || self.another(boundary)
    }

    /// One receiver more.
    fn another(&self, boundary: &Arc<Boundary>) -> bool {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if parked.waiting > parked.tokens {
            parked.tokens += 1;
            self.wake.notify_one();
            true
        } else {
            self.threads.load(Ordering::Relaxed) < THREADS_MAX && start(boundary).is_ok()
        }
    }

    /// Whether receivers are missing while others wait.
    fn short(&self) -> bool {
        let parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = (parked.waiting - parked.tokens.min(parked.waiting)) + self.waiting.load(Ordering::Relaxed);
        !parked.ended && self.threads.load(Ordering::Relaxed) < idle + self.wanted()
    }

    /// Waits until a receiver is needed; false at the end, or when enough others wait.
    fn park(&self) -> bool {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if parked.waiting >= PARKED_MAX {
            return false;
        }
        parked.waiting += 1;
        while parked.tokens == 0 && !parked.ended {
            parked = self.wake.wait(parked).unwrap_or_else(PoisonError::into_inner);
        }
        parked.waiting -= 1;
        if parked.ended {
            return false;
        }
        parked.tokens -= 1;
        true
    }

    fn end(&self) {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.wake.notify_all();
    }
}

/// Starts receiving; the watch sees to it that a thread which blocks is replaced. Ends by itself when the tree has ended.
/// An error when there are no threads to be had: nobody would answer, or the first call that blocks would hold all others.
pub fn serve(boundary: &Arc<Boundary>) -> std::io::Result<()> {
    for _ in 0..boundary.pool.receivers {
        start(boundary)?;
    }
    let watched = boundary.clone();
    std::thread::Builder::new()
        .name("watch".into())
        .stack_size(128 * 1024)
        .spawn(move || {
            let mut seen = 0;
            loop {
                let pool = &watched.pool;
                let calls = pool.calls.load(Ordering::Relaxed);
                let busy = pool.receiving.load(Ordering::Acquire) == 0;
                if busy && calls == seen && !pool.hand_over(&watched) {
                    tracing::warn!("all threads wait: calls are answered when one of them is done");
                }
                if pool.short() {
                    pool.another(&watched);
                }
                if pool.parked.lock().unwrap_or_else(PoisonError::into_inner).ended {
                    break;
                }
                std::thread::sleep(if busy || calls != seen { PATIENCE } else { IDLE });
                seen = calls;
            }
        })
        .map(drop)
}

fn start(boundary: &Arc<Boundary>) -> std::io::Result<()> {
    let shared = boundary.clone();
    shared.pool.threads.fetch_add(1, Ordering::Relaxed);
    let started = std::thread::Builder::new()
        .name("receiver".into())
        .stack_size(512 * 1024)
        .spawn(move || {
            receive(&shared);
            shared.pool.threads.fetch_sub(1, Ordering::Relaxed);
        });
    if started.is_err() {
        boundary.pool.threads.fetch_sub(1, Ordering::Relaxed);
    }
    started.map(drop)
}

fn receive(boundary: &Arc<Boundary>) {
    // Files are created under the caller's umask, which is then this thread's alone.
    if let Err(errno) = crate::sys::process::own_fs() {
        tracing::error!(%errno, "a receiver could not get a file system context of its own");
        return;
    }
    crate::evidence::quiet_thread();
    BLOCKS.with(|slot| *slot.borrow_mut() = Some(boundary.clone()));
    let pool = &boundary.pool;
    loop {
        pool.receiving.fetch_add(1, Ordering::AcqRel);
        let received = boundary.listener.receive();
        pool.receiving.fetch_sub(1, Ordering::AcqRel);
        match received {
            Ok(notification) => {
                pool.calls.fetch_add(1, Ordering::Relaxed);
                let by_descriptor = handle(boundary, notification);
                if WAITS.take() {
                    pool.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                if pool.answered(by_descriptor) {
                    pool.another(boundary);
                }
            }
            // A caller that died before it was received; or the end of the tree, which the poll below tells.
            Err(Errno::ENOENT | Errno::EINTR) => {
                if boundary.listener.ended() {
                    pool.end();
                    return;
                }
            }
            Err(errno) => {
                tracing::error!(%errno, "receiving failed");
                pool.end();
                return;
            }
        }
        if pool.receiving.load(Ordering::Acquire) >= pool.wanted() && !pool.park() {
            return;
        }
    }
}

thread_local! {
    static BLOCKS: std::cell::RefCell<Option<Arc<Boundary>>> = const { std::cell::RefCell::new(None) };
    /// Whether the call that this thread handles has said that it waits.
    static WAITS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Before a wait of unknown length: another thread receives meanwhile. ENFILE when there is none: a tree that fills all threads with waits must
/// not stop the calls of its others (I7).
pub(super) fn about_to_block() -> Result<(), Errno> {
    BLOCKS.with(|slot| match slot.borrow().as_ref() {
        Some(boundary) => {
            if !WAITS.replace(true) {
                boundary.pool.waiting.fetch_add(1, Ordering::Relaxed);
            }
            if boundary.pool.hand_over(boundary) {
                Ok(())
            } else {
                Err(Errno::ENFILE)
            }
        }
        None => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::{Pool, ROW, ROW_BROKEN, ROW_OVER};

    #[test]
    fn a_third_receives_while_descriptors_are_handed_out_in_a_row() {
        let pool = Pool::new();
        let answer = |by_descriptor, times| (0..times).filter(|_| pool.answered(by_descriptor)).count();
        assert_eq!((answer(true, ROW - 1), pool.wanted()), (0, 2));
        assert_eq!((answer(true, 1), pool.wanted()), (1, 3));
        assert_eq!((answer(true, 10 * ROW), pool.wanted()), (0, 3));
        // The row is bounded, so few other answers end it.
        let few = (2 * ROW - ROW_OVER) / ROW_BROKEN + 1;
        assert_eq!((answer(false, few), pool.wanted()), (0, 2));
        // One other answer in eight: no row.
        for _ in 0..10 * ROW {
            assert_eq!(
                (answer(true, ROW_BROKEN - 1), answer(false, 1), pool.wanted()),
                (0, 0, 2)
            );
        }
    }
}
