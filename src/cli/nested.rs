//! Prompts inside others: `door > handle`.

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
    hidden: Vec<u32>,
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
        // parts behind what is asked for by itself, and each once
        let own = requests.len();
        for (part, line) in pairs
            .iter()
            .flat_map(|(both, line)| both.iter().zip([*line; 2]))
        {
            let same = |(r, _): &(Request, _)| normalise(r.text()) == normalise(part.text());
            if !requests.iter().any(same) {
                requests.push((part.clone(), line));
            }
        }
        let asked: Vec<String> = requests[..own]
            .iter()
            .map(|(r, _)| normalise(r.text()))
            .collect();
        let set = self.open_requests(opened, false, requests)?;
        let known: Vec<String> = set.prompts().iter().map(|p| normalise(&p.name)).collect();
        let place = |request: &Request| {
            let normal = normalise(request.text());
            let place = known.iter().position(|name| *name == normal);
            place.map_or(0, |i| i as u32) // every part was asked for
        };
        let mut nested = Nested {
            hidden: (0..known.len() as u32)
                .filter(|&i| !asked.contains(&known[i as usize]))
                .collect(),
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
