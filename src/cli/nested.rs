//! Prompts inside others: `door > handle`.

use std::collections::{HashMap, HashSet};

use tarsier::{
    pipeline::inside::Inside,
    prompt::{PromptSet, Request, vocabulary::normalise},
};

use super::{Failure, Opened, Prompts, exit, fail};

/// Which prompts count inside which others, and what they are called.
#[derive(Debug, Default)]
pub(super) struct Nested {
    pub(super) inside: Vec<Inside>,
    /// Their names, in the order of `inside`.
    pub(super) names: Vec<String>,
    hidden: HashSet<u32>,
}

/// `door > handle` as its two parts, if it is one.
fn parts(request: &Request) -> Result<Option<[Request; 2]>, Failure> {
    let text = request.text();
    let parts: Vec<&str> = text.split('>').map(str::trim).collect();
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
        _ => Err(fail(
            exit::USAGE,
            format!("\"{text}\": a prompt inside another is written \"door > handle\""),
        )),
    }
}

impl Nested {
    /// Whether a prompt is there only as a part of others.
    pub(super) fn hides(&self, prompt: u32) -> bool {
        self.hidden.contains(&prompt)
    }
}

impl Prompts {
    /// The prompt set that the options ask for, with both parts of prompts inside others.
    pub(super) fn open_nested(&self, opened: &mut Opened) -> Result<(PromptSet, Nested), Failure> {
        let (mut requests, mut pairs) = (Vec::new(), Vec::new());
        for (request, line) in self.requests(&[])? {
            match parts(&request)? {
                None => requests.push((request, line)),
                Some(both) => pairs.push((both, line)),
            }
        }
        let normal = |request: &Request| normalise(request.text());
        let asked: HashSet<String> = requests.iter().map(|(r, _)| normal(r)).collect();
        // parts behind what is asked for by itself, and each once
        let mut there = asked.clone();
        for (part, line) in pairs
            .iter()
            .flat_map(|(both, line)| both.iter().zip([*line; 2]))
        {
            if there.insert(normal(part)) {
                requests.push((part.clone(), line));
            }
        }
        let set = self.open_requests(opened, false, requests)?;
        let known = set.prompts().iter().map(|p| normalise(&p.name));
        let known: HashMap<String, u32> = known.zip(0..).collect();
        // every part was asked for
        let place = |request: &Request| known.get(&normal(request)).copied().unwrap_or(0);
        let hidden = known.iter().filter(|(name, _)| !asked.contains(*name));
        let mut nested = Nested {
            hidden: hidden.map(|(_, &place)| place).collect(),
            ..Nested::default()
        };
        for ([outer, inner], _) in &pairs {
            nested.inside.push(Inside {
                outer: place(outer),
                inner: place(inner),
                report_as: (known.len() + nested.names.len()) as u32,
            });
            nested
                .names
                .push(format!("{} > {}", outer.text(), inner.text()));
        }
        Ok((set, nested))
    }
}
