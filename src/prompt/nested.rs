//! Prompts inside others: `door > handle`.

use std::collections::{HashMap, HashSet};

use super::{PromptError, Request};
use crate::text::normalise;

/// A prompt that counts only inside another's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The outer prompt: an index into the prompt set.
    pub outer: u32,
    /// The inner prompt.
    pub inner: u32,
    /// What a detection of it is reported as: an index beyond the prompt set's.
    pub report_as: u32,
}

/// Which prompts of a set count inside which others.
#[derive(Clone, Debug, Default)]
pub struct Nested {
    inside: Vec<Inside>,
    /// What they are called, in their order.
    names: Vec<String>,
    /// Prompts that are there only as a part of others.
    hidden: HashSet<u32>,
}

/// Requests whose parts are looked for by themselves, each with its place among those that were
/// given.
pub(super) struct Unfolded {
    pub(super) requests: Vec<Request>,
    pub(super) places: Vec<usize>,
    /// How many were asked for by themselves; they come first.
    own: usize,
    pairs: Vec<[Request; 2]>,
}

/// Takes `door > handle` apart; both parts stand behind what is asked for by itself, each once.
pub(super) fn unfold(given: &[Request]) -> Result<Unfolded, PromptError> {
    let (mut requests, mut places, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for (place, request) in given.iter().enumerate() {
        match parts(request)? {
            None => {
                requests.push(request.clone());
                places.push(place);
            }
            Some(both) => pairs.push((both, place)),
        }
    }
    let own = requests.len();
    let mut there: HashSet<String> = requests.iter().map(|r| normalise(r.text())).collect();
    for (both, place) in &pairs {
        for part in both {
            if there.insert(normalise(part.text())) {
                requests.push(part.clone());
                places.push(*place);
            }
        }
    }
    Ok(Unfolded {
        requests,
        places,
        own,
        pairs: pairs.into_iter().map(|(both, _)| both).collect(),
    })
}

/// `door > handle` as its two parts, if it is one.
fn parts(request: &Request) -> Result<Option<[Request; 2]>, PromptError> {
    let parts: Vec<&str> = request.text().split('>').map(str::trim).collect();
    let again = |text: &str| match request {
        Request::Name(_) => Request::Name(text.into()),
        Request::Sentence(_) => Request::Sentence(text.into()),
        Request::Either(_) => Request::Either(text.into()),
    };
    match parts.as_slice() {
        [_] => Ok(None),
        [outer, inner] if !outer.is_empty() && !inner.is_empty() => {
            Ok(Some([again(outer), again(inner)]))
        }
        _ => Err(PromptError::Nested {
            text: request.text().to_owned(),
        }),
    }
}

impl Unfolded {
    /// Which prompts count inside which, where a set has these names.
    pub(super) fn nested<'a>(&self, names: impl Iterator<Item = &'a str>) -> Nested {
        if self.pairs.is_empty() {
            return Nested::default();
        }
        let known: HashMap<String, u32> = names.map(normalise).zip(0..).collect();
        let count = known.len() as u32;
        let place = |request: &Request| known.get(&normalise(request.text())).copied();
        let asked = self.requests[..self.own].iter().filter_map(place);
        let asked: HashSet<u32> = asked.collect();
        let mut nested = Nested {
            hidden: (0..count).filter(|i| !asked.contains(i)).collect(),
            ..Nested::default()
        };
        for [outer, inner] in &self.pairs {
            nested.inside.push(Inside {
                // every part was asked for
                outer: place(outer).unwrap_or_default(),
                inner: place(inner).unwrap_or_default(),
                report_as: count + nested.names.len() as u32,
            });
            let name = format!("{} > {}", outer.text(), inner.text());
            nested.names.push(name);
        }
        nested
    }
}

impl Nested {
    /// The pairs; none where no prompt is inside another.
    #[must_use]
    pub fn inside(&self) -> &[Inside] {
        &self.inside
    }

    /// What the `i`th of them is called.
    #[must_use]
    pub fn name(&self, i: usize) -> Option<&str> {
        self.names.get(i).map(String::as_str)
    }

    /// Whether a prompt is there only as a part of others.
    #[must_use]
    pub fn hides(&self, prompt: u32) -> bool {
        self.hidden.contains(&prompt)
    }
}
