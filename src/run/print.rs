//! Reports as lines of JSON on standard output, for a program that reads them through a pipe.
//!
//! On a thread of its own, behind a queue that gives up its oldest report: a reader that stops reading must not stop the camera.
//! A reader that is gone ends the program, as it does everywhere on Unix.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::protocol::{Envelope, LinkHealth, json};

/// Reports that wait.
const DEPTH: usize = 4;

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
}

#[derive(Debug, Default)]
struct Queue {
    waiting: heapless::Deque<Arc<Envelope>, DEPTH>,
    sent: u64,
    lost: u64,
    bytes: u64,
    closed: bool,
}

impl Printer {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("print".into())
            .spawn(move || own.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues a report. With `wait`, waits for room; else the oldest report is given up.
    pub(super) fn publish(&self, report: &Arc<Envelope>, wait: bool) {
        let mut queue = self
            .shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while wait && queue.waiting.is_full() && !self.gone() {
            let step = Duration::from_millis(100);
            let woken = self.shared.changed.wait_timeout(queue, step);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        if queue.waiting.is_full() {
            queue.waiting.pop_front();
            queue.lost += 1;
        }
        drop(queue.waiting.push_back(Arc::clone(report)));
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Whether the reader is gone, or the output cannot be written.
    pub(super) fn gone(&self) -> bool {
        self.shared.gone.load(Ordering::Relaxed)
    }

    /// How standard output is doing.
    pub(super) fn health(&self) -> LinkHealth {
        let queue = self.shared.queue.lock();
        let queue = queue.unwrap_or_else(PoisonError::into_inner);
        LinkHealth {
            name: "-".into(),
            up: !self.gone(),
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
        let queue = self.shared.queue.lock();
        queue.unwrap_or_else(PoisonError::into_inner).closed = true;
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
        let (mut line, mut out) = (Vec::new(), io::stdout().lock());
        while let Some(report) = self.next() {
            line.clear();
            json::write_report(&report, &mut line);
            line.push(b'\n');
            drop(report);
            if let Err(e) = out.write_all(&line).and_then(|()| out.flush()) {
                if e.kind() != io::ErrorKind::BrokenPipe {
                    log::error!("cannot write reports to standard output: {e}");
                }
                self.gone.store(true, Ordering::Relaxed);
                self.changed.notify_all();
                return;
            }
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.sent += 1;
            queue.bytes += line.len() as u64;
        }
    }

    fn next(&self) -> Option<Arc<Envelope>> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.closed;
        let woken = self.changed.wait_while(queue, idle);
        let report = woken
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            .pop_front();
        self.changed.notify_all();
        report
    }
}
