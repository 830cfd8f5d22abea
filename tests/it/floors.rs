//! The floors: what a module may import of this crate. The table is that of
//! `ARCHITECTURE.md`, and both are read here, so that neither goes stale.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Floors = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_import_goes_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let floors = floors_of(&fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap());
    let mut wrong = Vec::new();
    for (file, source) in sources(&root.join("src")) {
        let Some(floor) = floor_of(&file) else { continue };
        wrong.extend(upward(&floors, &floor, &source).map(|import| format!("src/{file}: crate::{import}")));
    }
    assert!(wrong.is_empty(), "not among what ARCHITECTURE.md lets these import:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_names_the_modules_of_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let floors = floors_of(&fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap());
    let library = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let modules: BTreeSet<_> = library
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned))
        .collect();
    assert_eq!(floors.keys().cloned().collect::<BTreeSet<_>>(), modules);
    let below: BTreeSet<_> = floors.values().flatten().cloned().collect();
    assert!(below.is_subset(&modules), "{below:?}");
}

#[test]
fn an_upward_import_is_found() {
    let floors = floors_of(
        "```text\napp       <- all       the wiring\ncache     <- policy base    5 lookup\n\
         policy    <- nothing   rules\nbase      <- nothing   time\n```\n",
    );
    let source = "use crate::base::Clock;\nuse crate::policy::{Rules, reuse};\nuse crate::app::Server;\n\
                  use crate::{base, cache::{self, Key}, app};\n\
                  // crate::app in a comment is nothing\n\
                  fn f() -> crate::cache::Key { crate::app::key() }\n";
    let found = |floor| upward(&floors, floor, source).collect::<Vec<_>>();
    assert_eq!(found("cache"), ["app"]);
    assert_eq!(found("policy"), ["app", "base", "cache"]);
    assert!(found("app").is_empty());
}

/// The lines `floor <- what it may import` of the one table; two spaces end
/// the list.
fn floors_of(document: &str) -> Floors {
    let lines = document.lines().filter_map(|line| line.split_once(" <- "));
    let mut floors: Floors = lines
        .map(|(floor, rest)| {
            let list = rest.split("  ").next().unwrap_or_default();
            let below = list.split_whitespace().filter(|word| *word != "nothing").map(str::to_owned);
            (floor.trim().to_owned(), below.collect())
        })
        .collect();
    let all: BTreeSet<String> = floors.keys().cloned().collect();
    for below in floors.values_mut().filter(|below| below.contains("all")) {
        below.clone_from(&all);
    }
    floors
}

/// The floors that `source` names and that `floor` must not know.
fn upward<'a>(floors: &'a Floors, floor: &'a str, source: &str) -> impl Iterator<Item = String> + use<'a> {
    let allowed = floors.get(floor);
    imports(source)
        .into_iter()
        .filter(move |import| floors.contains_key(import))
        .filter(move |import| import != floor && !allowed.is_some_and(|allowed| allowed.contains(import)))
}

/// What follows `crate::`, one word or the first words of a group in braces.
fn imports(source: &str) -> BTreeSet<String> {
    let code =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_words(group)),
            None => found.extend(word(rest)),
        }
    }
    found
}

/// The first word of every member of a group, nested groups left out.
fn first_words(group: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                words.extend(word(group[start..at].trim_start()));
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    words
}

fn word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// Every source file below `directory`, its path from there, and its text.
fn sources(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// The floor a file belongs to; `lib.rs` and `main.rs` belong to none.
fn floor_of(file: &str) -> Option<String> {
    let (floor, _) = file.split_once('/')?;
    Some(floor.to_owned())
}
