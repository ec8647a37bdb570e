//! Files of words that were written when `café` and `cafe` were two names.
//!
//! Names are compared without accents and apostrophes, as sentences are read. Before, they were compared with them, so a file may
//! hold two words that are one name now. To refuse it would take all of somebody's words away, and the commands that could mend it.
//! So the later word has the name, as of prompts the later one counts, and the log names both.

use std::{collections::HashMap, path::Path};

use super::{Word, normalise};

/// A name as it was compared before: its letters and digits in lower case.
fn before(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join(" ")
}

/// Leaves each name to the last word that has it, where they were two names before: a word without its name goes, one without a
/// synonym stays. What was one name before, too, is left as it is.
pub(super) fn one_of_each(path: &Path, words: &mut Vec<Word>) {
    // of each name the last word that has it, and how that writes it
    let mut known: HashMap<String, (usize, String)> = HashMap::new();
    let mut gone = vec![false; words.len()];
    for later in 0..words.len() {
        let word = &words[later];
        let texts = std::iter::once(&word.name).chain(&word.synonyms);
        for text in texts.cloned().collect::<Vec<_>>() {
            let key = normalise(&text);
            let Some((earlier, other)) = known.insert(key.clone(), (later, text.clone())) else {
                continue;
            };
            if earlier == later || before(&other) == before(&text) {
                continue;
            }
            log::warn!(
                "words {}: \"{other}\" (word {}) and \"{text}\" (word {}) are one name; the later word has it",
                path.display(),
                earlier + 1,
                later + 1
            );
            let word = &mut words[earlier];
            gone[earlier] |= normalise(&word.name) == key;
            word.synonyms.retain(|synonym| normalise(synonym) != key);
        }
    }
    let mut gone = gone.into_iter();
    words.retain(|_| gone.next() != Some(true));
}
