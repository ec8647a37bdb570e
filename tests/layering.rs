//! Which module may name which, held by reading the source against the table in `src/lib.rs`.
//!
//! The table has a row for each top-level module, with the modules that it may name. This test
//! holds that the code names no others, that every arrow of the table is used, and that the arrows
//! of the table make no circle. Below the top, where no table is, files that lie side by side must
//! not name each other in a circle either.
//!
//! Read are tokens, through the lexer that the compiler's macros use: a path is `crate`, `self`,
//! `super` or the crate's name, and what follows it, in `use`s, in expressions and in the arguments
//! of macros. Where a module hands on what is in one of its own, by `pub use`, that one is named.
//!
//! `unsafe` and the names of tract's crates stay in the files that are listed here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The files that may hold `unsafe`.
const UNSAFE: [&str; 12] = [
    "capture/v4l2/sys.rs",
    "kernels/add.rs",
    "kernels/align.rs",
    "kernels/arm/narrow.rs",
    "kernels/arm.rs",
    "kernels/conv.rs",
    "kernels/depthwise.rs",
    "kernels/gate.rs",
    "kernels/permute.rs",
    "kernels/x86.rs",
    "pack/map.rs",
    "team.rs",
];

/// The files and folders that may name tract: the graph layer, and those that hand tensors to it or
/// read its ONNX.
const TRACT: [&str; 5] = [
    "build.rs",
    "graph/",
    "pipeline.rs",
    "pipeline/",
    "prompt/sentence.rs",
];

/// The modules of the program, which no table restrains: they may name all of the library.
const PROGRAM: [&str; 2] = ["cli", "main"];

/// Modules side by side that name each other in a circle today, `folder: them, in order`. To be
/// opened, and struck from here.
const CIRCLES: [&str; 1] = ["run: config, follow"];

/// One source file, without its tests.
struct Source {
    /// Under `src`.
    file: String,
    /// The module that it is: `["prompt", "words"]`.
    module: Vec<String>,
    tokens: Vec<TokenTree>,
}

/// A module that a file names, and where.
struct Arrow {
    from: Vec<String>,
    to: Vec<String>,
    /// `src/FILE:LINE names PATH`.
    place: String,
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every file under `src` but those of tests, and those of the crate that lies there.
fn sources() -> Vec<Source> {
    let (src, mut files, mut folders) = (src(), Vec::new(), vec![src()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            let stem = path.file_stem().and_then(|s| s.to_str());
            if stem == Some("tests") || path.join("Cargo.toml").exists() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let sources = files.into_iter().map(|path| {
        let relative = path.strip_prefix(&src).expect("under src");
        let file = relative.to_str().expect("UTF-8").replace('\\', "/");
        let text = fs::read_to_string(&path).expect("a source");
        let module = file.trim_end_matches(".rs").split('/');
        Source {
            module: module.map(str::to_owned).collect(),
            tokens: code(&text),
            file,
        }
    });
    let sources: Vec<Source> = sources.collect();
    assert!(sources.len() > 40, "found {} sources", sources.len());
    sources
}

/// The tokens of a text, without items under `#[cfg(test)]`.
fn code(text: &str) -> Vec<TokenTree> {
    without_tests(text.parse().expect("Rust"))
}

fn without_tests(stream: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = stream.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_test = is(&token, "#")
            && tokens.peek().is_some_and(|next| match next {
                TokenTree::Group(g) => g.to_string().replace(' ', "") == "[cfg(test)]",
                _ => false,
            });
        if !is_test {
            kept.push(token);
            continue;
        }
        // the item ends with its first semicolon or braces
        for token in tokens.by_ref() {
            let braces = matches!(&token, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
            if braces || is(&token, ";") {
                break;
            }
        }
    }
    kept
}

/// Whether a token is this word or sign.
fn is(token: &TokenTree, text: &str) -> bool {
    match token {
        TokenTree::Ident(i) => *i == text,
        TokenTree::Punct(p) => text.len() == 1 && text.starts_with(p.as_char()),
        TokenTree::Group(_) | TokenTree::Literal(_) => false,
    }
}

fn inside(token: &TokenTree) -> Option<Vec<TokenTree>> {
    match token {
        TokenTree::Group(g) => Some(without_tests(g.stream())),
        _ => None,
    }
}

/// Calls `see` with every sequence of tokens: the file's, and that of each pair of brackets.
fn every_sequence(tokens: &[TokenTree], see: &mut impl FnMut(&[TokenTree])) {
    see(tokens);
    for inner in tokens.iter().filter_map(inside) {
        every_sequence(&inner, see);
    }
}

/// Whether these words and signs follow each other somewhere.
fn says(source: &Source, wanted: &[&str]) -> bool {
    let mut found = false;
    every_sequence(&source.tokens, &mut |tokens| {
        let here = |w: &[TokenTree]| w.iter().zip(wanted).all(|(token, text)| is(token, text));
        found |= tokens.windows(wanted.len()).any(here);
    });
    found
}

/// The paths in some tokens of `module`, absolute, and the line of each.
fn paths(module: &[String], tokens: &[TokenTree], found: &mut Vec<(Vec<String>, usize)>) {
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        at += 1;
        // a module in a module: `super` means another one there
        if let [keyword, TokenTree::Ident(name), body, ..] = rest
            && is(keyword, "mod")
            && let Some(body) = inside(body)
        {
            let inner: Vec<String> = module.iter().cloned().chain([name.to_string()]).collect();
            paths(&inner, &body, found);
            at += 2;
        } else if let Some(start) = start_of_path(module, rest) {
            at += follow(start, &rest[1..], found);
        } else if let Some(inner) = inside(&rest[0]) {
            paths(module, &inner, found);
        }
    }
}

/// The module that a path begins at, if one begins here.
fn start_of_path(module: &[String], tokens: &[TokenTree]) -> Option<Vec<String>> {
    let [TokenTree::Ident(first), colon, ..] = tokens else {
        return None;
    };
    if !is(colon, ":") {
        return None;
    }
    match first.to_string().as_str() {
        "crate" | "tarsier" => Some(Vec::new()),
        "self" => Some(module.to_vec()),
        "super" => Some(module.split_last()?.1.to_vec()),
        _ => None,
    }
}

/// Follows `::a::b` and `::{a, b::c}` behind the start of a path; says how many tokens it took.
fn follow(
    mut path: Vec<String>,
    tokens: &[TokenTree],
    found: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let mut at = 0;
    while let [a, b, next, ..] = &tokens[at..]
        && is(a, ":")
        && is(b, ":")
    {
        match next {
            TokenTree::Ident(name) if *name == "super" => {
                path.pop();
            }
            TokenTree::Ident(name) => path.push(name.to_string()),
            TokenTree::Group(group) => {
                let inner = without_tests(group.stream());
                for part in inner.split(|t| is(t, ",")).filter(|p| !p.is_empty()) {
                    branch(&path, part, found);
                }
                return at + 3;
            }
            _ => break,
        }
        at += 3;
    }
    let line = tokens.first().map_or(0, |t| t.span().start().line);
    found.push((path, line));
    at
}

/// One part of a group: `a::b`, `self` or `{…}` behind `path`.
fn branch(path: &[String], part: &[TokenTree], found: &mut Vec<(Vec<String>, usize)>) {
    let [TokenTree::Ident(first), rest @ ..] = part else {
        return;
    };
    let mut start = path.to_vec();
    match first.to_string().as_str() {
        "self" => {}
        "super" => drop(start.pop()),
        name => start.push(name.to_owned()),
    }
    if rest.is_empty() {
        found.push((start, first.span().start().line));
    } else {
        follow(start, rest, found);
    }
}

/// By its own path, where each item is that a module hands on from one inside of it.
fn handed_on(sources: &[Source]) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut handed = BTreeMap::new();
    for source in sources {
        for statement in source.tokens.split(|t| is(t, ";")) {
            let Some(at) = statement.iter().rposition(|t| is(t, "use")) else {
                continue;
            };
            let is_public = statement[..at].iter().any(|t| is(t, "pub"));
            let mut found = Vec::new();
            branch(&source.module, &statement[at + 1..], &mut found);
            for (path, _) in found.into_iter().filter(|_| is_public) {
                let item = path.last().cloned();
                let own: Vec<String> = source.module.iter().cloned().chain(item).collect();
                handed.insert(own, path);
            }
        }
    }
    handed
}

/// Every arrow of the crate, from the module of a file to the innermost module of a path.
fn arrows(sources: &[Source]) -> Vec<Arrow> {
    let modules: BTreeSet<&[String]> = sources.iter().map(|s| s.module.as_slice()).collect();
    let handed = handed_on(sources);
    let mut arrows = Vec::new();
    for source in sources {
        let mut found = Vec::new();
        // lib.rs and main.rs are the root itself
        let root = ["lib", "main"].contains(&source.module[0].as_str());
        let here: &[String] = if root { &[] } else { &source.module };
        paths(here, &source.tokens, &mut found);
        for (path, line) in found {
            let place = format!("src/{}:{line} names {}", source.file, path.join("::"));
            let mut longest = (1..=path.len()).rev();
            let path = longest
                .find_map(|n| handed.get(&path[..n]))
                .unwrap_or(&path);
            let to = (1..=path.len()).rev().map(|n| &path[..n]);
            let Some(to) = to.into_iter().find(|p| modules.contains(p)) else {
                continue; // an item or macro of the crate's root
            };
            arrows.push(Arrow {
                from: source.module.clone(),
                to: to.to_vec(),
                place,
            });
        }
    }
    arrows
}

/// What the table in `src/lib.rs` says that each module may name.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(src().join("lib.rs")).expect("lib.rs");
    table_of(&text)
}

/// The rows ``| [`module`] | `a`, `b` | … |`` of a text.
fn table_of(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut table = BTreeMap::new();
    for line in text.lines() {
        let Some(row) = line.strip_prefix("//! | [`") else {
            continue;
        };
        let mut cells = row.split(" | ");
        let module = cells.next().and_then(|c| c.strip_suffix("`]"));
        let (module, may) = (module.expect(line), cells.next().expect(line));
        let names = may.split('`').skip(1).step_by(2).map(str::to_owned);
        let twice = table.insert(module.to_owned(), names.collect());
        assert!(twice.is_none(), "{module} has two rows");
    }
    table
}

/// A way from a node back to itself, if there is one.
fn circle(arrows: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(
        arrows: &BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> bool {
        let here = way.last().expect("a start").clone();
        for next in arrows.get(&here).into_iter().flatten() {
            if let Some(begin) = way.iter().position(|w| w == next) {
                way.drain(..begin);
                way.push(next.clone());
                return true;
            }
            if !done.contains(next) {
                way.push(next.clone());
                if walk(arrows, way, done) {
                    return true;
                }
            }
        }
        way.pop();
        done.insert(here);
        false
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|start| {
        let mut way = vec![start.clone()];
        (!done.contains(start) && walk(arrows, &mut way, &mut done)).then_some(way)
    })
}

#[test]
fn a_module_names_only_those_that_the_table_in_lib_rs_allows() {
    let (table, sources) = (table(), sources());
    let mut wrong = Vec::new();
    let rooms: BTreeSet<&String> = sources.iter().map(|s| &s.module[0]).collect();
    let outside = |room: &&String| ["lib", "main", "cli"].contains(&room.as_str());
    let missing = rooms
        .iter()
        .filter(|r| !outside(r) && !table.contains_key(**r));
    wrong.extend(missing.map(|r| format!("{r} has no row in the table of src/lib.rs")));
    let gone = table.keys().filter(|r| !rooms.contains(r));
    wrong
        .extend(gone.map(|r| format!("the table of src/lib.rs has a row {r}, which is no module")));

    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let arrows = arrows(&sources);
    for arrow in &arrows {
        let (from, to) = (arrow.from[0].as_str(), arrow.to[0].as_str());
        if from == to || PROGRAM.contains(&from) {
            continue;
        }
        used.entry(from).or_default().insert(to);
        if !table.get(from).is_some_and(|may| may.contains(to)) {
            wrong.push(format!("{}: {from} may not name {to}", arrow.place));
        }
    }
    for (from, may) in &table {
        let named = used.remove(from.as_str()).unwrap_or_default();
        let unused = may.iter().filter(|to| !named.contains(to.as_str()));
        wrong.extend(unused.map(|to| format!("{from} may name {to}, and does not: strike it")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_in_lib_rs_has_no_circle() {
    // each row names rows above it alone; the test below is for folders, which have no order
    let text = fs::read_to_string(src().join("lib.rs")).expect("lib.rs");
    let (table, mut above) = (table_of(&text), BTreeSet::new());
    let rows = text.lines().filter_map(|l| l.strip_prefix("//! | [`"));
    for module in rows.filter_map(|row| row.split('`').next()) {
        let below: Vec<_> = table[module]
            .iter()
            .filter(|m| !above.contains(m.as_str()))
            .collect();
        assert!(
            below.is_empty(),
            "{module} names {below:?}, which no row above has"
        );
        above.insert(module);
    }
}

#[test]
fn files_side_by_side_name_each_other_in_no_circle() {
    // by folder: arrows between the modules in it, and where each is
    let mut folders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let mut places: BTreeMap<(String, String, String), String> = BTreeMap::new();
    for arrow in arrows(&sources()) {
        let same = arrow.from.iter().zip(&arrow.to).take_while(|(a, b)| a == b);
        let depth = same.count();
        let (Some(from), Some(to)) = (arrow.from.get(depth), arrow.to.get(depth)) else {
            continue; // a module and one inside of it
        };
        if depth == 0 {
            continue; // the table's
        }
        let folder = arrow.from[..depth].join("/");
        let of_folder = folders.entry(folder.clone()).or_default();
        of_folder
            .entry(from.clone())
            .or_default()
            .insert(to.clone());
        let key = (folder, from.clone(), to.clone());
        places.entry(key).or_insert(arrow.place);
    }
    let mut known: BTreeSet<String> = CIRCLES.into_iter().map(str::to_owned).collect();
    let mut wrong = Vec::new();
    for (folder, mut arrows) in folders {
        while let Some(way) = circle(&arrows) {
            let mut members: Vec<&str> = way[1..].iter().map(String::as_str).collect();
            members.sort_unstable();
            let is_known = known.remove(&format!("{folder}: {}", members.join(", ")));
            for pair in way.windows(2) {
                let key = (folder.clone(), pair[0].clone(), pair[1].clone());
                if !is_known {
                    wrong.push(format!("{}: a circle {}", places[&key], way.join(" → ")));
                }
            }
            // cut it open, to find the next
            let from = arrows.get_mut(&way[0]).expect("of the circle");
            from.remove(&way[1]);
        }
    }
    wrong.extend(
        known
            .iter()
            .map(|c| format!("the circle {c} is open now: strike it")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_library_names_no_part_of_the_command_line() {
    for source in sources() {
        if PROGRAM.contains(&source.module[0].as_str()) {
            continue;
        }
        for word in [
            &["clap"][..],
            &["indicatif"],
            &["println", "!"],
            &["process", ":", ":", "exit"],
        ] {
            assert!(
                !says(&source, word),
                "src/{} says {}, past its caller",
                source.file,
                word.concat()
            );
        }
    }
}

#[test]
fn unsafe_code_lies_in_the_listed_files_and_all_of_them_need_it() {
    let sources = sources().into_iter();
    let found: Vec<String> = sources
        .filter(|source| says(source, &["unsafe"]))
        .map(|source| source.file)
        .collect();
    assert_eq!(found, UNSAFE);
}

#[test]
fn only_the_listed_files_name_tract() {
    let mut used = BTreeSet::new();
    for source in sources() {
        if says(&source, &["tract_onnx"]) || says(&source, &["tract_core"]) {
            let file = source.file.as_str();
            let listed = TRACT
                .iter()
                .find(|t| file == **t || (t.ends_with('/') && file.starts_with(*t)));
            used.insert(*listed.unwrap_or_else(|| panic!("src/{file} names tract")));
        }
    }
    assert_eq!(
        used.into_iter().collect::<Vec<_>>(),
        TRACT,
        "a listed file no longer names tract"
    );
}

#[test]
fn this_test_reads_rust_as_meant() {
    let text = r##"
        // use crate::cli; unsafe
        /* crate::cli */ use crate::{geometry::{self, BBox, camera::Lens}, scene};
        const A: &str = "crate::cli \" unsafe"; const B: char = '"'; const C: &str = r#"crate::"build""#;
        fn f<'a>(x: &'a str) -> crate::quant::Quant { super::pack::open(x) }
        #[cfg(test)]
        mod tests { use crate::pipeline; fn g() { unsafe { } } }
        use super::super::text::Tokenizer;
        mod inner { fn h() { log::info!("{}", super::super::sibling::NAME) } }
        #[cfg(test)]
        #[allow(unused)]
        mod more;
    "##;
    let source = Source {
        file: "prompt/words.rs".into(),
        module: vec!["prompt".into(), "words".into()],
        tokens: code(text),
    };
    let mut found = Vec::new();
    paths(&source.module, &source.tokens, &mut found);
    let found: Vec<String> = found
        .iter()
        .map(|(path, line)| format!("{line} {}", path.join("::")))
        .collect();
    assert_eq!(
        found,
        [
            "3 geometry",
            "3 geometry::BBox",
            "3 geometry::camera::Lens",
            "3 scene",
            "5 quant::Quant",
            "5 prompt::pack::open",
            "8 text::Tokenizer",
            "9 prompt::sibling::NAME",
        ]
    );
    assert!(says(&source, &["Quant"]) && !says(&source, &["unsafe"]));
    assert!(!says(&source, &["cli"]));
}

#[test]
fn this_test_finds_circles_and_reads_tables() {
    let table = "//! | module | may name | does |\n//! |---|---|---|\n\
                 //! | [`a`] | `b`, `c` | x `d` |\n//! | [`b`] | – | y |\n//! | [`c`] | `b` | z |\n";
    let table = table_of(table);
    let names = |m: &str| table[m].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(names("a"), ["b", "c"]);
    assert!(names("b").is_empty() && table.len() == 3);
    assert_eq!(circle(&table), None);
    let mut round = table.clone();
    round.insert("b".into(), BTreeSet::from(["c".to_owned()]));
    assert_eq!(circle(&round).expect("b and c"), ["b", "c", "b"]);
}
