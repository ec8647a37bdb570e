//! What goes over the links of [Tarsier](https://docs.rs/tarsier), an object detector for robots:
//! messages as values, and as bytes in three forms, read and written.
//!
//! ```text
//! Report, Event, Reply <--json---> line ----------------------> socket
//!                      <--binary-> payload <--frame--> COBS --> serial line
//!                      <--nmea---> $TS...*hh -----------------> serial line, text
//! Request <--json--> line | payload of a frame, <--nmea--> $TSCMD,...*hh: any of them
//! ```
//!
//! | module | has |
//! |---|---|
//! | [`report`] | what was found in a frame |
//! | [`event`], [`happening`] | what happens beside reports, and in the scene |
//! | [`command`], [`reply`] | what can be asked for, and the answers |
//! | [`rate`] | frames a second that can be asked for |
//! | [`json`] | a message as a line of JSON |
//! | [`binary`] | a message as the payload of a frame |
//! | [`frame`] | a frame around a payload: sequence, CRC-32, COBS; and the decoder that resynchronises |
//! | [`nmea`] | a message as lines of at most 82 characters, as NMEA 0183 has them |
//! | [`list`], [`buffer`] | lists that are made while they are written; where bytes wait |
//!
//! The wire is specified in `WIRE.md`, from which a reader in another language can be written; its
//! examples are tests of this crate. [`WIRE_VERSION`] counts changes that such a reader would notice,
//! whatever the crate's version.
//!
//! # Who reads what
//!
//! A program on a computer reads lines of a socket with [`json::read`]. A microcontroller pushes the
//! bytes of a serial line into a [`frame::Deframer`] with a [`buffer::Fixed`] place and reads payloads
//! with [`binary::read`], which allocates nothing; so does [`nmea::Sentence::read`].
//!
//! ```
//! use tarsier_wire::{binary::{self, Payload}, buffer::Fixed, frame::{Deframer, encoded_length}};
//!
//! // 20 detections, of 14 bytes each
//! let mut deframer = Deframer::<Fixed<{ encoded_length(50 + 20 * 14) }>>::fixed();
//! # let from_the_line = [0];
//! deframer.push(&from_the_line, |frame| {
//!     if let Ok(frame) = frame && let Ok(Payload::Report(report)) = binary::read(&frame) {
//!         for found in report.detections.iter() {
//!             // steer towards found.bbox.center
//!         }
//!     }
//! });
//! ```
//!
//! # Features
//!
//! The crate needs a heap (`alloc`) and no operating system. `std` writes JSON without memory of its
//! own, makes a [`Stamp`] of the system's time, and names the nearest command in the answer to one that
//! there is not.

#![cfg_attr(not(any(test, feature = "std")), no_std)]

extern crate alloc;

pub mod binary;
pub mod buffer;
pub mod command;
pub mod event;
pub mod frame;
pub mod happening;
pub mod json;
pub mod list;
pub mod nmea;
pub mod rate;
pub mod reply;
pub mod report;
mod rounded;

#[cfg(test)]
mod page;
#[cfg(test)]
mod samples;

pub use command::{Command, PromptSpec, Request};
pub use event::{Event, LinkHealth, State, Telemetry};
pub use happening::Happening;
pub use json::Message;
pub use reply::{Answer, ErrorCode, Reply};
pub use report::{Drops, Report, Stamp, ToReport};
pub use rounded::{px, score};

/// The version of the wire that this crate speaks.
pub const WIRE_VERSION: u8 = 1;
