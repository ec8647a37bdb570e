//! Sentences, compared with all objects of a frame together: the stage that [`ground`](crate::ground) prepares.

use std::sync::Arc;

use tract_onnx::prelude::{DatumType, IntoTValue, Tensor, tvec};

use super::{Look, field, load};
use crate::{
    detect::Field,
    error::Error,
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
    ) -> Result<Option<Self>, Error> {
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
            return Err(Error::mismatch(format!(
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

impl Look<'_> {
    /// Finds what each of these sentences means, or that it means nothing here; each is answered alone. The answers take the place of
    /// those that were in `found`.
    ///
    /// `gate` is the least score of an answer; without it the pack's holds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the pack has no grounding network;
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if it fails, which a checked pack's does not.
    pub fn ground(
        &mut self,
        sentences: &[Row],
        gate: Option<f32>,
        found: &mut Vec<Grounding>,
    ) -> Result<(), Error> {
        found.clear();
        let pipeline = &mut *self.pipeline;
        let Some(grounder) = &mut pipeline.grounder else {
            return Err(Error::lacks("grounding"));
        };
        let Some(letterbox) = pipeline.letterbox else {
            return Ok(());
        };
        let team = pipeline.team.clone();
        let _sitting = team.sit();
        let outputs = super::levels_of(&pipeline.outputs);
        let levels: heapless::Vec<(Field, &[u8]), 8> = grounder
            .features
            .iter()
            .zip(&pipeline.features)
            .map(|(field, t)| (*field, t.as_bytes()))
            .collect();
        let candidates = pipeline.detector.candidates(&outputs);
        grounder.scene.look(
            candidates,
            pipeline.objects,
            &levels,
            &letterbox,
            &self.frame,
        );
        let gate = gate.map_or(grounder.gate, odds::logit);
        for row in sentences {
            found.push(grounder.answer(row, gate)?);
        }
        Ok(())
    }
}

impl Grounder {
    fn answer(&mut self, sentence: &Row, gate: f32) -> Result<Grounding, Error> {
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
