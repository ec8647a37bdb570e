//! `tarsier ground`: photos and sentences in, one object for each sentence out, or that there is none.

use std::{
    io::{self, BufWriter},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use tarsier::{
    detect::Settings,
    draw,
    frame::{
        FrameError,
        file::{ImageFile, images},
    },
    graph::op::Execution,
    prompt::{Row, vocabulary::normalise},
    report::grounding::GroundingWriter,
    scene::{Detection, Report},
};

use super::{
    Engine, Failure, Opened, code_of, detect::Drawn, exit, fail, output_failure, progress,
};

/// Options of `ground`.
#[derive(Debug, Args)]
pub(crate) struct Ground {
    /// Photos (JPEG, PNG) and folders of them.
    #[arg(required = true, value_name = "PHOTO")]
    paths: Vec<PathBuf>,
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
    /// What is written to stdout: a line per sentence, or a JSON object per photo.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    /// Draw what was found into copies of the photos, in this folder.
    #[arg(long, value_name = "DIR")]
    draw: Option<PathBuf>,
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
        let mut opened = self.engine.open(execution, Settings::default())?;
        if !opened.pipeline.grounds() {
            let name = &opened.pack.manifest().name;
            let message = format!(
                "the pack {name} has no network for sentences like these; `detect --sentence` names without comparing"
            );
            return Err(fail(exit::DATA, message));
        }
        let sentences = self.texts()?;
        let rows = encode(&opened, &sentences)?;
        if let Some(folder) = &self.draw {
            std::fs::create_dir_all(folder)
                .map_err(|e| fail(exit::CANNOT_CREATE, format!("{}: {e}", folder.display())))?;
        }
        let mut code = 0;
        let mut failed = |e: &FrameError| {
            log::error!("{e}");
            code = code_of(e).max(code);
        };
        let mut photos = Vec::new();
        for path in &self.paths {
            match images(path) {
                Ok(found) => photos.extend(found),
                Err(e) => failed(&e),
            }
        }
        let json = self.format == OutputFormat::Json;
        let mut writer = GroundingWriter::new(json, BufWriter::new(io::stdout().lock()));
        let bar = progress(photos.len() as u64, "photos", photos.len() < 8);
        let mut drawn = Drawn::new(self.draw.as_deref(), &photos);
        for (path, sequence) in photos.iter().zip(0..) {
            bar.set_position(sequence);
            let mut image = match ImageFile::open(path) {
                Ok(image) => image,
                Err(e) => {
                    bar.suspend(|| failed(&e));
                    continue;
                }
            };
            let frame = image.frame(sequence).map_err(|e| fail(exit::SOFTWARE, e))?;
            let answers = opened
                .pipeline
                .ground(&frame, &rows, self.threshold)
                .map_err(|e| fail(exit::SOFTWARE, e))?;
            let answers: Vec<_> = sentences.iter().map(String::as_str).zip(answers).collect();
            let mut report = Report::new(sequence, image.captured, image.size);
            let shown = path.to_string_lossy();
            writer
                .write(Some(&shown), &report, &answers)
                .or_else(output_failure)?;
            if let Some(to) = drawn.path_for(path)? {
                for ((_, answer), prompt) in answers.iter().zip(0..) {
                    let Some(object) = answer.object else {
                        continue;
                    };
                    // more sentences than a report holds are answered, but not all are drawn
                    let _ = report.detections.push(Detection {
                        bbox: object.bbox,
                        score: answer.score,
                        logit: tarsier::odds::logit(answer.score),
                        prompt,
                        location: object.location,
                    });
                }
                draw::draw(&mut image.pixels, &report, &sentences);
                draw::save(&to, &image.pixels, image.size, image.kind)
                    .map_err(|e| fail(exit::CANNOT_CREATE, e))?;
            }
        }
        writer.finish().or_else(output_failure)?;
        bar.finish_and_clear();
        Ok(code)
    }

    /// The sentences, those of the file last.
    fn texts(&self) -> Result<Vec<String>, Failure> {
        let mut texts = self.sentence.clone();
        if let Some(path) = &self.sentences {
            texts.extend(
                super::lines_of("sentence", path)?
                    .into_iter()
                    .map(|(_, l)| l),
            );
        }
        Ok(texts)
    }
}

/// The sentences' rows; a word of the user's own has its own.
fn encode(opened: &Opened, sentences: &[String]) -> Result<Vec<Row>, Failure> {
    let mut encoder = opened.encoder()?;
    let row = |text: &String| {
        let words = &opened.vocabulary;
        let found = words.find(&normalise(text));
        if let Some(own) = found.filter(|&row| words.entries()[row as usize].origin.is_some()) {
            return Ok(words.row(own));
        }
        let encoded = encoder.encode(text);
        encoded.map_err(|e| fail(exit::USAGE, format!("sentence \"{text}\": {e}")))
    };
    let rows = sentences.iter().map(row).collect();
    encoder.save();
    rows
}
