//! Names, boxes and more from a camera, on a robot, without a network.
//!
//! Tarsier is APE (Shen et al., arXiv:2312.02153: align regions with any number of prompts, each
//! encoded alone) made small: a distilled int8 student on the CPU. This crate is the runtime; the
//! recipe that trains and exports the student is in `models/recipe`.
//!
//! ```text
//! photo ─▶ Frame ─▶ Model::look ─▶ Look ─▶ detect ─▶ Findings: masks, presence, tracks ─▶ Report ─▶ text | json | coco
//!                     ▲              └──▶ stuff, ground, everything, objects
//! pack ─▶ Model ──────┘
//!           └──▶ prompts(names, words of one's own, sentences) ─▶ Prompts
//! ```
//!
//! A [`Model`] owns a pack and all that is made of it; a [`Look`] is one frame, seen once, and borrows the model; a [`Frame`] knows
//! where it lies in the whole picture. Boxes change space once ([`geometry::Letterbox::frame_from_input`]).
//!
//! # Modules
//!
//! A module names itself and those in its row, no other; each row names only rows above it. The
//! program (`main`, `cli`) may name all. `tests/layering.rs` reads this table and holds it. Messages of
//! the links are a crate of their own, [`tarsier_wire`] in `src/wire`, which each may name.
//!
//! | module | may name | does |
//! |---|---|---|
//! | [`error`] | – | the one error of the front door: kind, context, cause |
//! | [`files`] | – | writing files whole or not at all |
//! | [`kept`] | – | lists that keep the memory of their items from frame to frame |
//! | [`geometry`] | – | sizes, boxes, crops, [cameras](geometry::camera); [`geometry::Letterbox`] is where boxes change space |
//! | [`odds`] | – | scores, odds and their logarithms, the same bits everywhere |
//! | [`quant`] | – | what a byte means, and the one rule from sums to bytes |
//! | [`supervise`] | – | threads that are started again after a panic |
//! | [`team`] | – | threads that share the rows of an operation, or stay behind others |
//! | [`head`] | – | what kind of detection head a network has |
//! | [`input`] | – | texts of people: configurations, lists, names |
//! | [`mask`] | `geometry` | masks as run lengths, and their outlines |
//! | [`labels`] | `geometry`, `kept`, `mask` | maps of one label per pixel |
//! | [`scene`] | `geometry`, `kept`, `mask` | [`scene::Report`]: what was found in a frame |
//! | [`kernels`] | `quant`, `team` | arithmetic: one file per operation and instruction set, bit-equal to `scalar` |
//! | [`text`] | `input` | names normalised, sentences as subwords |
//! | [`frame`] | `error`, `geometry`, `input`, `team` | photos, and a frame as the planes of a network |
//! | [`capture`] | `frame`, `geometry` | frames from cameras and streams |
//! | [`pack`] | `error`, `files`, `geometry`, `head` | the model file, mapped |
//! | [`graph`] | `error`, `kernels`, `pack`, `quant`, `team` | QDQ ONNX to an int8 program, run as an operator in a tract plan |
//! | [`prompt`] | `error`, `files`, `graph`, `input`, `kernels`, `odds`, `pack`, `quant`, `text` | names and sentences to rows |
//! | [`detect`] | `geometry`, `head`, `kernels`, `odds`, `pack`, `prompt`, `quant`, `scene`, `team` | proposals, boxes, selection |
//! | [`ground`] | `detect`, `frame`, `geometry`, `kernels`, `quant` | which object a sentence means |
//! | [`segment`] | `detect`, `geometry`, `kernels`, `mask` | masks of detections |
//! | [`semantic`] | `geometry`, `labels`, `scene`, `segment` | the pixels of stuff |
//! | [`panoptic`] | `geometry`, `kept`, `labels`, `mask`, `odds`, `scene` | masks and stuff in one map |
//! | [`track`] | `geometry`, `odds`, `scene` | ids that stay from frame to frame |
//! | [`draw`] | `files`, `frame`, `geometry`, `labels`, `mask`, `panoptic`, `scene` | pictures of what was found |
//! | [`report`] | `draw`, `geometry`, `ground`, `labels`, `mask`, `odds`, `panoptic`, `scene` | text, JSON, COCO |
//! | [`protocol`] | `geometry`, `kept`, `mask`, `report`, `scene` | reports in the shapes of the wire; messages and their bytes are those of [`tarsier_wire`] |
//! | [`link`] | `protocol`, `supervise` | threads that send and receive them |
//! | [`pipeline`] | `detect`, `error`, `frame`, `geometry`, `graph`, `ground`, `head`, `kept`, `kernels`, `labels`, `mask`, `odds`, `pack`, `panoptic`, `prompt`, `quant`, `scene`, `segment`, `semantic`, `team`, `track` | every network of a pack, every buffer, and the [`Look`] that borrows them |
//! | [`model`] | `detect`, `error`, `frame`, `graph`, `kernels`, `pack`, `pipeline`, `prompt`, `team` | [`Model`]: a pack and all that is made of it, put together in one place |
//! | [`build`] | `detect`, `error`, `files`, `frame`, `graph`, `kernels`, `pack`, `pipeline`, `prompt`, `team` | packs, made on the host |
//! | [`run`] | `capture`, `detect`, `error`, `frame`, `geometry`, `graph`, `ground`, `input`, `kept`, `labels`, `link`, `mask`, `model`, `pack`, `panoptic`, `pipeline`, `prompt`, `protocol`, `quant`, `report`, `scene`, `semantic`, `supervise`, `team`, `track` | the loop of a robot: frames in, reports out, commands between |
//!
//! # Example
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut model = tarsier::Model::open("models/tarsier-s.tarsier")?;
//! let prompts = model.prompts(["person", "a red cup on the table"])?;
//! let photo = tarsier::Photo::open("models/sample/astronaut.jpg")?;
//! for found in model.look(&photo)?.detect(&prompts)? {
//!     println!("{} {:.2} {:?}", found.name, found.score, found.bbox);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The same from pixels in memory, with masks:
//!
//! ```no_run
//! # fn of_buffer(model: &mut tarsier::Model, prompts: &tarsier::Prompts, rgb: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! let size = tarsier::Size::new(640, 480);
//! let frame = tarsier::Frame::new(rgb, size, 0, std::time::SystemTime::now())?;
//! let mut look = model.look(&frame)?;
//! let mut found = look.detect(prompts)?;
//! found.masks()?;
//! for found in &found {
//!     println!("{} has {} pixels", found.name, found.mask.map_or(0, |mask| mask.area()));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Other tasks are asked of the same look: [`Look::stuff`] names the pixels of stuff, [`Look::panoptic`] puts both together,
//! [`Look::everything`] names all objects, [`Look::ground`] finds what a sentence means, and [`Findings::inside`] looks again, closer.
//!
//! # What it does not do
//!
//! No network, no GPU, no training. No float networks: what is not int8 is refused when a pack is built.

pub mod build;
pub mod capture;
pub mod detect;
pub mod draw;
pub mod error;
pub mod files;
pub mod frame;
pub mod geometry;
pub mod graph;
pub mod ground;
pub mod head;
pub mod input;
pub mod kept;
pub mod kernels;
pub mod labels;
pub mod link;
pub mod mask;
pub mod model;
pub mod odds;
pub mod pack;
pub mod panoptic;
pub mod pipeline;
pub mod prompt;
pub mod protocol;
pub mod quant;
pub mod report;
pub mod run;
pub mod scene;
pub mod segment;
pub mod semantic;
pub mod supervise;
pub mod team;
pub mod text;
pub mod track;

pub use error::{Error, ErrorKind};
pub use frame::{Frame, file::Photo};
pub use geometry::{BBox, Size};
pub use mask::Mask;
pub use model::{Model, ModelLimits, ModelOptions};
pub use pipeline::{Findings, Found, Look};
pub use prompt::PromptSet as Prompts;
pub use scene::Report;

/// The example of README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
