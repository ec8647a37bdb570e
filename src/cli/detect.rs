//! `tarsier detect`: photos in, detections out.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tarsier::{
    Model,
    detect::Settings,
    geometry::camera::{Camera, CameraConfig},
    pipeline::inside,
    prompt::PromptSet,
    report::{Format, MaskForm, ReportWriter},
    run::config::{Config, ConfigError},
    scene::Report,
    track::{self, Tracker},
};

use super::{
    Engine, Failure, Prompts,
    camera::CameraOptions,
    exit, fail, needs,
    output::Output,
    output_failure,
    photos::{Item, Photos},
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
    /// Take the photos for frames in a row, so many a second (30 if not said): what is found again has the same id.
    #[arg(long, value_name = "FPS", num_args = 0..=1, require_equals = true, default_missing_value = "30", value_parser = frames_a_second)]
    track: Option<f64>,
    /// Take the camera from the table [camera] of this configuration; the options below override it.
    #[arg(long, value_name = "FILE", help_heading = "Camera")]
    camera: Option<PathBuf>,
    #[command(flatten)]
    camera_options: CameraOptions,
    #[command(flatten)]
    pub(crate) engine: Engine,
}

fn frames_a_second(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(v) if (0.001..=1000.0).contains(&v) => Ok(v),
        _ => Err("a number from 0.001 to 1000 is expected".into()),
    }
}

/// What is kept from photo to photo.
#[derive(Default)]
struct Eyes {
    tracker: Option<Tracker>,
    /// Photos a second, where they are tracked.
    fps: f64,
    camera: Option<CameraConfig>,
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
    /// How JSON says which pixels an object has. COCO results have rle; polygons are what
    /// annotations have.
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

impl OutputFormat {
    /// What completes results of this format.
    pub(super) const fn tail(self) -> &'static [u8] {
        match self {
            Self::Coco => b"\n]\n",
            Self::Text | Self::Json => b"",
        }
    }
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
    /// COCO's lists of polygons: the outer outlines. They are the form of annotations; results for
    /// evaluation have rle.
    Polygons,
    /// The box as 128 × 128 bits, base64: 2 KiB whatever its size.
    Bits,
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
    pub(crate) fn run(&self) -> Result<u8, Failure> {
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
        let eyes = Eyes {
            tracker: (self.track).map(|_| Tracker::new(track::Settings::default())),
            fps: self.track.unwrap_or_default(),
            camera: self.camera()?,
        };
        task.run(&self.engine, eyes)
    }

    /// The camera that the options describe, if they do.
    fn camera(&self) -> Result<Option<CameraConfig>, Failure> {
        let mut of_file = None;
        if let Some(path) = &self.camera {
            let config = Config::open(path).map_err(|e| match e {
                ConfigError::Read { .. } => fail(exit::NO_INPUT, e),
                _ => fail(exit::CONFIG, e),
            })?;
            let missing = || {
                fail(
                    exit::CONFIG,
                    format!("{} has no table [camera]", path.display()),
                )
            };
            of_file = Some(config.camera.ok_or_else(missing)?);
        }
        let camera = self.camera_options.over(of_file);
        if let Some(camera) = &camera {
            let wrong = |(key, why)| fail(exit::USAGE, format!("camera: {key} {why}"));
            camera.check().map_err(wrong)?;
        }
        Ok(camera)
    }
}

impl Segment {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let form = match (self.shape, self.format) {
            (Shape::Bits, OutputFormat::Coco) => {
                let message = "COCO results have no place for bits; use --format json";
                return Err(fail(exit::USAGE, message));
            }
            (Shape::Rle, _) => MaskForm::Rle,
            (Shape::Polygons, OutputFormat::Coco) => {
                log::warn!(
                    "polygons are the form of COCO's annotations, not of its results: evaluate with --shape rle"
                );
                MaskForm::Polygons
            }
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
        task.run(&self.engine, Eyes::default())
    }
}

impl Task<'_> {
    fn run(&self, engine: &Engine, mut eyes: Eyes) -> Result<u8, Failure> {
        let mut model = engine.open(self.selecting.settings())?;
        let able = model.abilities();
        needs(&model, self.masks.is_some(), able.masks, "masks")?;
        needs(&model, self.absent, able.presence, "presence")?;
        let prompts = self.prompts.open(&mut model)?;
        if eyes.tracker.is_some() && !prompts.nested().inside().is_empty() {
            let message =
                "prompts inside others are not tracked: leave out --track or look for them alone";
            return Err(fail(exit::USAGE, message));
        }
        let out = Output::new(self.format.tail()).of_pack(model.pack().watch());
        let mut writer = ReportWriter::new(self.format.into(), out.clone());
        writer.write_masks_as(self.masks.unwrap_or_default());
        let done = self.photos.each(&out, |mut photo| {
            let mut report = photo.report();
            self.look(&mut model, &prompts, &mut eyes, &photo, &mut report)?;
            photo.keep(&mut report);
            if let Some(config) = &eyes.camera {
                let camera = Camera::new(config, photo.image.size()).map_err(|e| {
                    let message = format!("camera: {}: {e}", photo.path.display());
                    fail(exit::USAGE, message)
                })?;
                report.sight(&camera, &photo.part());
            }
            let shown = photo.shown(self.format == OutputFormat::Coco);
            writer
                .write(Some(&shown), &prompts, &report)
                .or_else(output_failure)?;
            photo.draw_report(&report, &prompts)
        });
        // an array that was begun is ended, whatever happened
        let finished = writer.finish().or_else(output_failure);
        finished.and(done)
    }

    fn look(
        &self,
        model: &mut Model,
        prompts: &PromptSet,
        eyes: &mut Eyes,
        photo: &Item<'_>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let mut look = model.look(photo.frame()?)?;
        let mut found = look.detect_into(prompts, report)?;
        log::debug!("{}: {:?}", photo.path.display(), found.times());
        if let Some(tracker) = &mut eyes.tracker {
            let captured_ns = (photo.sequence as f64 * 1e9 / eyes.fps) as u64;
            found.follow(tracker, captured_ns, &[]);
        }
        if self.absent {
            found.presence()?;
        }
        if self.masks.is_some() {
            found.masks()?;
        }
        found.inside(inside::Rules::default())?;
        Ok(())
    }
}
