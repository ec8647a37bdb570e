//! One name in two spellings: files of words from before accents were dropped, and tables with both.

use tarsier::{
    graph::op::Execution,
    kernels::isa::Isa,
    pack::{Pack, container},
    prompt::{
        sentence::SentenceEncoder,
        words::{Space, Word, Words},
    },
};

#[path = "program/mod.rs"]
mod program;

use program::{Folder, root, tarsier};

/// A file of three words: `café` or `bistro`, `tea room` or `l'eau`, and the third under these two names.
fn file(folder: &Folder, third: &str, synonym: &str) -> String {
    let pack = Pack::open(&root().join("models/tarsier-s.tarsier")).expect("the default pack");
    let execution = Execution {
        isa: Isa::best(),
        threads: 1,
    };
    let mut encoder = SentenceEncoder::open(&pack, execution).expect("an encoder");
    let space = Space::of(&pack, &mut encoder).expect("a space");
    let mut word = |name: &str, text: &str, synonym: &str| {
        let mut word = Word::encoded(name, text, &mut encoder).expect("a word");
        word.synonyms.push(synonym.into());
        word
    };
    let all = [
        word("café", "a place with tables", "bistro"),
        word("tea room", "a room for tea", "l'eau"),
        word("THIRD", "a cup of coffee", "OTHER"),
    ];
    let mut words = Words::new(space);
    words.add(all, false).expect("words");
    let path = folder.path("own.words");
    words.save(&path).expect("written");
    // as a program wrote it that compared names with their accents
    let sections = container::Sections::open(&path).expect("a good file");
    let sections = sections.iter().map(|(name, bytes)| {
        let mut bytes = bytes.to_vec();
        if name == "words.json" {
            let text = String::from_utf8(bytes).expect("UTF-8");
            let text = text.replace("THIRD", third).replace("OTHER", synonym);
            bytes = text.into_bytes();
        }
        (name.to_owned(), bytes)
    });
    let sections: Vec<(String, Vec<u8>)> = sections.collect();
    let sections = sections
        .iter()
        .map(|(name, bytes)| (name.as_str(), &bytes[..]));
    folder.file("own.words", container::bytes_of(sections).expect("a file"))
}

#[test]
fn a_file_with_two_spellings_of_a_name_opens_and_the_later_word_has_it() {
    let folder = Folder::new();
    let words = file(&folder, "cafe", "leau");
    let (code, out, said) = tarsier(&["vocab", "list", "--user", "--words", &words]);
    assert_eq!(code, Some(0), "{said}");
    let names: Vec<Vec<&str>> = out.lines().map(|l| l.split('\t').collect()).collect();
    let names: Vec<[&str; 2]> = names.iter().map(|c| [c[0], c[2]]).collect();
    assert_eq!(names, [["tea room", ""], ["cafe", "leau"]]);
    for both in [
        "\"café\" (word 1) and \"cafe\" (word 3) are one name",
        "\"l'eau\" (word 2) and \"leau\" (word 3) are one name",
    ] {
        assert!(said.contains(both) && said.contains(&words), "{said}");
    }
    // however it is written, it is the later one
    let (code, out, _) = tarsier(&["vocab", "show", "Café", "--words", &words]);
    assert_eq!(code, Some(0));
    assert!(out.contains("a cup of coffee"), "{out}");
    // and whoever writes the file mends it
    let (code, _, said) = tarsier(&["vocab", "add", "zorbl mug", "--words", &words]);
    assert_eq!(code, Some(0), "{said}");
    let (code, out, said) = tarsier(&["vocab", "list", "--user", "--words", &words]);
    assert_eq!((code, out.lines().count(), said.as_str()), (Some(0), 3, ""));
}

#[test]
fn what_was_one_name_before_too_is_refused_with_both_words() {
    let folder = Folder::new();
    let words = file(&folder, "CAFÉ!", "leau");
    let (code, _, said) = tarsier(&["vocab", "list", "--user", "--words", &words]);
    assert_eq!(code, Some(65), "{said}");
    let both = "\"café\" in the same file (words 1 and 3)";
    assert!(said.contains(both), "{said}");
}

#[test]
fn a_table_with_both_spellings_is_refused_with_both_lines() {
    let folder = Folder::new();
    let words = folder.text("own.words");
    for (table, why) in [
        (
            "name\nred door\ncafé\n\ncafe\n",
            ":5: \"cafe\" is the same name as \"café\" of line 3",
        ),
        (
            "name\tsynonyms\nbar\tbistro|café\ntea room\tCafe!\n",
            ":3: \"Cafe!\" is the same name as \"café\" of line 2",
        ),
    ] {
        let table = folder.file("table.tsv", table);
        let (code, _, said) = tarsier(&["vocab", "import", &table, "--words", &words]);
        assert_eq!(code, Some(65), "{said}");
        assert!(said.contains(&format!("{table}{why}")), "{said}");
    }
    assert!(!folder.path("own.words").exists());
}
