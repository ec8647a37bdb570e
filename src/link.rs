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
//! | what takes long to read is read elsewhere | one client's megabyte is nobody else's delay |
//! | clients are served in turn, and one that sends faster than it is served is not read from | one client's flood is nobody else's delay, and no reply is lost |
//! | losses are told to the one who lost, before the next report | a robot may act on "nothing seen" only if it knows that nothing is missing |
//!
//! Queues are [`heapless::Deque`]s behind a mutex that is held for one push or pop: heapless' own `mpmc` queue is deprecated (a
//! preempted thread makes it fail for others) and its `spsc` queue cannot give up its oldest entry.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io,
    os::unix::net::UnixListener,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
    time::Duration,
};

use self::{
    line::Wiring,
    queue::{Inbox, Item, MAX_REPORTS, Outbox},
    serial::Frames,
    text::Sentences,
};
use crate::{
    protocol::{Command, ErrorCode, LinkHealth, Outgoing, Reply, Request},
    supervise::{self, Watch},
};

mod client;
pub mod config;
mod line;
mod queue;
mod reading;
mod serial;
mod socket;
mod text;

pub use config::{LinkConfig, LinkTables, Role, SerialConfig, SocketConfig, TextConfig};

/// Memory for each command that a client may have waiting: a line of `queue::BIG` bytes, which may take thirty times as much
/// once it is read, and its reply.
pub const MAX_CLIENT_BYTES: u64 = 32 * queue::BIG as u64 + (64 << 10);

/// Memory for a command that is as long as a line can be while it is read: its JSON, then its texts.
pub const MAX_COMMAND_BYTES: u64 = 40 << 20;

/// Clients of one socket, whatever is configured.
pub const MAX_CLIENTS: usize = 1024;

/// What one client, and one message, may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// Commands of one client that are read and not yet answered; it is not read from beyond that.
    pub commands: usize,
    /// Bytes of a report in JSON; a longer one is lost, which is told.
    pub report_bytes: usize,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            commands: 16,
            report_bytes: 5 << 18,
        }
    }
}

/// Reports that wait for a line: an older one is worth less than the time it takes.
const LINE_REPORTS: usize = 2;

/// Who gave a command: a link, and a client of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    link: u16,
    client: u32,
}

/// All links and their threads. Dropping it sends what waits, for at most a quarter of a second, and closes them.
#[derive(Debug)]
pub struct Links {
    links: Vec<Link>,
    inbox: Arc<Inbox>,
    run: u32,
    limits: LinkLimits,
    /// Links get numbers that are never used twice: an answer must not go to another link that came after.
    named: u16,
    /// Sockets that systemd passed and no link has taken yet.
    passed: Vec<UnixListener>,
}

impl Links {
    /// Opens every link. A tty that is not there is opened when it comes; a socket that cannot be made is an error.
    ///
    /// # Errors
    ///
    /// The socket's path and what the system answered; that no thread can be started.
    pub fn start(configs: &[LinkConfig]) -> io::Result<Self> {
        Self::start_as(draw(), configs, LinkLimits::default())
    }

    /// The same with a number of the caller's for [`run`](Self::run), and other limits than the default ones.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_as(run: u32, configs: &[LinkConfig], limits: LinkLimits) -> io::Result<Self> {
        let wanted = |c: &LinkConfig| matches!(c, LinkConfig::Socket(s) if s.activation);
        let mut links = Self {
            links: Vec::new(),
            inbox: Arc::default(),
            run,
            limits,
            named: 0,
            passed: if configs.iter().any(wanted) {
                socket::passed()
            } else {
                Vec::new()
            },
        };
        for config in configs {
            links.open(config, None)?;
        }
        Ok(links)
    }

    /// Closes links that are no longer wanted and opens new ones; those whose settings are as before go on undisturbed, clients and
    /// all.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); the links that there were are there again then, though clients of those that were to change
    /// have lost their connection.
    pub fn reconfigure(&mut self, configs: &[LinkConfig]) -> io::Result<()> {
        let before: Vec<LinkConfig> = self.links.iter().map(|l| l.config.clone()).collect();
        let Err(e) = self.change(configs) else {
            return Ok(());
        };
        if let Err(again) = self.change(&before) {
            log::error!("links cannot be brought back: {again}");
        }
        Err(e)
    }

    fn change(&mut self, configs: &[LinkConfig]) -> io::Result<()> {
        // what holds is told to clients of new links too
        let known = self.links.first().map(|l| Arc::clone(&l.outbox));
        // those that go are closed first: a new one may want the same path
        self.links.retain(|link| configs.contains(&link.config));
        for config in configs {
            if !self.links.iter().any(|link| link.config == *config) {
                self.open(config, known.as_deref())?;
            }
        }
        Ok(())
    }

    fn open(&mut self, config: &LinkConfig, known: Option<&Outbox>) -> io::Result<()> {
        let depth = match config {
            LinkConfig::Socket(_) => MAX_REPORTS,
            LinkConfig::Serial(_) | LinkConfig::Text(_) => LINE_REPORTS,
        };
        let outbox = Arc::new(Outbox::new(depth)?);
        if let Some(known) = known {
            outbox.inherit(known);
        }
        let (shared, inbox) = (Arc::clone(&outbox), Arc::clone(&self.inbox));
        let (number, run, limits) = (self.named, self.run, self.limits);
        let watch = Arc::<Watch>::default();
        let (watched, own) = (Arc::clone(&watch), Arc::clone(&shared));
        // begun again after a panic; the report at hand is lost with it, and that is told
        let keep = move |live: &mut dyn FnMut()| {
            let mut first = true;
            supervise::keep(
                &watched,
                || own.is_closing(),
                || {
                    if !std::mem::take(&mut first) {
                        own.lose_report();
                    }
                    live();
                },
            );
        };
        let builder = thread::Builder::new();
        let thread = match config {
            LinkConfig::Socket(config) => {
                let passed =
                    (config.activation && !self.passed.is_empty()).then(|| self.passed.remove(0));
                let mut listener = socket::Listener::open(config, passed)?;
                // now and not when the thread has begun: who asks after the start must not be told otherwise
                outbox.gauge.up.store(true, Relaxed);
                builder.name("socket".into()).spawn(move || {
                    keep(&mut || {
                        socket::run(&mut listener, &shared, &inbox, (number, run), limits);
                    });
                })?
            }
            LinkConfig::Serial(config) => {
                let wiring = wiring(
                    &config.path,
                    config.speed,
                    config.flow_control,
                    config.heartbeat_ms,
                );
                let mut frames = Frames::new(config);
                builder.name("serial".into()).spawn(move || {
                    keep(&mut || {
                        line::run(&wiring, &mut frames, &shared, &inbox, (number, run), limits);
                    });
                })?
            }
            LinkConfig::Text(config) => {
                let wiring = wiring(
                    &config.path,
                    config.speed,
                    config.flow_control,
                    config.heartbeat_ms,
                );
                let mut sentences = Sentences::new(config);
                builder.name("text".into()).spawn(move || {
                    keep(&mut || {
                        line::run(
                            &wiring,
                            &mut sentences,
                            &shared,
                            &inbox,
                            (number, run),
                            limits,
                        );
                    });
                })?
            }
        };
        self.named = self.named.wrapping_add(1);
        self.links.push(Link {
            number,
            config: config.clone(),
            outbox,
            watch,
            thread: Some(thread),
        });
        Ok(())
    }

    /// What tells this run of the program from others, for [`Envelope::run`](crate::protocol::Envelope::run).
    #[must_use]
    pub const fn run(&self) -> u32 {
        self.run
    }

    /// Sends a report or an event to everybody. Never waits; where a queue is full, its oldest report is lost and counted.
    /// A reply goes to whoever asked, by [`reply`](Self::reply), and nowhere from here.
    pub fn publish(&self, message: &Outgoing) {
        for link in &self.links {
            link.outbox.publish(message);
        }
    }

    /// Answers a command. Never waits; the answer is lost if whoever asked is gone.
    pub fn reply(&self, to: Origin, reply: Reply) {
        if let Some(link) = self.links.iter().find(|link| link.number == to.link) {
            link.outbox.push(Item::Reply(to.client, Arc::new(reply)));
        }
    }

    /// Answers a command that cannot be obeyed.
    pub fn refuse(&self, to: Origin, id: u32, code: ErrorCode, text: impl Into<String>) {
        self.reply(to, Reply::error(id, code, text));
    }

    /// Commands that have come and were not taken yet, without waiting.
    pub fn commands(&self) -> impl Iterator<Item = (Origin, Request)> {
        std::iter::from_fn(|| self.inbox.take(|_| true))
    }

    /// The next client's oldest command, of those clients whose oldest command is wanted now.
    pub fn command(&self, wanted: impl Fn(&Command) -> bool) -> Option<(Origin, Request)> {
        self.inbox.take(|request| wanted(&request.command))
    }

    /// Sleeps until a command is there, but not longer than this. Whether one is.
    pub fn wait(&self, longest: Duration) -> bool {
        self.inbox.wait(longest)
    }

    /// Which link's thread panicked since the last call, and of what.
    #[must_use]
    pub fn panicked(&self) -> Option<String> {
        self.links.iter().find_map(|link| {
            let text = link.watch.take()?;
            Some(format!("{}: {text}", link.config.path().display()))
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether all of them can send.
    #[must_use]
    pub fn are_up(&self) -> bool {
        let up = |link: &Link| link.outbox.gauge.up.load(Relaxed);
        self.links.iter().all(up)
    }

    /// How each link is doing, in the order of the configuration as far as links were not changed since.
    #[must_use]
    pub fn health(&self) -> Vec<LinkHealth> {
        let health = |link: &Link| {
            link.outbox
                .gauge
                .health(&link.config.path().to_string_lossy())
        };
        self.links.iter().map(health).collect()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // all together, so that their farewells do not add up
        self.links.iter().for_each(|link| link.outbox.close());
    }
}

/// A link and its thread.
#[derive(Debug)]
struct Link {
    number: u16,
    config: LinkConfig,
    outbox: Arc<Outbox>,
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.outbox.close();
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            log::error!("the thread of {} panicked", self.config.path().display());
        }
    }
}

fn wiring(path: &Path, speed: u32, flow_control: bool, heartbeat_ms: u32) -> Wiring {
    Wiring {
        path: path.to_owned(),
        speed,
        flow_control,
        heartbeat: (heartbeat_ms > 0).then(|| Duration::from_millis(heartbeat_ms.into())),
    }
}

/// A number that another run of the program does not have; the standard library seeds its hash maps from the kernel.
pub(crate) fn draw() -> u32 {
    RandomState::new().build_hasher().finish() as u32
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
