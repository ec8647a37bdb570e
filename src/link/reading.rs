//! Long lines, read on threads of their own: a megabyte of JSON takes tens of milliseconds, in which no client would be served and
//! no report be sent. The client that sent one is read from again when it is read, so that its commands keep their order.

use std::{
    sync::Arc,
    thread::{Builder, JoinHandle},
};

use super::queue::Outbox;
use crate::{
    protocol::{ErrorCode, Reply, Request, json},
    supervise,
};

/// Bytes of a line from which it is long.
pub(super) const LONG: usize = 16 << 10;

/// A line that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    /// Its bytes, as the queue of commands counts them.
    pub(super) bytes: usize,
    thread: JoinHandle<Result<Request, Reply>>,
}

impl Reading {
    /// Begins to read a line; the link's thread is woken when that is done.
    pub(super) fn start(line: Vec<u8>, outbox: &Arc<Outbox>) -> Result<Self, Reply> {
        let (bytes, outbox) = (line.len(), Arc::clone(outbox));
        let read = move || {
            supervise::step_back();
            let read = json::read_request(&line);
            drop(line);
            outbox.wake();
            read
        };
        let builder = Builder::new().name("reading".into());
        match builder.spawn(read) {
            Ok(thread) => Ok(Self { bytes, thread }),
            Err(e) => {
                let why = format!("no thread to read it: {e}");
                Err(Reply::error(0, ErrorCode::Failed, why))
            }
        }
    }

    /// Whether it is read.
    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// What was read; waits for it.
    pub(super) fn end(self) -> Result<Request, Reply> {
        let bug = |_| {
            let why = "reading it was given up: a bug";
            Err(Reply::error(0, ErrorCode::Failed, why))
        };
        self.thread.join().unwrap_or_else(bug)
    }
}
