//! One frame through all stages; owns every buffer, and lends them to one [`Look`] at a time.

use std::{sync::Arc, time::Duration};

use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor};

use crate::{
    detect::{Detector, Field, HeadLevel, HeadOutput, Settings},
    error::{Error, ErrorKind},
    frame::letterbox::Letterboxer,
    geometry::{Letterbox, Size},
    graph::op::{Execution, Graph, GraphError},
    graph::program::Port,
    head::HeadForm,
    kernels::{Isa, layout::LANE},
    pack::Pack,
    quant::Quant,
    team::Team,
};

pub mod everything;
pub mod golden;
mod ground;
pub mod inside;
mod look;
mod masks;
mod places;
mod presence;
mod stuff;

pub use look::{Findings, Found, FoundIter, Look};

/// How long each stage of one frame took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Resize, pad, bytes to the input plane.
    pub letterbox: Duration,
    /// Image to features.
    pub backbone: Duration,
    /// Features to objects.
    pub head: Duration,
    /// Proposals, and the pairs of objects × prompts that pass.
    pub align: Duration,
    /// Pairs to detections.
    pub select: Duration,
}

/// The stages and their buffers, for one pack.
#[derive(Debug)]
pub struct Pipeline {
    letterboxer: Letterboxer,
    /// The input plane; shared with tract while the backbone runs.
    image: Arc<Tensor>,
    backbone: Graph,
    head: Graph,
    grounder: Option<ground::Grounder>,
    masker: Option<masks::Masker>,
    senser: Option<presence::Senser>,
    coverer: Option<stuff::Coverer>,
    namer: everything::Namer,
    /// What the backbone and the head made of the last frame, and how that frame lay in the input;
    /// that is none where no frame was seen that anybody was told of.
    features: TVec<TValue>,
    outputs: TVec<TValue>,
    letterbox: Option<Letterbox>,
    times: StageTimes,
    places: places::Places,
    detector: Detector,
    /// Overlap from which two boxes are at the same place.
    iou: f32,
    objects: Quant,
    execution: Execution,
    team: Team,
}

/// What a pack has networks for, beside detection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// Which pixels an object has.
    pub masks: bool,
    /// What stuff every place of a picture is of.
    pub stuff: bool,
    /// Whether something is in a picture at all.
    pub presence: bool,
    /// Which object a sentence means.
    pub ground: bool,
}

impl Pipeline {
    /// Loads the graphs of a pack and makes all buffers. Frames are seen by the threads of a team.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Pack`], naming the section, graph or contradiction.
    pub fn open(pack: &Pack, isa: Isa, team: &Team, settings: Settings) -> Result<Self, Error> {
        let threads = team.threads();
        let execution = Execution { isa, threads };
        let backbone = load(pack, "backbone", execution)?;
        let head = load(pack, "head", execution)?;
        let manifest = pack.manifest();
        let mismatch = |why: String| Err(Error::mismatch(why));

        let side = manifest.input_px;
        let [image] = backbone.program().inputs.as_slice() else {
            return mismatch(format!(
                "the backbone has {} inputs",
                backbone.program().inputs.len()
            ));
        };
        let view = image.view;
        if !view.image || (view.width, view.height) != (side, side) {
            return mismatch(format!(
                "the backbone takes {}×{}, the manifest says {side}",
                view.width, view.height
            ));
        }
        let features = (
            backbone.program().outputs.len(),
            head.program().inputs.len(),
        );
        if features.0 != features.1 {
            return mismatch(format!(
                "{} features leave the backbone, the head takes {}",
                features.0, features.1
            ));
        }
        for (i, (from, to)) in backbone
            .program()
            .outputs
            .iter()
            .zip(&head.program().inputs)
            .enumerate()
        {
            if !same(from, to) {
                return mismatch(format!(
                    "feature {i} leaves the backbone otherwise than the head takes it"
                ));
            }
        }
        let levels = levels(
            &head.program().outputs,
            &manifest.strides,
            side,
            &manifest.head,
        )?;
        let embedding = &head.program().outputs[0];
        let channels = embedding.view.channels;
        if channels != manifest.embedding || !(channels as usize).is_multiple_of(LANE) {
            return mismatch(format!(
                "embeddings of {channels} channels, the manifest says {}",
                manifest.embedding
            ));
        }
        let shape = view.tensor_shape();
        let plane = Tensor::zero_dt(DatumType::U8, &shape).map_err(|source| GraphError::Tract {
            graph: "backbone".into(),
            source,
        })?;
        let features = &backbone.program().outputs;
        let grounder = ground::Grounder::open(pack, execution, features)?;
        let masker = masks::Masker::open(pack, execution, features)?;
        let senser = presence::Senser::open(pack, execution, features, quant(embedding))?;
        let coverer = stuff::Coverer::open(pack, execution, features, quant(embedding))?;
        Ok(Self {
            coverer,
            namer: everything::Namer::default(),
            grounder,
            masker,
            senser,
            features: TVec::new(),
            outputs: TVec::new(),
            letterbox: None,
            times: StageTimes::default(),
            places: places::Places::default(),
            letterboxer: Letterboxer::new(
                Size::new(side, side),
                manifest.fit,
                manifest.shrink,
                view.border as usize,
                manifest.border,
            ),
            image: Arc::new(plane),
            objects: quant(embedding),
            detector: Detector::new(
                manifest.head,
                &levels,
                manifest.embedding as usize,
                settings,
            )
            .map_err(|e| Error::new(ErrorKind::Pack, e))?,
            iou: settings.iou,
            backbone,
            head,
            execution,
            team: team.clone(),
        })
    }

    /// How object embeddings are quantised, for making prompt sets.
    #[must_use]
    pub const fn objects(&self) -> Quant {
        self.objects
    }

    /// The graphs, in the order in which they run.
    #[must_use]
    pub const fn graphs(&self) -> [&Graph; 2] {
        [&self.backbone, &self.head]
    }

    /// What the pack has networks for.
    #[must_use]
    pub const fn abilities(&self) -> Abilities {
        Abilities {
            masks: self.masker.is_some(),
            stuff: self.coverer.is_some(),
            presence: self.senser.is_some(),
            ground: self.grounder.is_some(),
        }
    }
}

/// The head's tensors, two for each level.
fn levels_of(outputs: &[TValue]) -> heapless::Vec<HeadOutput<'_>, 8> {
    let levels = outputs.chunks_exact(2).map(|pair| HeadOutput {
        embedding: pair[0].as_bytes(),
        geometry: pair[1].as_bytes(),
    });
    levels.collect()
}

/// The planes of a port, and what their bytes stand for.
const fn field(port: &Port) -> Field {
    Field {
        planes: port.view.planes(),
        quant: quant(port),
    }
}

/// Whether what leaves the backbone is what this input takes.
fn same(from: &Port, to: &Port) -> bool {
    from.view.tensor_shape() == to.view.tensor_shape()
        && from.view.channels == to.view.channels
        && (from.scale, from.view.zero_point) == (to.scale, to.view.zero_point)
}

/// A graph of the pack.
pub(crate) fn load(pack: &Pack, name: &str, execution: Execution) -> Result<Graph, Error> {
    let onnx = pack.section(&format!("{name}.onnx"))?;
    let graph = Graph::load(name, &onnx, |section| pack.find(section), execution);
    graph.map_err(|e| Error::new(ErrorKind::Pack, e))
}

/// What the bytes of a port stand for.
const fn quant(port: &Port) -> Quant {
    Quant {
        scale: port.scale,
        zero_point: port.view.zero_point,
    }
}

/// Pairs the head's outputs into levels.
fn levels(
    outputs: &[Port],
    strides: &[u32],
    side: u32,
    form: &HeadForm,
) -> Result<heapless::Vec<HeadLevel, 8>, Error> {
    let mismatch = |why: String| Err(Error::mismatch(why));
    if outputs.len() != 2 * strides.len() || strides.is_empty() || strides.len() > 4 {
        return mismatch(format!(
            "{} head outputs for {} strides",
            outputs.len(),
            strides.len()
        ));
    }
    let mut levels = heapless::Vec::new();
    for (pair, &stride) in outputs.chunks_exact(2).zip(strides) {
        let (embedding, geometry) = (&pair[0].view, &pair[1].view);
        let channels = (embedding.channels, geometry.channels as usize);
        if channels != (outputs[0].view.channels, form.channels()) {
            return mismatch(format!(
                "outputs of {channels:?} channels at stride {stride}"
            ));
        }
        let size = (embedding.height, embedding.width);
        if size != (geometry.height, geometry.width)
            || embedding.height != side.div_ceil(stride.max(1))
        {
            return mismatch(format!("outputs of {size:?} at stride {stride}"));
        }
        let level = HeadLevel {
            stride,
            embedding: field(&pair[0]),
            geometry: field(&pair[1]),
        };
        if levels.push(level).is_err() {
            return mismatch(format!("{} strides", strides.len()));
        }
    }
    Ok(levels)
}
