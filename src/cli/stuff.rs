//! Which prompts are stuff: what `semantic` and `panoptic` share.

use std::path::PathBuf;

use clap::Args;
use tarsier::{
    Model,
    labels::LabelMap,
    prompt::{
        PromptSet, Request,
        lexicon::Lexicon,
        limits::{self, TASK_TEXTS},
        vocabulary::normalise,
    },
    scene::Report,
};

use super::{
    Failure, Prompts, coco_80,
    detect::Selecting,
    exit, fail,
    output::Output,
    photos::{Item, Photos, make_folder},
};

/// Photos, prompts and which of them are stuff.
#[derive(Debug, Args)]
pub(super) struct Scenery {
    #[command(flatten)]
    photos: Photos,
    #[command(flatten)]
    prompts: Prompts,
    /// A name or any text that is stuff, whatever the vocabulary says: it is looked for at every place and not as objects. Repeat it
    /// for more. Without any prompt: COCO's 80 names, and all stuff of the vocabulary.
    #[arg(long = "stuff", value_name = "NAME")]
    stuff: Vec<String>,
    /// Least score of stuff, 0 to 1; with 0 every place has a name. Default: the pack's. --threshold is that of things.
    #[arg(long, value_name = "SCORE", value_parser = super::unit_interval)]
    stuff_threshold: Option<f32>,
    /// Write a PNG for each photo into this folder.
    #[arg(long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) selecting: Selecting,
}

/// Prompts, and the indices of those that are stuff, in order.
pub(super) struct Names {
    pub(super) prompts: PromptSet,
    pub(super) stuff: Vec<u32>,
}

impl Names {
    pub(super) fn is_stuff(&self, prompt: u32) -> bool {
        self.stuff.binary_search(&prompt).is_ok()
    }

    pub(super) fn count(&self) -> usize {
        self.prompts.prompts().len()
    }
}

impl Scenery {
    /// What is looked for. Stuff is not looked for among objects.
    pub(super) fn open(&self, model: &mut Model) -> Result<Names, Failure> {
        limits::texts("stuff", self.stuff.len(), TASK_TEXTS)
            .map_err(|why| fail(exit::USAGE, why))?;
        if let Some(folder) = &self.output {
            make_folder(folder)?;
        }
        let mut more: Vec<Request> = self.stuff.iter().cloned().map(Request::Either).collect();
        if !self.prompts.asked() && self.stuff.is_empty() {
            more = coco_80().collect();
            if model.abilities().stuff {
                more.extend(model.lexicon().names(|e| !e.thing));
            }
        }
        let requests = self.prompts.requests(&more)?;
        let mut prompts = self.prompts.set(model, false, requests, Lexicon::set)?;
        let forced: Vec<String> = self.stuff.iter().map(|s| normalise(s)).collect();
        let stuff: Vec<u32> = (0..)
            .zip(prompts.prompts())
            .filter(|(_, prompt)| !prompt.thing || forced.contains(&normalise(&prompt.name)))
            .map(|(i, _)| i)
            .collect();
        if prompts.prompts().len() > usize::from(u16::MAX) {
            let count = prompts.prompts().len();
            return Err(fail(
                exit::USAGE,
                format!("{count} prompts; a map of pixels has room for 65535"),
            ));
        }
        if !stuff.is_empty() && !model.abilities().stuff {
            let (name, first) = (
                &model.pack().manifest().name,
                &prompts.prompts()[stuff[0] as usize].name,
            );
            let message =
                format!("\"{first}\" is stuff, and the pack {name} has no network for it");
            return Err(fail(exit::DATA, message));
        }
        for &prompt in &stuff {
            prompts.set_threshold(prompt as usize, 1.0);
        }
        Ok(Names { prompts, stuff })
    }

    /// Calls `one` for each photo ([`Photos::each`]); the folder of PNGs is none of the photos'.
    pub(super) fn each(
        &self,
        out: &Output,
        one: impl FnMut(Item<'_>) -> Result<(), Failure>,
    ) -> Result<u8, Failure> {
        self.photos.each_beside(self.output.as_deref(), out, one)
    }

    /// The photo's things with their masks, and the map of its stuff.
    pub(super) fn look(
        &self,
        model: &mut Model,
        names: &Names,
        photo: &Item<'_>,
        map: &mut LabelMap,
    ) -> Result<Report, Failure> {
        let mut report = photo.report();
        let mut look = model.look(photo.frame()?)?;
        look.detect_into(&names.prompts, &mut report)?.masks()?;
        look.stuff(&names.prompts, &names.stuff, self.stuff_threshold, map)?;
        Ok(report)
    }
}
