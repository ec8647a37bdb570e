//! Groups and rejects of a prompt set, by prompt: what they do to a report is
//! [`detect::rules`](crate::detect::rules)'s.

use std::collections::HashMap;

/// The rules of a prompt set.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// By prompt; empty where no prompt has a rule.
    of: Vec<Rule>,
}

/// What a prompt does to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The group's number, if it is in one.
    pub(crate) group: Option<usize>,
    /// What it finds is not reported.
    pub(crate) reject: bool,
}

impl Rules {
    /// From the group and the reject flag of each prompt.
    pub fn new<'a>(rules: impl Iterator<Item = (Option<&'a str>, bool)>) -> Self {
        let mut groups: HashMap<&str, usize> = HashMap::new();
        let mut of = Vec::new();
        for (group, reject) in rules {
            let count = groups.len();
            let group = group.map(|name| *groups.entry(name).or_insert(count));
            of.push(Rule { group, reject });
        }
        if of.iter().all(|rule| *rule == Rule::default()) {
            of.clear();
        }
        Self { of }
    }

    /// Whether no prompt has one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Whether there is a reject among them.
    pub(crate) fn reject(&self) -> bool {
        self.of.iter().any(|rule| rule.reject)
    }

    /// The rule of a prompt.
    pub(crate) fn of(&self, prompt: u32) -> Rule {
        self.of.get(prompt as usize).copied().unwrap_or_default()
    }
}
