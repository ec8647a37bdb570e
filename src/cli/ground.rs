//! `tarsier ground`: photos and sentences in, one object for each sentence out, or that there is none.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tarsier::{
    Error,
    detect::Settings,
    ground::Grounding,
    input,
    prompt::{
        Row,
        limits::{self, MAX_TEXT, TASK_TEXTS},
    },
    report::grounding::GroundingWriter,
    scene::{Detection, MAX_DETECTIONS, Report},
};

use super::{Engine, Failure, exit, fail, needs, output::Output, output_failure, photos::Photos};

/// Options of `ground`.
#[derive(Debug, Args)]
pub(crate) struct Ground {
    #[command(flatten)]
    photos: Photos,
    /// What to find: one thing, told from others by where it is, how large, of what colour, or beside what. Repeat it for more.
    #[arg(
        long = "sentence",
        value_name = "TEXT",
        required_unless_present = "sentences"
    )]
    sentence: Vec<String>,
    /// A file with one sentence per line; empty lines and lines that start with # are passed over.
    #[arg(long, value_name = "FILE")]
    sentences: Option<PathBuf>,
    /// Least score of an answer, 0 to 1; with 0 every sentence means something. Default: the pack's.
    #[arg(long, value_name = "SCORE", value_parser = super::unit_interval)]
    threshold: Option<f32>,
    /// Also say which pixels the objects have: their number, COCO run lengths, or tinted in what is drawn.
    #[arg(long)]
    masks: bool,
    /// What is written to stdout: a line per sentence, or a JSON object per photo.
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

impl Ground {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let sentences = self.texts()?;
        let mut model = self.engine.open(Settings::default())?;
        if !model.abilities().ground {
            let name = &model.pack().manifest().name;
            let message = format!(
                "the pack {name} has no network for sentences like these; `detect --sentence` names without comparing"
            );
            return Err(fail(exit::DATA, message));
        }
        needs(&model, self.masks, model.abilities().masks, "masks")?;
        let rows = sentences.iter().map(|text| model.sentence(text));
        let rows: Result<Vec<Row>, Error> = rows.collect();
        model.lexicon().save();
        let rows = rows?;
        let json = self.format == OutputFormat::Json;
        let out = Output::new(b"").of_pack(model.pack().watch());
        let mut writer = GroundingWriter::new(json, out.clone());
        let code = self.photos.each(&out, |mut photo| {
            let mut look = model.look(photo.frame()?)?;
            let (mut answers, mut report) = (Vec::new(), photo.report());
            look.ground(&rows, self.threshold, &mut answers)?;
            found(&answers, &mut report);
            if self.masks {
                look.masks_of(&mut report)?;
            }
            photo.keep(&mut report);
            // what a region leaves out is not there
            for (answer, sentence) in answers.iter_mut().zip(0..).take(MAX_DETECTIONS) {
                if !report.detections.iter().any(|d| d.prompt == sentence) {
                    answer.object = None;
                }
            }
            let answers: Vec<_> = sentences.iter().map(String::as_str).zip(answers).collect();
            writer
                .write(Some(&photo.shown(false)), &report, &answers)
                .or_else(output_failure)?;
            photo.draw_report(&report, &sentences)
        })?;
        writer.finish().or_else(output_failure)?;
        Ok(code)
    }

    /// The sentences, those of the file last.
    fn texts(&self) -> Result<Vec<String>, Failure> {
        let usage = |why| fail(exit::USAGE, why);
        let mut texts = Vec::new();
        for text in &self.sentence {
            let clean = input::clean(text).map_err(|c| {
                let message = format!("sentence {text:?} {}", input::control(c));
                fail(exit::USAGE, message)
            })?;
            texts.push(clean.into_owned());
        }
        if let Some(path) = &self.sentences {
            texts.extend(
                super::lines_of("sentence", TASK_TEXTS, path)?
                    .into_iter()
                    .map(|(_, l)| l),
            );
        }
        limits::texts("ground", texts.len(), TASK_TEXTS).map_err(usage)?;
        for text in &texts {
            limits::text("a text of ground", text, MAX_TEXT).map_err(usage)?;
        }
        Ok(texts)
    }
}

/// The objects of the answers as detections of their sentences; more sentences than a report holds are answered, but not all are
/// drawn or have masks.
fn found(answers: &[Grounding], report: &mut Report) {
    for (answer, prompt) in answers.iter().zip(0..).take(MAX_DETECTIONS) {
        if let Some(object) = answer.object {
            report.detections.push(Detection {
                bbox: object.bbox,
                score: answer.score,
                logit: tarsier::odds::logit(answer.score),
                prompt,
                location: object.location,
            });
        }
    }
}
