//! Prompts do not influence one another: a row is a row, whatever else is asked for.

use std::{collections::HashMap, path::Path};

use tarsier::{
    graph::op::Execution,
    kernels::{
        align::{Logits, align},
        isa::Isa,
    },
    pack::Pack,
    prompt::{
        PromptError, PromptSet, Request, Source,
        lexicon::Lexicon,
        sentence::SentenceError,
        vocabulary::{Vocabulary, normalise},
        words::{Origin, Word, WordsError},
    },
    quant::Quant,
};

/// Objects per comparison: enough for every width of tile, and a rest.
const OBJECTS: usize = 23;

struct Words {
    pack: Pack,
    lexicon: Lexicon,
}

impl Words {
    fn open(isa: Isa) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tarsier-s.tarsier");
        let pack = Pack::open(&path).expect("the default pack opens");
        let lexicon = Lexicon::open(&pack, Execution { isa, threads: 1 }, None);
        Self {
            lexicon: lexicon.expect("a vocabulary and an encoder"),
            pack,
        }
    }

    fn set(&mut self, requests: &[Request]) -> Result<PromptSet, PromptError> {
        let objects = Quant {
            scale: 0.03,
            zero_point: 117,
        };
        self.lexicon.set(requests, objects, None, &mut |_| true)
    }

    /// The bits of each prompt's logits on the same objects, by the prompt's name.
    fn logits(&mut self, isa: Isa, requests: &[Request]) -> HashMap<String, Vec<u32>> {
        let set = self.set(requests).expect("known prompts");
        let table = set.align();
        let objects = objects(table.embedding);
        let row = table.scale.len();
        let mut logits = vec![0.0; OBJECTS * row];
        let mut passing = vec![0; logits.len() / 16];
        let mut aligned = Logits {
            values: &mut logits,
            thresholds: &vec![0.0; row],
            passing: &mut passing,
        };
        align(isa, &table, &objects, &mut aligned);
        let column = |i: usize| {
            logits
                .iter()
                .skip(i)
                .step_by(row)
                .map(|l| l.to_bits())
                .collect()
        };
        set.prompts()
            .iter()
            .enumerate()
            .map(|(i, p)| (p.name.clone(), column(i)))
            .collect()
    }
}

/// Bytes that look random and are the same in every run (xorshift64*).
fn objects(embedding: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let byte = |_| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    };
    (0..OBJECTS * embedding).map(byte).collect()
}

fn name(text: &str) -> Request {
    Request::Name(text.to_owned())
}

fn sentence(text: &str) -> Request {
    Request::Sentence(text.to_owned())
}

/// Forty names spread over the table, and two sentences between them.
fn forty_names_and_two_sentences(vocabulary: &Vocabulary) -> Vec<Request> {
    let step = vocabulary.entries().len() / 40;
    let mut requests: Vec<Request> = vocabulary
        .entries()
        .iter()
        .step_by(step)
        .take(40)
        .map(|e| name(&e.name))
        .collect();
    requests.insert(7, sentence("a person who holds a red umbrella"));
    requests.insert(29, sentence("the cup on the left of the laptop"));
    requests
}

#[test]
fn a_prompts_logits_do_not_depend_on_the_other_prompts() {
    for isa in Isa::available() {
        let mut words = Words::open(isa);
        let requests = forty_names_and_two_sentences(words.lexicon.vocabulary());
        let all = words.logits(isa, &requests);
        assert_eq!(all.len(), 42);
        let mut check = |requests: &[Request], how: &str| {
            let some = words.logits(isa, requests);
            assert_eq!(some.len(), requests.len(), "{how}");
            for (prompt, bits) in some {
                assert_eq!(bits, all[&prompt], "\"{prompt}\" {how}, on {}", isa.level());
            }
        };
        for request in &requests {
            check(std::slice::from_ref(request), "alone");
        }
        for removed in [0, 7, 15, 16, 41] {
            let mut fewer = requests.clone();
            fewer.remove(removed);
            check(&fewer, "with one removed");
        }
        let reversed: Vec<Request> = requests.iter().rev().cloned().collect();
        check(&reversed, "reversed");
        // 5 and 42 have no common factor, so this visits all
        let shuffled: Vec<Request> = (0..42).map(|i| requests[i * 5 % 42].clone()).collect();
        check(&shuffled, "shuffled");
        check(&requests[..17], "as one more than a block");
        check(&requests[25..], "without the first 25");
    }
}

#[test]
fn logits_are_the_same_on_every_level() {
    let mut results = Isa::available().map(|isa| {
        let mut words = Words::open(isa);
        let requests = forty_names_and_two_sentences(words.lexicon.vocabulary());
        words.logits(isa, &requests)
    });
    let first = results.next().expect("scalar is everywhere");
    assert!(results.all(|other| other == first));
}

#[test]
fn a_synonym_has_its_names_row() {
    let mut words = Words::open(Isa::best());
    let own: std::collections::HashSet<String> = words
        .lexicon
        .vocabulary()
        .entries()
        .iter()
        .map(|e| normalise(&e.name))
        .collect();
    let mut seen = HashMap::new();
    let mut pairs = Vec::new();
    for entry in words.lexicon.vocabulary().entries() {
        for synonym in &entry.synonyms {
            let normal = normalise(synonym);
            // a name is never hidden by another's synonym, and of two names with one synonym the first has it
            if !own.contains(&normal) && seen.insert(normal, ()).is_none() {
                pairs.push((entry.name.clone(), synonym.clone()));
            }
        }
    }
    assert!(!pairs.is_empty(), "the table has synonyms");
    for (name, synonym) in &pairs {
        let rows = [name, synonym].map(|n| {
            words
                .lexicon
                .vocabulary()
                .find(&normalise(n))
                .map(|row| words.lexicon.vocabulary().row(row))
        });
        assert!(
            rows[0].is_some() && rows[0] == rows[1],
            "{synonym} is {name}"
        );
    }
    let (entry, synonym) = pairs[0].clone();
    let logits = words.logits(Isa::best(), &[name(&entry)]);
    assert_eq!(
        words.logits(Isa::best(), &[name(&synonym)])[&synonym],
        logits[&entry]
    );
}

#[test]
fn every_name_of_the_table_is_found_however_it_is_written() {
    let words = Words::open(Isa::best());
    let v = words.lexicon.vocabulary();
    for entry in v.entries() {
        let row = v
            .find(&normalise(&entry.name))
            .unwrap_or_else(|| panic!("{} is not found", entry.name));
        // two names that differ in punctuation only are one name
        assert_eq!(
            normalise(&v.entries()[row as usize].name),
            normalise(&entry.name)
        );
        for written in [
            entry.name.to_uppercase(),
            format!(" {}, ", entry.name),
            entry.name.replace(' ', "  "),
        ] {
            assert_eq!(v.find(&normalise(&written)), Some(row), "{written:?}");
        }
    }
}

#[test]
fn all_names_of_the_table_make_one_set() {
    let mut words = Words::open(Isa::best());
    let requests: Vec<Request> = words
        .lexicon
        .vocabulary()
        .entries()
        .iter()
        .map(|e| name(&e.name))
        .collect();
    let set = words.set(&requests).expect("a set of the whole table");
    let distinct: std::collections::HashSet<String> =
        requests.iter().map(|r| normalise(r.text())).collect();
    assert_eq!(set.prompts().len(), distinct.len());
    assert_eq!(set.thresholds().len(), distinct.len());
}

#[test]
fn a_prompt_that_is_asked_for_twice_is_kept_once() {
    let mut words = Words::open(Isa::best());
    let requests = [
        name("dog"),
        name("cat"),
        name("  DOG, "),
        sentence("a red  cup"),
        sentence("A red cup!"),
    ];
    let set = words.set(&requests).expect("known prompts");
    let names: Vec<&str> = set.prompts().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["dog", "cat", "a red  cup"]);
    assert!(matches!(set.prompts()[0].source, Source::Vocabulary(_)));
    assert_eq!(set.prompts()[2].source, Source::Sentence);
}

#[test]
fn either_takes_the_name_if_there_is_one_and_else_encodes() {
    let mut words = Words::open(Isa::best());
    let either = |text: &str| Request::Either(text.to_owned());
    let set = words
        .set(&[either("dog"), either("a dog without a name")])
        .expect("prompts");
    assert!(matches!(set.prompts()[0].source, Source::Vocabulary(_)));
    assert_eq!(set.prompts()[1].source, Source::Sentence);
}

#[test]
fn a_sentences_row_is_the_same_on_every_level_and_with_any_threads() {
    let texts = [
        "a person who holds a red umbrella",
        "dog",
        "the cup, left of the laptop",
        &"very ".repeat(60),
    ];
    for text in texts {
        let mut rows = Vec::new();
        for isa in Isa::available() {
            for threads in [1, 3] {
                let pack = Words::open(isa).pack;
                let lexicon = Lexicon::open(&pack, Execution { isa, threads }, None);
                let lexicon = lexicon.expect("an encoder");
                let mut encoder = lexicon.encoder();
                // a row does not depend on what was encoded before
                encoder.encode("something else entirely").expect("a row");
                rows.push(encoder.encode(text).expect("a row"));
            }
        }
        let bits = |r: &tarsier::prompt::Row| [r.scale, r.bias, r.threshold].map(f32::to_bits);
        assert!(
            rows.iter()
                .all(|r| r.values == rows[0].values && bits(r) == bits(&rows[0])),
            "{text}"
        );
        assert!(!rows[0].values.contains(&i8::MIN), "{text}");
    }
}

#[test]
fn prompts_that_cannot_be_served_are_refused_by_position_or_name() {
    let mut words = Words::open(Isa::best());
    assert!(matches!(words.set(&[]), Err(PromptError::Count(0))));
    assert!(matches!(
        words.set(&[name("dog"), name(" - ")]),
        Err(PromptError::Empty { position: 2 })
    ));
    match words.set(&[name("persn")]) {
        Err(PromptError::Unknown { name, nearest }) => {
            assert_eq!(name, "persn");
            assert!(nearest.contains(&"person".to_owned()), "{nearest:?}");
        }
        other => panic!("{other:?}"),
    }
    // what would be refused is not offered
    for (text, hint) in [
        ("persn", "use --sentence \"persn\""),
        ("чашка", "the model reads Latin letters only"),
        ("猫", "the model reads Latin letters only"),
    ] {
        let why = words.set(&[name(text)]).expect_err("no such name");
        assert!(why.to_string().contains(hint), "{why}");
        let sentence = words.set(&[Request::Sentence(text.into())]);
        assert_eq!(sentence.is_ok(), hint.contains("--sentence"), "{text}");
    }
}

#[test]
fn the_library_holds_the_limits_of_the_loop_and_says_both_numbers() {
    let mut words = Words::open(Isa::best());
    let mut over = |requests: &[Request]| match words.set(requests) {
        Err(PromptError::Limit { position, reason }) => (position, reason),
        other => panic!("{other:?}"),
    };
    // one that nobody knows: refused before any is looked up
    assert_eq!(
        over(&vec![name("persn"); 16_385]),
        (None, "16385 prompts; a set holds up to 16384".into())
    );
    assert_eq!(
        over(&[name("persn"), name(&"x".repeat(513))]),
        (
            Some(2),
            "a prompt's text has 513 bytes; up to 512 are taken".into()
        )
    );
    let long = Request::Sentence("a cup ".repeat(80));
    assert_eq!(
        over(&vec![long; 2185]),
        (
            None,
            "texts and groups of 1048800 bytes; those of a set have up to 1048576".into()
        )
    );
    let refused = (words.lexicon.encoder())
        .encode(&"a cup ".repeat(86))
        .expect_err("too long");
    assert!(matches!(refused, SentenceError::Long(516)), "{refused}");
    let row = words.lexicon.vocabulary().row(0);
    for (change, why) in [
        (
            (|w| w.name = "n".repeat(513)) as fn(&mut Word),
            "has a text of 513 bytes; up to 512 are taken",
        ),
        (
            |w| w.group = Some("a\u{1b}b".into()),
            "with a control character",
        ),
    ] {
        let mut word = Word::new("zorbl", Origin::Exemplars(1), Some(row.clone()));
        change(&mut word);
        match words.lexicon.vocabulary_mut().insert(&word) {
            Err(WordsError::Word { reason, .. }) => assert!(reason.contains(why), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}
