//! Sentences on a tty, for a microcontroller.

use super::{
    config::TextConfig,
    line::{Dialect, Life},
    queue::Item,
};
use crate::protocol::{
    Reply, Request,
    nmea::{self, SentenceReader},
};

/// What sentences look like on one line.
#[derive(Debug)]
pub(super) struct Sentences {
    reader: SentenceReader,
    max_detections: usize,
}

impl Sentences {
    pub(super) const fn new(config: &TextConfig) -> Self {
        Self {
            reader: SentenceReader::new(),
            max_detections: config.max_detections as usize,
        }
    }
}

impl Dialect for Sentences {
    fn write(&mut self, item: &Item, out: &mut Vec<u8>) {
        match item {
            Item::Report(envelope) => nmea::write_report(&**envelope, self.max_detections, out),
            Item::Event(event) => nmea::write_event(event, out),
            Item::Reply(_, reply) => nmea::write_reply(reply, out),
        }
    }

    fn heartbeat(&mut self, life: &Life, out: &mut Vec<u8>) {
        nmea::write_heartbeat(life.state, life.sent, life.lost, out);
    }

    fn read(&mut self, bytes: &[u8], take: &mut dyn FnMut(Result<Request, Option<Reply>>)) {
        self.reader.push(bytes, take);
    }

    fn clear(&mut self) {
        self.reader.clear();
    }
}
