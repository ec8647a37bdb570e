//! One client of a socket: what waits for it, what it lost, what it is saying.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
};

use super::{
    Origin,
    line::deliver,
    queue::{Gauge, Inbox, Item, Losses, Outbox, count},
};
use crate::protocol::{ErrorCode, Event, Reply, json};

/// Most reports that wait for one client, besides the one being written and those in the kernel's buffer.
const MAX_REPORTS: usize = 4;

/// Most events and replies that wait for one client.
const MAX_OTHERS: usize = 64;

/// Bytes read from one client before others have their turn.
const TURN: usize = 64 * 1024;

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    pub(super) number: u32,
    waiting: VecDeque<(Kind, Arc<Vec<u8>>)>,
    writing: Option<(Kind, Arc<Vec<u8>>)>,
    written: usize,
    /// Lost and not yet told.
    unsaid: Losses,
    /// What has come of a line.
    line: Vec<u8>,
    /// It is too long; all of it up to the line feed is passed over.
    overflown: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Report,
    Other,
    /// Tells of losses; is itself no message that could be lost.
    Losses,
}

impl Client {
    pub(super) fn new(stream: UnixStream, number: u32) -> Self {
        Self {
            stream,
            number,
            waiting: VecDeque::with_capacity(MAX_REPORTS + MAX_OTHERS),
            writing: None,
            written: 0,
            unsaid: Losses::default(),
            line: Vec::new(),
            overflown: false,
        }
    }

    /// Whether all that was meant for it is written.
    pub(super) fn is_idle(&self) -> bool {
        self.writing.is_none() && self.waiting.is_empty() && self.unsaid == Losses::default()
    }

    /// Queues a report; the oldest is given up if too many wait.
    pub(super) fn push_report(&mut self, line: Arc<Vec<u8>>, gauge: &Gauge) {
        if self.give_up(Kind::Report, MAX_REPORTS) {
            self.unsaid.reports += 1;
            count(&gauge.lost, 1);
        }
        self.waiting.push_back((Kind::Report, line));
    }

    /// Queues an event or a reply; the oldest is given up if too many wait.
    pub(super) fn push(&mut self, line: Arc<Vec<u8>>) {
        if self.give_up(Kind::Other, MAX_OTHERS) {
            self.unsaid.others += 1;
        }
        self.waiting.push_back((Kind::Other, line));
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

    /// Writes as much as the client takes.
    ///
    /// # Errors
    ///
    /// Why the client is gone.
    pub(super) fn pump(&mut self, gauge: &Gauge) -> io::Result<()> {
        loop {
            let Some((kind, line)) = &self.writing else {
                self.writing = self.next();
                self.written = 0;
                if self.writing.is_none() {
                    return Ok(());
                }
                continue;
            };
            let rest = line.get(self.written..).unwrap_or_default();
            match self.stream.write(rest) {
                Ok(n) => {
                    count(&gauge.bytes, n as u64);
                    self.written += n;
                    if n == rest.len() {
                        count(&gauge.sent, u64::from(*kind == Kind::Report));
                        self.writing = None;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
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

    /// Reads what has come, and hands on each command.
    ///
    /// # Errors
    ///
    /// Why the client is gone.
    pub(super) fn receive(
        &mut self,
        origin: Origin,
        outbox: &Outbox,
        inbox: &Inbox,
    ) -> io::Result<()> {
        let mut bytes = [0; 4096];
        for _ in 0..TURN / bytes.len() {
            let n = match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed")),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let mut rest = bytes.get(..n).unwrap_or_default();
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                self.append(rest.get(..end).unwrap_or_default());
                rest = rest.get(end + 1..).unwrap_or_default();
                self.command(origin, outbox, inbox);
            }
            self.append(rest);
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > json::MAX_LINE {
            self.overflown = true;
            // a megabyte is not kept for one mistake
            self.line = Vec::new();
        }
        if !self.overflown {
            self.line.extend(bytes);
        }
    }

    fn command(&mut self, origin: Origin, outbox: &Outbox, inbox: &Inbox) {
        if std::mem::take(&mut self.overflown) {
            count(&outbox.gauge.garbled, 1);
            let text = format!("a line of more than {} bytes", json::MAX_LINE);
            let reply = Reply::error(0, ErrorCode::TooLong, text);
            outbox.push(Item::Reply(origin.client, Arc::new(reply)));
        } else if !self.line.trim_ascii().is_empty() {
            let request = json::read_request(&self.line).map_err(Some);
            deliver(request, origin, outbox, inbox);
        }
        self.line.clear();
        self.line.shrink_to(TURN);
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
