//! Files that went wrong in all sorts of ways: the reader reports or accepts,
//! and never panics.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::{REFERENCE, parse};

/// Values in place of what a key had.
const VALUES: [&str; 22] = [
    "0",
    "-1",
    "1.5",
    "99999999999999999999999",
    "nan",
    "0x7f",
    "true",
    "false",
    "1979-05-27",
    "\"\"",
    "\"é\\u0000\"",
    "\"auto\"",
    "\"*\"",
    "\"[::]:0\"",
    "\"10s\"",
    "\"18446744073709551615TiB\"",
    "[]",
    "[[], {}]",
    "{}",
    "{ a = { b = [1] } }",
    "'''\n'''",
    "",
];

/// Characters that have a meaning, or more than one byte.
const CHARACTERS: [char; 16] =
    ['"', '\'', '[', ']', '{', '}', '=', '.', '#', ',', '\n', '\r', '\t', '\0', 'é', '\u{10ffff}'];

fn mutate(text: &str, rng: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..lines.len());
        match rng.u8(..7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[rng.usize(..lines.len())].clone()),
            2 => {
                let other = rng.usize(..lines.len());
                lines.swap(at, other);
            }
            3 | 4 => {
                let key = lines[at].split('=').next().unwrap_or_default().trim_start_matches('#').to_owned();
                lines[at] = format!("{key}= {}", VALUES[rng.usize(..VALUES.len())]);
            }
            5 => lines[at] = lines[at].trim_start_matches('#').to_owned(),
            _ => mutate_character(&mut lines[at], rng),
        }
    }
    lines.join("\n")
}

fn mutate_character(line: &mut String, rng: &mut Rng) {
    let at = rng.usize(..=line.chars().count());
    let mut characters: Vec<char> = line.chars().collect();
    if rng.bool() && at < characters.len() {
        characters.remove(at);
    } else {
        characters.insert(at, CHARACTERS[rng.usize(..CHARACTERS.len())]);
    }
    *line = characters.into_iter().collect();
}

#[test]
fn no_mutation_of_the_reference_panics() {
    let mut rng = Rng::with_seed(20);
    let mut outcomes = BTreeSet::new();
    for _ in 0..1500 {
        let text = mutate(REFERENCE, &mut rng);
        outcomes.insert(parse(&text).is_ok());
    }
    assert_eq!(outcomes.len(), 2, "some are accepted and some are not");
}

#[test]
fn no_cut_of_the_reference_panics() {
    let cuts = REFERENCE.char_indices().map(|(at, _)| at).step_by(7);
    for at in cuts {
        let (head, tail) = REFERENCE.split_at(at);
        let _ = (parse(head), parse(tail));
    }
}

#[test]
fn an_endless_list_of_errors_is_cut() {
    let text =
        (0..5000).map(|number| format!("wrong{number} = 1\n")).collect::<String>() + "site.a = { pool = 1 }";
    let error = parse(&text).unwrap_err().to_string();
    assert!(error.ends_with("seawall.toml: 5001 errors"), "{}", &error[error.len() - 200..]);
    assert!(error.len() < 100_000);
}
