//! Words of the user's own: their files, whole and damaged; their table; the cache of sentences; boxes that are shown; the commands.

use std::{fs, path::Path, process::Stdio};

use serde_json::{Value, json};
use tarsier::{
    Model, ModelOptions,
    detect::exemplar::{self, Background},
    frame::file::Photo,
    geometry::BBox,
    graph::op::Execution,
    kernels::isa::Isa,
    pack::{Pack, container},
    prompt::{
        PromptSet, Request, UnitRow,
        cache::{MAX_SENTENCES, SentenceCache},
        lexicon::Lexicon,
        rules::Rules,
        tsv,
        words::{Origin, Space, Word, Words, WordsError, words_of},
    },
    quant::Quant,
};

mod program;

use program::{Client, Folder, Program, command, root};

const PHOTO: &str = "models/sample/astronaut.jpg";

const ONE_THREAD: fn() -> Execution = || Execution {
    isa: Isa::best(),
    threads: 1,
};

struct Tables {
    pack: Pack,
    lexicon: Lexicon,
    space: Space,
}

impl Tables {
    fn open() -> Self {
        let pack = Pack::open(&root().join("models/tarsier-s.tarsier")).expect("the default pack");
        let lexicon = Lexicon::open(&pack, ONE_THREAD(), None).expect("names and an encoder");
        Self {
            space: lexicon.space(&pack).expect("a space"),
            lexicon,
            pack,
        }
    }

    fn sentence(&mut self, name: &str, text: &str) -> Word {
        Word::encoded(name, text, &mut self.lexicon.encoder()).expect("a word")
    }

    /// Words of every kind.
    fn some(&mut self) -> Words {
        let mut cup = self.sentence("red cup", "a small red cup");
        cup.synonyms = vec!["the cup".into(), "Tässchen".into()];
        cup.group = Some("drinks".into());
        cup.threshold = Some(0.1 + 0.2); // not a short number
        let mut grass = self.sentence("lawn in front", "short grass in front of a house");
        grass.thing = false;
        let mut poster = Word::new("poster", Origin::Name("poster".into()), None);
        (poster.reject, poster.replaces) = (true, true);
        let shown = tarsier::prompt::Row {
            values: (0..128).map(|i| i as i8 - 64).collect(),
            scale: 0.017_3,
            bias: -3.1,
            threshold: 0.37,
        };
        let mug = Word::new("\"my\" mug", Origin::Exemplars(3), Some(shown));
        let hash = self.sentence("#1 crate", "the first crate");
        let mut words = Words::new(self.space.clone());
        words
            .add([cup, grass, poster, mug, hash], false)
            .expect("words");
        words
    }

    fn set(&mut self, requests: &[Request], threshold: Option<f32>) -> PromptSet {
        let objects = Quant {
            scale: 0.03,
            zero_point: 117,
        };
        let set = self
            .lexicon
            .set(requests, objects, threshold, &mut |_| true);
        set.expect("prompts")
    }
}

fn name(text: &str) -> Request {
    Request::Name(text.into())
}

#[test]
fn words_are_read_back_as_they_were_written() {
    let (mut tables, folder) = (Tables::open(), Folder::new());
    let (words, path) = (tables.some(), folder.path("x.words"));
    words.save(&path).expect("it is written");
    assert_eq!(Words::open(&path).expect("it is read"), words);
    // and over itself
    let fewer = {
        let mut fewer = words.clone();
        assert!(fewer.remove("THE CUP").is_some(), "by its synonym");
        fewer
    };
    fewer.save(&path).expect("it is written again");
    assert_eq!(Words::open(&path).expect("it is read"), fewer);
    assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 1);
}

#[test]
fn a_words_row_is_that_of_its_text_or_its_name_to_the_bit() {
    let mut tables = Tables::open();
    let words = tables.some();
    let space = tables.space.clone();
    tables
        .lexicon
        .vocabulary_mut()
        .extend(&words, &space)
        .expect("they fit");
    let poster = tables
        .lexicon
        .vocabulary()
        .find_of_pack("poster")
        .expect("a name");
    assert_eq!(
        tables.lexicon.vocabulary().row(poster),
        tables
            .lexicon
            .vocabulary()
            .row(tables.lexicon.vocabulary().find("poster").expect("a word"))
    );
    let set = tables.set(&[name("RED cup"), name("tässchen")], None);
    let same = tables.set(&[Request::Sentence("a small red cup".into())], None);
    for i in [0, 1] {
        assert_eq!(
            set.align().scale[i].to_bits(),
            same.align().scale[0].to_bits()
        );
        assert_eq!(
            set.align().bias[i].to_bits(),
            same.align().bias[0].to_bits()
        );
        assert_eq!(set.align().sum_bias[i], same.align().sum_bias[0]);
    }
}

#[test]
fn group_reject_and_threshold_come_with_the_word() {
    let mut tables = Tables::open();
    let words = tables.some();
    let space = tables.space.clone();
    tables
        .lexicon
        .vocabulary_mut()
        .extend(&words, &space)
        .expect("they fit");
    let requests = [name("red cup"), name("poster"), name("person")];
    let set = tables.set(&requests, Some(0.9));
    let shown: Vec<&str> = set.prompts().iter().map(|p| p.shown()).collect();
    assert_eq!(shown, ["drinks", "poster", "person"]);
    assert!(set.prompts()[1].reject && !set.prompts()[0].reject);
    let logit = tarsier::odds::logit;
    // a word's own threshold holds, whatever is asked for all
    assert_eq!(set.thresholds(), [logit(0.1 + 0.2), logit(0.9), logit(0.9)]);
    // the rules that the command line and the loop apply
    assert_ne!(
        format!("{:?}", set.rules()),
        format!("{:?}", Rules::default())
    );
}

#[test]
fn a_name_twice_is_refused_in_a_file_between_files_and_against_the_pack() {
    let mut tables = Tables::open();
    let mut words = Words::new(tables.space.clone());
    let first = tables.sentence("my mug", "a white mug");
    words.add([first.clone()], false).expect("a word");
    let mut other = tables.sentence("tall beaker", "a beaker of glass");
    other.synonyms = vec!["My  MUG".into()];
    let before = words.clone();
    let refused = words
        .add([other.clone()], true)
        .expect_err("a synonym that is a name");
    assert!(
        matches!(&refused, WordsError::Duplicate { name, .. } if name == "my mug"),
        "{refused}"
    );
    assert_eq!(words, before);
    assert!(
        words.add([first.clone()], false).is_err(),
        "the same name again"
    );
    words.add([first.clone()], true).expect("it is replaced");

    let space = tables.space.clone();
    let mut cup = tables.sentence("Cup", "a cup");
    let mut pack = Words::new(space.clone());
    pack.add([cup.clone()], false).expect("a word");
    let refused = tables
        .lexicon
        .vocabulary_mut()
        .extend(&pack, &space)
        .expect_err("it hides a name");
    assert!(refused.to_string().contains("of the pack"), "{refused}");
    let entries = tables.lexicon.vocabulary().entries().len();
    assert_eq!(
        entries,
        tables.lexicon.vocabulary().packs(),
        "nothing was added"
    );
    cup.replaces = true;
    pack.add([cup], true).expect("a word");
    tables
        .lexicon
        .vocabulary_mut()
        .extend(&pack, &space)
        .expect("it may");
    tables
        .lexicon
        .vocabulary_mut()
        .extend(&words, &space)
        .expect("they fit");
    let refused = tables
        .lexicon
        .vocabulary_mut()
        .extend(&words, &space)
        .expect_err("the same file twice");
    assert!(refused.to_string().contains("of other words"), "{refused}");
}

#[test]
fn only_rows_that_mean_something_else_are_refused_in_another_packs_space() {
    let mut tables = Tables::open();
    let (space, words) = (tables.space.clone(), tables.some());
    let other = |f: fn(&mut Space)| {
        let mut other = space.clone();
        f(&mut other);
        other
    };
    let detector = other(|s| s.objects = "0".repeat(64));
    let encoder = other(|s| s.sentences = "0".repeat(64));
    let width = other(|s| s.embedding = 64);
    let why = |words: &Words, space: &Space| match words.fits(space) {
        Ok(()) => "nothing",
        Err(WordsError::Space { what, .. }) => what,
        Err(e) => panic!("{e}"),
    };
    assert_eq!(why(&words, &space), "nothing");
    assert_eq!(why(&words, &detector), "objects");
    assert_eq!(why(&words, &encoder), "sentences");
    let mut texts = words.clone();
    texts.remove("\"my\" mug").expect("the exemplars");
    assert_eq!(why(&texts, &detector), "nothing");
    assert_eq!(why(&texts, &width), "sentences");
    let mut names = Words::new(encoder.clone());
    let alias = Word::new("my sofa bed", Origin::Name("couch".into()), None);
    names.add([alias], false).expect("a word");
    assert_eq!(why(&names, &width), "nothing");
    tables
        .lexicon
        .vocabulary_mut()
        .extend(&names, &space)
        .expect("names fit");
    let none = Word::new("x", Origin::Name("no such name".into()), None);
    assert!(matches!(
        tables.lexicon.vocabulary().admits(&none),
        Err(WordsError::Missing { .. })
    ));
}

// Damage.

type Sections = Vec<(String, Vec<u8>)>;

fn sections(path: &Path) -> Sections {
    let sections = container::Sections::open(path).expect("a good file");
    let sections = sections.iter();
    sections.map(|(n, b)| (n.to_owned(), b.to_vec())).collect()
}

fn packed(sections: &Sections) -> Vec<u8> {
    container::bytes_of(sections.iter().map(|(n, b)| (n.as_str(), &b[..]))).expect("a file")
}

#[test]
fn every_cut_and_every_flipped_bit_is_refused_or_changes_nothing() {
    let (mut tables, folder) = (Tables::open(), Folder::new());
    let (words, path) = (tables.some(), folder.path("x.words"));
    words.save(&path).expect("it is written");
    let whole = fs::read(&path).expect("bytes");
    let check = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).expect("a file");
        match Words::open(&path) {
            Ok(read) => assert_eq!(read, words, "{what}"),
            Err(e) => assert!(!e.to_string().is_empty(), "{what}"),
        }
    };
    for cut in (0..whole.len()).step_by(7) {
        fs::write(&path, &whole[..cut]).expect("a file");
        assert!(Words::open(&path).is_err(), "cut to {cut} bytes");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        check(&damaged, &format!("byte {at}"));
    }
}

#[test]
fn a_hostile_file_with_right_checksums_is_refused_with_the_section_and_the_numbers() {
    let (mut tables, folder) = (Tables::open(), Folder::new());
    let path = folder.path("x.words");
    tables.some().save(&path).expect("it is written");
    let good = sections(&path);
    let refused = |what: &str, change: &dyn Fn(&mut Sections), words: &[&str]| {
        let mut sections = good.clone();
        change(&mut sections);
        fs::write(&path, packed(&sections)).expect("a file");
        let e = Words::open(&path).expect_err(what).to_string();
        for word in words {
            assert!(e.contains(word), "{what}: no {word:?} in: {e}");
        }
    };
    for (missing, (section, _)) in good.iter().enumerate() {
        refused(
            "missing",
            &|s| drop(s.remove(missing)),
            &[section, "is missing"],
        );
    }
    let text = |s: &mut Sections, at: usize, from: &str, to: &str| {
        let old = String::from_utf8(s[at].1.clone()).expect("text");
        let new = old.replacen(from, to, 1);
        assert_ne!(old, new, "{from}");
        s[at].1 = new.into_bytes();
    };
    let float = |s: &mut Sections, at: usize, value: f32| {
        s[3].1[at * 4..at * 4 + 4].copy_from_slice(&value.to_le_bytes());
    };
    refused(
        "layout",
        &|s| text(s, 0, "\"format\": 1", "\"format\": 9"),
        &["manifest.json", "layout version 9"],
    );
    refused(
        "count",
        &|s| text(s, 0, "\"words\": 5", "\"words\": 6"),
        &["words.json", "5 words", "6"],
    );
    refused(
        "no width",
        &|s| text(s, 0, "\"embedding\": 128", "\"embedding\": 0"),
        &["words.rows", "640 bytes"],
    );
    refused(
        "width",
        &|s| text(s, 0, "\"embedding\": 128", "\"embedding\": 4294967295"),
        &["words.rows", "640 bytes"],
    );
    refused(
        "field",
        &|s| text(s, 1, "\"name\"", "\"nmae\""),
        &["words.json", "nmae"],
    );
    refused("not JSON", &|s| s[1].1.truncate(40), &["words.json"]);
    refused(
        "short rows",
        &|s| s[2].1.truncate(600),
        &["words.rows", "600 bytes for 5 words of 128"],
    );
    refused("-128", &|s| s[2].1[300] = 0x80, &["words.rows", "byte 300"]);
    refused(
        "long parameters",
        &|s| s[3].1.push(0),
        &["words.parameters", "61 bytes for 5 words"],
    );
    refused(
        "not a number",
        &|s| float(s, 0, f32::NAN),
        &["words.parameters", "red cup", "NaN"],
    );
    refused(
        "no scale",
        &|s| float(s, 9, 0.0),
        &["words.parameters", "mug"],
    );
    refused(
        "threshold",
        &|s| float(s, 11, 1.5),
        &["words.parameters", "1.5"],
    );
    refused(
        "own threshold",
        &|s| text(s, 1, "\"threshold\": 0.3", "\"threshold\": 7.3"),
        &["red cup", "threshold"],
    );
    refused(
        "control",
        &|s| text(s, 1, "the cup", "the\\u0007cup"),
        &["red cup", "control"],
    );
    refused(
        "empty name",
        &|s| text(s, 1, "lawn in front", " - "),
        &["no letter or digit"],
    );
    refused(
        "twice",
        &|s| text(s, 1, "lawn in front", "RED cup!"),
        &["red cup", "in the same file"],
    );
    refused(
        "long",
        &|s| text(s, 1, "lawn in front", &"x".repeat(5000)),
        &["5000 bytes"],
    );
    refused(
        "nothing shown",
        &|s| text(s, 1, "\"exemplars\": 3", "\"exemplars\": 0"),
        &["0 exemplars"],
    );
    for bytes in [Vec::new(), b"hello".to_vec(), vec![0; 4096]] {
        fs::write(&path, &bytes).expect("a file");
        assert!(Words::open(&path).is_err(), "{} bytes", bytes.len());
    }
    assert!(Words::open(&folder.0).is_err(), "a folder");
    assert!(
        Words::open(&folder.path("none"))
            .expect_err("none")
            .is_missing()
    );
}

#[test]
fn what_cannot_be_written_leaves_the_old_file_and_nothing_else() {
    let (mut tables, folder) = (Tables::open(), Folder::new());
    let words = tables.some();
    // a folder cannot be replaced by a file
    fs::create_dir(folder.path("x.words")).expect("a folder");
    fs::write(folder.path("x.words/inside"), "x").expect("a file");
    assert!(matches!(
        words.save(&folder.path("x.words")),
        Err(WordsError::Write(_))
    ));
    assert!(matches!(
        words.save(&folder.path("no/such/folder/x.words")),
        Err(WordsError::Write(_))
    ));
    assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 1);
}

// The table.

#[test]
fn a_table_that_is_exported_is_imported_to_the_last_bit() {
    let (mut tables, folder) = (Tables::open(), Folder::new());
    let words = tables.some();
    let table = tsv::export(&words);
    let read = tsv::import(
        &table,
        &tables.space,
        tables.lexicon.vocabulary(),
        &mut tables.lexicon.encoder(),
    );
    let mut again = Words::new(tables.space.clone());
    again.add(read.expect("a table"), false).expect("words");
    assert_eq!(again, words);
    let paths = [folder.path("a.words"), folder.path("b.words")];
    words.save(&paths[0]).expect("it is written");
    again.save(&paths[1]).expect("it is written");
    let bytes = paths.map(|p| fs::read(p).expect("a file"));
    assert_eq!(bytes[0], bytes[1]);
}

#[test]
fn a_table_written_by_hand_needs_names_only_and_its_mistakes_have_lines() {
    let mut tables = Tables::open();
    let import = |text: &str| {
        tsv::import(
            text,
            &tables.space,
            tables.lexicon.vocabulary(),
            &mut tables.lexicon.encoder(),
        )
    };
    let words = import(
        "\u{feff}Name\tof\tsynonyms\treject\r\nwheelie bin\t\tdustbin | trash can\t\r\n\"a \"\"big\"\" box\"\ta large box\t\tYes\r\n",
    );
    let words = words.expect("words");
    assert_eq!(words[0].origin, Origin::Sentence("wheelie bin".into()));
    assert_eq!(words[0].synonyms, ["dustbin", "trash can"]);
    assert_eq!(words[1].name, "a \"big\" box");
    assert!(words[1].reject && words[1].row.values.len() == 128);
    for (text, line, why) in [
        ("", 1, "no word"),
        ("nmae\nx", 1, "nmae"),
        ("kind\nthing", 1, "name"),
        ("# x\nname\tkind\nx\tthings", 3, "things"),
        ("name\n\n - ", 3, "no letter"),
        ("name\tthreshold\nx\tmuch", 2, "much"),
        ("name\nx\ty", 2, "2 cells"),
        ("name\torigin\tof\nx\texemplars\t2", 2, "no row"),
        ("name\trow\tscale\nx\t00ff\t1", 2, "256 hexadecimal digits"),
        ("name\tof\nx\t猫", 2, "knows none"),
    ] {
        let (at, reason) = import(text).expect_err(text);
        assert_eq!(at, line, "{text:?}: {reason}");
        assert!(reason.contains(why), "{text:?}: {reason}");
    }
    // rows of another space: a text is encoded again, what was shown is refused
    let table = tsv::export(&tables.some()).replacen("sentences=", "sentences=0", 1);
    let read = tsv::import(
        &table,
        &tables.space,
        tables.lexicon.vocabulary(),
        &mut tables.lexicon.encoder(),
    );
    assert_eq!(read.expect("words"), tables.some().words());
    let table = tsv::export(&tables.some()).replacen("objects=", "objects=0", 1);
    let read = tsv::import(
        &table,
        &tables.space,
        tables.lexicon.vocabulary(),
        &mut tables.lexicon.encoder(),
    );
    let (line, why) = read.expect_err("exemplars");
    assert_eq!(line, 6);
    assert!(why.contains("another pack"), "{why}");
}

// The cache.

#[test]
fn a_sentence_that_was_encoded_before_is_the_same_from_the_cache() {
    let (tables, folder) = (Tables::open(), Folder::new());
    let encoder =
        || Lexicon::open(&tables.pack, ONE_THREAD(), Some(&folder.0)).expect("an encoder");
    let texts = ["a red cup", "the door on the left", "dog"];
    let first = encoder();
    let mut first = first.encoder();
    let rows = texts.map(|t| first.encode(t).expect("a row"));
    first.save();
    let cache = SentenceCache::open(&folder.0, &tables.pack);
    assert_eq!(cache.len(), 3);
    let file = cache.path().to_owned();
    let before = fs::read(&file).expect("a cache");
    let again = encoder();
    let mut again = again.encoder();
    assert_eq!(texts.map(|t| again.encode(t).expect("a row")), rows);
    again.save();
    assert_eq!(fs::read(&file).expect("a cache"), before, "nothing is new");

    // a row that only the file can have made: it is really read
    let mut planted = SentenceCache::open(&folder.0, &tables.pack);
    let marked = UnitRow {
        values: vec![1; 128],
        factor: 0.5,
    };
    planted.insert("dog", &marked);
    planted.save();
    assert_eq!(
        encoder().encoder().encode("dog").expect("a row").values,
        marked.values
    );

    // every damage: it is made anew, and rows are right
    for at in (0..before.len()).step_by(13).chain([before.len() - 1]) {
        let mut damaged = before.clone();
        damaged[at] ^= 0x10;
        fs::write(&file, &damaged).expect("a file");
        let encoder = encoder();
        assert_eq!(
            encoder.encoder().encode("a red cup").expect("a row"),
            rows[0],
            "byte {at}"
        );
        encoder.save();
        assert_eq!(
            SentenceCache::open(&folder.0, &tables.pack).len(),
            1,
            "byte {at}"
        );
    }
    fs::write(&file, &before[..50]).expect("a file");
    assert!(SentenceCache::open(&folder.0, &tables.pack).is_empty());
}

#[test]
fn the_cache_keeps_what_was_used_last_and_no_more() {
    let (tables, folder) = (Tables::open(), Folder::new());
    let open = || SentenceCache::open(&folder.0, &tables.pack);
    let row = UnitRow {
        values: vec![3; 128],
        factor: 0.25,
    };
    let mut cache = open();
    for i in 0..MAX_SENTENCES {
        cache.insert(&format!("text {i}"), &row);
    }
    cache.save();
    let mut cache = open();
    assert_eq!(cache.len(), MAX_SENTENCES);
    assert!(cache.find("text 0").is_some());
    cache.insert("one more", &row);
    cache.save();
    let mut cache = open();
    assert_eq!(cache.len(), MAX_SENTENCES);
    assert!(cache.find("text 0").is_some(), "it was used");
    assert!(cache.find("text 1").is_none(), "it was not");
    assert!(cache.find("one more").is_some());
    // a cache that cannot be written is no error
    let nowhere = folder.file("file", "x");
    let mut cache = SentenceCache::open(Path::new(&nowhere), &tables.pack);
    cache.insert("text", &row);
    cache.save();
}

// Showing.

fn model(isa: Isa) -> Model {
    let options = ModelOptions::new().isa(isa).threads(1).words(Vec::new());
    let model = options.open(root().join("models/tarsier-s.tarsier"));
    model.expect("the default pack")
}

fn objects(model: &mut Model, photo: &str) -> (Vec<exemplar::Object>, Photo) {
    let image = Photo::open(root().join(photo)).expect("a photo");
    let frame = image.frame(0);
    let objects = model.look(frame).expect("a look").objects();
    (objects, image)
}

#[test]
fn what_was_shown_is_found_where_it_was_shown() {
    let mut model = model(Isa::best());
    let (found, image) = objects(&mut model, PHOTO);
    // what the pack calls a person, most of the photo
    let person = BBox::new(7.0, 5.0, 373.0, 512.0);
    let showing = exemplar::show(&found, person).expect("an object");
    assert!(
        showing.overlap > 0.5 && !showing.others.is_empty(),
        "{showing:?}"
    );
    let background = Background::open(model.pack()).expect("statistics");
    assert!(background.is_some(), "the default pack has them");
    let names = model.lexicon().vocabulary();
    let alone = exemplar::row(std::slice::from_ref(&showing), None, names);
    let word = model.word("hero", &[showing]);
    assert_ne!(alone, word.row, "they count");
    let vocabulary = model.lexicon_mut().vocabulary_mut();
    vocabulary.insert(&word).expect("a word");
    let set = model.prompts(["hero"]).expect("prompts");
    let frame = image.frame(0);
    let mut look = model.look(frame).expect("a look");
    let report = look.detect(&set).expect("a report");
    let best = report.iter().next().expect("it is found");
    assert!(best.bbox.iou(&person) > 0.5 && best.score > 0.5, "{best:?}");

    let sky = exemplar::show(&found, BBox::new(0.0, 0.0, 3.0, 3.0));
    let nothing = sky.expect_err("nothing is there");
    assert!(nothing.0 < exemplar::LEAST_OVERLAP, "{nothing}");
}

#[test]
fn statistics_of_the_wrong_length_or_of_no_numbers_are_refused() {
    let folder = Folder::new();
    let good = sections(&root().join("models/tarsier-s.tarsier"));
    for (change, words) in [
        (
            (|b| b.truncate(100)) as fn(&mut Vec<u8>),
            "100 bytes for embeddings of 128",
        ),
        (
            |b| b[..4].copy_from_slice(&f32::NAN.to_le_bytes()),
            "no mean",
        ),
        (
            |b| b[512..516].copy_from_slice(&(-1f32).to_le_bytes()),
            "no mean",
        ),
    ] {
        let mut sections = good.clone();
        let at = sections.iter().position(|(n, _)| n == Background::SECTION);
        change(&mut sections[at.expect("the default pack has them")].1);
        let path = folder.file("x.tarsier", packed(&sections));
        let pack = Pack::open(Path::new(&path)).expect("checksums are right");
        let e = Background::open(&pack).expect_err(words).to_string();
        assert!(e.contains(words) && e.contains(Background::SECTION), "{e}");
    }
}

#[test]
fn the_same_boxes_make_the_same_row_on_every_level() {
    let rows = Isa::available().map(|isa| {
        let mut model = model(isa);
        let (found, _) = objects(&mut model, PHOTO);
        let person = BBox::new(7.0, 5.0, 373.0, 512.0);
        let showing = exemplar::show(&found, person).expect("an object");
        let row = model.word("hero", &[showing.clone(), showing]).row;
        (row.values, row.scale.to_bits(), row.bias.to_bits())
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.windows(2).all(|pair| pair[0] == pair[1]));
}

// The command line.

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// The program, with a cache folder of its own.
fn tarsier(folder: &Folder, arguments: &[&str]) -> Ran {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tarsier"))
        .current_dir(root())
        .args(arguments)
        .env_remove("TARSIER_PACK")
        .env_remove("TARSIER_LOG")
        .env_remove("CACHE_DIRECTORY")
        .env("XDG_CACHE_HOME", folder.path("cache"))
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

#[track_caller]
fn works(ran: Ran, words: &[&str]) -> String {
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    for word in words {
        assert!(ran.out.contains(word), "no {word:?} in: {}", ran.out);
    }
    ran.out
}

#[track_caller]
fn fails(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no {word:?} in: {}", ran.err);
    }
}

/// The default pack in this folder, so that words lie beside it and not in the repository.
fn pack_in(folder: &Folder) -> String {
    let pack = folder.text("robot.tarsier");
    fs::copy(root().join("models/tarsier-s.tarsier"), &pack).expect("a copy");
    pack
}

#[test]
fn words_are_added_beside_the_pack_and_used_from_there() {
    let folder = Folder::new();
    let pack = pack_in(&folder);
    let vocab = |more: &[&str]| tarsier(&folder, &[&["vocab", "--pack", &pack], more].concat());
    let added = vocab(&[
        "add",
        "astronaut",
        "--as",
        "a young person",
        "--synonym",
        "spaceman",
        "--group",
        "crew",
        "--threshold",
        "0.01",
    ]);
    works(added, &["read as:", "means nearly", "robot.words"]);
    assert_eq!(words_of(Path::new(&pack)), folder.path("robot.words"));
    assert!(folder.path("robot.words").exists());
    works(
        vocab(&["list", "--user"]),
        &["astronaut\tthing\tspaceman\tfrom the text", "group crew"],
    );
    works(
        vocab(&["show", "Spaceman"]),
        &["name:       astronaut", "0.010 (its own)"],
    );
    works(vocab(&["search", "space man"]), &["astronaut"]);
    let detect = |more: &[&str]| {
        tarsier(
            &folder,
            &[
                &["detect", PHOTO, "--pack", &pack, "--format", "json"],
                more,
            ]
            .concat(),
        )
    };
    let found = works(
        detect(&["--prompt", "spaceman"]),
        &["\"class_id\":\"crew\""],
    );
    let value: Value = serde_json::from_str(&found).expect("JSON");
    assert!(!value["detections"].as_array().expect("a list").is_empty());
    fails(
        &detect(&["--prompt", "spaceman", "--no-words"]),
        64,
        &["spaceman", "not in the vocabulary"],
    );
    // a file that is named takes the place of the one beside the pack
    let other = folder.text("other.words");
    works(
        vocab(&["add", "--words", &other, "left sleeve", "--as", "a sleeve"]),
        &["other.words"],
    );
    fails(
        &detect(&["--prompt", "spaceman", "--words", &other]),
        64,
        &["spaceman"],
    );
    let both = folder.text("robot.words");
    works(
        detect(&[
            "--prompt",
            "spaceman",
            "--prompt",
            "left sleeve",
            "--words",
            &other,
            "--words",
            &both,
        ]),
        &[],
    );
    works(vocab(&["remove", "spaceman"]), &["0 words are left"]);
    fails(&detect(&["--prompt", "spaceman"]), 64, &["spaceman"]);
}

#[test]
fn a_reject_word_takes_with_it_what_it_beats_in_detect_too() {
    let folder = Folder::new();
    let words = folder.text("x.words");
    let args = [
        "vocab",
        "add",
        "--words",
        &words,
        "my portrait",
        "--like",
        "person",
        "--reject",
        "--threshold",
        "0",
    ];
    works(tarsier(&folder, &args), &["my portrait"]);
    let detect = |more: &[&str]| {
        works(
            tarsier(
                &folder,
                &[&["detect", PHOTO, "--words", &words], more].concat(),
            ),
            &[],
        )
    };
    assert!(detect(&["--prompt", "person"]).contains("person"));
    // the same row: it finds the same and scores the same, so what comes after it is beaten
    let both = detect(&["--prompt", "my portrait", "--prompt", "person"]);
    assert!(both.contains("nothing found"), "{both}");
}

#[test]
fn a_table_goes_out_and_comes_back_by_the_command_line() {
    let folder = Folder::new();
    let (a, b, table) = (
        folder.text("a.words"),
        folder.text("b.words"),
        folder.text("t.tsv"),
    );
    for args in [
        vec![
            "vocab",
            "add",
            "--words",
            &a,
            "my mug",
            "--as",
            "a white mug with a handle",
        ],
        vec![
            "vocab",
            "add",
            "--words",
            &a,
            "hero",
            "--exemplar",
            "models/sample/astronaut.jpg@7,5,366,507",
            "--exemplar",
            "models/sample/grace_hopper.jpg@0,34,502,565",
        ],
        vec!["vocab", "export", "--words", &a, &table],
        vec!["vocab", "import", "--words", &b, &table],
    ] {
        works(tarsier(&folder, &args), &[]);
    }
    assert_eq!(fs::read(&a).expect("words"), fs::read(&b).expect("words"));
    let out = works(tarsier(&folder, &["vocab", "export", "--words", &a]), &[]);
    assert_eq!(out, fs::read_to_string(&table).expect("a table"));
    works(
        tarsier(&folder, &["vocab", "show", "hero", "--words", &a]),
        &["from 2 boxes that were shown"],
    );
    fails(
        &tarsier(&folder, &["vocab", "import", "--words", &b, &table]),
        65,
        &["t.tsv", "already"],
    );
    works(
        tarsier(
            &folder,
            &["vocab", "import", "--replace", "--words", &b, &table],
        ),
        &["2 words imported"],
    );
}

#[test]
fn what_is_wrong_is_said_with_the_right_code() {
    let folder = Folder::new();
    let words = folder.text("x.words");
    let run = |args: &[&str]| tarsier(&folder, args);
    let vocab = |more: &[&str]| run(&[&["vocab", "--words", &words], more].concat());
    fails(&vocab(&["list"]), 66, &["x.words"]);
    fails(&vocab(&["add", "cup"]), 64, &["of the pack", "--replace"]);
    fails(&vocab(&["add", " - "]), 64, &["no letter or digit"]);
    fails(&vocab(&["add", "x", "--as", "猫"]), 64, &["knows none"]);
    fails(
        &vocab(&["add", "x", "--like", "cupp"]),
        64,
        &["cupp", "does not have"],
    );
    fails(
        &vocab(&["add", "x", "--exemplar", "no.jpg@1,2,3,4"]),
        66,
        &["no.jpg"],
    );
    fails(
        &vocab(&["add", "x", "--exemplar", "models/sample/coffee.jpg@1,2,3"]),
        64,
        &["12,40,200,150"],
    );
    fails(
        &vocab(&[
            "add",
            "x",
            "--exemplar",
            "models/sample/coffee.jpg@9000,2,3,4",
        ]),
        64,
        &["outside the photo"],
    );
    fails(
        &vocab(&["add", "x", "--exemplar", "models/sample/coffee.jpg@1,1,2,2"]),
        65,
        &["nothing object-like"],
    );
    fails(
        &vocab(&["add", "x", "--as", "y", "--like", "cup"]),
        64,
        &["--like"],
    );
    fails(
        &vocab(&["import", &folder.text("none.tsv")]),
        66,
        &["none.tsv"],
    );
    assert!(!folder.path("x.words").exists(), "nothing was written");
    works(vocab(&["add", "my gadget", "--as", "a strange thing"]), &[]);
    fails(&vocab(&["remove", "y"]), 64, &["\"y\" is not in"]);
    fails(
        &run(&["vocab", "show", "cupp"]),
        64,
        &["nearest names", "cup"],
    );
    let cut = folder.file("cut.words", &fs::read(&words).expect("words")[..300]);
    fails(
        &run(&["detect", PHOTO, "--words", &cut]),
        65,
        &["cut.words", "300 bytes"],
    );
    let mut bytes = packed(&sections(Path::new(&words)));
    let at = bytes
        .windows(128)
        .position(|w| w == &sections(Path::new(&words))[2].1[..])
        .expect("the row");
    bytes[at] ^= 1;
    let damaged = folder.file("damaged.words", bytes);
    fails(
        &run(&["detect", PHOTO, "--words", &damaged]),
        65,
        &["section words.rows", "CRC-32"],
    );
    let mut other = sections(Path::new(&words));
    let manifest = String::from_utf8(other[0].1.clone()).expect("text");
    let place = manifest.find("\"sentences\": \"").expect("a digest") + 14;
    other[0].1[place..place + 8].copy_from_slice(b"00000000");
    let other = folder.file("other.words", packed(&other));
    fails(
        &run(&["detect", PHOTO, "--words", &other]),
        65,
        &["belongs to another pack", "sentences"],
    );
    fails(
        &run(&["run", "--source", "files:models/sample", "--words", &other]),
        65,
        &["another pack"],
    );
    fails(
        &run(&[
            "run",
            "--source",
            "files:models/sample",
            "--words",
            "no.words",
        ]),
        66,
        &["no.words"],
    );
    fails(
        &run(&[
            "detect",
            PHOTO,
            "--exemplar",
            "models/sample/coffee.jpg@1,1,2,2=x",
        ]),
        65,
        &["nothing object-like"],
    );
}

#[test]
fn an_encoders_doubts_are_told() {
    let folder = Folder::new();
    let search = |text: &str, words: &[&str]| {
        works(tarsier(&folder, &["vocab", "search", text]), words);
    };
    search(
        "dog",
        &[
            "written like it:\n  dog\n",
            "  dog\n",
            "means nearly",
            "(cosine)",
        ],
    );
    search("Türklinke", &["ü accents are dropped", "a guess"]);
    search("red 猫", &["1 of 2 pieces", "say nothing"]);
    search("猫", &["knows none"]);
    search(&"very ".repeat(40), &["the end is not read"]);
}

#[test]
fn exemplars_are_prompts_of_one_run() {
    let folder = Folder::new();
    let shown = format!("{PHOTO}@7,5,366,507=hero");
    let hopper = "models/sample/grace_hopper.jpg@0,34,502,565=hero";
    let run = |more: &[&str]| works(tarsier(&folder, &[&["detect", PHOTO], more].concat()), &[]);
    let out = run(&["--exemplar", &shown]);
    assert!(out.contains("hero") && !out.contains("person"), "{out}");
    let out = run(&[
        "--exemplar",
        &shown,
        "--prompt",
        "person",
        "--exemplar",
        hopper,
    ]);
    assert!(out.contains("hero") && out.contains("person"), "{out}");
}

#[test]
fn sentences_are_cached_unless_it_is_forbidden() {
    let folder = Folder::new();
    let run = |more: &[&str]| {
        works(
            tarsier(
                &folder,
                &[&["detect", PHOTO, "--sentence", "a person in orange"], more].concat(),
            ),
            &[],
        )
    };
    let first = run(&["--no-cache"]);
    assert!(!folder.path("cache").exists());
    assert_eq!(run(&[]), first);
    let files = || {
        fs::read_dir(folder.path("cache/tarsier"))
            .expect("a cache")
            .count()
    };
    assert_eq!(files(), 1);
    assert_eq!(run(&[]), first);
    assert_eq!(files(), 1);
}

// The loop.

#[test]
fn the_loop_takes_words_and_learns_from_a_box_of_the_next_frame() {
    let folder = Folder::new();
    let pack = pack_in(&folder);
    let socket = folder.text("sock");
    let add = [
        "vocab",
        "add",
        "--pack",
        &pack,
        "astronaut",
        "--like",
        "person",
        "--group",
        "crew",
    ];
    works(tarsier(&folder, &add), &[]);
    let config = folder.file(
        "c.toml",
        format!(
            "prompts.list = [\"astronaut\"]\n[source]\nkind = \"files\"\npath = \"{PHOTO}\"\nrepeat = true\nfps = 50.0\n"
        ),
    );
    let mut program = Program::of(
        command(&["--config", &config, "--pack", &pack, "--socket", &socket])
            .env("CACHE_DIRECTORY", folder.path("cache")),
    );
    let mut client = Client::connect(&socket);
    let classes = |report: &Value| -> Vec<String> {
        let found = report["detections"].as_array().expect("a list").iter();
        let class = |d: &Value| {
            d["results"][0]["class_id"]
                .as_str()
                .expect("a class")
                .to_owned()
        };
        found.map(class).collect()
    };
    assert!(classes(&client.report()).contains(&"crew".to_owned()));

    let enrol = |name: &str, [x, y, w, h]: [u32; 4]| json!({"command": "enrol", "name": name, "region": {"x_offset": x, "y_offset": y, "width": w, "height": h}});
    let answer = client.command(enrol("hero", [7, 5, 366, 507]));
    assert_eq!(answer["prompts_version"], 2);
    let report = client.until("version 2", |m| {
        m["type"] == "report" && m["prompts_version"] == 2
    });
    assert!(classes(&report).contains(&"hero".to_owned()), "{report}");
    // a corner with nothing, a box outside, and a name without a letter: nothing changes
    assert_eq!(client.refused(enrol("x", [0, 0, 3, 3])).0, "not_found");
    assert_eq!(client.refused(enrol("x", [9000, 0, 30, 30])).0, "invalid");
    assert_eq!(client.refused(enrol(" ", [0, 0, 3, 3])).0, "invalid");
    let prompts = client.command(json!({"command": "get_prompts"}))["prompts"].clone();
    assert_eq!(prompts["names"], json!(["astronaut", "hero"]));
    assert_eq!(prompts["prompts_version"], 2);
    // paused, it looks at one frame for it and reports nothing
    client.command(json!({"command": "pause"}));
    assert_eq!(
        client.command(enrol("hero", [7, 5, 366, 507]))["prompts_version"],
        3
    );
    client.command(json!({"command": "resume"}));
    let report = client.until("version 3", |m| {
        m["type"] == "report" && m["prompts_version"] == 3
    });
    assert!(classes(&report).contains(&"hero".to_owned()), "{report}");
    // the same network: what was shown is kept when the pack is opened again, and new words are there
    let add = [
        "vocab", "add", "--pack", &pack, "spaceman", "--like", "person",
    ];
    works(tarsier(&folder, &add), &[]);
    client.command(json!({"command": "reload_pack"}));
    client.command(json!({"command": "set_prompts", "prompts": [{"text": "hero", "kind": "name"}, {"text": "spaceman", "kind": "name"}]}));
    works(
        tarsier(&folder, &["vocab", "remove", "--pack", &pack, "spaceman"]),
        &[],
    );
    let refused = client.refused(json!({"command": "reload_pack"}));
    assert_eq!(refused.0, "unknown_prompt", "{}", refused.1);
    // a reload by signal takes words that were written since
    works(tarsier(&folder, &[&add[..], &["--replace"]].concat()), &[]);
    let add = [
        "vocab",
        "add",
        "--pack",
        &pack,
        "test pilot",
        "--like",
        "person",
    ];
    works(tarsier(&folder, &add), &[]);
    program.signal("HUP");
    program.says("configuration reloaded");
    client.command(
        json!({"command": "add_prompts", "prompts": [{"text": "test pilot", "kind": "name"}]}),
    );
    client.command(json!({"command": "add_prompts", "prompts": ["a person in an orange suit"]}));
    program.signal("TERM");
    assert_eq!(program.end().code(), Some(0), "{}", program.log());
    let cached = fs::read_dir(folder.path("cache")).expect("a cache");
    assert_eq!(cached.count(), 1, "the sandbox lets it be written");
}

#[test]
fn words_beside_the_pack_that_do_not_fit_are_a_fault_and_the_loop_goes_on() {
    let folder = Folder::new();
    let pack = pack_in(&folder);
    fs::write(folder.path("robot.words"), "not words").expect("a file");
    let socket = folder.text("sock");
    let source = format!("files:{PHOTO}");
    let config = folder.file(
        "c.toml",
        format!("[source]\nkind = \"files\"\npath = \"{PHOTO}\"\nrepeat = true\nfps = 50.0\n[telemetry]\nperiod_s = 0.2\n"),
    );
    let _program = Program::start(&["--config", &config, "--pack", &pack, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    let fault = client.fault("words");
    assert!(
        fault.contains("robot.words") && fault.contains("not used"),
        "{fault}"
    );
    client.report();
    drop(source);
}
