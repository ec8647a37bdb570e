//! One frame through all stages; owns every buffer.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tract_onnx::prelude::{DatumType, IntoTValue, TValue, TVec, Tensor, tvec};

use crate::{
    detect::{DetectError, Detector, Field, HeadLevel, HeadOutput, Settings},
    frame::{Frame, letterbox::Letterboxer},
    geometry::{Letterbox, Size},
    graph::op::{Execution, Graph, GraphError},
    graph::program::{Port, nhwc_from_planes},
    head::HeadForm,
    kernels::{align::align, layout::LANE},
    pack::{Pack, PackError},
    prompt::PromptSet,
    quant::Quant,
    scene::Report,
};

pub mod everything;
mod exemplar;
pub mod golden;
mod ground;
pub mod inside;
mod masks;
mod places;
mod presence;
mod stuff;

pub use places::FrameEvidence;

/// Why a pipeline could not be made or a frame not be done.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipelineError {
    /// A section of the pack is missing or does not fit.
    Pack(PackError),
    /// A graph was refused or failed.
    Graph(GraphError),
    /// The head's outputs cannot be used.
    Detect(DetectError),
    /// The graphs do not fit each other or the manifest.
    Mismatch(String),
    /// The pack has no network for what was asked.
    Lacks(&'static str),
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pack(e) => e.fmt(f),
            Self::Graph(e) => e.fmt(f),
            Self::Detect(e) => e.fmt(f),
            Self::Mismatch(why) => write!(f, "the pack contradicts itself: {why}"),
            Self::Lacks(what) => write!(f, "this pack has no {what}"),
        }
    }
}

impl std::error::Error for PipelineError {}

impl From<PackError> for PipelineError {
    fn from(e: PackError) -> Self {
        Self::Pack(e)
    }
}

impl From<GraphError> for PipelineError {
    fn from(e: GraphError) -> Self {
        Self::Graph(e)
    }
}

impl From<DetectError> for PipelineError {
    fn from(e: DetectError) -> Self {
        Self::Detect(e)
    }
}

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
    /// What the backbone and the head made of the last frame, and how that frame lay in the input.
    features: TVec<TValue>,
    outputs: TVec<TValue>,
    letterbox: Option<Letterbox>,
    places: places::Places,
    detector: Detector,
    objects: Quant,
    execution: Execution,
}

impl Pipeline {
    /// Loads the graphs of a pack and makes all buffers.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] naming the section, graph or contradiction.
    pub fn open(
        pack: &Pack,
        execution: Execution,
        settings: Settings,
    ) -> Result<Self, PipelineError> {
        let backbone = load(pack, "backbone", execution)?;
        let head = load(pack, "head", execution)?;
        let manifest = pack.manifest();
        let mismatch = |why: String| Err(PipelineError::Mismatch(why));

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
            )?,
            backbone,
            head,
            execution,
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

    /// Detects the prompts in a frame and fills the report.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Graph`] if a graph fails, which a checked pack does not.
    pub fn detect(
        &mut self,
        frame: &Frame<'_>,
        prompts: &PromptSet,
        report: &mut Report,
    ) -> Result<StageTimes, PipelineError> {
        let mut times = StageTimes::default();
        let clock = Instant::now();
        let letterbox = self.look(frame);
        report.masks.clear();
        report.presences.clear();
        report.tracks.clear();
        report.smoothed.clear();
        report.sights.clear();
        times.letterbox = clock.elapsed();

        self.network(&mut times)?;
        let outputs = levels_of(&self.outputs);

        let clock = Instant::now();
        self.detector.propose(&outputs);
        let table = prompts.align();
        let Execution { isa, threads } = self.execution;
        self.detector.align(
            &outputs,
            threads,
            prompts.thresholds(),
            |some, objects, logits| align(isa, &table.prompts(some), objects, logits),
        );
        times.align = clock.elapsed();

        let clock = Instant::now();
        self.detector.select(&outputs, &letterbox, report);
        if self.places.wanted {
            self.places.clear();
            self.places
                .fill(self.detector.candidates(&outputs), &letterbox);
        }
        times.select = clock.elapsed();
        Ok(times)
    }

    /// Lays a frame into the input plane.
    fn look(&mut self, frame: &Frame<'_>) -> Letterbox {
        let plane = Arc::make_mut(&mut self.image);
        let letterbox = self.letterboxer.write(frame, plane.as_bytes_mut());
        self.letterbox = Some(letterbox);
        letterbox
    }

    /// Features and head outputs for the frame in the input plane.
    fn network(&mut self, times: &mut StageTimes) -> Result<(), PipelineError> {
        let clock = Instant::now();
        self.features.clear();
        self.outputs.clear();
        self.features = self
            .backbone
            .run(tvec!(Arc::clone(&self.image).into_tvalue()))?;
        times.backbone = clock.elapsed();
        let clock = Instant::now();
        self.outputs = self.head.run(self.features.clone())?;
        times.head = clock.elapsed();
        Ok(())
    }

    /// The head's raw outputs for a frame, one after the other, each as signed bytes `[height, width, channels]`: what the golden
    /// test compares.
    ///
    /// # Errors
    ///
    /// As [`detect`](Self::detect).
    pub fn raw_outputs(&mut self, frame: &Frame<'_>) -> Result<Vec<Vec<u8>>, PipelineError> {
        let plane = Arc::make_mut(&mut self.image);
        self.letterboxer.write(frame, plane.as_bytes_mut());
        self.letterbox = None; // what is kept of a frame is no longer that of the last detection
        self.network(&mut StageTimes::default())?;
        let ports = &self.head.program().outputs;
        let values = |(t, port): (&TValue, &Port)| {
            let mut values = vec![0; port.view.values()];
            nhwc_from_planes(&port.view, t.as_bytes(), &mut values);
            values
        };
        Ok(self.outputs.iter().zip(ports).map(values).collect())
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
pub(crate) fn load(pack: &Pack, name: &str, execution: Execution) -> Result<Graph, PipelineError> {
    let onnx = pack.section(&format!("{name}.onnx"))?;
    Ok(Graph::load(
        name,
        &onnx,
        |section| pack.find(section),
        execution,
    )?)
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
) -> Result<heapless::Vec<HeadLevel, 8>, PipelineError> {
    let mismatch = |why: String| Err(PipelineError::Mismatch(why));
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
