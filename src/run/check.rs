//! What can be known of a configuration before it is used: `--check-config`.
//!
//! A check is made where the configuration is written as often as where it is used, and what is not
//! here may come: a camera is plugged in, a pack is copied. So what is wrong is refused, and what
//! could not be looked at is said, one line each.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::{
    RunError,
    config::Config,
    engine::{Engine, Run},
    task::Task,
};
use crate::{
    capture::config::{Kind, SourceConfig},
    graph::op::Execution,
    link::LinkConfig,
};

/// One thing that was looked at, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is as it should be.
    Right(String),
    /// It was not looked at, and why.
    Unknown(String),
}

/// Looks at everything that a configuration names and that is here: the pack with its self-test,
/// words, prompts and task with it, source, links and sensors.
///
/// # Errors
///
/// What would keep [`run`](super::run) from starting, or will never work: [`RunError`] as there,
/// and [`RunError::Device`] for a path of the wrong kind.
pub fn check(
    config: &Config,
    pack: &Path,
    execution: Execution,
    default_prompts: &[&str],
) -> Result<Vec<Finding>, RunError> {
    let mut found = Vec::new();
    let source = config.source.as_ref().ok_or(RunError::NoSource)?;
    model(config, pack, execution, default_prompts, &mut found)?;
    look_at_source(source, &mut found)?;
    for link in config.links.all() {
        look_at_link(&link, &mut found)?;
    }
    if let Some(sensor) = &config.heat.sensor {
        let what = format!("heat.sensor {}", sensor.display());
        if super::host::sensor_c(sensor).is_some() {
            found.push(Finding::Right(what));
        } else if sensor.exists() {
            let why = format!("{what}: no number of thousandths of a degree is in it");
            return Err(RunError::Device(why));
        } else {
            found.push(Finding::Unknown(format!("{what}: is not here")));
        }
    }
    found.push(Finding::Unknown(
        "whether frames come, in which sizes and how fast, and who listens at the other end".into(),
    ));
    Ok(found)
}

/// The pack, and what can only be known with it.
fn model(
    config: &Config,
    pack: &Path,
    execution: Execution,
    default_prompts: &[&str],
    found: &mut Vec<Finding>,
) -> Result<(), RunError> {
    let what = format!("pack {}", pack.display());
    if matches!(fs::metadata(pack), Err(e) if e.kind() == ErrorKind::NotFound) {
        found.push(Finding::Unknown(format!(
            "{what}: is not here, so neither prompts nor words nor the task were looked at; \
             --pack FILE looks with another one"
        )));
        return Ok(());
    }
    let settings = super::settings(config);
    let run = Run::start(execution).map_err(RunError::System)?;
    let mut engine = Engine::open(pack, &run, settings, config).map_err(RunError::Engine)?;
    found.push(Finding::Right(format!(
        "{what}: {}, its golden frame is as its manifest says",
        engine.model.name()
    )));
    if let Some(why) = engine.without_words.take() {
        found.push(Finding::Unknown(format!("{why}; they would not be used")));
    }
    let kit = engine.kit(&config.limits);
    let prompts = super::draft_of(config, default_prompts)
        .make(&kit, &|| false)
        .map_err(|(_, why)| RunError::Prompts(format!("prompts.list: {why}")))?;
    found.push(Finding::Right(format!("{} prompts", prompts.count())));
    Task::new(&config.task, &kit, &|| false).map_err(|(_, why)| RunError::Task(why))?;
    found.push(Finding::Right("task".into()));
    Ok(())
}

fn look_at_source(source: &SourceConfig, found: &mut Vec<Finding>) -> Result<(), RunError> {
    let what = format!("source {}", source.name());
    if matches!(source.kind, Kind::Mjpeg | Kind::Raw | Kind::Y4m) && source.path == Path::new("-") {
        found.push(Finding::Unknown(format!("{what}: standard input")));
        return Ok(());
    }
    let right = |kind: fs::FileType| match source.kind {
        Kind::Files => kind.is_file() || kind.is_dir(),
        Kind::V4l2 => kind.is_char_device(),
        Kind::Mjpeg | Kind::Raw | Kind::Y4m => !kind.is_dir() && !kind.is_socket(),
    };
    let wanted = match source.kind {
        Kind::Files => "a photo or a folder",
        Kind::V4l2 => "a camera, which is a character device",
        Kind::Mjpeg | Kind::Raw | Kind::Y4m => "a pipe or a file",
    };
    look_at(&what, &source.path, right, wanted, Access::READ_OK, found)
}

fn look_at_link(link: &LinkConfig, found: &mut Vec<Finding>) -> Result<(), RunError> {
    let path = link.path();
    if let LinkConfig::Socket(_) = link {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let folder: PathBuf = folder.unwrap_or(Path::new(".")).into();
        let what = format!("links.socket {}: its folder", path.display());
        let right = |kind: fs::FileType| kind.is_dir();
        return look_at(&what, &folder, right, "a folder", Access::WRITE_OK, found);
    }
    let what = format!("link {}", path.display());
    let right = |kind: fs::FileType| kind.is_char_device();
    let wanted = "a tty, which is a character device";
    let both = Access::READ_OK | Access::WRITE_OK;
    look_at(&what, path, right, wanted, both, found)
}

/// A path: its kind decides, its rights may be another user's business.
fn look_at(
    what: &str,
    path: &Path,
    right: impl Fn(fs::FileType) -> bool,
    wanted: &str,
    rights: Access,
    found: &mut Vec<Finding>,
) -> Result<(), RunError> {
    found.push(match fs::metadata(path) {
        Ok(file) if !right(file.file_type()) => {
            let why = format!("{what}: {} is not {wanted}", path.display());
            return Err(RunError::Device(why));
        }
        Ok(_) => match access(path, rights) {
            Ok(()) => Finding::Right(what.to_owned()),
            Err(e) => Finding::Unknown(format!("{what}: this user may not use it ({e})")),
        },
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Finding::Unknown(format!("{what}: {} is not here", path.display()))
        }
        Err(e) => Finding::Unknown(format!("{what}: {e}")),
    });
    Ok(())
}
