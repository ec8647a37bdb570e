//! Reports, and what appears and goes, as lines of JSON on standard output, for a program that reads
//! them through a pipe. What the program says of itself is in the log, which a terminal shows beside
//! them; so a recording gives the same lines again.
//!
//! On a thread of its own, behind a queue that gives up its oldest report: a reader that stops
//! reading must not stop the camera. Of events, which are told once, many more may wait. A reader that is gone ends the program, as it does everywhere
//! on Unix. An output that takes nothing for another reason, such as a full disk, is tried again
//! every second; what was made meanwhile is lost and counted. A line that was cut is ended with a
//! line feed before the next, so that one line is damaged and not two.

use std::{
    collections::VecDeque,
    io,
    os::fd::BorrowedFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    protocol::{LinkHealth, Outgoing, json},
    supervise::{self, Watch},
};

/// Between two attempts at an output that takes nothing.
const RETRY: Duration = Duration::from_secs(1);

/// Reports that wait at most.
const MAX_REPORTS: usize = 4;

/// Events that wait at most: those of four frames in which as much changes as one may tell.
const MAX_EVENTS: usize = 64;

/// The printing thread. Dropping it prints what waits, for at most a second.
#[derive(Debug)]
pub(super) struct Printer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    gone: AtomicBool,
    /// Why the output takes nothing at the moment.
    trouble: Mutex<Option<String>>,
    watch: Watch,
}

#[derive(Debug, Default)]
struct Queue {
    /// Reports and events, in order.
    waiting: VecDeque<Outgoing>,
    sent: u64,
    lost: u64,
    bytes: u64,
    closed: bool,
}

impl Queue {
    /// Whether there is no room for one more of this kind.
    fn is_full_for(&self, message: &Outgoing) -> bool {
        let most = match message {
            Outgoing::Report(_) => MAX_REPORTS,
            _ => MAX_EVENTS,
        };
        let alike = self.waiting.iter().filter(|one| are_alike(one, message));
        alike.count() >= most
    }

    /// Gives up the oldest of this kind.
    fn give_up_one_like(&mut self, message: &Outgoing) {
        let oldest = self.waiting.iter().position(|one| are_alike(one, message));
        if let Some(oldest) = oldest {
            self.waiting.remove(oldest);
            self.lost += 1;
        }
    }
}

/// Whether both are reports, or both are not.
fn are_alike(one: &Outgoing, other: &Outgoing) -> bool {
    matches!(one, Outgoing::Report(_)) == matches!(other, Outgoing::Report(_))
}

impl Printer {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        // all that it can hold: nothing is allocated for a frame
        shared.queue().waiting.reserve(MAX_REPORTS + MAX_EVENTS);
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("print".into())
            .spawn(move || supervise::keep(&own.watch, || own.closed(), || own.run()))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues a report or an event. With `wait`, waits for room; else the oldest of its kind is given up.
    pub(super) fn publish(&self, message: &Outgoing, wait: bool) {
        let mut queue = self.shared.queue();
        while wait && queue.is_full_for(message) && !self.gone() && self.trouble().is_none() {
            let step = Duration::from_millis(100);
            let woken = self.shared.changed.wait_timeout(queue, step);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        if queue.is_full_for(message) {
            queue.give_up_one_like(message);
        }
        queue.waiting.push_back(message.clone());
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Whether the reader is gone.
    pub(super) fn gone(&self) -> bool {
        self.shared.gone.load(Ordering::Relaxed)
    }

    /// Why the output takes nothing at the moment, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.shared.trouble().clone()
    }

    /// What the thread panicked of since the last call.
    pub(super) fn panicked(&self) -> Option<String> {
        self.shared.watch.take()
    }

    /// Whether the output takes what is written.
    pub(super) fn is_up(&self) -> bool {
        !self.gone() && self.shared.trouble().is_none()
    }

    /// How standard output is doing.
    pub(super) fn health(&self) -> LinkHealth {
        let queue = self.shared.queue();
        LinkHealth {
            name: "-".into(),
            up: self.is_up(),
            clients: 1,
            sent: queue.sent,
            lost: queue.lost,
            bytes: queue.bytes,
            ..LinkHealth::default()
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.changed.notify_all();
        let end = Instant::now() + Duration::from_secs(1);
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn run(&self) {
        let (mut line, mut torn) = (Vec::new(), false);
        while let Some(message) = self.next() {
            supervise::trap("print");
            line.clear();
            if torn {
                line.push(b'\n');
            }
            match &message {
                Outgoing::Report(report) => json::write_report(&**report, &mut line),
                Outgoing::Event(event) => json::write_event(event, &mut line),
                // nobody gives commands here
                Outgoing::Reply(_) => continue,
            }
            line.push(b'\n');
            drop(message);
            match write(rustix::stdio::stdout(), &line) {
                Ok(()) => {
                    torn = false;
                    *self.trouble() = None;
                    let mut queue = self.queue();
                    queue.sent += 1;
                    queue.bytes += line.len() as u64;
                }
                Err((_, Errno::PIPE)) => {
                    self.gone.store(true, Ordering::Relaxed);
                    self.changed.notify_all();
                    return;
                }
                Err((written, e)) => {
                    torn |= written > 0;
                    self.queue().lost += 1;
                    *self.trouble() = Some(io::Error::from(e).to_string());
                    self.changed.notify_all();
                    let idle = |queue: &mut Queue| !queue.closed;
                    let woken = self.changed.wait_timeout_while(self.queue(), RETRY, idle);
                    drop(woken);
                }
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> bool {
        self.queue().closed
    }

    fn next(&self) -> Option<Outgoing> {
        let queue = self.queue();
        let idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.closed;
        let woken = self.changed.wait_while(queue, idle);
        let message = woken
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            .pop_front();
        self.changed.notify_all();
        message
    }
}

/// Writes all bytes, or says how many it wrote and why not more. Not through the standard library's
/// output: that keeps what it could not write, and sends it later in the middle of something else.
fn write(out: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), (usize, Errno)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match rustix::io::write(out, rest) {
            Ok(0) => return Err((written, Errno::IO)),
            Ok(n) => written += n,
            Err(Errno::INTR) => {}
            // somebody made it so that it does not wait
            Err(Errno::AGAIN) => {
                let second = Timespec {
                    tv_sec: 1,
                    tv_nsec: 0,
                };
                let mut fds = [PollFd::new(&out, PollFlags::OUT)];
                // that it was interrupted is as good as that time is over
                let _ = poll(&mut fds, Some(&second));
            }
            Err(e) => return Err((written, e)),
        }
    }
    Ok(())
}
