//! The vocabulary table of a pack: names, synonyms, and their mapped rows.

use std::collections::HashMap;

use super::Row;
use crate::pack::{Pack, PackError, map::Bytes};

/// Floats per row in `vocabulary.parameters`: scale, bias, threshold.
pub const PARAMETERS: usize = 3;

/// Names and rows; the rows stay in the map.
#[derive(Debug)]
pub struct Vocabulary {
    entries: Vec<Entry>,
    index: HashMap<String, u32>,
    rows: Bytes,
    parameters: Vec<f32>,
    embedding: usize,
    /// Per name its vector in the space of sentences, where rows are classes.
    text: Option<Bytes>,
}

/// A name of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name as the table writes it.
    pub name: String,
    /// Whether it is countable (a thing) or not (stuff).
    pub thing: bool,
    /// Other names of the same row.
    pub synonyms: Vec<String>,
}

/// Words in lower case with one space between: how names are compared.
///
/// Punctuation is no part of a name, so a comma or a second space changes nothing.
#[must_use]
pub fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
    {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().flat_map(char::to_lowercase));
    }
    out
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
        let text = match pack.manifest().text {
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
        })
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
        let row = row as usize;
        let [scale, bias, threshold] = [0, 1, 2].map(|i| self.parameters[row * PARAMETERS + i]);
        let values = &self.rows[row * self.embedding..(row + 1) * self.embedding];
        Row {
            values: bytemuck::cast_slice(values).to_vec(),
            scale,
            bias,
            threshold,
        }
    }

    /// All names, by row.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
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
        assert_eq!(normalise("Čaj"), "čaj");
    }
}
