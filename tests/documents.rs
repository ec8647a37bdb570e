//! The pages: every link and every path in them leads somewhere, and what they show is what the
//! program does.
//!
//! Read are all Markdown files of the repository, and the names of such files in comments. A code
//! span, or a word of a block of code, is taken for a path if its first folder exists, beside the
//! page or at the top; then the rest of it must exist too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

/// What tools make, in folders that git does not know.
const MADE: [&str; 4] = ["target", "out", "models/build", "__pycache__"];

/// Stand for a name in paths that are patterns.
const PLACEHOLDERS: [&str; 2] = ["BOARD", "NAME"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the repository, relative to its top.
fn files() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let hidden = name.starts_with('.') && ![".github", ".ci"].contains(&&*name);
            if hidden && root().join(&path).is_dir() || MADE.iter().any(|made| path.ends_with(made))
            {
                continue;
            }
            if entry.file_type().expect("a type").is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A Markdown file.
struct Page {
    /// Relative to the top.
    path: PathBuf,
    /// Its lines outside of blocks of code.
    prose: String,
    /// Its blocks of code: what kind, and their lines.
    blocks: Vec<(String, Vec<String>)>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(root().join(path)).expect("UTF-8");
        let (mut prose, mut blocks) = (String::new(), Vec::new());
        let mut inside = false;
        for line in text.lines() {
            match line.trim_start().strip_prefix("```") {
                Some(kind) => {
                    if !inside {
                        blocks.push((kind.trim().to_owned(), Vec::new()));
                    }
                    inside = !inside;
                }
                None if inside => {
                    let (_, lines) = blocks.last_mut().expect("a block");
                    lines.push(line.to_owned());
                }
                None => {
                    prose.push_str(line);
                    prose.push('\n');
                }
            }
        }
        assert!(!inside, "{}: a block has no end", path.display());
        Self {
            path: path.to_owned(),
            prose,
            blocks,
        }
    }

    fn folder(&self) -> &Path {
        self.path.parent().expect("a folder")
    }

    /// What stands between backticks, and the prose without it.
    fn spans(&self) -> (Vec<String>, String) {
        let (mut spans, mut rest) = (Vec::new(), String::new());
        for paragraph in self.prose.split("\n\n") {
            for (i, part) in paragraph.split('`').enumerate() {
                if i % 2 == 1 {
                    spans.push(part.split_whitespace().collect::<Vec<_>>().join(" "));
                    rest.push('`');
                } else {
                    rest.push_str(part);
                }
            }
            rest.push_str("\n\n");
        }
        (spans, rest)
    }

    /// Targets of links and pictures.
    fn links(&self) -> Vec<String> {
        let (_, text) = self.spans();
        let targets = text.split("](").skip(1);
        let targets = targets.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
        targets.collect()
    }

    /// What a link to a heading of this page looks like, as GitHub makes it.
    fn anchors(&self) -> BTreeSet<String> {
        let mut seen = BTreeMap::new();
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        let anchors = headings.map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            let anchor = kept.collect::<String>().replace(' ', "-");
            let count = seen.entry(anchor.clone()).or_insert(0);
            *count += 1;
            match *count {
                1 => anchor,
                n => format!("{anchor}-{}", n - 1),
            }
        });
        anchors.collect()
    }
}

fn pages() -> Vec<Page> {
    let all = files();
    let markdown = all
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "md"));
    let pages: Vec<_> = markdown.map(|path| Page::read(path)).collect();
    assert!(pages.len() > 20, "{} pages", pages.len());
    pages
}

/// A path without `.` and `..`; none where it leaves the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(plain)
}

/// Why a link of a page leads nowhere.
fn broken_link(
    page: &Page,
    target: &str,
    anchors: &BTreeMap<PathBuf, BTreeSet<String>>,
) -> Option<String> {
    if target.starts_with("https://") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() {
        page.path.clone()
    } else {
        match plain(&page.folder().join(file)) {
            Some(path) => path,
            None => return Some("that is outside".into()),
        }
    };
    if !root().join(&path).exists() {
        return Some("there is no such file".into());
    }
    let has = |anchors: &BTreeSet<String>| anchors.contains(anchor);
    let there = anchor.is_empty() || anchors.get(&path).is_some_and(has);
    (!there).then(|| format!("{} has no such heading", path.display()))
}

/// Whether a word is a path that leads nowhere.
fn is_broken_path(page: &Page, word: &str) -> bool {
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_./-*".contains(c);
    if !word.contains('/') || word.starts_with('/') || !word.chars().all(is_path) {
        return false;
    }
    let mut known = false;
    for base in [Path::new(""), page.folder()] {
        let Some(path) = plain(&base.join(word)) else {
            continue;
        };
        let stands_for = |part: &str| PLACEHOLDERS.iter().any(|name| part.contains(name));
        let text = path.to_str().expect("UTF-8");
        if stands_for(text) || MADE.iter().any(|made| path.starts_with(made)) {
            return false;
        }
        if exists(&path) {
            return false;
        }
        // the folder that the page names first
        let named = Path::new(word).components();
        let first = named
            .clone()
            .find(|part| matches!(part, Component::Normal(_)));
        let up = named.take_while(|part| !matches!(part, Component::Normal(_)));
        let mut folder: PathBuf = base.join(up.collect::<PathBuf>());
        folder.push(first.expect("a name"));
        known |= plain(&folder).is_some_and(|folder| root().join(folder).is_dir());
    }
    known
}

/// Whether a path is there, `*` standing for any part of a file's name.
fn exists(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some((before, after)) = name.and_then(|name| name.split_once('*')) else {
        return root().join(path).exists();
    };
    let folder = fs::read_dir(root().join(path.parent().expect("a folder")));
    folder.is_ok_and(|entries| {
        let names = entries.map(|e| e.expect("an entry").file_name());
        names.into_iter().any(|name| {
            let name = name.to_string_lossy();
            name.starts_with(before) && name.ends_with(after)
        })
    })
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    let anchors = pages.iter().map(|p| (p.path.clone(), p.anchors()));
    let anchors: BTreeMap<_, _> = anchors.collect();
    let (mut broken, mut count) = (Vec::new(), 0);
    for page in &pages {
        for target in page.links() {
            count += 1;
            if let Some(why) = broken_link(page, &target, &anchors) {
                broken.push(format!("{}: {target}: {why}", page.path.display()));
            }
        }
    }
    assert!(count > 100, "{count} links");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    // and it can be broken
    let page = Page::read(Path::new("README.md"));
    for wrong in [
        "NOTHING.md",
        "README.md#nothing",
        "#nothing",
        "src/nothing.rs",
        "../outside.md",
    ] {
        assert!(broken_link(&page, wrong, &anchors).is_some(), "{wrong}");
    }
}

#[test]
fn every_path_on_a_page_exists() {
    let (mut broken, mut count) = (Vec::new(), 0);
    for page in pages() {
        let (spans, _) = page.spans();
        let lines = page.blocks.iter().flat_map(|(_, lines)| lines);
        let words =
            lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || "'\"();,".contains(c)));
        for word in spans.iter().map(String::as_str).chain(words) {
            count += usize::from(word.contains('/'));
            if is_broken_path(&page, word) {
                broken.push(format!("{}: {word}", page.path.display()));
            }
        }
    }
    assert!(count > 200, "{count} paths");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let page = Page::read(Path::new("models/README.md"));
    for wrong in [
        "src/nothing.rs",
        "recipe/nothing.py",
        "models/*.nothing",
        "../src/nothing",
    ] {
        assert!(is_broken_path(&page, wrong), "{wrong}");
    }
    for right in [
        "recipe/README.md",
        "models/*.tarsier",
        "a/b",
        "../src/lib.rs",
        "km/h",
    ] {
        assert!(!is_broken_path(&page, right), "{right}");
    }
}

/// Comments of sources name pages: those must not be left behind where a page moves.
#[test]
fn every_page_that_a_source_names_exists() {
    let all = files();
    let names: BTreeSet<_> = all
        .iter()
        .filter_map(|path| path.file_name()?.to_str())
        .collect();
    let kinds = [
        "rs", "py", "sh", "toml", "h", "c", "service", "rules", "conf",
    ];
    let (mut broken, mut count) = (Vec::new(), 0);
    for path in &all {
        let kind = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if !kinds.contains(&kind) || path.ends_with("tests/documents.rs") {
            continue;
        }
        let text = fs::read_to_string(root().join(path)).expect("UTF-8");
        let is_path = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        for word in text.split(|c: char| !is_path(c)) {
            let word = word.trim_end_matches('.').trim_start_matches('/');
            if word == ".md" || !word.ends_with(".md") {
                continue;
            }
            count += 1;
            let there = match word.split_once('/') {
                None => names.contains(word),
                Some((first, _)) => {
                    let bases = [Path::new(""), path.parent().expect("a folder")];
                    let there =
                        |path: PathBuf| plain(&path).is_some_and(|p| root().join(p).exists());
                    // another project's page, where its first folder is not here
                    !bases.iter().any(|base| there(base.join(first)))
                        || bases.iter().any(|base| there(base.join(word)))
                }
            };
            if !there {
                broken.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(count > 20, "{count} names of pages");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The guide's list: a question, the file that answers it, and a word that stands there.
#[test]
fn the_guide_answers_where_things_are() {
    let page = Page::read(Path::new(".github/CONTRIBUTING.md"));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for line in page.prose.lines().filter(|line| line.contains("| `src/")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[question, file, word] = cells.as_slice() else {
            panic!("{line}: three cells are expected");
        };
        count += 1;
        let (file, word) = (file.trim_matches('`'), word.trim_matches('`'));
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        if !text.contains(word) {
            wrong.push(format!("{question}: {file} has no {word}"));
        }
    }
    assert!(count >= 20, "{count} questions");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn tarsier(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tarsier"))
        .args(arguments)
        .current_dir(root())
        .env_remove("TARSIER_PACK")
        .output()
        .expect("it runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {words}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_first_command_of_the_readme_prints_what_stands_there() {
    let page = Page::read(Path::new("README.md"));
    let [(shell, commands), (_, shown), ..] = page.blocks.as_slice() else {
        panic!("two blocks are expected");
    };
    assert_eq!(shell, "sh");
    let command = commands[0].split('#').next().expect("a command");
    let command = command.trim().strip_prefix("cargo run --release -- ");
    assert!(
        command.is_some_and(|c| c.starts_with("detect models/sample/*.jpg")),
        "{command:?}"
    );
    let mut photos: Vec<String> = files()
        .iter()
        .filter(|p| p.starts_with("models/sample") && p.extension().is_some_and(|e| e == "jpg"))
        .map(|p| p.to_str().expect("UTF-8").to_owned())
        .collect();
    photos.sort();
    let mut arguments = vec!["detect", "--no-words"];
    arguments.extend(photos.iter().map(String::as_str));
    assert_eq!(tarsier(&arguments).trim_end(), shown.join("\n"));
}

#[test]
fn every_option_that_a_page_shows_exists() {
    let mut help = BTreeMap::new();
    let (mut unknown, mut count) = (Vec::new(), 0);
    for page in pages() {
        let lines = page.blocks.iter().flat_map(|(_, lines)| lines);
        for line in lines {
            let line = line.split(" #").next().expect("a command");
            let calls = line.split(['|', ';']).filter_map(|call| {
                let call = call.trim().trim_start_matches("sudo ");
                call.strip_prefix("tarsier ")
                    .or_else(|| call.strip_prefix("cargo run --release -- "))
            });
            for call in calls {
                let words: Vec<&str> = call.split_whitespace().collect();
                let nested = matches!(words[0], "pack" | "vocab") && words.len() > 1;
                let command = &words[..1 + usize::from(nested)];
                let text = help.entry(command.join(" ")).or_insert_with(|| {
                    let mut arguments = command.to_vec();
                    arguments.push("--help");
                    tarsier(&arguments)
                });
                for word in words.iter().filter(|word| word.starts_with("--")) {
                    count += 1;
                    let option = word.split('=').next().expect("an option");
                    let named = text.split(|c: char| !(c.is_alphanumeric() || c == '-'));
                    if !named.into_iter().any(|name| name == option) {
                        unknown.push(format!("{}: {option} of {call}", page.path.display()));
                    }
                }
            }
        }
    }
    assert!(count > 30, "{count} options");
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}
