//! `tarsier everything`: photos in, all objects with their nearest names out.

use clap::{Args, ValueEnum};
use tarsier::{
    detect::Settings, kept::Kept, pipeline::everything::Everything as Rules,
    prompt::limits::SetLimits, report::objects::ObjectsWriter,
};

use super::{Engine, Failure, exit, fail, needs, output::Output, output_failure, photos::Photos};

/// Options of `everything`.
#[derive(Debug, Args)]
pub(crate) struct Everything {
    #[command(flatten)]
    photos: Photos,
    /// How many of the vocabulary's names each object gets, nearest first. A name's number is the cosine between it and the object: it
    /// orders names and is no probability.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    names: u16,
    /// How many objects a photo has, at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=300))]
    objects: u16,
    /// Least score of an object, 0 to 1: how likely it is that there is one at all.
    #[arg(long, value_name = "SCORE", default_value_t = Rules::default().least, value_parser = super::unit_interval)]
    threshold: f32,
    /// Overlap (intersection over union) from which the lesser of two boxes is dropped, whatever they are called.
    #[arg(long, value_name = "IOU", default_value_t = Settings::default().iou, value_parser = super::unit_interval)]
    iou: f32,
    /// Also say which pixels each object has.
    #[arg(long)]
    masks: bool,
    /// What is written to stdout: a line per object, or a JSON object per photo.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    #[command(flatten)]
    pub(crate) engine: Engine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    Text,
    Json,
}

impl Everything {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let mut model = self.engine.open(Settings::default())?;
        needs(&model, self.masks, model.abilities().masks, "masks")?;
        let (lexicon, objects) = (model.lexicon(), model.pipeline().objects());
        let all = lexicon.names(|_| true);
        let all = (all.as_slice(), SetLimits::PACK);
        let mut encode = |text: &str| lexicon.encoder().encode(text);
        let prompts = lexicon.set_by(all, &mut encode, objects, None, &mut |_| true);
        let prompts = prompts.map_err(|e| fail(exit::DATA, e))?;
        let rules = Rules {
            objects: self.objects.into(),
            least: self.threshold,
            iou: self.iou,
            names: self.names.into(),
        };
        let json = self.format == OutputFormat::Json;
        let out = Output::new(b"").of_pack(model.pack().watch());
        let mut writer = ObjectsWriter::new(json, out.clone());
        let done = self.photos.each(&out, |mut photo| {
            let (mut report, mut nearest) = (photo.report(), Kept::new());
            let mut look = model.look(photo.frame()?)?;
            let mut found = look.everything(&prompts, rules, &mut report, &mut nearest)?;
            if self.masks {
                found.masks()?;
            }
            let mut objects = report.detections.iter();
            nearest.retain(|_| objects.next().is_some_and(|d| photo.counts(d)));
            photo.keep(&mut report);
            writer
                .write(Some(&photo.shown(false)), &prompts, &report, &nearest)
                .or_else(output_failure)?;
            photo.draw_report(&report, &prompts)
        });
        let finished = writer.finish().or_else(output_failure);
        finished.and(done)
    }
}
