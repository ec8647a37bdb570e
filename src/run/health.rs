//! Whether what runs is still what was verified.
//!
//! The pack lies in memory that nobody else can write
//! ([`Pack::open_copy`](crate::pack::Pack::open_copy)), so a file that is overwritten, cut or
//! removed does no harm *now*. It would at the next start, and whoever did it believes that another
//! pack is in use: that is a standing fault, until the file is as it was, or a pack is installed
//! and taken (`reload_pack`, SIGHUP).
//!
//! Memory and processors of boards in the sun do fail. So the golden frame is run again in idle
//! time, at the latest after six periods; if it does not come to what it must, everything is made
//! anew, and if that does not help, the program ends with exit code 70.

use std::time::{Duration, Instant};

use super::{
    RunError, Runner,
    engine::{Engine, FileChange},
    prepare::Renewal,
    prompts::Change,
    task::Task,
};
use crate::supervise;

/// Periods after which the golden frame is run although there is no idle time.
const OVERDUE: u32 = 6;

impl Runner {
    /// Looks whether the pack's file is what was read from it.
    pub(super) fn check_pack_file(&mut self) {
        let change = self.engine.file_change();
        let changed = change.is_some();
        let news = changed != self.pack_file_changed;
        self.pack_file_changed = changed;
        match change {
            None if news => {
                self.lift("pack_file");
                log::info!("pack_file is as it was read");
            }
            Some(FileChange::Replaced) if news => {
                log::info!("another pack was installed; reload_pack or SIGHUP takes it");
            }
            Some(FileChange::Replaced) => self.lift("pack_file"),
            Some(FileChange::Bad(what)) if news => {
                let text = format!(
                    "{what}; what was verified goes on. \
                     Install packs by renaming, as `tarsier pack install` does"
                );
                self.stand("pack_file", text);
            }
            _ => {}
        }
    }

    /// The pack was read from its file just now.
    pub(super) fn pack_file_as_read(&mut self) {
        self.pack_file_changed = false;
        self.tested = Instant::now();
        self.lift("pack_file");
    }

    fn period(&self) -> Option<Duration> {
        let seconds = self.config.engine.self_test_s;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// Nothing else is to be done at the moment.
    pub(super) fn test_in_idle_time(&mut self) {
        if self.period().is_some_and(|p| self.tested.elapsed() >= p) {
            self.test();
        }
    }

    /// Also where there is always something to do.
    pub(super) fn test_when_overdue(&mut self) {
        let overdue = |p: Duration| self.tested.elapsed() >= p * OVERDUE;
        if self.period().is_some_and(overdue) {
            self.test();
        }
    }

    /// The pack from its file again, with the prompts and the task that are in use, at once: nothing else is to be seen with.
    fn reopened(&mut self) -> Result<(), String> {
        let (path, config) = (self.path.clone(), &self.config);
        let opened = Engine::open(&path, &self.run, super::settings(config), config);
        let mut engine = opened.map_err(|e| e.to_string())?;
        engine.adopt(&self.engine.keepsake());
        let kit = engine.kit(&config.limits);
        let draft = self.prompts.draft(Change::Again);
        let prompts = draft.make(&kit, &|| false).map_err(|(_, why)| why)?;
        let task = Task::new(self.task.spec(), &kit, &|| false).map_err(|(_, why)| why)?;
        self.renew(Renewal {
            engine: Some((engine, path)),
            prompts: Some(prompts),
            task: Some(task),
        });
        Ok(())
    }

    fn test(&mut self) {
        self.tested = Instant::now();
        let why = match self.engine.model.self_test() {
            Err(e) => format!("{e:#}"),
            Ok(()) if supervise::fails("self-test") => "TARSIER_FAULT wants it to fail".into(),
            Ok(()) => {
                log::debug!("self-test passed");
                return;
            }
        };
        let again = self.engine.model.renew(super::settings(&self.config));
        let mended = again.is_ok() || self.reopened().is_ok();
        let text = format!("the golden frame of the pack in use came to something else: {why}");
        if mended {
            let text =
                format!("{text}; it was made anew and passes. Is this board's memory sound?");
            self.stand("self_test", text);
        } else {
            self.give_up(RunError::Blind(text));
        }
    }
}
