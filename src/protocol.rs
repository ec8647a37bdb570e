//! What goes over a link, as values and as bytes: no input or output, no threads, no clock.
//!
//! ```text
//! Outgoing{Report, Event, Reply} --json--> line ----------------------> socket
//!                                \-binary-> payload --frame--> COBS ---> serial line
//!                                \-sentence-> $TS...*hh ---------------> serial line, text
//! Command <-json- line | payload of a frame | $TSCMD,...*hh <----------- any of them
//! ```
//!
//! | file | one message becomes |
//! |---|---|
//! | [`message`] | – (the values that go out) |
//! | [`extras`] | – (what a report may hold beside detections) |
//! | [`happening`] | – (what happened in the scene: the event of all that sees something appear or go) |
//! | [`command`] | – (the values that come in, and the answers to them) |
//! | [`rate`] | – (frames a second that can be asked for) |
//! | [`json`] | a line of JSON |
//! | [`binary`] | the payload of a frame |
//! | [`frame`] | a frame around a payload: sequence, CRC-32, COBS; and the decoder that resynchronises |
//! | [`sentence`] | lines of at most 82 characters, as NMEA 0183 has them |
//!
//! The wire is specified in `src/protocol/WIRE.md`, from which a reader in another language can be written; its examples are
//! tests of this module. [`WIRE_VERSION`] counts changes that such a reader would notice, whatever the crate's version.

pub mod binary;
pub mod command;
pub mod extras;
pub mod frame;
pub mod happening;
pub mod json;
pub mod message;
pub mod rate;
pub mod sentence;

#[cfg(test)]
mod wire;

pub use command::{Answer, Command, ErrorCode, PromptSpec, Reply, Request};
pub use extras::Extras;
pub use happening::Happening;
pub use message::{Drops, Envelope, Event, LinkHealth, Outgoing, SharedNames, State, Telemetry};

/// The version of the wire that this program speaks.
pub const WIRE_VERSION: u8 = 1;
