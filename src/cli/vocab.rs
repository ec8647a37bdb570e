//! `tarsier vocab list | search | show | add | remove | export | import`: the names of a pack, and words of the user's own.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use tarsier::{
    detect::Settings,
    files::{self, Replacement},
    graph::op::Execution,
    input,
    pack::Pack,
    prompt::{
        lexicon::Lexicon,
        limits::{self, MAX_TEXT},
        sentence::SentenceError,
        tsv,
        vocabulary::{Entry, Vocabulary, normalise},
        words::{Origin, Space, Word, Words, WordsError, words_of},
    },
};

use super::{
    Engine, Failure, Lines, exit, fail, isa_from, open_pack, unwritten,
    words::{self, Shown},
};

/// Options of `vocab`.
#[derive(Debug, Args)]
pub(crate) struct Vocab {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    engine: Engine,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List names: name, thing or stuff, synonyms, and of words of your own where they come from; tabs between.
    List {
        /// Only countable things.
        #[arg(long)]
        things: bool,
        /// Only stuff: what has no number, such as grass.
        #[arg(long, conflicts_with = "things")]
        stuff: bool,
        /// Only words of your own.
        #[arg(long)]
        user: bool,
    },
    /// Find names that are written or mean like a text.
    Search {
        /// Any text.
        text: String,
        /// How many of each kind.
        #[arg(long, default_value_t = 8, value_name = "N")]
        count: usize,
    },
    /// Say everything about a name.
    Show {
        /// A name or synonym.
        name: String,
    },
    /// Add a word of your own: a text that is encoded here, boxes in photos, or another name for one of the pack.
    Add(Add),
    /// Take words of your own out.
    Remove {
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Write your words as a table with tabs, for spreadsheets and other packs.
    Export {
        /// The file to write. Default: standard output.
        file: Option<PathBuf>,
    },
    /// Add the words of such a table; a column `name` is all that it needs.
    Import {
        /// The table.
        file: PathBuf,
        /// Put them in the place of words of the same name.
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// What prompts and reports call it.
    name: String,
    /// The text to encode, where the name alone does not say what is meant.
    #[arg(long = "as", value_name = "TEXT", conflicts_with_all = ["exemplar", "like"])]
    text: Option<String>,
    /// A box in a photo that shows it, in pixels; repeat it for more, which are averaged.
    #[arg(long, value_name = "PHOTO@X,Y,W,H", conflicts_with = "like")]
    exemplar: Vec<Shown>,
    /// The name of the pack whose row it has, such as the same name, to give that a group or a threshold.
    #[arg(long, value_name = "NAME")]
    like: Option<String>,
    /// Another name of it; repeat it for more.
    #[arg(long = "synonym", value_name = "NAME")]
    synonyms: Vec<String>,
    /// Report it under this name, together with other words of the group: the best of them at each place.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Do not report what it finds, nor what scores lower at that place.
    #[arg(long)]
    reject: bool,
    /// Least score of a detection, 0 to 1.
    #[arg(long, value_name = "SCORE", value_parser = super::unit_interval)]
    threshold: Option<f32>,
    /// It is stuff, not a countable thing.
    #[arg(long)]
    stuff: bool,
    /// It may hide a name of the pack, and takes the place of a word of the same name.
    #[arg(long)]
    replace: bool,
}

/// Everything that a subcommand needs.
struct Tables {
    pack: Pack,
    lexicon: Lexicon,
}

impl Tables {
    fn vocabulary(&self) -> &Vocabulary {
        self.lexicon.vocabulary()
    }

    fn space(&self) -> Result<Space, Failure> {
        self.lexicon
            .space(&self.pack)
            .map_err(|e| fail(exit::DATA, e))
    }
}

impl Vocab {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let mut lines = Lines::new();
        match &self.command {
            Command::List {
                things,
                stuff,
                user,
            } => {
                let tables = self.tables(true)?;
                for e in tables.vocabulary().entries() {
                    let kind = (!things || e.thing) && (!stuff || !e.thing);
                    if kind && (!user || e.origin.is_some()) {
                        lines.line(row_of(e))?;
                    }
                }
            }
            Command::Search { text, count } => {
                within("the text", text)?;
                let tables = self.tables(true)?;
                search(&tables, text, *count, &mut lines)?;
            }
            Command::Show { name } => {
                within("the name", name)?;
                show(&self.tables(true)?, name, &mut lines)?;
            }
            Command::Add(add) => self.add(add, &mut lines)?,
            Command::Remove { names } => self.remove(names, &mut lines)?,
            Command::Export { file } => {
                let table = tsv::export(&self.read()?);
                match file {
                    Some(path) => {
                        files::replace(path, table.as_bytes()).map_err(|e| unwritten(path, &e))?
                    }
                    None => lines.line(table.trim_end_matches('\n'))?,
                }
            }
            Command::Import { file, replace } => self.import(file, *replace, &mut lines)?,
        }
        lines.finish()?;
        Ok(0)
    }

    /// The pack's names, and the words too if they are wanted.
    fn tables(&self, with_words: bool) -> Result<Tables, Failure> {
        let pack = open_pack(&self.engine.path())?;
        let execution = Execution {
            isa: isa_from(self.engine.isa.as_deref())?,
            threads: 1,
        };
        let lexicon = Lexicon::open(&pack, execution, None);
        let mut lexicon = lexicon.map_err(|e| fail(exit::DATA, e))?;
        let files = if with_words {
            self.engine.words_files()
        } else {
            Vec::new()
        };
        for file in files {
            let added = lexicon.add_words(&pack, &file);
            added.map_err(|e| words::failure(&file, &e))?;
        }
        Ok(Tables { pack, lexicon })
    }

    /// The one file that is written.
    fn file(&self) -> Result<PathBuf, Failure> {
        match self.engine.words.as_slice() {
            [] => Ok(words_of(&self.engine.path())),
            [one] => Ok(one.clone()),
            _ => Err(fail(exit::USAGE, "one --words FILE is expected here")),
        }
    }

    /// The words of that file.
    fn read(&self) -> Result<Words, Failure> {
        let path = self.file()?;
        Words::open(&path).map_err(|e| words::failure(&path, &e))
    }

    /// The words of that file in the pack's space; none yet if there is no file.
    fn read_or_new(&self, space: Space) -> Result<Words, Failure> {
        let path = self.file()?;
        match Words::open(&path) {
            Ok(words) => {
                words.fits(&space).map_err(|e| words::failure(&path, &e))?;
                Ok(words.in_space(space))
            }
            Err(e) if e.is_missing() => Ok(Words::new(space)),
            Err(e) => Err(words::failure(&path, &e)),
        }
    }

    fn add(&self, add: &Add, lines: &mut Lines) -> Result<(), Failure> {
        let tables = self.tables(false)?;
        let space = tables.space()?;
        let usage = |e: &dyn std::fmt::Display| fail(exit::USAGE, e);
        if normalise(&add.name).is_empty() {
            let message = format!("the name {:?} has no letter or digit", add.name);
            return Err(fail(exit::USAGE, message));
        }
        let mut word = if let Some(name) = &add.like {
            Word::new(&add.name, Origin::Name(name.trim().into()), None)
        } else if add.exemplar.is_empty() {
            let text = add.text.as_ref().unwrap_or(&add.name);
            let mut encoder = tables.lexicon.encoder();
            let understood = tables
                .vocabulary()
                .understood(&add.name, text, &mut encoder);
            understood.map_err(|e| usage(&format!("\"{text}\": {e}")))?
        } else {
            let options = self.engine.options(Settings::default())?;
            let options = options.words(Vec::new()).threads(1);
            let mut model = options.open(self.engine.path())?;
            let showings = words::look(&mut model, &add.exemplar)?;
            model.word(&add.name, &showings)
        };
        word.synonyms = add.synonyms.iter().map(|s| s.trim().to_owned()).collect();
        word.group = add.group.as_ref().map(|g| g.trim().to_owned());
        word.thing = !add.stuff;
        (word.reject, word.threshold) = (add.reject, add.threshold);
        word.replaces = add.replace;
        tables.vocabulary().admits(&word).map_err(|e| usage(&e))?;
        if let Origin::Name(name) = &word.origin
            && add.like.is_none()
        {
            lines.line(format!(
                "this pack has a closed vocabulary: \"{}\" is taken for \"{name}\"",
                add.name.trim()
            ))?;
        }
        if matches!(word.origin, Origin::Sentence(_)) {
            let text = add.text.as_ref().unwrap_or(&add.name);
            reading(&tables, text, lines)?;
        }
        if !word.row.values.is_empty() {
            nearest(tables.vocabulary(), &word.row.values, 5, None, lines)?;
        }
        let (file, mut words) = self.begin(|| self.read_or_new(space))?;
        let name = word.name.clone();
        words.add([word], add.replace).map_err(|e| usage(&e))?;
        self.write(file, &words)?;
        lines.line(format!(
            "\"{name}\" is one of {} words in {}",
            words.words().len(),
            self.file()?.display()
        ))
    }

    fn remove(&self, names: &[String], lines: &mut Lines) -> Result<(), Failure> {
        let (file, mut words) = self.begin(|| self.read())?;
        for name in names {
            if words.remove(name).is_none() {
                let message = format!("\"{name}\" is not in {}", self.file()?.display());
                return Err(fail(exit::USAGE, message));
            }
        }
        self.write(file, &words)?;
        lines.line(format!(
            "{} words are left in {}",
            words.words().len(),
            self.file()?.display()
        ))
    }

    fn import(&self, file: &Path, replace: bool, lines: &mut Lines) -> Result<(), Failure> {
        let text = input::read_text(file, input::MAX_LIST_BYTES).map_err(|e| {
            let e = std::io::Error::from(e);
            let code = match e.kind() {
                std::io::ErrorKind::InvalidData => exit::DATA,
                _ => exit::NO_INPUT,
            };
            fail(code, format!("{}: {e}", file.display()))
        })?;
        let tables = self.tables(false)?;
        let space = tables.space()?;
        let new = tsv::import(
            &text,
            &space,
            tables.vocabulary(),
            &mut tables.lexicon.encoder(),
        )
        .map_err(|(line, why)| fail(exit::DATA, format!("{}:{line}: {why}", file.display())))?;
        let wrong = |e| fail(exit::DATA, format!("{}: {e}", file.display()));
        for word in &new {
            tables.vocabulary().admits(word).map_err(wrong)?;
        }
        let count = new.len();
        let (file, mut words) = self.begin(|| self.read_or_new(space))?;
        words.add(new, replace).map_err(wrong)?;
        self.write(file, &words)?;
        lines.line(format!(
            "{count} words imported; {} in {}",
            words.words().len(),
            self.file()?.display()
        ))
    }

    /// The words of that file, and the file begun anew: another program that changes it waits from
    /// here to [`write`](Self::write).
    fn begin(
        &self,
        read: impl FnOnce() -> Result<Words, Failure>,
    ) -> Result<(Replacement, Words), Failure> {
        let path = self.file()?;
        let cannot = |e| words::failure(&path, &WordsError::Write(e));
        let file = Replacement::begin(&path).map_err(cannot)?;
        Ok((file, read()?))
    }

    fn write(&self, file: Replacement, words: &Words) -> Result<(), Failure> {
        let path = self.file()?;
        words.save_as(file).map_err(|e| words::failure(&path, &e))
    }
}

/// Refuses what is longer than any name: everything is compared with it.
fn within(what: &str, text: &str) -> Result<(), Failure> {
    limits::text(what, text, MAX_TEXT).map_err(|why| fail(exit::USAGE, why))
}

/// An entry as a line with tabs.
fn row_of(e: &Entry) -> String {
    let kind = if e.thing { "thing" } else { "stuff" };
    let mut line = format!("{}\t{kind}\t{}", e.name, e.synonyms.join("|"));
    if let Some(origin) = &e.origin {
        let _ = write!(line, "\t{}", origin_of(origin)); // into a text
        if let Some(group) = &e.group {
            let _ = write!(line, ", group {group}");
        }
        if e.reject {
            line.push_str(", reject");
        }
    }
    line
}

fn origin_of(origin: &Origin) -> String {
    match origin {
        Origin::Sentence(text) => format!("from the text \"{text}\""),
        Origin::Exemplars(1) => "from 1 box that was shown".into(),
        Origin::Exemplars(n) => format!("from {n} boxes that were shown"),
        Origin::Name(name) => format!("the pack's \"{name}\""),
    }
}

fn search(tables: &Tables, text: &str, count: usize, lines: &mut Lines) -> Result<(), Failure> {
    let normal = normalise(text);
    if normal.is_empty() {
        return Err(fail(exit::USAGE, "the text has no letter or digit"));
    }
    lines.line("written like it:")?;
    let alike = tables.vocabulary().alike(&normal, count);
    if alike.is_empty() {
        lines.line("  nothing")?;
    }
    for name in alike {
        let of = tables.vocabulary().find(&name).map(|row| {
            let entry = &tables.vocabulary().entries()[row as usize];
            (normalise(&entry.name) != name).then(|| format!(" (of {})", entry.name))
        });
        lines.line(format!("  {name}{}", of.flatten().unwrap_or_default()))?;
    }
    reading(tables, text, lines)?;
    let row = tables.lexicon.encoder().encode(text);
    match row {
        Ok(row) => nearest(tables.vocabulary(), &row.values, count, None, lines),
        Err(e @ SentenceError::Graph(_)) => Err(fail(exit::SOFTWARE, e)),
        Err(e) => lines.line(format!("meaning: {e}")),
    }
}

fn show(tables: &Tables, name: &str, lines: &mut Lines) -> Result<(), Failure> {
    let normal = normalise(name);
    let vocabulary = tables.vocabulary();
    let Some(at) = vocabulary.find(&normal) else {
        let mut message = format!("\"{name}\" is not in the vocabulary");
        let alike = vocabulary.alike(&normal, 3);
        if !alike.is_empty() {
            let _ = write!(message, "; nearest names: {}", alike.join(", "));
        }
        return Err(fail(exit::USAGE, message));
    };
    let (entry, row) = (&vocabulary.entries()[at as usize], vocabulary.row(at));
    lines.line(format!("name:       {}", entry.name))?;
    let kind = if entry.thing {
        "thing (countable)"
    } else {
        "stuff (not countable)"
    };
    lines.line(format!("kind:       {kind}"))?;
    if !entry.synonyms.is_empty() {
        lines.line(format!("synonyms:   {}", entry.synonyms.join(", ")))?;
    }
    let from = match &entry.origin {
        None => "the pack".into(),
        Some(origin) => origin_of(origin),
    };
    lines.line(format!("row:        {at}, {from}"))?;
    if vocabulary
        .find_of_pack(&normal)
        .is_some_and(|row| row != at)
    {
        lines.line("hides:      a name of the pack")?;
    }
    if let Some(group) = &entry.group {
        lines.line(format!("group:      {group}"))?;
    }
    if entry.reject {
        lines.line("reject:     what it finds is not reported")?;
    }
    let least = entry.threshold.unwrap_or(row.threshold);
    let whose = if entry.threshold.is_some() {
        "its own"
    } else {
        "calibrated"
    };
    lines.line(format!("threshold:  {least:.3} ({whose})"))?;
    lines.line(format!(
        "logit:      {:.5} · (row · object) {:+.3}",
        row.scale, row.bias
    ))?;
    if let Some(Origin::Sentence(text)) = &entry.origin {
        let text = text.clone();
        reading(tables, &text, lines)?;
    }
    nearest(tables.vocabulary(), &row.values, 8, Some(at), lines)
}

/// The names whose rows are nearest.
fn nearest(
    vocabulary: &Vocabulary,
    values: &[i8],
    count: usize,
    but: Option<u32>,
    lines: &mut Lines,
) -> Result<(), Failure> {
    lines.line("means nearly (cosine):")?;
    let rows = vocabulary.nearest_rows(values, count + 1);
    let rows = rows.into_iter().filter(|(row, _)| Some(*row) != but);
    for (row, cosine) in rows.take(count) {
        let name = &vocabulary.entries()[row as usize].name;
        lines.line(format!("  {cosine:5.2}  {name}"))?;
    }
    Ok(())
}

/// What the encoder makes of the letters, and whether it is to be believed.
fn reading(tables: &Tables, text: &str, lines: &mut Lines) -> Result<(), Failure> {
    let Ok(spelling) = tables.lexicon.encoder().spell(text) else {
        return lines.line("read as:    nothing: it has no word");
    };
    lines.line(format!("read as:    {}", spelling.pieces.join(" ")))?;
    if spelling.unknown > 0 {
        lines.line(format!(
            "  note: {} of {} pieces are in no spelling that the encoder knows, and say nothing to it",
            spelling.unknown,
            spelling.pieces.len()
        ))?;
    }
    for pieces in spelling.odd() {
        let word: String = pieces.iter().map(|p| p.trim_start_matches("##")).collect();
        lines.line(format!(
            "  note: \"{word}\" is no word that the encoder was taught; what it makes of {} pieces is a guess",
            pieces.len()
        ))?;
    }
    if spelling.truncated {
        lines.line("  note: the end is not read: a text has up to 32 pieces")?;
    }
    let foreign: String = text
        .chars()
        .filter(|c| c.is_alphabetic() && !c.is_ascii())
        .collect();
    if !foreign.is_empty() {
        lines.line(format!(
            "  note: of the letters {foreign} accents are dropped and other scripts unknown; the encoder was taught English only"
        ))?;
    }
    Ok(())
}
