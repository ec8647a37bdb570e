//! What the program says over its links, in the shapes of [`tarsier_wire`]: no input or output, no threads, no clock.
//!
//! ```text
//! Outgoing{Report, Event, Reply} --json--> line ----------------------> socket
//!                                \-binary-> payload --frame--> COBS ---> serial line
//!                                \-nmea---> $TS...*hh -----------------> serial line, text
//! Request <--json- line | payload of a frame | $TSCMD,...*hh <---------- any of them
//! ```
//!
//! | file | has |
//! |---|---|
//! | [`envelope`] | a frame's report on its way out, and its shape on the wire |
//! | [`extras`] | what a report may hold beside detections, likewise |
//!
//! Messages and their three forms are those of the crate `tarsier-wire` in `src/wire`, whose WIRE.md specifies them.

pub mod envelope;
pub mod extras;

pub use envelope::{Envelope, Outgoing, SharedNames};
pub use extras::Extras;
pub use tarsier_wire::{
    Answer, Command, Drops, ErrorCode, Event, Happening, LinkHealth, PromptSpec, Reply, Request,
    State, Telemetry, ToReport, WIRE_VERSION, binary, command, frame, happening, json, nmea, rate,
    reply,
};

// what a frame yields can be said
const _: () = assert!(crate::scene::MAX_DETECTIONS == binary::MAX_DETECTIONS);
