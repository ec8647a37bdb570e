//! Sentences, compared with all objects of a frame together: the stage that [`ground`](crate::ground) prepares.

use std::sync::Arc;

use tract_onnx::prelude::{DatumType, IntoTValue, Tensor, tvec};

use super::{Pipeline, PipelineError, field, load};
use crate::{
    detect::Field,
    frame::Frame,
    graph::op::{Execution, Graph, GraphError},
    graph::program::Port,
    ground::{Affinity, Grounding, SIDE, Scene, unit_into},
    odds,
    pack::{Pack, manifest::Manifest},
    prompt::Row,
};

/// The grounding network of a pack, and its buffers.
#[derive(Debug)]
pub(super) struct Grounder {
    graph: Graph,
    input: Arc<Tensor>,
    /// Where the backbone's features lie, finest first.
    features: Vec<Field>,
    scene: Scene,
    /// The sentence that is looked for.
    sentence: Vec<f32>,
    affinity: Affinity,
    /// Least logit of a match.
    gate: f32,
}

impl Grounder {
    /// That of the pack, if it has one.
    pub(super) fn open(
        pack: &Pack,
        execution: Execution,
        features: &[Port],
    ) -> Result<Option<Self>, PipelineError> {
        let Manifest {
            ground: Some(ground),
            embedding,
            ..
        } = pack.manifest()
        else {
            return Ok(None);
        };
        let graph = load(pack, "ground", execution)?;
        let width = features.first().map_or(0, |port| port.view.channels);
        let scene = Scene::new(*embedding as usize, width as usize);
        let side = SIDE as u32;
        let fits = match (
            graph.program().inputs.as_slice(),
            graph.program().outputs.as_slice(),
        ) {
            ([x], [y]) => {
                [x.view.height, x.view.width, y.view.height, y.view.width] == [side; 4]
                    && x.view.channels as usize == scene.channels()
                    && y.view.channels == 1
                    && features.iter().all(|port| port.view.channels == width)
            }
            _ => false,
        };
        if !fits {
            return Err(PipelineError::Mismatch(format!(
                "the grounding network does not take {SIDE}×{SIDE} objects of {} numbers to a logit each",
                scene.channels()
            )));
        }
        let shape = graph.program().inputs[0].view.tensor_shape();
        let input = Tensor::zero_dt(DatumType::U8, &shape).map_err(|source| GraphError::Tract {
            graph: "ground".into(),
            source,
        })?;
        Ok(Some(Self {
            input: Arc::new(input),
            features: features.iter().map(field).collect(),
            scene,
            sentence: Vec::new(),
            affinity: Affinity {
                scale: ground.scale,
                bias: ground.bias,
            },
            gate: ground.gate,
            graph,
        }))
    }
}

impl Pipeline {
    /// Whether the pack can tell which object a sentence means.
    #[must_use]
    pub const fn grounds(&self) -> bool {
        self.grounder.is_some()
    }

    /// Finds what each of these sentences means in a frame, or that it means nothing there; each sentence is answered alone.
    ///
    /// The frame is kept as that of a [`detect`](Self::detect) is, so that [`segment`](Self::segment) can follow.
    ///
    /// `gate` is the least score of an answer; without it the pack's holds.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Lacks`] if the pack has no grounding network; [`PipelineError::Graph`] if a graph fails, which a checked
    /// pack does not.
    pub fn ground(
        &mut self,
        frame: &Frame<'_>,
        sentences: &[Row],
        gate: Option<f32>,
    ) -> Result<Vec<Grounding>, PipelineError> {
        if self.grounder.is_none() {
            return Err(PipelineError::Lacks("grounding"));
        }
        self.look(frame);
        self.network(&mut super::StageTimes::default())?;
        self.detector.propose(&super::levels_of(&self.outputs));
        let mut found = Vec::new();
        self.ground_again(frame, sentences, gate, &mut found)?;
        Ok(found)
    }

    /// The same of the frame that the last [`detect`](Self::detect) looked at, without looking at it again, in the place of what was
    /// found before; none answered where none was looked at.
    ///
    /// # Errors
    ///
    /// As [`ground`](Self::ground).
    pub fn ground_again(
        &mut self,
        frame: &Frame<'_>,
        sentences: &[Row],
        gate: Option<f32>,
        found: &mut Vec<Grounding>,
    ) -> Result<(), PipelineError> {
        found.clear();
        let Some(grounder) = &mut self.grounder else {
            return Err(PipelineError::Lacks("grounding"));
        };
        let Some(letterbox) = self.letterbox else {
            return Ok(());
        };
        let outputs = super::levels_of(&self.outputs);
        let levels: heapless::Vec<(Field, &[u8]), 8> = grounder
            .features
            .iter()
            .zip(&self.features)
            .map(|(field, t)| (*field, t.as_bytes()))
            .collect();
        let candidates = self.detector.candidates(&outputs);
        grounder
            .scene
            .look(candidates, self.objects, &levels, &letterbox, frame);
        let gate = gate.map_or(grounder.gate, odds::logit);
        for row in sentences {
            found.push(grounder.answer(row, gate)?);
        }
        Ok(())
    }
}

impl Grounder {
    fn answer(&mut self, sentence: &Row, gate: f32) -> Result<Grounding, PipelineError> {
        let program = self.graph.program();
        let (input, output) = (field(&program.inputs[0]), field(&program.outputs[0]));
        let plane = Arc::make_mut(&mut self.input).as_bytes_mut();
        unit_into(&sentence.values, &mut self.sentence);
        self.scene
            .describe(&self.sentence, self.affinity, &input, plane);
        let matches = self
            .graph
            .run(tvec!(Arc::clone(&self.input).into_tvalue()))?;
        let best = self.scene.best(&output, matches[0].as_bytes());
        Ok(Grounding {
            score: best.map_or(0.0, |(_, logit)| odds::score(logit)),
            object: best
                .filter(|&(_, logit)| logit >= gate)
                .map(|(object, _)| object),
        })
    }
}
