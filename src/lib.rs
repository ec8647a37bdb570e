//! Names, boxes and more from a camera, on a robot, without a network.
//!
//! Tarsier is APE (Shen et al., arXiv:2312.02153: align regions with any number of prompts, each
//! encoded alone) made small: a distilled int8 student on the CPU. This crate is the runtime; the
//! recipe that trains and exports the student is in `models/recipe`.
//!
//! ```text
//! photo -> Frame -> letterbox -> u8 planes -> backbone -> head -> objects{box, embedding}
//!                                                                    |
//! Prompts (mapped vocabulary rows, encoded sentences) ----------> align -> select, NMS -> Report -> text | json | coco
//! ```
//!
//! Each stage takes a value and returns a value; [`pipeline::Pipeline`] owns every buffer. Boxes
//! change space once ([`geometry::Letterbox::frame_from_input`]).
//!
//! # Modules
//!
//! A module names itself and those in its row, no other; each row names only rows above it. The
//! program (`main`, `cli`) may name all. `tests/layering.rs` reads this table and holds it. Messages of
//! the links are a crate of their own, [`tarsier_wire`] in `src/wire`, which each may name.
//!
//! | module | may name | does |
//! |---|---|---|
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
//! | [`frame`] | `geometry`, `input`, `team` | photos, and a frame as the planes of a network |
//! | [`capture`] | `frame`, `geometry` | frames from cameras and streams |
//! | [`pack`] | `files`, `geometry`, `head` | the model file, mapped |
//! | [`graph`] | `kernels`, `pack`, `quant`, `team` | QDQ ONNX to an int8 program, run as an operator in a tract plan |
//! | [`prompt`] | `files`, `graph`, `input`, `kernels`, `odds`, `pack`, `quant`, `text` | names and sentences to rows |
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
//! | [`pipeline`] | `detect`, `frame`, `geometry`, `graph`, `ground`, `head`, `kept`, `kernels`, `labels`, `mask`, `odds`, `pack`, `prompt`, `quant`, `scene`, `segment`, `semantic`, `track` | every network of a pack, and every buffer |
//! | [`build`] | `detect`, `files`, `frame`, `graph`, `kernels`, `pack`, `pipeline`, `prompt` | packs, made on the host |
//! | [`run`] | `capture`, `detect`, `frame`, `geometry`, `graph`, `ground`, `input`, `kept`, `labels`, `link`, `mask`, `pack`, `panoptic`, `pipeline`, `prompt`, `protocol`, `quant`, `report`, `scene`, `semantic`, `supervise`, `team`, `track` | the loop of a robot: frames in, reports out, commands between |
//!
//! # Example
//!
//! ```no_run
//! use tarsier::{
//!     detect::Settings, frame::file::ImageFile, graph::op::Execution, kernels::isa::Isa, pack::Pack, pipeline::Pipeline,
//!     prompt::{PromptSet, Request, sentence::SentenceEncoder, vocabulary::Vocabulary}, scene::Report,
//! };
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pack = Pack::open("models/tarsier-s.tarsier".as_ref())?;
//! let execution = Execution { isa: Isa::best(), threads: 1 };
//! let mut pipeline = Pipeline::open(&pack, execution, Settings::default())?;
//! let requests = [Request::Name("person".into()), Request::Sentence("a red cup".into())];
//! let prompts = PromptSet::new(
//!     &requests, &Vocabulary::open(&pack)?, &mut SentenceEncoder::open(&pack, execution)?, pipeline.objects(), None, |_| (),
//! )?;
//! let photo = ImageFile::open("models/sample/astronaut.jpg".as_ref())?;
//! let mut report = Report::new(0, photo.captured, photo.size);
//! pipeline.detect(&photo.frame(0)?, &prompts, &mut report)?;
//! for d in &report.detections {
//!     println!("{} {:.2} {:?}", prompts.prompts()[d.prompt as usize].name, d.score, d.bbox);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Other tasks start from the same frame: [`Pipeline::segment`](pipeline::Pipeline::segment) gives the report's detections their
//! masks, [`Pipeline::cover`](pipeline::Pipeline::cover) names the pixels of stuff, [`panoptic::Segments`] puts both together,
//! [`Pipeline::everything`](pipeline::Pipeline::everything) names all objects, [`Pipeline::ground`](pipeline::Pipeline::ground) finds what
//! a sentence means, and [`Pipeline::detect_inside`](pipeline::Pipeline::detect_inside) looks again, closer.
//!
//! ```no_run
//! # use tarsier::{
//! #     frame::file::ImageFile, labels::LabelMap, panoptic::{Rules, Segments}, pipeline::{Pipeline, PipelineError}, prompt::PromptSet, scene::Report,
//! # };
//! # fn segments(pipeline: &mut Pipeline, prompts: &PromptSet, photo: &ImageFile, stuff: &[u32]) -> Result<Segments, Box<dyn std::error::Error>> {
//! let mut report = Report::new(0, photo.captured, photo.size);
//! pipeline.detect(&photo.frame(0)?, prompts, &mut report)?;
//! pipeline.segment(&mut report)?;
//! let mut map = LabelMap::default();
//! pipeline.cover(prompts, stuff, None, &mut map)?;
//! let segments = Segments::new(&map, &report, |prompt| stuff.contains(&prompt), Rules::default());
//! # Ok(segments)
//! # }
//! ```
//!
//! # What it does not do
//!
//! No network, no GPU, no training. No float networks: what is not int8 is refused when a pack is built.

pub mod build;
pub mod capture;
pub mod detect;
pub mod draw;
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
