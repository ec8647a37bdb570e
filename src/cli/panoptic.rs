//! `tarsier panoptic`: photos in, every pixel to one segment out.

use std::io::Write;

use clap::{Args, ValueEnum};
use tarsier::{
    draw, files,
    labels::LabelMap,
    panoptic::{Rules, Segments},
    report::maps,
};

use super::{
    Engine, Failure, needs, output::Output, output_failure, photos::Copies, semantic::png_name,
    stuff::Scenery, unwritten,
};

/// Options of `panoptic`.
#[derive(Debug, Args)]
pub(crate) struct Panoptic {
    #[command(flatten)]
    scenery: Scenery,
    /// What is written to stdout: a line per segment, or COCO's panoptic JSON, which is also written to panoptic.json beside the PNGs of
    /// --output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    /// Each region of stuff that touches no other of its name is a segment of its own.
    #[arg(long)]
    separate_stuff: bool,
    /// Share of its mask that a thing must keep beside better things, 0 to 1; what keeps less is dropped.
    #[arg(long, value_name = "SHARE", default_value_t = Rules::default().visible, value_parser = super::unit_interval)]
    visible: f32,
    /// Share of the photo that a segment of stuff must have, 0 to 1; what is smaller is dropped.
    #[arg(long, value_name = "SHARE", default_value_t = Rules::default().least, value_parser = super::unit_interval)]
    least: f32,
    #[command(flatten)]
    pub(crate) engine: Engine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    Text,
    Coco,
}

impl Panoptic {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let scenery = &self.scenery;
        let mut model = self.engine.open(scenery.selecting.settings())?;
        needs(&model, true, model.abilities().masks, "masks")?;
        let wanted = scenery.open(&mut model)?;
        let names = &wanted.prompts;
        let rules = Rules {
            separate: self.separate_stuff,
            visible: self.visible,
            least: self.least,
        };
        let mut out = Output::new(b"").of_pack(model.pack().watch());
        let mut json = maps::PanopticJson::new(wanted.count(), names, |p| wanted.is_stuff(p));
        let mut copies = Copies::new(scenery.output.as_deref(), &[]);
        let mut map = LabelMap::default();
        let done = scenery.each(&out.clone(), |mut photo| {
            let mut report = scenery.look(&mut model, &wanted, &photo, &mut map)?;
            photo.keep_map(&mut map);
            photo.keep(&mut report);
            let segments = Segments::new(&map, &report, |p| wanted.is_stuff(p), rules);
            let png = copies.path_of(&png_name(photo.path))?;
            let picture = match &png {
                Some(png) => png.file_name().unwrap_or_default().to_string_lossy().into(),
                None => png_name(photo.path),
            };
            let ids = json.push(&photo.shown(true), &picture, names, &segments);
            if let Some(png) = png {
                let made = files::write(&png, |file| maps::panoptic_png(file, &segments, &ids));
                made.map_err(|e| unwritten(&png, &e))?;
            }
            if self.format == OutputFormat::Text {
                let (file, sequence) = (photo.shown(false), photo.sequence);
                maps::panoptic_text(&mut out, Some(&file), sequence, names, &segments)
                    .or_else(output_failure)?;
            }
            photo.draw(|pixels| draw::draw_segments(pixels, &segments, names))
        });
        if let Some(folder) = &scenery.output {
            let path = folder.join("panoptic.json");
            let written = files::write(&path, |file| json.write(file));
            written.map_err(|e| unwritten(&path, &e))?;
        }
        let finished = match self.format {
            OutputFormat::Text => out.flush(),
            OutputFormat::Coco => json.write(out),
        };
        finished.or_else(output_failure).and(done)
    }
}
