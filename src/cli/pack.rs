//! `tarsier pack build | background | inspect | install | verify`.

use std::path::PathBuf;

use clap::Subcommand;
use tarsier::{
    build::{self, BuildError, background::add_background},
    frame::folder::images,
    graph::op::{Execution, Graph, hosted_operators},
    pack::{Pack as Opened, PackError},
    prompt::vocabulary::Vocabulary,
    run::{config::Config, memory::Need},
};

use super::{Failure, Lines, code_of, exit, fail, isa_from, open_pack, progress, unchanged};

/// Subcommands of `pack`.
#[derive(Debug, Subcommand)]
pub(crate) enum Pack {
    /// Lower what the recipe exported and write one pack file.
    Build {
        /// The folder with manifest.json, the QDQ graphs, the vocabulary and the tokenizer.
        folder: PathBuf,
        /// Take what the folder lacks from this pack: a stage that was trained again, or other thresholds, need none of the rest.
        #[arg(long, value_name = "PACK")]
        base: Option<PathBuf>,
        /// The pack to write.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Measure on photos what objects look like to the network on the whole, and add that to a pack: exemplars are told from it.
    Background {
        /// The pack.
        pack: PathBuf,
        /// Photos like those that the network was trained on, and folders of them; a thousand are enough.
        #[arg(required = true)]
        photos: Vec<PathBuf>,
        /// The pack to write; it may be the same.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Take every Nth photo.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        every: u16,
    },
    /// Say what a pack holds.
    Inspect {
        /// The pack.
        pack: PathBuf,
        /// List every operation of the programs.
        #[arg(long)]
        ops: bool,
    },
    /// Check a pack and put it where it is used; the one that was there is kept and taken back if the new one fails there.
    Install {
        /// The new pack.
        pack: PathBuf,
        /// Where `tarsier run` looks for it.
        to: PathBuf,
    },
    /// Check every section's SHA-256 and the result of the golden frame.
    Verify {
        /// The pack.
        pack: PathBuf,
        /// Instruction set to run the golden frame on. Default: the best this CPU has.
        #[arg(long, value_name = "LEVEL")]
        isa: Option<String>,
    },
}

impl Pack {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let mut lines = Lines::new();
        match self {
            Self::Build {
                folder,
                base,
                output,
            } => {
                let base = base.as_deref().map(open_pack).transpose()?;
                let bytes = build::build(folder, base.as_ref(), output).map_err(failure)?;
                lines.line(format!("{}: {bytes} bytes", output.display()))?;
            }
            Self::Background {
                pack,
                photos,
                output,
                every,
            } => {
                let mut found = Vec::new();
                for path in photos {
                    found.extend(images(path).map_err(|e| fail(code_of(&e), e))?);
                }
                let chosen: Vec<PathBuf> = found.into_iter().step_by((*every).into()).collect();
                let bar = progress(chosen.len() as u64, "photos", false);
                let looked = |i| bar.set_position(i as u64);
                let bytes = add_background(pack, &chosen, output, looked);
                bar.finish_and_clear();
                let (bytes, count) = (bytes.map_err(failure)?, chosen.len());
                let output = output.display();
                lines.line(format!(
                    "{output}: {bytes} bytes, objects of {count} photos"
                ))?;
            }
            Self::Inspect { pack, ops } => inspect(&open_pack(pack)?, *ops, &mut lines)?,
            Self::Install { pack, to } => {
                build::install(pack, to, isa_from(None)?).map_err(failure)?;
                lines.line(format!("{}: installed", to.display()))?;
            }
            Self::Verify { pack, isa } => {
                let isa = isa_from(isa.as_deref())?;
                let opened = open_pack(pack)?;
                build::verify(&opened, isa).map_err(failure)?;
                unchanged(&opened)?;
                lines.line(format!(
                    "{}: all sections and the golden frame are as the manifest says ({})",
                    pack.display(),
                    isa.level()
                ))?;
            }
        }
        lines.finish()?;
        Ok(0)
    }
}

fn failure(e: BuildError) -> Failure {
    let code = match &e {
        BuildError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            exit::NO_INPUT
        }
        BuildError::Output { source, .. } => match source.kind() {
            std::io::ErrorKind::StorageFull => exit::IO,
            _ => exit::CANNOT_CREATE,
        },
        BuildError::File { .. } => exit::IO,
        BuildError::Pack(PackError::Open { .. }) => exit::NO_INPUT,
        _ => exit::DATA,
    };
    fail(code, e)
}

fn inspect(pack: &Opened, ops: bool, lines: &mut Lines) -> Result<(), Failure> {
    let data = |e: &dyn std::fmt::Display| fail(exit::DATA, e);
    let m = pack.manifest();
    lines.line(format!(
        "{} {} (layout {}, {})",
        m.name, m.version, m.format, m.built_by
    ))?;
    lines.line(format!("licence: {}", m.licence))?;
    lines.line(format!("trained on: {}", m.training_data))?;
    lines.line(format!(
        "input {0}×{0} px, strides {1:?}, embeddings of {2}",
        m.input_px, m.strides, m.embedding
    ))?;
    for (name, value) in &m.metrics {
        lines.line(format!("{name}: {value}"))?;
    }
    lines.line(format!("\n{:<24}{:>10}", "section", "bytes"))?;
    for (name, bytes) in pack.sections() {
        lines.line(format!("{name:<24}{:>10}", bytes.len()))?;
    }
    let execution = Execution {
        isa: isa_from(None)?,
        threads: 1,
    };
    for name in ["backbone", "head", "sentence"] {
        let onnx = pack
            .section(&format!("{name}.onnx"))
            .map_err(|e| data(&e))?;
        let graph = Graph::load(name, &onnx, |s| pack.find(s), execution).map_err(|e| data(&e))?;
        let program = graph.program();
        let hosted = hosted_operators(name, &onnx).map_err(|e| data(&e))?;
        lines.line(format!(
            "\n{name}: {} operations, {:.1} MMAC, arena {} bytes{}",
            program.operations.len(),
            program.macs() as f64 / 1e6,
            program.arena_bytes,
            if hosted.is_empty() {
                String::new()
            } else {
                format!(", hosted by tract: {}", hosted.join(", "))
            }
        ))?;
        for (kind, ports) in [("in ", &program.inputs), ("out", &program.outputs)] {
            for p in ports {
                lines.line(format!(
                    "  {kind} {:<40} {:?} scale {:.6} zero point {}",
                    p.name,
                    p.view.tensor_shape(),
                    p.scale,
                    p.view.zero_point
                ))?;
            }
        }
        if ops {
            for op in &program.operations {
                lines.line(format!(
                    "  {:<60} {:>7.2} MMAC  {}×{}×{}",
                    op.name,
                    op.macs() as f64 / 1e6,
                    op.output.channels,
                    op.output.height,
                    op.output.width
                ))?;
            }
        }
    }
    let need = Need::of(pack, &Config::default(), execution).map_err(|e| data(&e))?;
    lines.line(format!("\nof `tarsier run` with default limits, {need}"))?;
    let vocabulary = Vocabulary::open(pack).map_err(|e| data(&e))?;
    let synonyms: usize = vocabulary.entries().iter().map(|e| e.synonyms.len()).sum();
    let things = vocabulary.entries().iter().filter(|e| e.thing).count();
    lines.line(format!(
        "\nvocabulary: {} names ({things} things), {synonyms} synonyms",
        vocabulary.entries().len()
    ))?;
    Ok(())
}
