//! The vocabulary: names, synonyms and mapped rows of a pack, and the user's own [words](super::words) beside them.

use std::collections::HashMap;

use super::{
    PARAMETERS, Row,
    sentence::{SentenceEncoder, SentenceError},
    words::{Origin, Space, Word, Words, WordsError},
};
use crate::pack::{Pack, PackError, map::Bytes};

pub use crate::text::normalise;

/// Names and rows; the pack's rows stay in the map.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    entries: Vec<Entry>,
    index: HashMap<String, u32>,
    /// The pack's names that words hide.
    hidden: HashMap<String, u32>,
    rows: Bytes,
    parameters: Vec<f32>,
    embedding: usize,
    /// Rows of the words that are not the pack's, which come last.
    own: Vec<Row>,
    /// What makes a logit of a sentence's vector, and the least score, where nothing else is known.
    alignment: [f32; 3],
    /// Per name its vector in the space of sentences, where rows are classes.
    text: Option<Bytes>,
}

/// A name of the vocabulary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// The name as the table writes it.
    pub name: String,
    /// Whether it is countable (a thing) or not (stuff).
    pub thing: bool,
    /// Other names of the same row.
    pub synonyms: Vec<String>,
    /// Where the row of a word comes from; none of what is the pack's.
    pub origin: Option<Origin>,
    /// What it is reported as, together with others.
    pub group: Option<String>,
    /// What it finds is not reported.
    pub reject: bool,
    /// A least score of its own, which holds whatever is asked for.
    pub threshold: Option<f32>,
}

impl Vocabulary {
    /// Reads the table of a pack.
    ///
    /// # Errors
    ///
    /// [`PackError::Section`] naming the section and the lengths that do not fit.
    pub fn open(pack: &Pack) -> Result<Self, PackError> {
        let embedding = pack.manifest().embedding as usize;
        let text = pack.text("vocabulary.tsv")?;
        let wrong = |section: &str, reason: String| PackError::Section {
            section: section.to_owned(),
            reason,
        };
        let mut entries = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let mut columns = line.split('\t');
            let (name, kind) = (columns.next().unwrap_or_default(), columns.next());
            let thing = match kind {
                Some("thing") => true,
                Some("stuff") => false,
                other => {
                    return Err(wrong(
                        "vocabulary.tsv",
                        format!("line {}: kind {other:?}", i + 1),
                    ));
                }
            };
            let synonyms = columns
                .next()
                .unwrap_or_default()
                .split('|')
                .filter(|s| !s.is_empty());
            entries.push(Entry {
                name: name.to_owned(),
                thing,
                synonyms: synonyms.map(str::to_owned).collect(),
                ..Entry::default()
            });
        }
        let rows = pack.section("vocabulary.rows")?;
        if rows.len() != entries.len() * embedding {
            let reason = format!(
                "{} bytes for {} names of {embedding}",
                rows.len(),
                entries.len()
            );
            return Err(wrong("vocabulary.rows", reason));
        }
        // what kernels of all levels agree on
        if let Some(at) = rows.iter().position(|&b| b == i8::MIN.cast_unsigned()) {
            return Err(wrong("vocabulary.rows", format!("byte {at} is -128")));
        }
        let raw = pack.section("vocabulary.parameters")?;
        let parameters: Vec<f32> = raw
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        if raw.len() != entries.len() * PARAMETERS * 4 {
            let reason = format!(
                "{} bytes for {} names of {PARAMETERS} floats",
                raw.len(),
                entries.len()
            );
            return Err(wrong("vocabulary.parameters", reason));
        }
        let manifest = pack.manifest();
        let text = match manifest.text {
            Some(width) => Some(pack.section("vocabulary.text")?)
                .filter(|text| text.len() == entries.len() * width as usize && !text.is_empty()),
            None => None,
        };
        if let (Some(width), None) = (pack.manifest().text, &text) {
            let reason = format!("is not {} vectors of {width}", entries.len());
            return Err(wrong("vocabulary.text", reason));
        }
        // names before synonyms: a name is never hidden by another's synonym
        let mut index = HashMap::new();
        for (row, e) in (0..).zip(&entries) {
            index.entry(normalise(&e.name)).or_insert(row);
        }
        for e in &entries {
            // not the entry's own row: of two names that differ in punctuation only, the first is found
            let row = index[&normalise(&e.name)];
            for synonym in &e.synonyms {
                index.entry(normalise(synonym)).or_insert(row);
            }
        }
        Ok(Self {
            entries,
            index,
            rows,
            parameters,
            embedding,
            text,
            own: Vec::new(),
            hidden: HashMap::new(),
            alignment: [
                manifest.alignment_scale,
                manifest.alignment_bias,
                manifest.threshold,
            ],
        })
    }

    /// Adds words; all of them or none.
    ///
    /// # Errors
    ///
    /// [`WordsError`] if they are of another pack's space, stand for a name that is not there, or have a name or synonym that is
    /// there already and do not [say so](Word::replaces).
    pub fn extend(&mut self, words: &Words, space: &Space) -> Result<(), WordsError> {
        words.fits(space)?;
        for word in words.words() {
            self.admits(word)?;
        }
        for word in words.words() {
            self.insert(word)?;
        }
        Ok(())
    }

    /// Whether a word can be added.
    ///
    /// # Errors
    ///
    /// [`WordsError::Word`] if its texts are longer or more than there may be, or none; [`WordsError::Missing`] and
    /// [`WordsError::Duplicate`], as [`extend`](Self::extend).
    pub fn admits(&self, word: &Word) -> Result<(), WordsError> {
        word.check_texts().map_err(|reason| WordsError::Word {
            name: word.name.chars().take(40).collect(),
            reason,
        })?;
        if let Origin::Name(name) = &word.origin
            && self.find_of_pack(&normalise(name)).is_none()
        {
            return Err(WordsError::Missing {
                word: word.name.clone(),
                name: name.clone(),
            });
        }
        if word.replaces {
            return Ok(());
        }
        for name in word.keys() {
            let Some(row) = self.find(&name) else {
                continue;
            };
            let whose = if self.is_packs(row) {
                "the pack"
            } else {
                "other words"
            };
            return Err(WordsError::Duplicate {
                of: format!("\"{}\" of {whose}", self.entries[row as usize].name),
                name,
            });
        }
        Ok(())
    }

    /// Adds a word whose row is of this pack's space, and returns its number. A word of the same name is there no longer.
    ///
    /// # Errors
    ///
    /// As [`admits`](Self::admits).
    pub fn insert(&mut self, word: &Word) -> Result<u32, WordsError> {
        self.admits(word)?;
        let [factor, shift, least] = self.alignment;
        let row = match &word.origin {
            Origin::Name(name) => match self.find_of_pack(&normalise(name)) {
                Some(row) => self.row(row),
                None => {
                    return Err(WordsError::Missing {
                        word: word.name.clone(),
                        name: name.clone(),
                    });
                }
            },
            Origin::Sentence(_) => Row {
                values: word.row.values.clone(),
                scale: word.row.scale * factor,
                bias: shift,
                threshold: least,
            },
            Origin::Exemplars(_) => word.row.clone(),
        };
        let entry = Entry {
            name: word.name.clone(),
            thing: word.thing,
            synonyms: word.synonyms.clone(),
            origin: Some(word.origin.clone()),
            group: word.group.clone(),
            reject: word.reject,
            threshold: word.threshold,
        };
        let keys = word.keys();
        let before = self.find(&keys[0]).filter(|&row| {
            !self.is_packs(row) && normalise(&self.entries[row as usize].name) == keys[0]
        });
        let place = match before {
            Some(before) => {
                let own = before as usize - self.packs();
                // its synonyms too, and what they hid is found again
                self.index.retain(|_, row| *row != before);
                for (name, &row) in &self.hidden {
                    self.index.entry(name.clone()).or_insert(row);
                }
                (self.own[own], self.entries[before as usize]) = (row, entry);
                before
            }
            None => {
                self.own.push(row);
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        for key in keys {
            if let Some(row) = self.index.insert(key.clone(), place)
                && self.is_packs(row)
            {
                self.hidden.insert(key, row);
            }
        }
        Ok(place)
    }

    /// The row of a name or synonym of the pack, [normalised](normalise), whether a word hides it or not.
    #[must_use]
    pub fn find_of_pack(&self, normal: &str) -> Option<u32> {
        let row = self.find(normal).filter(|&row| self.is_packs(row));
        row.or_else(|| self.hidden.get(normal).copied())
    }

    /// A word for this text: its vector, or, where the vocabulary is closed, the name that is nearest to it.
    ///
    /// # Errors
    ///
    /// [`SentenceError`] if it cannot be encoded.
    pub fn understood(
        &self,
        name: &str,
        text: &str,
        encoder: &mut SentenceEncoder,
    ) -> Result<Word, SentenceError> {
        if self.text.is_none() {
            return Word::encoded(name, text, encoder);
        }
        let nearest = self.nearest_meaning(&encoder.encode(text)?);
        let of = nearest.map_or("", |(row, _)| &self.entries[row as usize].name);
        Ok(Word::new(name, Origin::Name(of.into()), None))
    }

    /// How many names are the pack's; they come first.
    #[must_use]
    pub const fn packs(&self) -> usize {
        self.parameters.len() / PARAMETERS
    }

    const fn is_packs(&self, row: u32) -> bool {
        (row as usize) < self.packs()
    }

    /// The row of a word of the user's own, by a text of any writing: what a text means before any encoder is asked.
    #[must_use]
    pub fn own(&self, text: &str) -> Option<Row> {
        let row = self.find(&normalise(text))?;
        let own = self.entries[row as usize].origin.is_some();
        own.then(|| self.row(row))
    }

    /// The names whose rows point most nearly the same way as this one, best first, with the cosines.
    #[must_use]
    pub fn nearest_rows(&self, values: &[i8], count: usize) -> Vec<(u32, f32)> {
        let dot = |a: &[i8], b: &[i8]| -> f32 {
            let products = a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b));
            products.sum::<i32>() as f32
        };
        let cosine = |row: &[i8]| {
            let squares = dot(row, row) * dot(values, values);
            dot(row, values) / squares.sqrt().max(1.0)
        };
        let mut scored: Vec<(u32, f32)> = (0..self.entries.len() as u32)
            .map(|row| (row, cosine(self.values(row))))
            .collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        scored.truncate(count);
        scored
    }

    /// The numbers of a row.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[must_use]
    pub fn values(&self, row: u32) -> &[i8] {
        let row = row as usize;
        match row.checked_sub(self.packs()) {
            Some(own) => &self.own[own].values,
            None => {
                bytemuck::cast_slice(&self.rows[row * self.embedding..(row + 1) * self.embedding])
            }
        }
    }

    /// The row of a name or synonym, [normalised](normalise).
    #[must_use]
    pub fn find(&self, normal: &str) -> Option<u32> {
        self.index.get(normal).copied()
    }

    /// The name whose meaning is nearest to an encoded sentence, with the cosine between them, where the vocabulary is closed.
    #[must_use]
    pub fn nearest_meaning(&self, sentence: &Row) -> Option<(u32, f32)> {
        let vectors = self.text.as_ref()?.chunks_exact(sentence.values.len());
        let cosine = |vector: &[u8]| {
            let (mut dot, mut square) = (0i32, 0i32);
            for (&a, &b) in vector.iter().zip(&sentence.values) {
                let (a, b) = (i32::from(a.cast_signed()), i32::from(b));
                (dot, square) = (dot + a * b, square + a * a);
            }
            dot as f32 / (square as f32).sqrt().max(1.0)
        };
        let (row, cosine) = (0..)
            .zip(vectors.map(cosine))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        let own: i32 = sentence.values.iter().map(|&b| i32::from(b).pow(2)).sum();
        Some((row, cosine / (own as f32).sqrt().max(1.0)))
    }

    /// A row's embedding and parameters.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, row: u32) -> Row {
        if let Some(own) = (row as usize).checked_sub(self.packs()) {
            return self.own[own].clone();
        }
        let at = row as usize * PARAMETERS;
        let [scale, bias, threshold] = [0, 1, 2].map(|i| self.parameters[at + i]);
        Row {
            values: self.values(row).to_vec(),
            scale,
            bias,
            threshold,
        }
    }

    /// All names, by row: the pack's, then the words that were added.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The `count` names or synonyms that have all of its words, shortest first, and then those that are written most like it.
    #[must_use]
    pub fn alike(&self, normal: &str, count: usize) -> Vec<String> {
        let has = |name: &&String| {
            normal
                .split(' ')
                .all(|word| name.split(' ').any(|w| w == word))
        };
        let mut names: Vec<String> = self.index.keys().filter(has).cloned().collect();
        names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        for name in self.nearest(normal, count) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.truncate(count);
        names
    }

    /// The `count` names or synonyms that are written most like `normal`, best first; none if all are far.
    #[must_use]
    pub fn nearest(&self, normal: &str, count: usize) -> Vec<String> {
        let mut scored: Vec<(f64, &str)> = self
            .index
            .keys()
            .map(|name| (strsim::jaro_winkler(normal, name), name.as_str()))
            .filter(|(likeness, _)| *likeness > 0.8)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        scored
            .into_iter()
            .take(count)
            .map(|(_, name)| name.to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_case_and_spaces_do_not_change_a_name() {
        for written in [
            "traffic light",
            "Traffic  Light",
            " traffic light, ",
            "traffic,light",
            "TRAFFIC-LIGHT",
        ] {
            assert_eq!(normalise(written), "traffic light", "{written:?}");
        }
        assert_eq!(normalise(" ,;- "), "");
        // as sentences are read: with or without accents and apostrophes
        assert_eq!(normalise("Čaj"), "caj");
        assert_eq!(normalise("Café-Table"), normalise("cafe table"));
        assert_eq!(normalise("cafe\u{301} table"), "cafe table");
        assert_eq!(normalise("a man's hat"), "a mans hat");
        assert_eq!(normalise("Straße, 猫"), "strasse 猫");
    }
}
