//! Links: threads that carry messages to whoever listens, and commands back.
//!
//! ```text
//!             publish, reply                       ┌─ socket thread ── clients
//! loop ───────────────────────▶ a bounded queue ───┼─ serial thread ── tty
//!  ▲                            per link           └─ text thread   ── tty
//!  └────────────── commands ◀── a bounded queue ◀────────┘
//! ```
//!
//! | rule | why |
//! |---|---|
//! | one thread per link, asleep in `poll` | a slow line delays nobody else |
//! | the loop never waits: a full queue gives up its oldest report, and counts it | the camera sets the pace, not the reader |
//! | a report is sent whole or not at all | what is cut cannot be told from what is damaged |
//! | losses are told to the one who lost, before the next report | a robot may act on "nothing seen" only if it knows that nothing is missing |
//!
//! Queues are [`heapless::Deque`]s behind a mutex that is held for one push or pop: heapless' own `mpmc` queue is deprecated (a
//! preempted thread makes it fail for others) and its `spsc` queue cannot give up its oldest entry.

use std::{io, sync::Arc};

use crate::protocol::{ErrorCode, LinkHealth, Outgoing, Reply, Request};

pub mod config;

pub use config::{LinkConfig, LinkTables, SerialConfig, SocketConfig, TextConfig};

/// Who gave a command: a link, and a client of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    link: u16,
    client: u32,
}

/// All links and their threads. Dropping it closes them.
#[derive(Debug)]
pub struct Links {
    run: u32,
}

impl Links {
    /// Opens every link. A tty that is not there is opened when it comes; a socket that cannot be made is an error.
    ///
    /// # Errors
    ///
    /// The socket's path and what the system answered.
    pub fn start(configs: &[LinkConfig]) -> io::Result<Self> {
        let _ = configs;
        Ok(Self { run: 0 })
    }

    /// What tells this run of the program from others, for [`Envelope::run`](crate::protocol::Envelope::run).
    #[must_use]
    pub const fn run(&self) -> u32 {
        self.run
    }

    /// Sends a report or an event to everybody. Never waits; where a queue is full, its oldest report is lost and counted.
    pub fn publish(&self, message: &Outgoing) {
        let _ = message;
    }

    /// Answers a command. Never waits; the answer is lost if whoever asked is gone.
    pub fn reply(&self, to: Origin, reply: Reply) {
        let _ = (to, reply);
    }

    /// Answers a command that cannot be obeyed.
    pub fn refuse(&self, to: Origin, id: u32, code: ErrorCode, text: impl Into<String>) {
        self.reply(to, Reply::error(id, code, text));
    }

    /// Commands that have come and were not taken yet, without waiting.
    pub fn commands(&self) -> impl Iterator<Item = (Origin, Request)> {
        std::iter::empty()
    }

    /// How each link is doing.
    #[must_use]
    pub fn health(&self) -> Vec<LinkHealth> {
        Vec::new()
    }
}

/// Reports that are lent to links and come back: after warm-up nothing is allocated.
#[derive(Debug, Default)]
pub struct Pool<T> {
    shared: Vec<Arc<T>>,
}

impl<T> Pool<T> {
    /// An empty pool.
    #[must_use]
    pub const fn new() -> Self {
        Self { shared: Vec::new() }
    }

    /// Fills a value that no link holds any more, or a new one, and shares it.
    pub fn share(&mut self, new: impl FnOnce() -> T, fill: impl FnOnce(&mut T)) -> Arc<T> {
        let free = self
            .shared
            .iter_mut()
            .position(|s| Arc::get_mut(s).is_some());
        let at = free.unwrap_or_else(|| {
            self.shared.push(Arc::new(new()));
            self.shared.len() - 1
        });
        if let Some(value) = Arc::get_mut(&mut self.shared[at]) {
            fill(value);
        }
        Arc::clone(&self.shared[at])
    }
}
