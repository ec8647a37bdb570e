//! Words as a table that people and spreadsheets edit: tabs between columns, a line per word.
//!
//! ```text
//! # tarsier words 1  sentences=9f2c…  objects=d95d…
//! name     kind   synonyms     group  reject  threshold  replaces  origin     of                scale  bias  row_threshold  row
//! my mug   thing  mug|my cup                  0.4                  exemplars  3                 0.011  -6.2  0.3            7f02…
//! red cup  thing               cups                                sentence   a small red cup   0.009  0     0              01ff…
//! poster   thing                      yes                          name       poster
//! ```
//!
//! Columns may be in any order, and all but `name` may be left out; a word without an origin is its name, encoded. Rows are read where
//! the first line names the space of the pack; else sentences are encoded again, and exemplars are refused. What is written is read
//! back to the last bit.

use std::collections::HashMap;

use super::{
    Row,
    sentence::SentenceEncoder,
    vocabulary::Vocabulary,
    words::{FORMAT, Origin, Space, Word, Words},
};
use crate::text::normalise;

const COLUMNS: [&str; 13] = [
    "name",
    "kind",
    "synonyms",
    "group",
    "reject",
    "threshold",
    "replaces",
    "origin",
    "of",
    "scale",
    "bias",
    "row_threshold",
    "row",
];

/// What is wrong with a table: the line, from 1, and why.
pub type Wrong = (usize, String);

/// The words as a table.
#[must_use]
pub fn export(words: &Words) -> String {
    let space = words.space();
    let mut text = format!(
        "# tarsier words {}\tsentences={}\tobjects={}\n{}\n",
        FORMAT,
        space.sentences,
        space.objects,
        COLUMNS.join("\t")
    );
    let yes = |on: bool| if on { "yes".to_owned() } else { String::new() };
    for word in words.words() {
        let (origin, of) = match &word.origin {
            Origin::Sentence(text) => ("sentence", text.clone()),
            Origin::Exemplars(count) => ("exemplars", count.to_string()),
            Origin::Name(name) => ("name", name.clone()),
        };
        let row = &word.row;
        let numbers = if row.values.is_empty() {
            Default::default()
        } else {
            // the shortest texts that are read back as the same floats
            [row.scale, row.bias, row.threshold].map(|v| v.to_string())
        };
        let [scale, bias, threshold] = numbers;
        let values: Vec<u8> = row.values.iter().map(|v| v.cast_unsigned()).collect();
        let cells = [
            word.name.clone(),
            if word.thing { "thing" } else { "stuff" }.into(),
            word.synonyms.join("|"),
            word.group.clone().unwrap_or_default(),
            yes(word.reject),
            word.threshold.map_or_else(String::new, |t| t.to_string()),
            yes(word.replaces),
            origin.into(),
            of,
            scale,
            bias,
            threshold,
            crate::pack::hex(&values),
        ];
        text.push_str(&cells.map(quoted).join("\t"));
        text.push('\n');
    }
    text
}

/// Reads a table; rows that are not there, or of another space, are encoded.
///
/// # Errors
///
/// The line and what is wrong there.
pub fn import(
    text: &str,
    space: &Space,
    vocabulary: &Vocabulary,
    encoder: &mut SentenceEncoder,
) -> Result<Vec<Word>, Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut stated = Space::default();
    let mut columns: Option<Vec<String>> = None;
    let mut words = Vec::new();
    // the line that has a name, and how it writes it
    let mut known: HashMap<String, (usize, String)> = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(comment) = line.strip_prefix('#') {
            for part in comment.split('\t') {
                match part.trim().split_once('=') {
                    Some(("sentences", digest)) => stated.sentences = digest.into(),
                    Some(("objects", digest)) => stated.objects = digest.into(),
                    _ => {}
                }
            }
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        let cells = line.split('\t').map(cell);
        let Some(columns) = &columns else {
            let names: Vec<String> = cells.map(|c| c.to_lowercase()).collect();
            if let Some(unknown) = names.iter().find(|n| !COLUMNS.contains(&n.as_str())) {
                let known = COLUMNS.join(", ");
                return Err((
                    number,
                    format!("no column is called {unknown:?}; known: {known}"),
                ));
            }
            if !names.iter().any(|n| n == "name") {
                return Err((number, "there is no column called name".into()));
            }
            columns = Some(names);
            continue;
        };
        let cells: Vec<String> = cells.collect();
        if cells.len() > columns.len() {
            let (n, of) = (cells.len(), columns.len());
            return Err((number, format!("{n} cells in {of} columns")));
        }
        let value = |column: &str| {
            let at = columns.iter().position(|c| c == column);
            at.and_then(|at| cells.get(at)).map_or("", String::as_str)
        };
        let line = Line { value: &value };
        let word = line.word(&stated, space, vocabulary, encoder);
        let word = word.map_err(|why| (number, why))?;
        for key in word.keys() {
            let named = |text: &&String| normalise(text) == key;
            let mut texts = std::iter::once(&word.name).chain(&word.synonyms);
            let text = texts.find(named).unwrap_or(&word.name);
            if let Some((first, other)) = known.insert(key.clone(), (number, text.clone())) {
                let why = format!("\"{text}\" is the same name as \"{other}\" of line {first}");
                return Err((number, why));
            }
        }
        words.push(word);
    }
    if words.is_empty() {
        return Err((1, "there is no word in it".into()));
    }
    Ok(words)
}

/// A cell that would be taken for something else, in quotes.
fn quoted(text: String) -> String {
    if text.starts_with(['"', '#']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

/// A cell as spreadsheets write it: in quotes where they saw a reason.
fn cell(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.to_owned(),
    }
}

/// The values of a line by column.
struct Line<'a> {
    value: &'a dyn Fn(&str) -> &'a str,
}

impl Line<'_> {
    fn word(
        &self,
        stated: &Space,
        space: &Space,
        vocabulary: &Vocabulary,
        encoder: &mut SentenceEncoder,
    ) -> Result<Word, String> {
        let value = self.value;
        let name = value("name");
        if normalise(name).is_empty() {
            return Err(format!("the name {name:?} has no letter or digit"));
        }
        let of = value("of");
        let mut word = match value("origin") {
            "" | "sentence" => {
                let text = if of.is_empty() { name } else { of };
                match self.row(space.embedding)? {
                    Some(row) if stated.sentences == space.sentences => {
                        Word::new(name, Origin::Sentence(text.into()), Some(row))
                    }
                    _ => vocabulary
                        .understood(name, text, encoder)
                        .map_err(|e| format!("\"{text}\": {e}"))?,
                }
            }
            "name" => {
                let of = if of.is_empty() { name } else { of };
                Word::new(name, Origin::Name(of.into()), None)
            }
            "exemplars" => {
                let count = of.parse().map_err(|_| format!("{of:?} exemplars"))?;
                let row = self.row(space.embedding)?;
                let row = row.ok_or_else(|| format!("\"{name}\" has no row"))?;
                if stated.objects != space.objects {
                    return Err(format!(
                        "\"{name}\" was shown to another pack; it must be shown to this one"
                    ));
                }
                Word::new(name, Origin::Exemplars(count), Some(row))
            }
            other => {
                return Err(format!(
                    "origin {other:?}; sentence, exemplars or name is expected"
                ));
            }
        };
        word.thing = match value("kind") {
            "" | "thing" => true,
            "stuff" => false,
            other => return Err(format!("kind {other:?}; thing or stuff is expected")),
        };
        let synonyms = value("synonyms").split('|').map(str::trim);
        word.synonyms = synonyms
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect();
        word.group = Some(value("group").to_owned()).filter(|g| !g.is_empty());
        word.reject = self.flag("reject")?;
        word.replaces = self.flag("replaces")?;
        word.threshold = self.number("threshold")?;
        Ok(word)
    }

    /// The row, if the line has one.
    fn row(&self, width: u32) -> Result<Option<Row>, String> {
        let text = (self.value)("row");
        if text.is_empty() {
            return Ok(None);
        }
        let pairs = text.as_bytes().as_chunks::<2>().0;
        let values: Option<Vec<i8>> = pairs.iter().map(byte).collect();
        let values = values
            .filter(|v| v.len() == width as usize && text.len() == 2 * v.len())
            .filter(|v| !v.contains(&i8::MIN));
        let (Some(values), Some(scale)) = (values, self.number("scale")?) else {
            return Err(format!(
                "the row has {} characters; {} hexadecimal digits of {width} bytes, none of them 80, and a scale are expected",
                text.len(),
                2 * width
            ));
        };
        let threshold = self.number("row_threshold")?.unwrap_or(0.0);
        if scale <= 0.0 || !(0.0..=1.0).contains(&threshold) {
            return Err(format!("scale {scale}, row_threshold {threshold}"));
        }
        Ok(Some(Row {
            values,
            scale,
            bias: self.number("bias")?.unwrap_or(0.0),
            threshold,
        }))
    }

    fn flag(&self, column: &str) -> Result<bool, String> {
        match (self.value)(column).to_lowercase().as_str() {
            "" | "no" | "false" | "0" => Ok(false),
            "yes" | "true" | "1" => Ok(true),
            other => Err(format!("{column} {other:?}; yes or no is expected")),
        }
    }

    fn number(&self, column: &str) -> Result<Option<f32>, String> {
        match (self.value)(column) {
            "" => Ok(None),
            text => match text.parse::<f32>() {
                Ok(v) if v.is_finite() => Ok(Some(v)),
                _ => Err(format!("{column} {text:?}; a number is expected")),
            },
        }
    }
}

fn byte(digits: &[u8; 2]) -> Option<i8> {
    let text = std::str::from_utf8(digits).ok()?;
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    let value = u8::from_str_radix(text, 16).ok().filter(|_| digits)?;
    Some(value.cast_signed())
}
