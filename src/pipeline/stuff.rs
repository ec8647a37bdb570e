//! Stuff: a vector for every place of the picture, compared with the prompts' rows as an object is.

use super::{Pipeline, PipelineError, field, load, presence::Unread, quant, same};
use crate::{
    graph::op::{Execution, Graph},
    graph::program::Port,
    kernels::layout::LANE,
    labels::LabelMap,
    odds,
    pack::{Pack, manifest::StuffForm},
    prompt::PromptSet,
    quant::Quant,
    semantic::{Painter, Places},
};

/// The stuff network of a pack, and its buffers.
#[derive(Debug)]
pub(super) struct Coverer {
    graph: Graph,
    form: StuffForm,
    vectors: Quant,
    painter: Painter,
    /// `[places, D]`.
    places: Vec<u8>,
    scale: Vec<f32>,
    bias: Vec<f32>,
    named: Vec<(u16, f32)>,
    unread: Unread,
    /// Logits of one block of prompts, `[places, 16]`, and of the stuff among all, `[places, prompts]`.
    block: Vec<f32>,
    logits: Vec<f32>,
}

impl Coverer {
    /// That of the pack, if it has one.
    pub(super) fn open(
        pack: &Pack,
        execution: Execution,
        features: &[Port],
        objects: Quant,
    ) -> Result<Option<Self>, PipelineError> {
        let Some(form) = pack.manifest().stuff else {
            return Ok(None);
        };
        let graph = load(pack, "stuff", execution)?;
        let program = graph.program();
        let numbers = [form.scale, form.bias, form.threshold];
        let fits = match program.outputs.as_slice() {
            // the prompts' table holds sums for the objects' zero point
            [vectors] => {
                let side = pack.manifest().input_px.div_ceil(form.stride.max(1));
                form.stride > 0
                    && numbers.iter().all(|v| v.is_finite())
                    && program.inputs.len() == features.len()
                    && (program.inputs.iter().zip(features)).all(|(to, from)| same(from, to))
                    && (vectors.view.width, vectors.view.height) == (side, side)
                    && vectors.view.channels == pack.manifest().embedding
                    && vectors.view.zero_point == objects.zero_point
            }
            _ => false,
        };
        if !fits {
            return Err(PipelineError::Mismatch(
                "the stuff network does not take the features to a vector like an object's for every place"
                    .into(),
            ));
        }
        Ok(Some(Self {
            vectors: quant(&program.outputs[0]),
            form,
            graph,
            painter: Painter::default(),
            places: Vec::new(),
            scale: Vec::new(),
            bias: Vec::new(),
            named: Vec::new(),
            unread: Unread::default(),
            block: Vec::new(),
            logits: Vec::new(),
        }))
    }
}

impl Pipeline {
    /// Whether the pack can tell what stuff every place of a picture is of.
    #[must_use]
    pub const fn covers(&self) -> bool {
        self.coverer.is_some()
    }

    /// Names the pixels of stuff in the frame of the last [`detect`](Self::detect), whose prompts these are.
    ///
    /// `stuff` are the prompts that are stuff, in order; `least` is the least score of a pixel, without it the pack's. The map is of
    /// the whole frame, and empty where no prompt is stuff: then no network runs. Things are laid over it by [`Painter::things`].
    ///
    /// # Errors
    ///
    /// [`PipelineError::Lacks`] if there is stuff and the pack has no network for it; [`PipelineError::Graph`] if it fails, which a
    /// checked pack's does not.
    ///
    /// # Panics
    ///
    /// If there is no such prompt.
    pub fn cover(
        &mut self,
        prompts: &PromptSet,
        stuff: &[u32],
        least: Option<f32>,
        map: &mut LabelMap,
    ) -> Result<(), PipelineError> {
        let Some(letterbox) = self.letterbox else {
            return Ok(());
        };
        if stuff.is_empty() {
            map.reset(letterbox.frame);
            return Ok(());
        }
        let Some(coverer) = &mut self.coverer else {
            return Err(PipelineError::Lacks("network for stuff"));
        };
        let isa = self.execution.isa;
        let outputs = coverer.graph.run(self.features.clone())?;
        let at = field(&coverer.graph.program().outputs[0]);
        let (width, height) = (at.planes.width, at.planes.height);
        coverer.places.clear();
        for place in 0..width * height {
            let vector = at.at(outputs[0].as_bytes(), place).flatten();
            coverer.places.extend(vector);
        }
        let factor = coverer.form.scale * coverer.vectors.scale;
        let units = prompts.table().units();
        coverer.scale.clear();
        coverer.scale.extend(units.iter().map(|unit| unit * factor));
        coverer.bias.clear();
        coverer.bias.resize(units.len(), coverer.form.bias);
        let table = prompts.table().align_with(&coverer.scale, &coverer.bias);
        coverer.logits.resize(width * height * stuff.len(), 0.0);
        // of a large vocabulary only the blocks that have stuff
        let mut done = 0;
        for group in stuff.chunk_by(|a, b| *a as usize / LANE == *b as usize / LANE) {
            let first = group[0] as usize / LANE * LANE;
            let some = table.prompts(first..first + LANE);
            let places = &coverer.places;
            coverer.unread.align(isa, &some, places, &mut coverer.block);
            let (blocks, _) = coverer.block.as_chunks::<LANE>();
            let rows = coverer.logits.chunks_exact_mut(stuff.len()).zip(blocks);
            for (row, block) in rows {
                for (logit, &prompt) in row[done..].iter_mut().zip(group) {
                    *logit = block[prompt as usize - first];
                }
            }
            done += group.len();
        }
        let least = odds::logit(least.unwrap_or(coverer.form.threshold));
        coverer.named.clear();
        coverer
            .named
            .extend(stuff.iter().map(|&p| (p as u16, least)));
        let places = Places {
            logits: &coverer.logits,
            prompts: &coverer.named,
            size: (width, height),
            stride: coverer.form.stride,
        };
        coverer.painter.stuff(&places, &letterbox, map);
        Ok(())
    }
}
