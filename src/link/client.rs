//! One client of a socket: what waits for it, what it lost, what it is saying, and what it is still owed.
//!
//! | state | what is done |
//! |---|---|
//! | it sends faster than it is answered | it is not read from until it has room again; no reply is lost |
//! | it does not read | it loses reports and events, which are counted; replies wait, and it is read no further |
//! | it shut its writing side down | it is sent the answers that it is owed, then the connection is closed |
//! | it is gone | what it sent before is obeyed, and its place is free when that is done |

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Origin,
    config::Role,
    queue::{Gauge, Inbox, Losses, Outbox, count},
    reading::{LONG, Reading},
};
use crate::protocol::{ErrorCode, Event, Reply, Request, json};

/// Most reports that wait for one client, besides the one being written and those in the kernel's buffer.
const MAX_REPORTS: usize = 4;

/// Most events that wait for one client.
const MAX_EVENTS: usize = 64;

/// Bytes read from one client before others have their turn.
const TURN: usize = 64 * 1024;

/// How long a client is not read from that has just sent many lines that are none, or one without an end: what is refused here
/// and not by the loop would else be refused as fast as a processor can.
const PAUSE: Duration = Duration::from_millis(10);

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    pub(super) number: u32,
    pub(super) uid: Option<u32>,
    role: Role,
    /// Most commands that it may have given and not been answered.
    most: usize,
    waiting: VecDeque<(Kind, Arc<Vec<u8>>)>,
    writing: Option<(Kind, Arc<Vec<u8>>)>,
    written: usize,
    /// The kernel takes nothing for it at the moment: `poll` tells when it does again.
    pub(super) full: bool,
    /// Lost and not yet told.
    unsaid: Losses,
    /// What has come and was not yet taken: part of a line, or lines that wait for room.
    input: Vec<u8>,
    /// How much of it has no line feed in it.
    searched: usize,
    /// A long line of it that is being read.
    reading: Option<Reading>,
    /// A line is too long; all of it up to the line feed is passed over.
    overflown: bool,
    /// Its lines wait for room in the loop's queue, or until it was paused long enough.
    pub(super) held: bool,
    /// Until when it is not read from.
    paused: Option<Instant>,
    /// Lines that were refused here since then.
    refused: usize,
    /// Commands read whose replies are not yet written.
    owed: usize,
    /// It will send no more.
    ended: bool,
    /// Nothing can be written to it any more.
    deaf: bool,
    /// When it last gave a command, or came.
    pub(super) spoke: Instant,
    /// When it last took something, or had nothing to take.
    took: Instant,
    /// It came when few places were left: it keeps its place only if it gives commands.
    pub(super) last_places: bool,
}

/// What a line is, and so whether it may be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Report,
    Event,
    Reply,
    /// Tells of losses; is itself no message that could be lost.
    Losses,
}

/// What a client's commands are handed to.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) link: u16,
    pub(super) outbox: &'a Arc<Outbox>,
    pub(super) inbox: &'a Inbox,
}

impl Client {
    pub(super) fn new(
        stream: UnixStream,
        number: u32,
        (uid, role): (Option<u32>, Role),
        most: usize,
    ) -> Self {
        Self {
            stream,
            number,
            uid,
            role,
            most: most.max(1),
            waiting: VecDeque::with_capacity(MAX_REPORTS + MAX_EVENTS),
            writing: None,
            written: 0,
            full: false,
            unsaid: Losses::default(),
            input: Vec::new(),
            searched: 0,
            reading: None,
            overflown: false,
            held: false,
            paused: None,
            refused: 0,
            owed: 0,
            ended: false,
            deaf: false,
            spoke: Instant::now(),
            took: Instant::now(),
            last_places: false,
        }
    }

    /// Whether all that was meant for it is written.
    pub(super) fn is_idle(&self) -> bool {
        self.deaf
            || (self.writing.is_none()
                && self.waiting.is_empty()
                && self.unsaid == Losses::default())
    }

    /// Whether it is to be read from.
    pub(super) const fn wants(&self) -> bool {
        !self.ended && !self.held && self.owed < self.most
    }

    /// Whether nothing is left to do for it.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.owed == 0 && self.reading.is_none() && self.is_idle()
    }

    /// For how long it has taken nothing of what waits for it.
    pub(super) fn stuck(&self, now: Instant) -> Duration {
        if self.is_idle() {
            return Duration::ZERO;
        }
        now.saturating_duration_since(self.took)
    }

    /// Queues a line; of too many reports, and of too many events, the oldest is given up.
    pub(super) fn push(&mut self, kind: Kind, line: Arc<Vec<u8>>, gauge: &Gauge) {
        if self.deaf {
            if kind == Kind::Reply {
                self.owed = self.owed.saturating_sub(1);
            }
            return;
        }
        if self.is_idle() {
            self.took = Instant::now();
        }
        match kind {
            Kind::Report if self.give_up(kind, MAX_REPORTS) => {
                self.unsaid.reports += 1;
                count(&gauge.lost, 1);
            }
            Kind::Event if self.give_up(kind, MAX_EVENTS) => self.unsaid.others += 1,
            _ => {}
        }
        self.waiting.push_back((kind, line));
    }

    fn give_up(&mut self, kind: Kind, most: usize) -> bool {
        let of_kind = |(k, _): &(Kind, _)| *k == kind;
        if self.waiting.iter().filter(|w| of_kind(w)).count() < most {
            return false;
        }
        let oldest = self.waiting.iter().position(of_kind);
        oldest.and_then(|at| self.waiting.remove(at)).is_some()
    }

    /// Remembers what was lost before it came here.
    pub(super) fn lose(&mut self, lost: Losses) {
        self.unsaid.add(lost);
    }

    /// Writes as much as the client takes. What is meant for one that is gone vanishes.
    pub(super) fn pump(&mut self, gauge: &Gauge) {
        while !self.deaf && !self.full {
            let Some((kind, line)) = &self.writing else {
                self.writing = self.next();
                self.written = 0;
                if self.writing.is_none() {
                    return;
                }
                continue;
            };
            let rest = line.get(self.written..).unwrap_or_default();
            match self.stream.write(rest) {
                Ok(n) => {
                    count(&gauge.bytes, n as u64);
                    self.took = Instant::now();
                    self.written += n;
                    if n == rest.len() {
                        count(&gauge.sent, u64::from(*kind == Kind::Report));
                        self.owed -= usize::from(*kind == Kind::Reply).min(self.owed);
                        self.writing = None;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.full = true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    log::debug!("client {}: {e}", self.number);
                    self.deafen();
                }
            }
        }
    }

    fn deafen(&mut self) {
        self.deaf = true;
        let lines = self.waiting.drain(..).chain(self.writing.take());
        let replies = lines.filter(|(kind, _)| *kind == Kind::Reply).count();
        self.owed = self.owed.saturating_sub(replies);
    }

    /// The next line to write: what was lost, before anything that came after.
    fn next(&mut self) -> Option<(Kind, Arc<Vec<u8>>)> {
        if self.unsaid == Losses::default() {
            return self.waiting.pop_front();
        }
        let Losses { reports, others } = std::mem::take(&mut self.unsaid);
        let event = Event::Lost {
            count: reports,
            others,
        };
        let mut line = Vec::new();
        json::write_event(&event, &mut line);
        line.push(b'\n');
        Some((Kind::Losses, Arc::new(line)))
    }

    /// Reads what has come, as far as there is room for its commands, and hands on each.
    pub(super) fn receive(&mut self, way: Way<'_>) {
        let mut bytes = [0; 4096];
        for _ in 0..TURN / bytes.len() {
            if !self.wants() {
                return;
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    self.input.extend(bytes.get(..n).unwrap_or_default());
                    self.take_lines(way);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    log::debug!("client {}: {e}", self.number);
                    self.ended = true;
                    self.deafen();
                }
            }
        }
    }

    /// Hands on the commands that have come, as far as there is room for them.
    pub(super) fn take_lines(&mut self, way: Way<'_>) {
        self.held = false;
        if let Some(reading) = self.reading.take() {
            if !reading.is_over() {
                self.reading = Some(reading);
                self.held = true;
                return;
            }
            way.inbox.release(reading.bytes);
            self.read(reading.bytes, reading.end(), way);
        }
        while self.owed < self.most {
            if self.refused >= self.most {
                self.refused = 0;
                self.paused = Some(Instant::now() + PAUSE);
            }
            if self.paused.is_some_and(|until| Instant::now() < until) {
                self.held = true;
                return;
            }
            self.paused = None;
            let fresh = self.input.get(self.searched..).unwrap_or_default();
            let Some(end) = fresh.iter().position(|b| *b == b'\n') else {
                self.searched = self.input.len();
                if self.searched > json::MAX_LINE {
                    self.overflown = true;
                    // a megabyte is not kept for one mistake
                    self.input = Vec::new();
                    self.searched = 0;
                    self.paused = Some(Instant::now() + PAUSE);
                    self.held = true;
                }
                return;
            };
            let end = self.searched + end;
            let too_long = self.overflown || end > json::MAX_LINE;
            if !too_long && !way.inbox.admits(end) {
                self.searched = end;
                self.held = true;
                return;
            }
            self.overflown = false;
            if !too_long && end >= LONG {
                self.begin_reading(end, way);
                return;
            }
            self.command(end, too_long, way);
            self.input.drain(..=end);
            self.input.shrink_to(TURN);
            self.searched = 0;
        }
        // the rest is looked at when there is room; what is there may be a whole line
        self.held = self.input.contains(&b'\n');
    }

    /// Hands the line that ends here on, or answers it at once where that cannot be.
    fn command(&mut self, end: usize, too_long: bool, way: Way<'_>) {
        let line = self.input.get(..end).unwrap_or_default();
        let gauge = &way.outbox.gauge;
        if too_long {
            count(&gauge.garbled, 1);
            let text = format!("a line of more than {} bytes", json::MAX_LINE);
            return self.answer(&Reply::error(0, ErrorCode::TooLong, text), gauge);
        }
        if line.trim_ascii().is_empty() {
            return;
        }
        let read = json::read_request(line);
        self.read(end, read, way);
    }

    /// Has the long line that ends here read on a thread of its own.
    fn begin_reading(&mut self, end: usize, way: Way<'_>) {
        let rest = self.input.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.input, rest);
        line.truncate(end);
        self.searched = 0;
        match Reading::start(line, way.outbox) {
            Ok(reading) => {
                way.inbox.hold(reading.bytes);
                self.reading = Some(reading);
            }
            Err(reply) => self.answer(&reply, &way.outbox.gauge),
        }
        // what is behind it is looked at when it is read
        self.held = true;
    }

    /// Hands on a command that was read, or says why it is none.
    fn read(&mut self, bytes: usize, read: Result<Request, Reply>, way: Way<'_>) {
        let gauge = &way.outbox.gauge;
        self.spoke = Instant::now();
        let request = match read {
            Ok(request) => request,
            Err(reply) => {
                count(&gauge.garbled, 1);
                return self.answer(&reply, gauge);
            }
        };
        count(&gauge.commands, 1);
        if let Err(reply) = self.may(&request) {
            return self.answer(&reply, gauge);
        }
        self.owed += 1;
        let origin = Origin {
            link: way.link,
            client: self.number,
        };
        way.inbox.push(origin, request, bytes);
    }

    fn may(&self, request: &Request) -> Result<(), Reply> {
        if self.role == Role::Command || request.command.only_asks() {
            return Ok(());
        }
        let who = match self.uid {
            Some(uid) => format!("user {uid}"),
            None => "this user".to_owned(),
        };
        let why = format!("{who} may read on this socket, not give commands");
        Err(Reply::error(request.id, ErrorCode::Denied, why))
    }

    fn answer(&mut self, reply: &Reply, gauge: &Gauge) {
        let mut line = Vec::new();
        json::write_reply(reply, &mut line);
        line.push(b'\n');
        self.owed += 1;
        self.refused += 1;
        self.push(Kind::Reply, Arc::new(line), gauge);
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
