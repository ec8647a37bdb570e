//! Stuff: a vector for every place of the picture, compared with the prompts' rows as an object is.

use super::{Look, field, load, presence::Unread, quant, same};
use crate::{
    error::Error,
    graph::op::{Execution, Graph},
    graph::program::Port,
    kernels::layout::LANE,
    labels::LabelMap,
    odds,
    pack::{Pack, manifest::StuffForm},
    panoptic::{Rules, Segments},
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
    ) -> Result<Option<Self>, Error> {
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
            return Err(Error::mismatch(
                "the stuff network does not take the features to a vector like an object's for every place",
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

impl Look<'_> {
    /// Names the pixels of stuff.
    ///
    /// `stuff` are the prompts that are stuff, in order; `least` is the least score of a pixel, without it the pack's. The map is of
    /// the whole picture, and empty where no prompt is stuff: then no network runs. Things are laid over it by [`Painter::things`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if there is stuff and the pack has no network for it;
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if it fails, which a checked pack's does not.
    ///
    /// # Panics
    ///
    /// If there is no such prompt.
    pub fn stuff(
        &mut self,
        prompts: &PromptSet,
        stuff: &[u32],
        least: Option<f32>,
        map: &mut LabelMap,
    ) -> Result<(), Error> {
        let pipeline = &mut *self.pipeline;
        let Some(letterbox) = pipeline.letterbox else {
            return Ok(());
        };
        if stuff.is_empty() {
            map.reset(letterbox.frame);
            return Ok(());
        }
        let Some(coverer) = &mut pipeline.coverer else {
            return Err(Error::lacks("network for stuff"));
        };
        let team = pipeline.team.clone();
        let _sitting = team.sit();
        let isa = pipeline.execution.isa;
        let outputs = coverer.graph.run(pipeline.features.clone())?;
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

    /// Gives every pixel to one segment: things as they are detected with their masks, stuff as regions.
    ///
    /// Of the prompts, those that the vocabulary calls stuff are looked for at every place and not as objects.
    ///
    /// # Errors
    ///
    /// As [`Findings::masks`](super::Findings::masks) and [`stuff`](Self::stuff).
    pub fn panoptic(&mut self, prompts: &PromptSet, rules: Rules) -> Result<Segments, Error> {
        let all = (0..).zip(prompts.prompts());
        let stuff: Vec<u32> = all.filter(|(_, p)| !p.thing).map(|(i, _)| i).collect();
        let is_stuff = |prompt: u32| stuff.binary_search(&prompt).is_ok();
        let mut map = LabelMap::default();
        self.stuff(prompts, &stuff, None, &mut map)?;
        let mut found = self.detect(prompts)?;
        found.report_mut().retain(|d| !is_stuff(d.prompt));
        found.masks()?;
        Ok(Segments::new(&map, found.report(), is_stuff, rules))
    }
}
