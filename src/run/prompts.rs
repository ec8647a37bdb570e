//! The prompt set in use: what was asked for, its version, and the set that the pipeline takes.
//!
//! A change makes a new set and puts it in the old one's place when it is whole: what fails leaves everything as it was.

use std::sync::Arc;

use super::{config::PromptsConfig, engine::Engine};
use crate::{
    detect::rules::Rules,
    prompt::{Prompt, PromptError, PromptSet, Request, vocabulary::normalise},
    protocol::{ErrorCode, PromptSpec, SharedNames, command::PromptKind},
};

/// Why a change was refused, for programs and for people.
pub(super) type Refusal = (ErrorCode, String);

/// What is looked for.
#[derive(Debug)]
pub(super) struct Prompts {
    specs: Vec<PromptSpec>,
    threshold: Option<f32>,
    iou: f32,
    version: u32,
    set: PromptSet,
    names: SharedNames,
    rules: Rules,
}

impl Prompts {
    /// The set of a configuration, as version 1; without prompts, `fallback`.
    pub(super) fn new(
        config: &PromptsConfig,
        fallback: &[&str],
        engine: &mut Engine,
    ) -> Result<Self, Refusal> {
        let specs = if config.list.is_empty() {
            fallback.iter().map(|&text| text.into()).collect()
        } else {
            config.list.clone()
        };
        tell_unknown(&specs, engine);
        Self::made(specs, config.threshold, config.iou, 1, engine)
    }

    fn made(
        specs: Vec<PromptSpec>,
        threshold: Option<f32>,
        iou: f32,
        version: u32,
        engine: &mut Engine,
    ) -> Result<Self, Refusal> {
        let specs = distinct(specs);
        let requests: Vec<Request> = specs.iter().map(request).collect();
        let objects = engine.pipeline.objects();
        let mut set = PromptSet::new(
            &requests,
            &engine.vocabulary,
            &mut engine.encoder,
            objects,
            threshold,
            |_| (),
        )
        .map_err(|e| (code(&e), e.to_string()))?;
        for (i, spec) in specs.iter().enumerate() {
            if let Some(own) = spec.threshold {
                set.set_threshold(i, own);
            }
        }
        // what was asked for holds before what the word says
        let group = |(spec, word): (&'_ PromptSpec, &'_ Prompt)| {
            spec.group.as_ref().or(word.group.as_ref()).cloned()
        };
        let groups: Vec<_> = specs.iter().zip(set.prompts()).map(group).collect();
        let name = |(group, word): (&Option<String>, &Prompt)| {
            group.clone().unwrap_or_else(|| word.name.clone())
        };
        let names = groups.iter().zip(set.prompts()).map(name).collect();
        let rejects = specs
            .iter()
            .zip(set.prompts())
            .map(|(s, w)| s.reject || w.reject);
        let rules = groups.iter().map(Option::as_deref).zip(rejects);
        Ok(Self {
            names: Arc::new(names),
            rules: Rules::new(rules, iou),
            specs,
            threshold,
            iou,
            version,
            set,
        })
    }

    /// Puts a set of these in the place of this one.
    fn replace(
        &mut self,
        specs: Vec<PromptSpec>,
        threshold: Option<f32>,
        engine: &mut Engine,
    ) -> Result<(), Refusal> {
        *self = Self::made(specs, threshold, self.iou, self.version + 1, engine)?;
        Ok(())
    }

    /// The set of another configuration.
    pub(super) fn reconfigured(
        &self,
        config: &PromptsConfig,
        fallback: &[&str],
        engine: &mut Engine,
    ) -> Result<Self, Refusal> {
        let new = Self::new(config, fallback, engine)?;
        let version = self.version + 1;
        Ok(Self { version, ..new })
    }

    /// The same prompts, of another pack or with other settings. Names that the pack does not know are an error.
    pub(super) fn made_again(&self, iou: f32, engine: &mut Engine) -> Result<Self, Refusal> {
        let (specs, version) = (self.specs.clone(), self.version + 1);
        Self::made(specs, self.threshold, iou, version, engine)
    }

    /// These and nothing else.
    pub(super) fn set(
        &mut self,
        specs: Vec<PromptSpec>,
        engine: &mut Engine,
    ) -> Result<(), Refusal> {
        tell_unknown(&specs, engine);
        self.replace(specs, self.threshold, engine)
    }

    /// These too; one that is there already is as it is asked for now.
    pub(super) fn add(
        &mut self,
        specs: Vec<PromptSpec>,
        engine: &mut Engine,
    ) -> Result<(), Refusal> {
        tell_unknown(&specs, engine);
        let all = self.specs.iter().cloned().chain(specs).collect();
        self.replace(all, self.threshold, engine)
    }

    /// No longer these.
    pub(super) fn remove(&mut self, texts: &[String], engine: &mut Engine) -> Result<(), Refusal> {
        let mut left = self.specs.clone();
        for text in texts {
            let normal = normalise(text);
            let before = left.len();
            left.retain(|spec| normalise(&spec.text) != normal);
            if left.len() == before {
                let why = format!("\"{text}\" is not in use");
                return Err((ErrorCode::UnknownPrompt, why));
            }
        }
        if left.is_empty() {
            let why = "no prompt would be left; to look at nothing, pause";
            return Err((ErrorCode::Invalid, why.into()));
        }
        self.replace(left, self.threshold, engine)
    }

    /// The least score, of one prompt or of all that have none of their own.
    pub(super) fn set_threshold(
        &mut self,
        threshold: Option<f32>,
        prompt: Option<&str>,
        engine: &mut Engine,
    ) -> Result<(), Refusal> {
        let Some(text) = prompt else {
            return self.replace(self.specs.clone(), threshold, engine);
        };
        let (mut specs, normal) = (self.specs.clone(), normalise(text));
        let spec = specs.iter_mut().find(|s| normalise(&s.text) == normal);
        let Some(spec) = spec else {
            let why = format!("\"{text}\" is not in use");
            return Err((ErrorCode::UnknownPrompt, why));
        };
        spec.threshold = threshold;
        self.replace(specs, self.threshold, engine)
    }

    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    pub(super) const fn set_in_use(&self) -> &PromptSet {
        &self.set
    }

    pub(super) const fn names(&self) -> &SharedNames {
        &self.names
    }

    pub(super) const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The texts from one index on, at most so many.
    pub(super) fn page(&self, from: u32, count: u32) -> Vec<String> {
        let page = self.specs.iter().skip(from as usize).take(count as usize);
        page.map(|spec| spec.text.clone()).collect()
    }

    pub(super) fn count(&self) -> u32 {
        self.specs.len() as u32
    }
}

/// One prompt per normal form; the last one counts, at the first one's place.
fn distinct(specs: Vec<PromptSpec>) -> Vec<PromptSpec> {
    let mut places = std::collections::HashMap::new();
    let mut kept: Vec<PromptSpec> = Vec::with_capacity(specs.len());
    for spec in specs {
        let place = *places.entry(normalise(&spec.text)).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(before) => *before = spec,
            None => kept.push(spec),
        }
    }
    kept
}

/// Says which texts are taken as sentences because no name is written like them: one of them may be a name with a typing error.
fn tell_unknown(specs: &[PromptSpec], engine: &Engine) {
    for spec in specs.iter().filter(|s| s.kind == PromptKind::Either) {
        let normal = normalise(&spec.text);
        if normal.is_empty() || engine.vocabulary.find(&normal).is_some() {
            continue;
        }
        let nearest = engine.vocabulary.nearest(&normal, 1);
        let nearest = nearest.first().map_or("none", String::as_str);
        log::warn!(
            "\"{}\" is no name of the vocabulary (nearest: {nearest}) and is looked for as a sentence",
            spec.text.trim()
        );
    }
}

fn request(spec: &PromptSpec) -> Request {
    let text = spec.text.clone();
    match spec.kind {
        PromptKind::Either => Request::Either(text),
        PromptKind::Name => Request::Name(text),
        PromptKind::Sentence => Request::Sentence(text),
    }
}

pub(super) const fn code(e: &PromptError) -> ErrorCode {
    match e {
        PromptError::Unknown { .. } => ErrorCode::UnknownPrompt,
        _ => ErrorCode::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_is_asked_for_again_is_as_it_is_asked_for_last() {
        let again = PromptSpec {
            threshold: Some(0.7),
            .." CUP".into()
        };
        let kept = distinct(vec!["cup".into(), "door".into(), again.clone()]);
        assert_eq!(kept, [again, "door".into()]);
    }
}
