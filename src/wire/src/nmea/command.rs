//! `$TSCMD`: commands, read and written.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::{self, Write as _};

use super::{
    MAX_COMMAND, body,
    write::{Bytes, end},
};
use crate::{
    command::{Command, PromptSpec, Region, Request, TaskSpec},
    json::{checked, unknown_command},
    reply::{ErrorCode, Reply},
};

/// The command of a line: `$TSCMD,<id>,<command>,<value>,…*hh`, a carriage return at the end allowed.
///
/// # Errors
///
/// The reply that says what is wrong with it; none if its checksum is missing or wrong.
pub fn read_request(line: &[u8]) -> Result<Request, Option<Reply>> {
    let body = body(line).ok_or(None)?;
    let malformed = |text: &str| Some(Reply::error(0, ErrorCode::Malformed, text));
    let text = core::str::from_utf8(body).map_err(|_| malformed("not UTF-8"))?;
    let mut fields = text.split(',');
    if fields.next() != Some("TSCMD") {
        return Err(malformed("only TSCMD is read here"));
    }
    let id = fields.next().unwrap_or_default();
    let id = id.parse().map_err(|_| malformed("the id is no number"))?;
    let name = fields.next().unwrap_or_default();
    let values: Vec<&str> = fields.collect();
    if !Command::NAMES.contains(&name) {
        return Err(Some(unknown_command(id, name)));
    }
    let invalid = |text| Some(Reply::error(id, ErrorCode::Invalid, text));
    let command = command(name, &values).map_err(invalid)?;
    checked(id, command).map_err(Some)
}

fn command(name: &str, values: &[&str]) -> Result<Command, String> {
    let prompts = || {
        let specs = values.iter().map(|text| PromptSpec::from(*text));
        specs.collect::<Vec<_>>()
    };
    let command = match (name, values) {
        ("set_prompts", [_, ..]) => Command::SetPrompts { prompts: prompts() },
        ("add_prompts", [_, ..]) => Command::AddPrompts { prompts: prompts() },
        ("remove_prompts", [_, ..]) => Command::RemovePrompts {
            prompts: values.iter().map(|text| (*text).to_owned()).collect(),
        },
        ("get_prompts", []) => Command::GetPrompts { from: 0, count: 20 },
        ("get_prompts", [from, count]) => Command::GetPrompts {
            from: number(from)?,
            count: number(count)?,
        },
        ("get_presence", []) => Command::GetPresence { from: 0, count: 20 },
        ("get_presence", [from, count]) => Command::GetPresence {
            from: number(from)?,
            count: number(count)?,
        },
        ("set_threshold", [threshold]) => Command::SetThreshold {
            threshold: optional(threshold)?,
            prompt: None,
        },
        ("set_threshold", [threshold, prompt]) => Command::SetThreshold {
            threshold: optional(threshold)?,
            prompt: Some((*prompt).to_owned()),
        },
        ("set_rate", [fps]) => Command::SetRate {
            fps: optional(fps)?,
        },
        ("set_region", []) => Command::SetRegion { region: None },
        ("set_region", sides) => Command::SetRegion {
            region: Some(region(sides)?),
        },
        ("mask", [sequence, detection]) => Command::Mask {
            sequence: number(sequence)?,
            detection: number(detection)?,
            bits: false,
        },
        ("set_task", parts) => Command::SetTask { task: task(parts)? },
        ("enrol", [name, sides @ ..]) => Command::Enrol {
            name: (*name).to_owned(),
            region: region(sides)?,
        },
        ("hello", []) => Command::Hello {},
        ("pause", []) => Command::Pause {},
        ("resume", []) => Command::Resume {},
        ("report_once", []) => Command::ReportOnce {},
        ("telemetry", []) => Command::Telemetry {},
        ("self_test", []) => Command::SelfTest {},
        ("reload_pack", []) => Command::ReloadPack {},
        _ => return Err(format!("{name} does not take {} values", values.len())),
    };
    Ok(command)
}

/// The parts of a task that need no text: their names.
fn task(parts: &[&str]) -> Result<TaskSpec, String> {
    let mut task = TaskSpec::default();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        match *part {
            "masks" => task.masks = true,
            "semantic" => task.semantic = true,
            "panoptic" => task.panoptic = true,
            "separate_stuff" => task.separate_stuff = true,
            "everything" => task.everything = true,
            "presence" => task.presence = true,
            other => {
                return Err(format!(
                    "{other:?} is no part of a task that can be set here"
                ));
            }
        }
    }
    Ok(task)
}

fn number<T: core::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not the number that is expected"))
}

/// An empty field is no value.
fn optional<T: core::str::FromStr>(text: &str) -> Result<Option<T>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    number(text).map(Some)
}

fn region(sides: &[&str]) -> Result<Region, String> {
    let [x, y, width, height] = sides else {
        return Err(format!("a region has 4 numbers, not {}", sides.len()));
    };
    Ok(Region {
        x_offset: number(x)?,
        y_offset: number(y)?,
        width: number(width)?,
        height: number(height)?,
    })
}

/// Why a command has no sentence: only JSON can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsayable {
    /// A text has a comma, or a character that is not a part of a sentence.
    Text,
    /// It has more to say than a sentence has fields for: a prompt with options, a mask as bits, the
    /// texts of a task, an empty list.
    Value,
    /// It would have more than [`MAX_COMMAND`] bytes.
    TooLong,
}

impl fmt::Display for Unsayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text has a character that no sentence has"),
            Self::Value => f.write_str("a value that no sentence has a field for"),
            Self::TooLong => write!(f, "a sentence of more than {MAX_COMMAND} bytes"),
        }
    }
}

impl core::error::Error for Unsayable {}

/// Appends a command, line end included.
///
/// # Errors
///
/// [`Unsayable`]; `out` is as it was.
pub fn write_request(request: &Request, out: &mut Vec<u8>) -> Result<(), Unsayable> {
    let fields = fields(&request.command)?;
    let sayable = |c: char| !c.is_control() && !",$*".contains(c);
    if !fields.iter().all(|field| field.chars().all(sayable)) {
        return Err(Unsayable::Text);
    }
    let start = out.len();
    // a Vec takes everything
    let _ = write!(Bytes(out), "$TSCMD,{}", request.id);
    for field in fields {
        let _ = write!(Bytes(out), ",{field}");
    }
    end(out, start);
    // the line feed does not count
    if out.len() - start > MAX_COMMAND + 1 {
        out.truncate(start);
        return Err(Unsayable::TooLong);
    }
    Ok(())
}

/// A command's name and values.
fn fields(command: &Command) -> Result<Vec<String>, Unsayable> {
    let optional = |value: Option<f32>| value.map_or_else(String::new, |v| v.to_string());
    let plain = |spec: &PromptSpec| {
        let plain = PromptSpec::from(spec.text.as_str()) == *spec;
        plain.then(|| spec.text.clone()).ok_or(Unsayable::Value)
    };
    let sides = |region: &Region| {
        [
            region.x_offset,
            region.y_offset,
            region.width,
            region.height,
        ]
        .map(|n| n.to_string())
    };
    let (name, values): (&str, Vec<String>) = match command {
        Command::Hello {} => ("hello", Vec::new()),
        Command::GetPrompts { from, count } => {
            ("get_prompts", [from, count].map(|n| n.to_string()).into())
        }
        Command::GetPresence { from, count } => {
            ("get_presence", [from, count].map(|n| n.to_string()).into())
        }
        Command::SetPrompts { prompts } => (
            "set_prompts",
            prompts.iter().map(plain).collect::<Result<_, _>>()?,
        ),
        Command::AddPrompts { prompts } => (
            "add_prompts",
            prompts.iter().map(plain).collect::<Result<_, _>>()?,
        ),
        Command::RemovePrompts { prompts } => ("remove_prompts", prompts.clone()),
        Command::SetThreshold { threshold, prompt } => {
            let values = [Some(optional(*threshold)), prompt.clone()];
            ("set_threshold", values.into_iter().flatten().collect())
        }
        Command::SetRate { fps } => ("set_rate", [optional(*fps)].into()),
        Command::SetRegion { region } => ("set_region", region.iter().flat_map(sides).collect()),
        Command::Pause {} => ("pause", Vec::new()),
        Command::Resume {} => ("resume", Vec::new()),
        Command::ReportOnce {} => ("report_once", Vec::new()),
        Command::Mask { bits: true, .. } => return Err(Unsayable::Value),
        Command::Mask {
            sequence,
            detection,
            ..
        } => ("mask", [sequence.to_string(), detection.to_string()].into()),
        Command::SetTask { task } => ("set_task", parts(task)?),
        Command::Enrol { name, region } => (
            "enrol",
            [name.clone()].into_iter().chain(sides(region)).collect(),
        ),
        Command::Telemetry {} => ("telemetry", Vec::new()),
        Command::SelfTest {} => ("self_test", Vec::new()),
        Command::ReloadPack {} => ("reload_pack", Vec::new()),
    };
    let lists = matches!(
        command,
        Command::SetPrompts { .. } | Command::AddPrompts { .. } | Command::RemovePrompts { .. }
    );
    if lists && values.is_empty() {
        return Err(Unsayable::Value);
    }
    Ok([name.to_owned()].into_iter().chain(values).collect())
}

/// The parts of a task that need no text.
fn parts(task: &TaskSpec) -> Result<Vec<String>, Unsayable> {
    if !task.stuff.is_empty() || !task.ground.is_empty() {
        return Err(Unsayable::Value);
    }
    let parts = [
        (task.masks, "masks"),
        (task.semantic, "semantic"),
        (task.panoptic, "panoptic"),
        (task.separate_stuff, "separate_stuff"),
        (task.everything, "everything"),
        (task.presence, "presence"),
    ];
    let asked = parts.into_iter().filter(|(asked, _)| *asked);
    Ok(asked.map(|(_, name)| name.to_owned()).collect())
}
