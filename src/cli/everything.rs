//! `tarsier everything`: photos in, all objects with their nearest names out.

use clap::{Args, ValueEnum};
use tarsier::{
    detect::Settings,
    graph::op::Execution,
    pipeline::everything::Everything as Rules,
    prompt::{PromptSet, Request, limits::SetLimits, sentence::SentenceEncoder},
    report::objects::ObjectsWriter,
};

use super::{
    Engine, Failure, Opened, detect::PromptNames, exit, fail, output::Output, output_failure,
    photos::Photos,
};

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
    pub(crate) fn run(&self, execution: Execution) -> Result<u8, Failure> {
        let mut opened = self.engine.open(execution, Settings::default())?;
        opened.needs(self.masks, opened.pipeline.segments(), "masks")?;
        let prompts = all_names(&opened)?;
        let rules = Rules {
            objects: self.objects.into(),
            least: self.threshold,
            iou: self.iou,
            names: self.names.into(),
        };
        let json = self.format == OutputFormat::Json;
        let out = Output::new(b"").of_pack(opened.pack.watch());
        let mut writer = ObjectsWriter::new(json, out.clone());
        let names = PromptNames(&prompts, &[]);
        let software = |e| fail(exit::SOFTWARE, e);
        let done = self.photos.each(&out, |mut photo| {
            let mut report = photo.report();
            let mut nearest = opened
                .pipeline
                .everything(&photo.frame()?, &prompts, rules, &mut report)
                .map_err(software)?;
            if self.masks {
                opened.pipeline.segment(&mut report).map_err(software)?;
            }
            let mut objects = report.detections.iter();
            nearest.retain(|_| objects.next().is_some_and(|d| photo.counts(d)));
            photo.keep(&mut report);
            writer
                .write(Some(&photo.shown(false)), &names, &report, &nearest)
                .or_else(output_failure)?;
            photo.draw_report(&report, &names)
        });
        let finished = writer.finish().or_else(output_failure);
        finished.and(done)
    }
}

/// Every name of the vocabulary.
fn all_names(opened: &Opened) -> Result<PromptSet, Failure> {
    let data = |e: &dyn std::fmt::Display| fail(exit::DATA, e);
    let entries = opened.vocabulary.entries().iter();
    let names: Vec<Request> = entries.map(|e| Request::Name(e.name.clone())).collect();
    let mut encoder =
        SentenceEncoder::open(&opened.pack, opened.execution).map_err(|e| data(&e))?;
    PromptSet::encoded_by(
        (&names, SetLimits::PACK),
        &opened.vocabulary,
        &mut |text| encoder.encode(text),
        opened.pipeline.objects(),
        None,
        &mut |_| true,
    )
    .map_err(|e| data(&e))
}
