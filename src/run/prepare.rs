//! Prompt sets, tasks and packs, prepared beside the loop: it goes on with the old ones until the new ones are whole.
//!
//! ```text
//! command, SIGHUP ──▶ Preparation (a thread of its own, that gives way between two operations while the loop looks at a frame)
//!                          │ Made, or why not
//! loop: frame … frame … ───┴─▶ taken into use between two frames, answered ─▶ frame …
//! ```
//!
//! One thing at a time: whoever wants another meanwhile is told that it is busy. At the end of the program, and where the loop
//! is told to stop, a preparation ends with the text that it is at.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use super::{
    Runner,
    config::Config,
    engine::{Engine, Kit},
    prompts::{Change, Prompts, Refusal, raised},
    settings,
    task::Task,
};
use crate::{
    link::Origin,
    prompt::{lexicon::Lexicon, words::Word},
    protocol::{Answer, ErrorCode, Reply},
    supervise::{let_go, step_back},
    team::background::{Foreground, stay_behind},
};

/// Room for tract's recursion, as a main thread has it.
const STACK: usize = 8 << 20;

/// What came of a preparation.
#[derive(Debug)]
pub(super) enum Made {
    Prompts(Box<Prompts>),
    Task(Box<Task>),
    /// What was shown, and a set with it.
    Shown(Box<Learned>),
    /// What another configuration or pack file changes; what it leaves alone is none.
    Renewal(Box<Renewal>),
}

/// Names that were shown, and what they change.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) lexicon: Lexicon,
    pub(super) words: Vec<Word>,
    pub(super) prompts: Prompts,
}

/// Parts that take the place of those in use.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    pub(super) engine: Option<(Engine, PathBuf)>,
    pub(super) prompts: Option<Prompts>,
    pub(super) task: Option<Task>,
}

/// Who is told when it is done.
#[derive(Debug)]
pub(super) enum For {
    /// Whoever gave these commands.
    Commands(Vec<(Origin, u32)>),
    /// The configuration that was read again.
    Configuration(Box<Config>),
}

/// Something being prepared.
#[derive(Debug)]
pub(super) struct Preparation {
    whom: For,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Made, Refusal>>>,
}

impl Preparation {
    pub(super) fn start(
        whom: For,
        lexicon: Lexicon,
        foreground: Foreground,
        work: impl FnOnce(&dyn Fn() -> bool) -> Result<Made, Refusal> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let builder = thread::Builder::new().name("prepare".into());
        let thread = builder.stack_size(STACK).spawn(move || {
            step_back();
            stay_behind(foreground);
            let made = work(&raised(&flag));
            // what was encoded is worth keeping whatever ends the program; here, because a card may take a second to write it
            if let Ok(Made::Renewal(renewal)) = &made
                && let Some((engine, _)) = &renewal.engine
            {
                engine.model.lexicon().save();
            }
            lexicon.encoder().save();
            made
        })?;
        Ok(Self {
            whom,
            stop,
            thread: Some(thread),
        })
    }

    fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What came of it; waits if it is not over.
    fn end(mut self) -> (For, Result<Made, Refusal>) {
        let made = match self.thread.take().map(JoinHandle::join) {
            Some(Ok(made)) => made,
            // the loop and what is in use are not touched by it
            _ => Err((ErrorCode::Failed, "it was given up: a bug".into())),
        };
        let nobody = For::Commands(Vec::new());
        (std::mem::replace(&mut self.whom, nobody), made)
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // a text takes some milliseconds
            let _ = thread.join();
        }
    }
}

impl Runner {
    /// Refuses what cannot be while something is prepared.
    pub(super) fn idle(&self) -> Result<(), Refusal> {
        match self.preparing {
            Some(_) => {
                let why = "another change is being prepared; it is answered when it holds";
                Err((ErrorCode::Busy, why.into()))
            }
            None => Ok(()),
        }
    }

    /// Changes the prompt set, at once or as soon as the new one is whole. None: answered then.
    pub(super) fn change_prompts(
        &mut self,
        (from, id): (Origin, u32),
        change: Change,
    ) -> Result<Option<Answer>, Refusal> {
        if let Err(busy) = self.idle() {
            if change.is_large() {
                let_go(change);
            }
            return Err(busy);
        }
        let (draft, kit) = (self.prompts.draft(change), self.kit());
        if draft.is_quick(&kit) {
            let next = draft.make(&kit, &|| false)?;
            self.prompts.become_next(next);
            return Ok(Some(self.prompts_changed()));
        }
        self.prepare(For::Commands(vec![(from, id)]), move |stop| {
            let made = draft.make(&kit, stop)?;
            Ok(Made::Prompts(Box::new(made)))
        })?;
        Ok(None)
    }

    /// Changes the task, at once or as soon as it is whole. None: answered then.
    pub(super) fn change_task(
        &mut self,
        (from, id): (Origin, u32),
        spec: crate::protocol::command::TaskSpec,
    ) -> Result<Option<Answer>, Refusal> {
        self.idle()?;
        let kit = self.kit();
        if Task::is_quick(&spec) {
            self.task = Task::new(&spec, &kit, &|| false)?;
            return Ok(Some(Answer::Done));
        }
        self.prepare(For::Commands(vec![(from, id)]), move |stop| {
            let made = Task::new(&spec, &kit, stop)?;
            Ok(Made::Task(Box::new(made)))
        })?;
        Ok(None)
    }

    /// The pack's file again, with the prompts and the task that are in use.
    pub(super) fn reload_pack(&mut self, (from, id): (Origin, u32)) -> Result<(), Refusal> {
        self.idle()?;
        let (path, run, config) = (self.path.clone(), self.run.clone(), self.config.clone());
        let enrolled = self.engine.keepsake();
        let draft = self.prompts.draft(Change::Again);
        let spec = self.task.spec().clone();
        self.prepare(For::Commands(vec![(from, id)]), move |stop| {
            let opened = Engine::open(&path, &run, settings(&config), &config);
            let mut engine = opened.map_err(|e| (ErrorCode::Failed, e.to_string()))?;
            engine.adopt(&enrolled);
            let kit = engine.kit(&config.limits);
            Ok(Made::Renewal(Box::new(Renewal {
                prompts: Some(draft.make(&kit, stop)?),
                task: Some(Task::new(&spec, &kit, stop)?),
                engine: Some((engine, path)),
            })))
        })
    }

    pub(super) fn kit(&self) -> Kit {
        self.engine.kit(&self.config.limits)
    }

    /// Begins a preparation.
    pub(super) fn prepare(
        &mut self,
        whom: For,
        work: impl FnOnce(&dyn Fn() -> bool) -> Result<Made, Refusal> + Send + 'static,
    ) -> Result<(), Refusal> {
        let lexicon = self.engine.model.lexicon().clone();
        let started = Preparation::start(whom, lexicon, self.foreground.clone(), work);
        let started = started.map_err(|e| (ErrorCode::Failed, format!("no thread: {e}")))?;
        self.preparing = Some(started);
        Ok(())
    }

    /// Takes into use what was prepared, if it is whole, and answers.
    pub(super) fn finish_preparation(&mut self) {
        let Some(done) = self.preparing.take_if(|p| p.is_over()) else {
            return;
        };
        let (whom, made) = done.end();
        match whom {
            For::Commands(asked) => {
                let answer = made.map(|made| self.take_up(made));
                for (to, id) in asked {
                    let reply = match &answer {
                        Ok(answer) => Reply::Ack {
                            id,
                            answer: answer.clone(),
                        },
                        Err((code, why)) => Reply::error(id, *code, why.clone()),
                    };
                    self.links.reply(to, reply);
                }
            }
            For::Configuration(config) => {
                let done = match made {
                    Ok(Made::Renewal(renewal)) => self.take_over(*config, *renewal),
                    Ok(_) => Ok(()),
                    Err((_, why)) => Err(why),
                };
                self.tell_reload(done);
            }
        }
    }

    fn take_up(&mut self, made: Made) -> Answer {
        match made {
            Made::Prompts(next) => {
                self.prompts.become_next(*next);
                self.prompts_changed()
            }
            Made::Task(task) => {
                let_go(std::mem::replace(&mut self.task, *task));
                Answer::Done
            }
            Made::Shown(learned) => {
                self.learn(*learned);
                self.prompts_changed()
            }
            Made::Renewal(renewal) => {
                self.renew(*renewal);
                Answer::Text(self.engine.model.name())
            }
        }
    }

    /// Puts new parts in the place of those in use, all between two frames.
    pub(super) fn renew(&mut self, renewal: Renewal) {
        let Renewal {
            engine,
            prompts,
            task,
        } = renewal;
        if let Some((engine, path)) = engine {
            let_go(std::mem::replace(&mut self.engine, engine));
            self.path = path;
            self.follower.forget_looks();
            let threshold = self.engine.model.pipeline().presence_threshold();
            self.watcher.configure(&self.config.presence, threshold);
            self.lift("pack");
            self.pack_file_as_read();
            self.tell_words();
        }
        if let Some(task) = task {
            let_go(std::mem::replace(&mut self.task, task));
        }
        if let Some(prompts) = prompts {
            self.prompts.become_next(prompts);
            self.tell_prompts();
        }
    }
}
