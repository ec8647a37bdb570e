//! `tarsier semantic`: photos in, a name for every pixel out.

use clap::Args;
use tarsier::{draw, files, labels::LabelMap, report::maps, semantic::Painter};

use super::{
    Engine, Failure, detect::OutputFormat, needs, output::Output, output_failure, photos::Copies,
    stuff::Scenery, unwritten,
};

/// Options of `semantic`.
#[derive(Debug, Args)]
pub(crate) struct Semantic {
    #[command(flatten)]
    scenery: Scenery,
    /// What is written to stdout: the share of each name, a JSON object per photo, or COCO results with run lengths. The PNGs of --output
    /// hold the index of each pixel's prompt, in the order of the options, and 255 for nothing (16 bits and 65535 from 256 prompts on).
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    #[command(flatten)]
    pub(crate) engine: Engine,
}

impl Semantic {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let scenery = &self.scenery;
        let mut model = self.engine.open(scenery.selecting.settings())?;
        needs(&model, true, model.abilities().masks, "masks")?;
        let wanted = scenery.open(&mut model)?;
        let names = &wanted.prompts;
        let out = Output::new(self.format.tail()).of_pack(model.pack().watch());
        let mut writer = maps::SemanticWriter::new(self.format.into(), out.clone());
        let mut copies = Copies::new(scenery.output.as_deref(), &[]);
        let mut map = LabelMap::default();
        let done = scenery.each(&out, |mut photo| {
            let mut report = scenery.look(&mut model, &wanted, &photo, &mut map)?;
            photo.keep_map(&mut map);
            photo.keep(&mut report);
            Painter::things(&report, |p| wanted.is_stuff(p), &mut map);
            let png = copies.path_of(&png_name(photo.path))?;
            if let Some(png) = &png {
                let made = files::write(png, |file| {
                    maps::label_png(file, &map, wanted.count(), names)
                });
                made.map_err(|e| unwritten(png, &e))?;
            }
            let png = png.as_ref().map(|p| p.to_string_lossy());
            writer
                .write(
                    Some(&photo.shown(self.format == OutputFormat::Coco)),
                    names,
                    &report,
                    &map,
                    wanted.count(),
                    |p| wanted.is_stuff(p),
                    png.as_deref(),
                )
                .or_else(output_failure)?;
            photo.draw(|pixels| draw::draw_map(pixels, &map, names))
        });
        let finished = writer.finish().or_else(output_failure);
        finished.and(done)
    }
}

/// The name of a photo's PNG: COCO's tools find it by the photo's own.
pub(super) fn png_name(photo: &std::path::Path) -> String {
    format!(
        "{}.png",
        photo.file_stem().unwrap_or_default().to_string_lossy()
    )
}
