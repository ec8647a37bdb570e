//! `tarsier ground`: photos and sentences in, one object for each sentence out, or that there is none.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tarsier::{
    detect::Settings,
    graph::op::Execution,
    ground::Grounding,
    input,
    prompt::{
        Row,
        limits::{self, MAX_TEXT, TASK_TEXTS},
    },
    report::grounding::GroundingWriter,
    scene::{Detection, MAX_DETECTIONS, Report},
};

use super::{Engine, Failure, Opened, exit, fail, output::Output, output_failure, photos::Photos};

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
    pub(crate) fn run(&self, execution: Execution) -> Result<u8, Failure> {
        let sentences = self.texts()?;
        let mut opened = self.engine.open(execution, Settings::default())?;
        if !opened.pipeline.grounds() {
            let name = &opened.pack.manifest().name;
            let message = format!(
                "the pack {name} has no network for sentences like these; `detect --sentence` names without comparing"
            );
            return Err(fail(exit::DATA, message));
        }
        opened.needs(self.masks, opened.pipeline.segments(), "masks")?;
        let rows = encode(&opened, &sentences)?;
        let json = self.format == OutputFormat::Json;
        let out = Output::new(b"").of_pack(opened.pack.watch());
        let mut writer = GroundingWriter::new(json, out.clone());
        let software = |e| fail(exit::SOFTWARE, e);
        let code = self.photos.each(&out, |mut photo| {
            let frame = photo.frame()?;
            let mut answers = opened
                .pipeline
                .ground(&frame, &rows, self.threshold)
                .map_err(software)?;
            let mut report = photo.report();
            found(&answers, &mut report);
            if self.masks {
                opened.pipeline.segment(&mut report).map_err(software)?;
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

/// The sentences' rows; a word of the user's own has its own.
fn encode(opened: &Opened, sentences: &[String]) -> Result<Vec<Row>, Failure> {
    let mut encoder = opened.encoder()?;
    let row = |text: &String| {
        if let Some(own) = opened.vocabulary.own(text) {
            return Ok(own);
        }
        let encoded = encoder.encode(text);
        encoded.map_err(|e| fail(exit::USAGE, format!("sentence \"{text}\": {e}")))
    };
    let rows = sentences.iter().map(row).collect();
    encoder.save();
    rows
}
