//! A tty: opened, set, watched, and opened again.
//!
//! The thread sleeps in `poll`, writes what the line takes, and reads what comes. How messages look is the business of a
//! [`Dialect`].
//!
//! *Pace.* A driver takes some kilobytes at once and sends them later: at 115,200 bits per second, 4 KB are a third of a second of
//! old reports. So a report is begun only when, by the line's speed, all that was written before has left; those that come
//! meanwhile wait in a queue of two, which gives up the older one. A device that does not care for the speed that it is told
//! (USB modems, pseudo-terminals) is held to it all the same: set a higher one.
//!
//! *Unplugged.* Reading or writing fails, or `poll` says that the other end hung up. The line is closed and opened again, first after
//! 100 ms, then less often, at least every 2 s. Reports that come meanwhile are lost and counted, and that is the first thing
//! said after the greeting.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::OFlags,
    termios::{
        ControlModes, OptionalActions, QueueSelector, SpecialCodeIndex, ioctl_tiocexcl, tcflush,
        tcgetattr, tcsetattr,
    },
};

use super::{
    LinkLimits, Origin,
    queue::{Inbox, Item, Losses, Outbox, count},
};
use crate::{
    protocol::{Event, Reply, Request, State, WIRE_VERSION},
    supervise,
};

/// How messages look on a line.
pub(super) trait Dialect {
    /// Appends a message.
    fn write(&mut self, item: &Item, out: &mut Vec<u8>);
    /// Appends a sign of life.
    fn heartbeat(&mut self, life: &Life, out: &mut Vec<u8>);
    /// Takes bytes that came; hands over commands, replies to what makes no sense, and nothing for what is damaged.
    fn read(&mut self, bytes: &[u8], take: &mut dyn FnMut(Result<Request, Option<Reply>>));
    /// Forgets half a message, as the line is new.
    fn clear(&mut self);
}

/// What a heartbeat says.
pub(super) struct Life {
    pub(super) run: u32,
    pub(super) state: Option<State>,
    pub(super) sent: u64,
    pub(super) lost: u64,
}

/// A line's settings.
#[derive(Clone, Debug)]
pub(super) struct Wiring {
    pub(super) path: PathBuf,
    pub(super) speed: u32,
    pub(super) flow_control: bool,
    pub(super) heartbeat: Option<Duration>,
}

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// How long a closing line goes on with what waits.
const FAREWELL: Duration = Duration::from_millis(250);

/// Runs a line until its outbox is closed.
pub(super) fn run(
    wiring: &Wiring,
    dialect: &mut impl Dialect,
    outbox: &Outbox,
    inbox: &Inbox,
    (link, run): (u16, u32),
    limits: LinkLimits,
) {
    // of a life before this one
    outbox.gauge.up.store(false, Relaxed);
    outbox.gauge.clients.store(0, Relaxed);
    let mut line = Line {
        wiring,
        dialect,
        outbox,
        inbox,
        origin: Origin { link, client: 0 },
        run,
        most: limits.commands.max(1),
        owed: 0,
        port: None,
        retry: Retry::new(),
        outgoing: Outgoing::default(),
        unsaid: Losses::default(),
        free_at: Instant::now(),
        heard_at: Instant::now(),
        state: None,
        end: None,
    };
    loop {
        outbox.slept();
        if outbox.is_closing() {
            let end = *line.end.get_or_insert_with(|| Instant::now() + FAREWELL);
            let done = outbox.is_empty() && line.outgoing.is_empty();
            if done || line.port.is_none() || Instant::now() >= end {
                return;
            }
        }
        line.turn();
    }
}

struct Line<'a, D> {
    wiring: &'a Wiring,
    dialect: &'a mut D,
    outbox: &'a Outbox,
    inbox: &'a Inbox,
    origin: Origin,
    run: u32,
    /// Most commands that may have come and not been answered; beyond, nothing is read.
    most: usize,
    /// How many there are.
    owed: usize,
    port: Option<File>,
    retry: Retry,
    outgoing: Outgoing,
    /// Lost and not yet told.
    unsaid: Losses,
    /// When all that was written will have left.
    free_at: Instant,
    /// When something was last sent.
    heard_at: Instant,
    state: Option<State>,
    /// When to close, finished or not.
    end: Option<Instant>,
}

/// Bytes being written: never more than one report, so that none is cut by giving up the rest.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    /// What is lost if they do not get out.
    holds: Losses,
    /// Losses that they tell of, to be told again if they do not get out.
    tells: Losses,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
        self.holds = Losses::default();
        self.tells = Losses::default();
    }
}

impl<D: Dialect> Line<'_, D> {
    /// Sends and reads what can be, then sleeps until there is more to do.
    fn turn(&mut self) {
        if self.port.is_none() && self.retry.is_due() {
            self.open();
        }
        if self.port.is_none() {
            self.discard();
        } else {
            // also while the line takes nothing: telemetry on other links says how many
            self.collect_losses();
            self.send();
        }
        self.sleep();
    }

    fn open(&mut self) {
        let path = &self.wiring.path;
        match open(self.wiring) {
            Ok(port) => {
                log::info!("{}: open at {} baud", path.display(), self.wiring.speed);
                self.port = Some(port);
                self.retry = Retry::new();
                self.dialect.clear();
                self.free_at = Instant::now();
                self.greet();
                self.outbox.gauge.up.store(true, Relaxed);
                self.outbox.gauge.clients.store(1, Relaxed);
            }
            Err(e) => {
                if self.retry.is_news(&e) {
                    log::warn!("{}: {e}; trying again", path.display());
                }
                self.retry.later();
            }
        }
    }

    /// Who is here and what holds, for a reader that may be as new as the line.
    fn greet(&mut self) {
        let hello = Event::Hello {
            wire: WIRE_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: self.run,
        };
        let standing = self.outbox.standing();
        for event in std::iter::once(Arc::new(hello)).chain(standing) {
            self.dialect
                .write(&Item::Event(event), &mut self.outgoing.bytes);
        }
    }

    /// Counts as lost what nobody can be sent.
    fn discard(&mut self) {
        while let Some(item) = self.outbox.take() {
            self.note(&item);
            self.lose(weight(&item));
        }
        self.collect_losses();
    }

    fn note(&mut self, item: &Item) {
        if matches!(item, Item::Reply(..)) {
            self.owed = self.owed.saturating_sub(1);
        }
        if let Item::Event(event) = item
            && let Event::State { to, .. } = **event
        {
            self.state = Some(to);
        }
    }

    fn lose(&mut self, losses: Losses) {
        self.unsaid.add(losses);
        count(&self.outbox.gauge.lost, losses.reports);
    }

    fn collect_losses(&mut self) {
        let losses = self.outbox.take_losses();
        self.lose(losses);
    }

    /// Writes as much as the line takes.
    fn send(&mut self) {
        loop {
            if self.outgoing.is_empty() && !self.next() {
                return;
            }
            let Some(port) = &mut self.port else { return };
            let rest = self.outgoing.bytes.get(self.outgoing.written..);
            match port.write(rest.unwrap_or_default()) {
                Ok(n) => self.wrote(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.hang_up(&e.to_string()),
            }
        }
    }

    fn wrote(&mut self, n: usize) {
        let now = Instant::now();
        self.outgoing.written += n;
        self.heard_at = now;
        count(&self.outbox.gauge.bytes, n as u64);
        // a start bit, eight, a stop bit
        let time = Duration::from_secs_f64(n as f64 * 10.0 / f64::from(self.wiring.speed.max(1)));
        self.free_at = self.free_at.max(now) + time;
        if self.outgoing.is_empty() {
            count(&self.outbox.gauge.sent, self.outgoing.holds.reports);
            self.outgoing.clear();
        }
    }

    /// Makes the bytes of the next thing to say. Whether there is one, and the line is free for it.
    fn next(&mut self) -> bool {
        let now = Instant::now();
        if now < self.free_at {
            return false;
        }
        self.collect_losses();
        let outgoing = &mut self.outgoing;
        outgoing.clear();
        if self.unsaid != Losses::default() {
            let event = Event::Lost {
                count: self.unsaid.reports,
                others: self.unsaid.others,
            };
            outgoing.tells = std::mem::take(&mut self.unsaid);
            self.dialect
                .write(&Item::Event(Arc::new(event)), &mut outgoing.bytes);
        }
        if let Some(item) = self.outbox.take() {
            if matches!(item, Item::Report(_)) {
                supervise::trap("link");
            }
            self.note(&item);
            let before = self.outgoing.bytes.len();
            self.dialect.write(&item, &mut self.outgoing.bytes);
            if self.outgoing.bytes.len() > before {
                self.outgoing.holds = weight(&item);
            } else {
                // longer than the dialect can say
                self.lose(weight(&item));
            }
        } else if self.outgoing.bytes.is_empty() && self.heartbeat_at().is_some_and(|at| now >= at)
        {
            let gauge = &self.outbox.gauge;
            let life = Life {
                run: self.run,
                state: self.state,
                sent: gauge.sent.load(Relaxed),
                lost: gauge.lost.load(Relaxed),
            };
            self.dialect.heartbeat(&life, &mut self.outgoing.bytes);
        }
        !self.outgoing.is_empty()
    }

    fn heartbeat_at(&self) -> Option<Instant> {
        Some(self.heard_at + self.wiring.heartbeat?)
    }

    fn hang_up(&mut self, why: &str) {
        log::warn!("{}: lost: {why}", self.wiring.path.display());
        self.port = None;
        self.outbox.gauge.up.store(false, Relaxed);
        self.outbox.gauge.clients.store(0, Relaxed);
        self.unsaid.add(self.outgoing.tells);
        let holds = self.outgoing.holds;
        self.outgoing.clear();
        self.lose(holds);
        self.retry.later();
    }

    /// Sleeps until there is something to send, to read, or to try again; reads it.
    fn sleep(&mut self) {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, self.owed < self.most);
        wanted.set(PollFlags::OUT, !self.outgoing.is_empty());
        let until = if self.port.is_none() {
            Some(self.retry.at)
        } else if !self.outgoing.is_empty() {
            None
        } else if self.outbox.is_empty() {
            self.heartbeat_at()
        } else {
            Some(self.free_at)
        };
        let mut fds = heapless::Vec::<PollFd<'_>, 2>::new();
        let _ = fds.push(PollFd::new(self.outbox, PollFlags::IN));
        if let Some(port) = &self.port {
            let _ = fds.push(PollFd::new(port, wanted));
        }
        let timeout = [until, self.end]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()))
            .unwrap_or(LAST_RETRY);
        wait(&mut fds, timeout);
        let happened = fds.get(1).map_or(PollFlags::empty(), PollFd::revents);
        drop(fds);
        if happened.contains(PollFlags::IN) {
            self.receive();
        } else if happened.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            self.hang_up("the other end is gone");
        }
    }

    fn receive(&mut self) {
        let Some(port) = &mut self.port else { return };
        // little at a time: all commands in it are taken, however many may wait
        let mut bytes = [0; 512];
        let n = match port.read(&mut bytes) {
            Ok(0) => return self.hang_up("end of file"),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return,
            Err(e) => return self.hang_up(&e.to_string()),
        };
        let (outbox, inbox, origin) = (self.outbox, self.inbox, self.origin);
        let received = bytes.get(..n).unwrap_or_default();
        let owed = &mut self.owed;
        self.dialect.read(received, &mut |request| {
            *owed += usize::from(deliver(request, origin, outbox, inbox));
        });
    }
}

/// Hands a command to the loop, or answers it at once where that cannot be. Whether there will be a reply.
fn deliver(
    request: Result<Request, Option<Reply>>,
    origin: Origin,
    outbox: &Outbox,
    inbox: &Inbox,
) -> bool {
    match request {
        Ok(request) => {
            count(&outbox.gauge.commands, 1);
            // a frame is too short for a command that takes much memory
            inbox.push(origin, request, 0);
            true
        }
        Err(reply) => {
            count(&outbox.gauge.garbled, 1);
            let answered = reply.is_some();
            if let Some(reply) = reply {
                outbox.push(Item::Reply(origin.client, Arc::new(reply)));
            }
            answered
        }
    }
}

/// What is lost with a message.
pub(super) fn weight(item: &Item) -> Losses {
    match item {
        Item::Report(_) => Losses {
            reports: 1,
            others: 0,
        },
        Item::Event(_) | Item::Reply(..) => Losses {
            reports: 0,
            others: 1,
        },
    }
}

/// When to try again.
struct Retry {
    at: Instant,
    after: Duration,
    said: String,
}

impl Retry {
    fn new() -> Self {
        Self {
            at: Instant::now(),
            after: FIRST_RETRY,
            said: String::new(),
        }
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.at
    }

    fn later(&mut self) {
        self.at = Instant::now() + self.after;
        self.after = (self.after * 2).min(LAST_RETRY);
    }

    /// Whether this is not what went wrong the last time too.
    fn is_news(&mut self, e: &io::Error) -> bool {
        let text = e.to_string();
        let news = self.said != text;
        self.said = text;
        news
    }
}

/// Opens a tty and sets it: raw, 8 bits, no parity, one stop bit, its speed; nobody else can open it meanwhile.
fn open(wiring: &Wiring) -> io::Result<File> {
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits() as i32)
        .open(&wiring.path)
        .map_err(|e| match e.kind() {
            io::ErrorKind::PermissionDenied => {
                let what = format!("{e}; is this user in the device's group, dialout as a rule?");
                io::Error::new(e.kind(), what)
            }
            _ => e,
        })?;
    set(&port, wiring).map_err(|e| {
        let what = if rustix::termios::isatty(&port) {
            format!("cannot set {} baud and raw mode: {e}", wiring.speed)
        } else {
            "is no tty".into()
        };
        io::Error::new(e.kind(), what)
    })?;
    Ok(port)
}

fn set(port: &File, wiring: &Wiring) -> io::Result<()> {
    let mut attributes = tcgetattr(port)?;
    attributes.make_raw();
    attributes.set_speed(wiring.speed)?;
    let modes = &mut attributes.control_modes;
    modes.insert(ControlModes::CREAD | ControlModes::CLOCAL);
    modes.remove(ControlModes::CSTOPB | ControlModes::PARENB | ControlModes::HUPCL);
    modes.set(ControlModes::CRTSCTS, wiring.flow_control);
    attributes.special_codes[SpecialCodeIndex::VMIN] = 1;
    attributes.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(port, OptionalActions::Now, &attributes)?;
    let got = tcgetattr(port)?.output_speed();
    // receivers bear 2 to 3 % between both ends
    if got.abs_diff(wiring.speed) > wiring.speed / 50 {
        let path = wiring.path.display();
        log::warn!(
            "{path}: {} baud asked for, the driver set {got}",
            wiring.speed
        );
    }
    // noise from before the other end was there
    let _ = tcflush(port, QueueSelector::IFlush);
    let _ = ioctl_tiocexcl(port);
    Ok(())
}

/// Sleeps until one of these is ready, but not longer than this.
pub(super) fn wait(fds: &mut [PollFd<'_>], longest: Duration) {
    // rounded up to milliseconds: what is due in half of one must not be looked for a hundred times
    let longest = Duration::from_millis(longest.as_micros().div_ceil(1000) as u64);
    if let Ok(longest) = longest.try_into()
        && let Err(e) = poll(fds, Some(&longest))
        && e != rustix::io::Errno::INTR
    {
        // out of kernel memory at worst; a turn without sleep each time would make it no better
        log::warn!("poll: {e}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
