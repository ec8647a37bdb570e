//! Frames on a tty: binary or JSON reports, JSON commands.

use super::{
    config::{Payload, SerialConfig},
    line::{Dialect, Life},
    queue::Item,
};
use crate::protocol::{
    ErrorCode, Event, Reply, Request, binary,
    frame::{Deframer, FrameError, Framer, Kind, MAX_PAYLOAD},
    json,
};

/// What frames look like on one line.
#[derive(Debug)]
pub(super) struct Frames {
    framer: Framer,
    deframer: Deframer,
    format: Payload,
}

impl Frames {
    pub(super) const fn new(config: &SerialConfig) -> Self {
        Self {
            framer: Framer::new(),
            deframer: Deframer::new(),
            format: config.format,
        }
    }
}

impl Dialect for Frames {
    fn write(&mut self, item: &Item, out: &mut Vec<u8>) {
        let framer = &mut self.framer;
        let written = match item {
            Item::Report(envelope) => match (&**envelope, self.format) {
                (envelope, Payload::Binary) => {
                    let report = |p: &mut Vec<u8>| binary::write_report(envelope, p);
                    let written = framer.frame(Kind::Report, report, out);
                    // what follows is shorter than the report; all are one item and are sent or lost together
                    if written.is_ok() && !envelope.report.sights.is_empty() {
                        let sights = |p: &mut Vec<u8>| binary::write_sights(envelope, p);
                        let _ = framer.frame(Kind::Sights, sights, out);
                    }
                    if written.is_ok() && !envelope.report.presences.is_empty() {
                        let presence = |p: &mut Vec<u8>| binary::write_presence(envelope, p);
                        // `[limits] presences` keeps it as short
                        let _ = framer.frame(Kind::Presence, presence, out);
                    }
                    if written.is_ok() && envelope.report.is_smoothed() {
                        let smoothed = |p: &mut Vec<u8>| binary::write_smoothed(envelope, p);
                        let _ = framer.frame(Kind::Smoothed, smoothed, out);
                    }
                    written
                }
                (envelope, Payload::Json) => {
                    framer.frame(Kind::JsonReport, |p| json::write_report(envelope, p), out)
                }
            },
            Item::Event(event) => match &**event {
                Event::Scene(happening) => {
                    let payload = |p: &mut Vec<u8>| binary::write_happening(event, happening, p);
                    framer.frame(Kind::Happening, payload, out)
                }
                event => framer.frame(Kind::Event, |p| binary::write_event(event, p), out),
            },
            Item::Reply(_, reply) => {
                framer.frame(Kind::Reply, |p| binary::write_reply(reply, p), out)
            }
        };
        if let (Err(FrameError::TooLong), Item::Reply(_, reply)) = (written, item) {
            let text = format!("the answer is longer than {MAX_PAYLOAD} bytes; ask for less");
            let reply = Reply::error(reply.id(), ErrorCode::TooLong, text);
            // this one is short
            let _ = framer.frame(Kind::Reply, |p| binary::write_reply(&reply, p), out);
        }
    }

    fn heartbeat(&mut self, life: &Life, out: &mut Vec<u8>) {
        let Life {
            run,
            state,
            sent,
            lost,
        } = *life;
        let payload = |p: &mut Vec<u8>| binary::write_heartbeat(run, state, sent, lost, p);
        // 13 bytes are never too long
        let _ = self.framer.frame(Kind::Heartbeat, payload, out);
    }

    fn read(&mut self, bytes: &[u8], take: &mut dyn FnMut(Result<Request, Option<Reply>>)) {
        self.deframer.push(bytes, |frame| match frame {
            Ok(frame) if frame.kind == Kind::Command => {
                take(json::read_request(frame.payload).map_err(Some));
            }
            // what a program like this one sends: a loop in the wiring
            Ok(_) => take(Err(None)),
            Err(FrameError::Version(v)) => take(Err(Some(Reply::error(
                0,
                ErrorCode::Malformed,
                FrameError::Version(v).to_string(),
            )))),
            Err(_) => take(Err(None)),
        });
    }

    fn clear(&mut self) {
        self.deframer.clear();
    }
}
