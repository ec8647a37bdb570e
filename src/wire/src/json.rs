//! One message, one line of JSON, without its line feed.
//!
//! Every line is an object whose first field, `type`, is `report`, `event` or `reply`. Commands are
//! objects with a field `command`, and are strict: an unknown field is an error and not a typing
//! mistake that passes for a default. Readers of the rest pass over fields that they do not know.

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    command::{Command, Request},
    event::Event,
    reply::{Answer, ErrorCode, Reply},
    report::{Report, ToReport},
};

/// Longest line that is read, in bytes, the line feed left out.
pub const MAX_LINE: usize = 1 << 20;

/// A message, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// A frame's report.
    Report(Report<'a>),
    /// Something that happened.
    Event(Event),
    /// The answer to a command.
    Reply(Reply),
}

/// Why a line is no message.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// It is no JSON, or its fields have not what they should.
    Json(serde_json::Error),
    /// Its `type` is none of this version's: to be passed over.
    Type(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(_) => f.write_str("no message of the wire"),
            Self::Type(name) => write!(f, "no message has the type {name:?}"),
        }
    }
}

impl core::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            #[cfg(feature = "std")]
            Self::Json(e) => Some(e),
            _ => None,
        }
    }
}

impl From<serde_json::Error> for ReadError {
    fn from(e: serde_json::Error) -> Self {
        Self::Json(e)
    }
}

/// Reads a message. Texts without escapes stay where they are in the line.
///
/// # Errors
///
/// [`ReadError`]; also an event or an answer that this version does not know, which a reader passes
/// over.
pub fn read(line: &[u8]) -> Result<Message<'_>, ReadError> {
    #[derive(Deserialize)]
    struct Tag<'a> {
        #[serde(borrow, rename = "type")]
        name: Cow<'a, str>,
    }
    let tag: Tag<'_> = serde_json::from_slice(line)?;
    Ok(match &*tag.name {
        "report" => Message::Report(serde_json::from_slice(line)?),
        "event" => Message::Event(serde_json::from_slice(line)?),
        "reply" => Message::Reply(serde_json::from_slice::<ReplyLine<'_>>(line)?.into()),
        name => return Err(ReadError::Type(name.to_string())),
    })
}

/// Appends a report.
pub fn write_report(report: &impl ToReport, out: &mut Vec<u8>) {
    let whole = write_report_within(report, usize::MAX, out);
    debug_assert!(whole, "all keys of our messages are texts");
}

/// Appends a report, if it has no more than so many bytes: whether it has. If not, a part of it may
/// have been written, and with `std` no more memory used.
pub fn write_report_within(report: &impl ToReport, most: usize, out: &mut Vec<u8>) -> bool {
    report.to_report(|report| append(report, most, out))
}

/// Appends an event.
pub fn write_event(event: &Event, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    #[serde(tag = "type", rename = "event")]
    struct Line<'a> {
        #[serde(flatten)]
        event: &'a Event,
    }
    append_whole(&Line { event }, out);
}

/// A reply as it stands on a line.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "reply")]
struct ReplyLine<'a> {
    id: u32,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Cow<'a, Answer>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    error: Option<Refusal<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Refusal<'a> {
    code: u8,
    name: ErrorCode,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

impl<'a> From<&'a Reply> for ReplyLine<'a> {
    fn from(reply: &'a Reply) -> Self {
        match reply {
            Reply::Ack { id, answer } => Self {
                id: *id,
                ok: true,
                answer: Some(Cow::Borrowed(answer)).filter(|a| **a != Answer::Done),
                error: None,
            },
            Reply::Error { id, code, text } => Self {
                id: *id,
                ok: false,
                answer: None,
                error: Some(Refusal {
                    code: *code as u8,
                    name: *code,
                    text: text.into(),
                }),
            },
        }
    }
}

impl From<ReplyLine<'_>> for Reply {
    fn from(line: ReplyLine<'_>) -> Self {
        let id = line.id;
        match line.error {
            Some(Refusal { code, text, .. }) => Self::Error {
                id,
                code: ErrorCode::from_number(code).unwrap_or(ErrorCode::Unknown),
                text: text.into_owned(),
            },
            None if line.ok => Self::Ack {
                id,
                answer: line.answer.map_or(Answer::Done, Cow::into_owned),
            },
            None => Self::error(id, ErrorCode::Unknown, ""),
        }
    }
}

/// Appends a reply.
pub fn write_reply(reply: &Reply, out: &mut Vec<u8>) {
    append_whole(&ReplyLine::from(reply), out);
}

/// Appends a command.
pub fn write_request(request: &Request, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Line<'a> {
        id: u32,
        #[serde(flatten)]
        command: &'a Command,
    }
    let Request { id, command } = request;
    append_whole(&Line { id: *id, command }, out);
}

fn append_whole(line: &impl Serialize, out: &mut Vec<u8>) {
    let whole = append(line, usize::MAX, out);
    debug_assert!(whole, "all keys of our messages are texts");
}

/// Appends a value, if it has no more than so many bytes: whether it has.
#[cfg(feature = "std")]
fn append(value: &impl Serialize, most: usize, out: &mut Vec<u8>) -> bool {
    /// Bytes to a Vec, as long as there are not too many.
    struct Within<'a> {
        out: &'a mut Vec<u8>,
        left: usize,
    }

    impl std::io::Write for Within<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let left = self.left.checked_sub(bytes.len());
            self.left = left.ok_or(std::io::ErrorKind::FileTooLarge)?;
            self.out.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Within { out, left: most }, value).is_ok()
}

/// Appends a value, if it has no more than so many bytes: whether it has. Through memory of its
/// own: without `std` there is no other way to this writer of JSON.
#[cfg(not(feature = "std"))]
fn append(value: &impl Serialize, most: usize, out: &mut Vec<u8>) -> bool {
    match serde_json::to_vec(value) {
        Ok(bytes) if bytes.len() <= most => {
            out.extend_from_slice(&bytes);
            true
        }
        _ => false,
    }
}

/// Reads a command.
///
/// # Errors
///
/// The reply that says what is wrong with it.
pub fn read_request(line: &[u8]) -> Result<Request, Reply> {
    let malformed = |text: String| Reply::error(0, ErrorCode::Malformed, text);
    let mut object: Map<String, Value> =
        serde_json::from_slice(line).map_err(|e| malformed(format!("no JSON object: {e}")))?;
    let id = match object.remove("id") {
        None => 0,
        Some(id) => id
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| malformed(format!("id is {id}; 0 to {} is expected", u32::MAX)))?,
    };
    let Some(name) = object.get("command").and_then(Value::as_str) else {
        return Err(Reply::error(
            id,
            ErrorCode::Malformed,
            "no field command with a text",
        ));
    };
    if !Command::NAMES.contains(&name) {
        return Err(unknown_command(id, name));
    }
    let command: Command = serde_json::from_value(Value::Object(object))
        .map_err(|e| Reply::error(id, ErrorCode::Invalid, e.to_string()))?;
    checked(id, command)
}

/// The command if all its values are possible.
pub(crate) fn checked(id: u32, command: Command) -> Result<Request, Reply> {
    match command.check() {
        Ok(()) => Ok(Request { id, command }),
        Err(why) => Err(Reply::error(id, ErrorCode::Invalid, why)),
    }
}

/// The reply to a command that there is not; with `std` it has the name that is written most like
/// it.
pub(crate) fn unknown_command(id: u32, name: &str) -> Reply {
    let name: String = name.chars().take(40).collect();
    #[cfg_attr(not(feature = "std"), expect(unused_mut))]
    let mut text = format!("no command {name:?}");
    #[cfg(feature = "std")]
    {
        let likeness = |known: &&&str| (strsim::jaro_winkler(known, &name) * 1e6) as u32;
        let nearest = Command::NAMES.iter().max_by_key(likeness).unwrap_or(&"");
        text.push_str("; nearest is ");
        text.push_str(nearest);
    }
    Reply::error(id, ErrorCode::UnknownCommand, text)
}

#[cfg(test)]
mod tests;
