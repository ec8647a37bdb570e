//! The most memory that the loop can need, computed before it starts from the pack, the configuration and its [limits].
//!
//! ```text
//! program + pack + networks + vocabulary + prompt sets + task + pairs + frames + detections + reports + clients
//!                 └──── twice: a change is made whole beside what is in use ────┘
//! ```
//!
//! Every part is a bound that the limits hold, not a guess of what is usual: a robot that never meets a hostile client stays far
//! below. What tract and the allocator need beside what is counted is in `program`, an allowance.
//!
//! [limits]: super::limits

use std::fmt;

use super::{config::Config, limits::Limits};
use crate::{
    capture::{
        config::Kind,
        picture::{DEFAULT_LIMIT, jpeg_bytes},
    },
    detect::Settings,
    frame::file::peak_bytes,
    geometry::camera::Sight,
    graph::op::{Execution, Graph},
    link::{MAX_CLIENT_BYTES, MAX_COMMAND_BYTES},
    pack::Pack,
    prompt::vocabulary::Vocabulary,
    scene::{Detection, MAX_DETECTIONS, Smoothed},
};

/// Binary, libraries, stacks, tract's plans, and what the allocator keeps: an allowance; `detect` as a
/// whole, pack included, has a peak of 28.8 MB (tests/bench/RESULTS.md).
const PROGRAM: u64 = 24 << 20;

/// Pictures on their way from the source to the loop, as bytes that were captured: `run/mailbox.rs`.
const PICTURES: u64 = 4;

/// Bytes of a pixel that maps of stuff and segments need: two maps (3 each), owners (2), and runs of one label with their regions,
/// which the grid of the network keeps far longer than two pixels.
const MAPS: u64 = 3 + 3 + 2 + 12;

/// Windows of the mask network are made once for each size (`pipeline/masks/parts.rs`): all that there are have so many times the
/// bytes of the largest.
const WINDOWS: u64 = 12;

/// What is made of each prompt beside its row: requests, rules, thresholds, and places in tables.
const PROMPT: u64 = 640;

/// What is kept of each prompt for its presence: its state, its place, its logit with each object that is compared at once.
const PRESENCE: u64 = 256;

/// How often a text is kept: as asked for, as a request, in normal form, as a name, in two tables.
const COPIES: u64 = 6;

/// Reports in JSON that may be there at once beside one for each client: in queues, and being written.
const REPORTS: u64 = 6;

/// Reports as values that may be there at once beside one for each link: those that wait for a link
/// or to be printed, and the one in the making.
const VALUES: u64 = 16;

/// What a report has of a detection.
const DETECTION: u64 =
    (size_of::<Detection>() + size_of::<u32>() + size_of::<Smoothed>() + size_of::<Sight>()) as u64;

/// A part of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whose it is.
    pub name: &'static str,
    /// The most it can be.
    pub bytes: u64,
}

/// All parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need(Vec<Part>);

impl Need {
    /// Computes what a configuration can need with a pack.
    ///
    /// # Errors
    ///
    /// What is wrong with the pack.
    pub fn of(pack: &Pack, config: &Config, execution: Execution) -> Result<Self, String> {
        let limits = &config.limits;
        let (mut sections, mut networks) = (0, 0);
        for (name, bytes) in pack.sections() {
            sections += bytes.len() as u64;
            let Some(graph) = name.strip_suffix(".onnx") else {
                continue;
            };
            let graph = Graph::load(graph, bytes, |s| pack.find(s), execution);
            let graph = graph.map_err(|e| e.to_string())?;
            let program = graph.program();
            let ports = program.inputs.iter().chain(&program.outputs);
            let ports: u64 = ports.map(|port| port.view.bytes() as u64).sum();
            // inputs and outputs lie in tensors beside the arena, each twice while they are handed on
            let own = u64::from(program.arena_bytes) + 2 * ports;
            networks += own * if name == "masks.onnx" { 1 + WINDOWS } else { 1 };
        }
        let vocabulary = Vocabulary::open(pack).map_err(|e| e.to_string())?;
        let names = vocabulary.entries().len() as u64;
        let width = u64::from(pack.manifest().embedding);
        let table = pack.section("vocabulary.tsv").map_or(0, |s| s.len() as u64);
        let source = config.source.as_ref();
        let frames = source.map_or_else(
            || frames(Kind::Mjpeg, DEFAULT_LIMIT),
            |source| match (source.kind, source.size()) {
                // of no other size than this
                (Kind::Raw, Some(size)) => frames(Kind::Raw, size.pixels()),
                (kind, _) => frames(kind, limits.pixels_of(source)),
            },
        );
        let sockets = config.links.socket.iter();
        let clients: u64 = sockets.map(|s| u64::from(s.max_clients)).sum();
        let report = u64::from(limits.report_bytes);
        let set = prompts(limits.prompts.into(), width, limits.set_bytes.into());
        let everything = prompts(names, width, table);
        // where every prompt finds every place that is proposed
        let pairs = u64::from(limits.prompts) * Settings::default().pair_bytes();
        let values = (VALUES + config.links.all().len() as u64) * MAX_DETECTIONS as u64 * DETECTION;
        Ok(Self(vec![
            part("program", PROGRAM),
            part("pack", 2 * sections),
            part("networks", 2 * networks),
            // names, synonyms and their index
            part("vocabulary", 2 * (4 * table + 160 * names)),
            part("prompt sets", 2 * set),
            // names of a set by their states, twice while a set changes
            part(
                "task",
                2 * everything + 2 * PRESENCE * u64::from(limits.prompts),
            ),
            part("pairs", pairs),
            part("frames", frames),
            part("detections", values),
            part("reports", (REPORTS + clients) * report),
            part("clients", clients * of_client(limits) + MAX_COMMAND_BYTES),
        ]))
    }

    /// The parts, in an order that people read.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// All of them together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|part| part.bytes).sum()
    }

    /// Whether it stays within what the configuration allows.
    ///
    /// # Errors
    ///
    /// Both numbers, and the largest part.
    pub fn within(&self, limits: &Limits) -> Result<(), String> {
        let (need, Some(most)) = (self.bytes(), limits.memory_bytes()) else {
            return Ok(());
        };
        if need <= most {
            return Ok(());
        }
        let largest = self.0.iter().skip(1).max_by_key(|part| part.bytes);
        let largest = largest.map_or(String::new(), |part| {
            format!(
                "; the most of it for {}: {}",
                part.name,
                Megabytes(part.bytes)
            )
        });
        Err(format!(
            "limits.memory is {}; up to {} may be needed{largest}",
            Megabytes(most),
            Megabytes(need)
        ))
    }
}

impl fmt::Display for Need {
    /// A line for all and a line for each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory: up to {}", Megabytes(self.bytes()))?;
        for Part { name, bytes } in &self.0 {
            write!(f, "\n  {name:<12}{:>10}", Megabytes(*bytes).to_string())?;
        }
        Ok(())
    }
}

/// As limits are written: 96M are 96 × 1,048,576 bytes.
struct Megabytes(u64);

impl fmt::Display for Megabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}M", self.0 as f64 / f64::from(1 << 20))
    }
}

const fn part(name: &'static str, bytes: u64) -> Part {
    Part { name, bytes }
}

/// A set of so many prompts with rows of `width` numbers: rows as made, laid flat and packed, and texts of so many bytes.
const fn prompts(count: u64, width: u64, texts: u64) -> u64 {
    count * (4 * width + PROMPT) + COPIES * texts
}

/// What frames of up to so many pixels need, from the source's bytes to label maps.
fn frames(kind: Kind, pixels: u64) -> u64 {
    let jpeg = jpeg_bytes(pixels) as u64;
    let (source, each, decoder) = match kind {
        // what is being put together, with the start of the next; the last, with an end of ours
        Kind::Mjpeg => (3 * jpeg, jpeg, of_jpeg(pixels)),
        // the driver's buffers are the kernel's
        Kind::V4l2 => (0, jpeg.max(3 * pixels), of_jpeg(pixels)),
        // a photo is decoded where it is read, into no picture's memory; the one that waits for it is empty
        Kind::Files => (
            (peak_bytes(pixels)).saturating_sub(3 * pixels),
            3 * pixels,
            0,
        ),
        // what is being put together
        Kind::Raw => (3 * pixels, 3 * pixels, 0),
        Kind::Y4m => (6 * pixels, 3 * pixels, 0),
    };
    // and the part that is looked at
    source + PICTURES * each + decoder + 3 * pixels + MAPS * pixels
}

/// What decoding one needs: its pixels, the same turned, a copy with the marker that it lacked; of a progressive one the
/// coefficients, 2 bytes of each of four components, and which are not zero; its texts and profiles.
fn of_jpeg(pixels: u64) -> u64 {
    let jpeg = jpeg_bytes(pixels) as u64;
    3 * pixels + 3 * pixels + jpeg + 8 * pixels + pixels / 2 + jpeg
}

/// A client: its line and its commands, and the replies to these.
fn of_client(limits: &Limits) -> u64 {
    u64::from(limits.commands) * MAX_CLIENT_BYTES + (1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_exceed_the_limit_is_refused_with_both_numbers_and_the_largest_part() {
        let need = Need(vec![part("program", 20 << 20), part("frames", 80 << 20)]);
        let with = |memory: &str| Limits {
            memory: Some(memory.into()),
            ..Limits::default()
        };
        assert_eq!(need.within(&Limits::default()), Ok(()));
        assert_eq!(need.within(&with("100M")), Ok(()));
        let why = need.within(&with("96M")).expect_err("too much");
        let words =
            "limits.memory is 96.0M; up to 100.0M may be needed; the most of it for frames: 80.0M";
        assert_eq!(why, words);
    }
}
