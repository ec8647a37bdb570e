//! The prompt set in use: what was asked for, its version, and the set that the pipeline takes.
//!
//! A change is a [`Draft`], from which a whole new set is made, beside the loop where that takes long, and put in the old one's
//! place: what fails leaves everything as it was. Rows of sentences go from set to set, so that no text is encoded twice.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{engine::Kit, limits::Limits};
use crate::{
    prompt::{
        PromptError, PromptSet, Request, Row, sentence::SentenceError, vocabulary::normalise,
    },
    protocol::{ErrorCode, PromptSpec, SharedNames, command::PromptKind},
    supervise::let_go,
};

/// Why a change was refused, for programs and for people.
pub(super) type Refusal = (ErrorCode, String);

/// Prompts up to which a set whose rows are all known is made by the loop itself: less than a millisecond.
const QUICK: usize = 512;

/// Bytes of the names in one answer to `get_prompts`.
pub(super) const PAGE_BYTES: usize = 32 * 1024;

/// Rows of sentences, by their normal form.
type Rows = HashMap<String, Row>;

/// What is looked for.
#[derive(Debug)]
pub(super) struct Prompts {
    specs: Arc<Vec<PromptSpec>>,
    threshold: Option<f32>,
    /// Which set of this run it is: given when it is taken into use.
    version: u32,
    set: PromptSet,
    names: SharedNames,
    rows: Arc<Rows>,
}

/// What a command does to the set in use.
#[derive(Debug)]
pub(super) enum Change {
    /// These and nothing else.
    Set(Vec<PromptSpec>),
    /// These too; one that is there already is as it is asked for now.
    Add(Vec<PromptSpec>),
    /// No longer these.
    Remove(Vec<String>),
    /// The least score, of one prompt or of all that have none of their own.
    Threshold(Option<f32>, Option<String>),
    /// The same prompts, with other words or of another pack.
    Again,
}

impl Change {
    /// Whether it takes long to free.
    pub(super) const fn is_large(&self) -> bool {
        match self {
            Self::Set(specs) | Self::Add(specs) => specs.len() > QUICK,
            Self::Remove(texts) => texts.len() > QUICK,
            _ => false,
        }
    }
}

/// A set to be made of the one in use.
#[derive(Debug)]
pub(super) struct Draft {
    specs: Arc<Vec<PromptSpec>>,
    threshold: Option<f32>,
    rows: Arc<Rows>,
    change: Change,
}

impl Draft {
    /// That of a configuration; without prompts, `fallback`.
    pub(super) fn of(list: &[PromptSpec], threshold: Option<f32>, fallback: &[&str]) -> Self {
        let specs = if list.is_empty() {
            fallback.iter().map(|&text| text.into()).collect()
        } else {
            list.to_vec()
        };
        Self {
            specs: Arc::default(),
            threshold,
            rows: Arc::default(),
            change: Change::Set(specs),
        }
    }

    /// Whether it is made so quickly that the loop does it itself.
    pub(super) fn is_quick(&self, kit: &Kit) -> bool {
        let new: &[PromptSpec] = match &self.change {
            Change::Set(specs) | Change::Add(specs) => specs,
            _ => &[],
        };
        self.specs.len().max(new.len()) + new.len() <= QUICK
            && new.iter().all(|spec| {
                let normal = normalise(&spec.text);
                let named = || kit.lexicon.vocabulary().find(&normal).is_some();
                self.rows.contains_key(&normal) || (spec.kind != PromptKind::Sentence && named())
            })
    }

    /// Makes the set, unless it is told to stop.
    pub(super) fn make(self, kit: &Kit, stop: &dyn Fn() -> bool) -> Result<Prompts, Refusal> {
        let Self {
            specs,
            mut threshold,
            mut rows,
            change,
        } = self;
        let specs = match change {
            Change::Set(new) => new,
            Change::Add(new) => specs.iter().cloned().chain(new).collect(),
            Change::Remove(texts) => without(&specs, &texts)?,
            Change::Threshold(all, None) => {
                threshold = all;
                specs.to_vec()
            }
            Change::Threshold(own, Some(text)) => {
                let (mut specs, normal) = (specs.to_vec(), normalise(&text));
                let spec = specs.iter_mut().find(|s| normalise(&s.text) == normal);
                spec.ok_or_else(|| not_in_use(&text))?.threshold = own;
                specs
            }
            Change::Again => {
                // another pack's encoder has other rows
                rows = Arc::default();
                specs.to_vec()
            }
        };
        Prompts::made(distinct(specs), threshold, &rows, kit, stop)
    }
}

impl Prompts {
    fn made(
        specs: Vec<PromptSpec>,
        threshold: Option<f32>,
        known: &Rows,
        kit: &Kit,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, Refusal> {
        within(&specs, known, kit)?;
        let requests: Vec<Request> = specs.iter().map(request).collect();
        let mut rows = Rows::new();
        let mut encode = |text: &str| -> Result<Row, SentenceError> {
            let normal = normalise(text);
            let row = match known.get(&normal) {
                Some(row) => row.clone(),
                None => kit.lexicon.encoder().encode(text)?,
            };
            rows.insert(normal, row.clone());
            Ok(row)
        };
        let (objects, mut go_on) = (kit.objects, |_| !stop());
        let mut set = (kit.lexicon)
            .set_by(
                (&requests, kit.limits.of_a_set()),
                &mut encode,
                objects,
                threshold,
                &mut go_on,
            )
            .map_err(|e| (code(&e), e.to_string()))?;
        for (i, spec) in specs.iter().enumerate() {
            if let Some(own) = spec.threshold {
                set.set_threshold(i, own);
            }
        }
        // what was asked for holds before what the word says
        set.regroup(|i, prompt| {
            if let Some(spec) = specs.get(i) {
                prompt.group = spec.group.clone().or(prompt.group.take());
                prompt.reject |= spec.reject;
            }
        });
        let names = set.prompts().iter().map(|p| p.shown().to_owned()).collect();
        tell_sentences(&specs, kit);
        Ok(Self {
            names: Arc::new(names),
            specs: Arc::new(specs),
            threshold,
            version: 1,
            set,
            rows: Arc::new(rows),
        })
    }

    /// A draft of a change to this set.
    pub(super) fn draft(&self, change: Change) -> Draft {
        Draft {
            specs: Arc::clone(&self.specs),
            threshold: self.threshold,
            rows: Arc::clone(&self.rows),
            change,
        }
    }

    /// Takes a new set into use in this one's place.
    pub(super) fn become_next(&mut self, next: Self) {
        let version = self.version + 1;
        let old = std::mem::replace(self, Self { version, ..next });
        if old.specs.len() > QUICK {
            let_go(old);
        }
    }

    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    pub(super) const fn set_in_use(&self) -> &PromptSet {
        &self.set
    }

    pub(super) const fn names(&self) -> &SharedNames {
        &self.names
    }

    /// The texts from one index on, at most so many, and no more than one answer holds.
    pub(super) fn page(&self, from: u32, count: u32) -> Vec<String> {
        let mut bytes = 0;
        let page = self.specs.iter().skip(from as usize).take(count as usize);
        page.map(|spec| &spec.text)
            .take_while(|text| {
                bytes += text.len();
                bytes <= PAGE_BYTES
            })
            .cloned()
            .collect()
    }

    pub(super) fn count(&self) -> u32 {
        self.specs.len() as u32
    }
}

/// Whether the whole set, not only what a command adds to it, is within the limits.
fn within(specs: &[PromptSpec], known: &Rows, kit: &Kit) -> Result<(), Refusal> {
    let invalid = |why: String| (ErrorCode::Invalid, why);
    kit.limits.specs(specs).map_err(invalid)?;
    if let Some(spec) = specs.iter().find(|spec| spec.text.contains('>')) {
        let why = format!(
            "\"{}\": a prompt inside another is looked for by `tarsier detect`, not here",
            spec.text
        );
        return Err((ErrorCode::Unsupported, why));
    }
    let new = |spec: &&PromptSpec| {
        let normal = normalise(&spec.text);
        let named =
            spec.kind != PromptKind::Sentence && kit.lexicon.vocabulary().find(&normal).is_some();
        !named && spec.kind != PromptKind::Name && !known.contains_key(&normal)
    };
    let Limits {
        sentences: most, ..
    } = kit.limits;
    let count = specs.iter().filter(new).count();
    if count > most as usize {
        return Err(invalid(format!(
            "{count} texts are new and must be encoded; up to {most} at once are taken"
        )));
    }
    Ok(())
}

fn not_in_use(text: &str) -> Refusal {
    let why = format!("\"{text}\" is not in use");
    (ErrorCode::UnknownPrompt, why)
}

/// These prompts but those of such texts.
fn without(specs: &[PromptSpec], texts: &[String]) -> Result<Vec<PromptSpec>, Refusal> {
    let normal: Vec<String> = specs.iter().map(|spec| normalise(&spec.text)).collect();
    let there: HashSet<&str> = normal.iter().map(String::as_str).collect();
    let mut go = HashSet::with_capacity(texts.len());
    for text in texts {
        let normal = normalise(text);
        if !there.contains(normal.as_str()) || !go.insert(normal) {
            return Err(not_in_use(text));
        }
    }
    let stays = |(_, normal): &(&PromptSpec, &String)| !go.contains(normal.as_str());
    let pairs = specs.iter().zip(&normal).filter(stays);
    let left: Vec<PromptSpec> = pairs.map(|(spec, _)| spec.clone()).collect();
    if left.is_empty() {
        let why = "no prompt would be left; to look at nothing, pause";
        return Err((ErrorCode::Invalid, why.into()));
    }
    Ok(left)
}

/// One prompt per normal form; the last one counts, at the first one's place.
fn distinct(specs: Vec<PromptSpec>) -> Vec<PromptSpec> {
    let mut places = HashMap::with_capacity(specs.len());
    let mut kept: Vec<PromptSpec> = Vec::with_capacity(specs.len());
    for spec in specs {
        let place = *places.entry(normalise(&spec.text)).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(before) => *before = spec,
            None => kept.push(spec),
        }
    }
    kept
}

/// Says which texts are taken as sentences because no name is written like them: one of them may be a name with a typing error.
///
/// The first few, and how many there are: names that are written alike are looked for where a name is refused, not for a line of
/// the log.
fn tell_sentences(specs: &[PromptSpec], kit: &Kit) {
    const SHOWN: usize = 3;
    let unnamed = |spec: &&PromptSpec| {
        spec.kind == PromptKind::Either
            && kit
                .lexicon
                .vocabulary()
                .find(&normalise(&spec.text))
                .is_none()
    };
    let texts: Vec<&str> = specs
        .iter()
        .filter(unnamed)
        .map(|s| s.text.trim())
        .collect();
    if texts.is_empty() {
        return;
    }
    let shown: Vec<String> = texts.iter().take(SHOWN).map(|t| format!("{t:?}")).collect();
    let more = match texts.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    log::warn!(
        "no names of the vocabulary, looked for as sentences: {}{more}",
        shown.join(", ")
    );
}

fn request(spec: &PromptSpec) -> Request {
    let text = spec.text.clone();
    match spec.kind {
        PromptKind::Either => Request::Either(text),
        PromptKind::Name => Request::Name(text),
        PromptKind::Sentence => Request::Sentence(text),
    }
}

pub(super) const fn code(e: &PromptError) -> ErrorCode {
    match e {
        PromptError::Unknown { .. } => ErrorCode::UnknownPrompt,
        PromptError::Stopped => ErrorCode::Failed,
        _ => ErrorCode::Invalid,
    }
}

/// What says so when a flag is up.
pub(super) fn raised(flag: &AtomicBool) -> impl Fn() -> bool {
    || flag.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_is_asked_for_again_is_as_it_is_asked_for_last() {
        let again = PromptSpec {
            threshold: Some(0.7),
            .." CUP".into()
        };
        let kept = distinct(vec!["cup".into(), "door".into(), again.clone()]);
        assert_eq!(kept, [again, "door".into()]);
    }

    #[test]
    fn what_is_taken_out_must_be_there_and_leave_something() {
        let specs: Vec<PromptSpec> = vec!["cup".into(), "Café table".into()];
        let out = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&t| t.into()).collect();
            without(&specs, &texts)
        };
        assert_eq!(out(&["cafe, table"]), Ok(vec!["cup".into()]));
        assert_eq!(out(&["door"]), Err(not_in_use("door")));
        assert_eq!(out(&["cup", "Cup"]), Err(not_in_use("Cup")));
        assert_eq!(
            out(&["cup", "cafe table"]).expect_err("all").0,
            ErrorCode::Invalid
        );
    }
}
