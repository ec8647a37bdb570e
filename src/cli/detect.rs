//! `tarsier detect`: photos in, detections out.

use std::io::{self, BufWriter};

use clap::{Args, ValueEnum};
use tarsier::{
    detect::Settings,
    graph::op::Execution,
    pipeline::inside,
    prompt::PromptSet,
    report::{Format, MaskForm, ReportWriter},
    scene::{Names, Report},
};

use super::{
    Engine, Failure, Opened, Prompts, exit, fail,
    nested::Nested,
    output_failure,
    photos::{Photo, Photos},
};

/// Options of `detect`.
#[derive(Debug, Args)]
pub(crate) struct Detect {
    #[command(flatten)]
    photos: Photos,
    #[command(flatten)]
    prompts: Prompts,
    /// What is written to stdout: a line per detection, a JSON object per photo, or one JSON array of COCO results.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    #[command(flatten)]
    selecting: Selecting,
    /// Also say which pixels each object has: their number, COCO run lengths, or tinted in what is drawn. `segment` has other forms.
    #[arg(long)]
    masks: bool,
    /// Also say of each prompt whether it is in the photo at all, and how likely. Not in COCO results.
    #[arg(long)]
    absent: bool,
    #[command(flatten)]
    pub(crate) engine: Engine,
}

/// Options of `segment`.
#[derive(Debug, Args)]
pub(crate) struct Segment {
    #[command(flatten)]
    photos: Photos,
    #[command(flatten)]
    prompts: Prompts,
    /// What is written to stdout: a line per object, a JSON object per photo, or one JSON array of COCO results.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    /// How JSON says which pixels an object has. COCO results have rle or polygons.
    #[arg(long, value_enum, default_value_t = Shape::Rle, value_name = "FORM")]
    shape: Shape,
    #[command(flatten)]
    selecting: Selecting,
    #[command(flatten)]
    pub(crate) engine: Engine,
}

/// Which boxes are kept.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Selecting {
    /// Overlap (intersection over union) from which the lesser of two boxes of one prompt is dropped.
    #[arg(long, value_name = "IOU", default_value_t = Settings::default().iou, value_parser = super::unit_interval)]
    pub(super) iou: f32,
    /// One name per place: boxes of different prompts drop one another too.
    #[arg(long)]
    pub(super) agnostic: bool,
}

impl Selecting {
    pub(super) fn settings(self) -> Settings {
        Settings {
            iou: self.iou,
            agnostic: self.agnostic,
            ..Settings::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    Text,
    Json,
    Coco,
}

impl From<OutputFormat> for Format {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Text => Self::Text,
            OutputFormat::Json => Self::Json,
            OutputFormat::Coco => Self::Coco,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// COCO's compressed run lengths.
    Rle,
    /// COCO's lists of polygons: the outer outlines.
    Polygons,
    /// The box as 128 × 128 bits, base64: 2 KiB whatever its size.
    Bits,
}

/// Prompt names for writers; behind them those of prompts inside others.
pub(super) struct PromptNames<'a>(pub(super) &'a PromptSet, pub(super) &'a [String]);

impl Names for PromptNames<'_> {
    fn name(&self, prompt: u32) -> &str {
        let (prompt, known) = (prompt as usize, self.0.prompts());
        match known.get(prompt) {
            Some(p) => &p.name,
            None => self.1.get(prompt - known.len()).map_or("", |name| name),
        }
    }
}

/// What both commands do.
struct Task<'a> {
    photos: &'a Photos,
    prompts: &'a Prompts,
    selecting: Selecting,
    format: OutputFormat,
    masks: Option<MaskForm>,
    absent: bool,
}

impl Detect {
    pub(crate) fn run(&self, execution: Execution) -> Result<u8, Failure> {
        if self.absent && self.format == OutputFormat::Coco {
            let message = "COCO results have no place for --absent; use --format json";
            return Err(fail(exit::USAGE, message));
        }
        let task = Task {
            photos: &self.photos,
            prompts: &self.prompts,
            selecting: self.selecting,
            format: self.format,
            masks: self.masks.then_some(MaskForm::Rle),
            absent: self.absent,
        };
        task.run(&self.engine, execution)
    }
}

impl Segment {
    pub(crate) fn run(&self, execution: Execution) -> Result<u8, Failure> {
        let form = match (self.shape, self.format) {
            (Shape::Bits, OutputFormat::Coco) => {
                let message = "COCO results have no place for bits; use --format json";
                return Err(fail(exit::USAGE, message));
            }
            (Shape::Rle, _) => MaskForm::Rle,
            (Shape::Polygons, _) => MaskForm::Polygons,
            (Shape::Bits, _) => MaskForm::Bits,
        };
        let task = Task {
            photos: &self.photos,
            prompts: &self.prompts,
            selecting: self.selecting,
            format: self.format,
            masks: Some(form),
            absent: false,
        };
        task.run(&self.engine, execution)
    }
}

impl Task<'_> {
    fn run(&self, engine: &Engine, execution: Execution) -> Result<u8, Failure> {
        let mut opened = engine.open(execution, self.selecting.settings())?;
        for (asked, able, what) in [
            (self.masks.is_some(), opened.pipeline.segments(), "masks"),
            (self.absent, opened.pipeline.senses(), "presence"),
        ] {
            opened.needs(asked, able, what)?;
        }
        let (prompts, nested) = self.prompts.open_nested(&opened)?;
        let out = BufWriter::new(io::stdout().lock());
        let mut writer = ReportWriter::new(self.format.into(), out);
        writer.write_masks_as(self.masks.unwrap_or_default());
        let done = self.photos.each(|mut photo| {
            let mut report = photo.report();
            self.look(&mut opened, &prompts, &nested, &photo, &mut report)?;
            photo.place(&mut report);
            let names = PromptNames(&prompts, &nested.names);
            let shown = photo.shown(self.format == OutputFormat::Coco);
            writer
                .write(Some(&shown), &names, &report)
                .or_else(output_failure)?;
            photo.draw_report(&report, &names)
        });
        // an array that was begun is ended, whatever happened
        let finished = writer.finish().or_else(output_failure);
        finished.and(done)
    }

    fn look(
        &self,
        opened: &mut Opened,
        prompts: &PromptSet,
        nested: &Nested,
        photo: &Photo<'_>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let software = |e| fail(exit::SOFTWARE, e);
        let frame = photo.frame()?;
        let times = opened
            .pipeline
            .detect(&frame, prompts, report)
            .map_err(software)?;
        log::debug!("{}: {times:?}", photo.path.display());
        if self.absent {
            opened.pipeline.sense(prompts, report).map_err(software)?;
        }
        if self.masks.is_some() {
            opened.pipeline.segment(report).map_err(software)?;
        }
        if !nested.inside.is_empty() {
            let rules = inside::Rules {
                masks: self.masks.is_some(),
                iou: self.selecting.iou,
                ..inside::Rules::default()
            };
            opened
                .pipeline
                .detect_inside(&frame, prompts, &nested.inside, rules, report)
                .map_err(software)?;
            report.retain(|d| !nested.hides(d.prompt));
        }
        Ok(())
    }
}
