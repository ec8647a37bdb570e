//! The layers of the crate, held by reading its source: a file names only modules of its own layer or a lower one.
//!
//! `unsafe` and the names of tract's crates stay in the files that are listed here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Layers, lowest first, and the top-level modules of each. Parts of a module belong to its layer.
const LAYERS: [(&str, &[&str]); 12] = [
    (
        "values",
        &[
            "files", "geometry", "head", "kept", "labels", "mask", "odds", "quant", "scene",
        ],
    ),
    ("kernels", &["kernels"]),
    ("sources", &["pack", "frame", "capture", "input", "text"]),
    ("graph", &["graph"]),
    ("prompts", &["prompt"]),
    (
        "detect",
        &[
            "detect", "ground", "panoptic", "segment", "semantic", "track",
        ],
    ),
    ("output", &["report", "draw", "protocol"]),
    ("links", &["supervise", "link"]),
    ("pipeline", &["pipeline"]),
    ("build", &["build"]),
    ("run", &["run"]),
    ("command line", &["cli", "main", "lib"]),
];

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
    "kernels/team.rs",
    "kernels/x86.rs",
    "pack/map.rs",
];

/// The files and folders that may name tract: the graph layer, and those that hand tensors to it or read its ONNX.
const TRACT: [&str; 5] = [
    "build.rs",
    "graph/",
    "pipeline.rs",
    "pipeline/",
    "prompt/sentence.rs",
];

/// Every source file, by its path under `src`, without comments, texts and test modules.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let name = |path: &Path| {
        let relative = path.strip_prefix(&src).expect("under src");
        relative.to_str().expect("UTF-8").replace('\\', "/")
    };
    let read = |path: PathBuf| {
        (
            name(&path),
            without_tests(&code(&fs::read_to_string(&path).expect("a source"))),
        )
    };
    let sources: Vec<(String, String)> = files
        .into_iter()
        .filter(|p| !p.ends_with("tests.rs"))
        .map(read)
        .collect();
    assert!(sources.len() > 40, "found {} sources", sources.len());
    sources
}

/// Rust without its comments and what stands in quotes.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest, &out) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..]
                .find(&end)
                .map_or(rest.len(), |at| start + at + end.len())
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            out.push(c);
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    out
}

/// How many hashes a raw string here begins with, if it is one.
fn raw_string(rest: &str, before: &str) -> Option<usize> {
    let inside_a_word =
        before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !before.ends_with('b');
    let after = rest.strip_prefix('r').filter(|_| !inside_a_word)?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// A character and not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// The length of a literal that starts here, quotes included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    rest.len()
}

/// Code without the items under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out += &rest[..at];
        rest = &rest[at..];
        let (brace, semicolon) = (
            rest.find('{').unwrap_or(rest.len()),
            rest.find(';').unwrap_or(rest.len()),
        );
        let end = if semicolon < brace {
            semicolon + 1
        } else {
            brace + block(&rest[brace..])
        };
        rest = &rest[end..];
    }
    out + rest
}

/// The length of the braces that start here, and all in them.
fn block(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// The top-level modules that a file names, through `crate::` or `super::` from wherever it lies.
fn imports(file: &str, code: &str) -> BTreeSet<String> {
    let mut found = paths_after(code, "crate::");
    // `super` in src/x.rs, or twice in src/x/y.rs, is the crate itself
    let depth = file.matches('/').count();
    found.extend(paths_after(code, &"super::".repeat(depth + 1)));
    found
}

/// First segments of the paths after a prefix: of `prefix::a::b` and of each part of `prefix::{a::b, c}`.
fn paths_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let before = &code[..at];
        // `$crate::` of a macro is this crate too; `super::crate::` and words that end alike are not paths of ours
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = code[at + prefix.len()..].trim_start();
        if !rest.starts_with('{') {
            found.insert(word(rest));
            continue;
        }
        let group = &rest[1..block(rest) - 1];
        let mut depth = 0;
        let parts = group.split(|c| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            c == ',' && depth == 0
        });
        found.extend(parts.map(|part| word(part.trim_start())));
    }
    found.remove("");
    found
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn has_word(code: &str, wanted: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|w| w == wanted)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS
        .iter()
        .position(|(_, modules)| modules.contains(&module))
}

fn module(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or_default()
}

#[test]
fn a_file_names_only_modules_of_its_own_layer_or_a_lower_one() {
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        let own = module(&file);
        let Some(here) = layer(own) else {
            wrong.push(format!("src/{file} is in no layer: add it to this test"));
            continue;
        };
        // the program's own modules see the library by its name
        let mut found = imports(&file, &code);
        found.extend(paths_after(&code, "tarsier::"));
        for import in found {
            // what is in no layer is a macro or an item of the crate's root
            if let Some(there) = layer(&import).filter(|&there| there > here) {
                wrong.push(format!(
                    "src/{file} ({}) names {import} ({})",
                    LAYERS[here].0, LAYERS[there].0
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_library_names_no_part_of_the_command_line() {
    for (file, code) in sources() {
        if layer(module(&file)) < layer("cli") {
            assert!(
                !has_word(&code, "clap") && !has_word(&code, "indicatif"),
                "src/{file}"
            );
            assert!(
                !code.contains("println!") && !code.contains("process::exit"),
                "src/{file} talks past its caller"
            );
        }
    }
}

#[test]
fn unsafe_code_lies_in_the_listed_files_and_all_of_them_need_it() {
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|(_, code)| has_word(code, "unsafe"))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(found, UNSAFE);
}

#[test]
fn only_the_listed_files_name_tract() {
    let mut used = BTreeSet::new();
    for (file, code) in sources() {
        if has_word(&code, "tract_onnx") || has_word(&code, "tract_core") {
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
        /* crate::cli */ use crate::{geometry::{BBox, Size}, scene};
        const A: &str = "crate::cli \" unsafe"; const B: char = '"'; const C: &str = r#"crate::"build""#;
        fn f<'a>(x: &'a str) -> crate::quant::Quant { super::pack::open(x) }
        #[cfg(test)]
        mod tests { use crate::pipeline; fn g() { unsafe { } } }
        use super::super::text::Tokenizer;
        #[cfg(test)]
        mod more;
    "##;
    let code = without_tests(&code(text));
    let names = |file: &str| imports(file, &code).into_iter().collect::<Vec<_>>();
    assert_eq!(names("prompt/x.rs"), ["geometry", "quant", "scene", "text"]);
    assert!(names("prompt.rs").contains(&"pack".to_owned()));
    assert!(
        !has_word(&code, "unsafe") && code.ends_with("Tokenizer;\n        \n    "),
        "{code}"
    );
}
