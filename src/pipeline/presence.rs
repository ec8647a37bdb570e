//! Whether each prompt is in the picture at all: one vector for the whole picture, compared with the prompts' rows as an object is.

use super::{Findings, Pipeline, load, quant, same};
use crate::{
    error::Error,
    graph::op::{Execution, Graph},
    graph::program::Port,
    kernels::{
        Isa,
        align::{Align, Logits, align},
        layout::LANE,
    },
    odds,
    pack::{Pack, manifest::PresenceForm},
    quant::Quant,
    scene::Presence,
    track::presence::Bounds,
};

/// Objects that are compared with all prompts at once: logits of 16,384 prompts take a megabyte then, not twenty.
const AT_ONCE: usize = 16;

/// The presence network of a pack, and its buffers.
#[derive(Debug)]
pub(super) struct Senser {
    graph: Graph,
    /// Which of the backbone's features it takes: from this one on.
    first: usize,
    form: PresenceForm,
    vector: Quant,
    scale: Vec<f32>,
    bias: Vec<f32>,
    whole: Vec<f32>,
    objects: Vec<f32>,
    best: Vec<f32>,
    unread: Unread,
}

/// What the product says beside logits: which of them pass, and none does.
#[derive(Debug, Default)]
pub(super) struct Unread {
    thresholds: Vec<f32>,
    passing: Vec<u16>,
}

impl Unread {
    /// All logits of some objects.
    pub(super) fn align(
        &mut self,
        isa: Isa,
        op: &Align<'_>,
        objects: &[u8],
        values: &mut Vec<f32>,
    ) {
        let prompts = op.scale.len();
        let count = objects.len() / op.embedding * prompts;
        values.resize(count, 0.0);
        self.thresholds.resize(prompts, f32::INFINITY);
        self.passing.resize(count / LANE, 0);
        let mut logits = Logits {
            values,
            thresholds: &self.thresholds,
            passing: &mut self.passing,
        };
        align(isa, op, objects, &mut logits);
    }
}

impl Senser {
    /// That of the pack, if it has one.
    pub(super) fn open(
        pack: &Pack,
        execution: Execution,
        features: &[Port],
        objects: Quant,
    ) -> Result<Option<Self>, Error> {
        let Some(form) = pack.manifest().presence else {
            return Ok(None);
        };
        let graph = load(pack, "presence", execution)?;
        let program = graph.program();
        let first = features.len().checked_sub(program.inputs.len());
        let (Some(first), [vector]) = (first, program.outputs.as_slice()) else {
            return Err(Error::mismatch(
                "the presence network takes more than the features, or makes more than one vector",
            ));
        };
        let inputs = program.inputs.iter().zip(&features[first..]);
        let view = &vector.view;
        // the prompts' table holds sums for the objects' zero point
        let fits = inputs.into_iter().all(|(to, from)| same(from, to))
            && (view.height, view.width, view.border) == (1, 1, 0)
            && view.channels == pack.manifest().embedding
            && view.zero_point == objects.zero_point;
        if !fits {
            return Err(Error::mismatch(
                "the presence network does not take the features to a vector like an object's",
            ));
        }
        Ok(Some(Self {
            first,
            form,
            vector: quant(vector),
            graph,
            scale: Vec::new(),
            bias: Vec::new(),
            whole: Vec::new(),
            objects: Vec::new(),
            best: Vec::new(),
            unread: Unread::default(),
        }))
    }
}

impl Pipeline {
    /// The least probability of what is there, as the pack was calibrated; none if it cannot tell.
    #[must_use]
    pub fn presence_threshold(&self) -> Option<f32> {
        self.senser.as_ref().map(|senser| senser.form.threshold)
    }
}

impl Findings<'_> {
    /// Says of each prompt whether it is in the frame at all; that it was found is evidence.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the pack has no presence network;
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if it fails, which a checked pack's does not.
    pub fn presence(&mut self) -> Result<(), Error> {
        let Self {
            pipeline,
            prompts,
            report,
            ..
        } = self;
        let Some(senser) = &mut pipeline.senser else {
            return Err(Error::lacks("presence"));
        };
        let team = pipeline.team.clone();
        let _sitting = team.sit();
        report.presences.clear();
        let isa = pipeline.execution.isa;
        let features = pipeline.features.iter().skip(senser.first).cloned();
        let outputs = senser.graph.run(features.collect())?;
        let factor = senser.form.scale * senser.vector.scale;
        let units = prompts.table().units();
        senser.scale.clear();
        senser.scale.extend(units.iter().map(|unit| unit * factor));
        senser.bias.clear();
        senser.bias.resize(units.len(), senser.form.bias);
        let table = prompts.table().align_with(&senser.scale, &senser.bias);
        let whole = outputs[0].as_bytes();
        senser.unread.align(isa, &table, whole, &mut senser.whole);
        // every pair, however low: selection looks at those above their thresholds only
        let objects = pipeline.detector.embeddings();
        let table = prompts.align();
        senser.best.clear();
        senser.best.resize(units.len(), f32::MIN);
        for some in objects.chunks(AT_ONCE * table.embedding) {
            senser.unread.align(isa, &table, some, &mut senser.objects);
            for logits in senser.objects.chunks_exact(units.len()) {
                for (best, logit) in senser.best.iter_mut().zip(logits) {
                    *best = best.max(*logit);
                }
            }
        }
        let bounds = Bounds::from_enter(senser.form.threshold);
        let logits = senser.whole.iter().zip(&senser.best);
        let logits = logits.take(prompts.prompts().len());
        for (prompt, (whole, &best)) in (0..).zip(logits) {
            let score = odds::score(whole + senser.form.object * best);
            report.presences.push(Presence {
                prompt,
                score,
                best: odds::score(best),
                state: bounds.reading(score, false),
                change: None,
            });
        }
        for detection in &report.detections {
            if let Some(boxed) = report.presences.get_mut(detection.prompt as usize) {
                boxed.state = bounds.reading(boxed.score, true);
            }
        }
        Ok(())
    }
}
