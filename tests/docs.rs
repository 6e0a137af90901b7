//! The pages in `docs` and the README name what there is: each name and number in them is held to the code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use pyile::{
    model::limits,
    wire::{Frame, JOIN_ALPN, PEER_ALPN},
};

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The names in the first column of the tables under a heading.
fn rows(page: &str, heading: &str) -> BTreeSet<String> {
    let (_, after) = page.split_once(heading).unwrap();
    let section = after.split("\n## ").next().unwrap();
    let first = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    first.map(str::to_owned).collect()
}

/// The variants of an enum that are serialised, in snake case.
fn variants(source: &str, name: &str) -> BTreeSet<String> {
    let (_, after) = source.split_once(&format!("pub enum {name} {{")).unwrap();
    let body = after.split("\n}\n").next().unwrap();
    let mut variants = BTreeSet::new();
    let mut is_skipped = false;
    for line in body.lines().filter_map(|line| line.strip_prefix("    ")) {
        if line == "#[serde(skip)]" {
            is_skipped = true;
        }
        if line.starts_with(char::is_uppercase) && !std::mem::take(&mut is_skipped) {
            let name = line.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            let snake = name.chars().enumerate().flat_map(|(at, c)| {
                let gap = (at > 0 && c.is_uppercase()).then_some('_');
                gap.into_iter().chain(c.to_lowercase())
            });
            variants.insert(snake.collect());
        }
    }
    variants
}

#[test]
fn the_json_page_has_every_event_command_and_exit_code() {
    let (page, api) = (page("docs/json.md"), page("src/api.rs"));
    assert_eq!(rows(&page, "## Events"), variants(&api, "NodeEvent"));
    assert_eq!(rows(&page, "## Commands"), variants(&api, "NodeCommand"));
    let run = self::page("src/run/mod.rs");
    let (_, codes) = run.split_once("pub fn exit_code").unwrap();
    let body = codes.split("\n}\n").next().unwrap();
    let codes = body.lines().filter_map(|line| line.rsplit_once("=> ")?.1.trim_end_matches(',').parse().ok());
    let (_, beside) = run.split_once("NOT_DELIVERED: u8 = ").unwrap();
    let beside: u8 = beside.split(';').next().unwrap().parse().unwrap();
    let codes: BTreeSet<u8> = codes.chain([beside]).collect();
    let (_, after) = page.split_once("## Exit codes").unwrap();
    let named = after.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok());
    assert_eq!(named.collect::<BTreeSet<u8>>(), codes);
}

/// Every field of an event is in its row, by the name that it has in JSON.
#[test]
fn the_json_page_has_every_field_of_every_event() {
    let (page, api) = (page("docs/json.md"), page("src/api.rs"));
    let (_, after) = api.split_once("pub enum NodeEvent {").unwrap();
    let body = after.split("\n}\n").next().unwrap();
    let (mut event, mut attributes, mut missing) = (String::new(), String::new(), Vec::new());
    for line in body.lines() {
        let deep = line.strip_prefix("        ");
        if let Some(name) = line.strip_prefix("    ").filter(|line| line.starts_with(char::is_uppercase)) {
            let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            event = variants(&format!("pub enum X {{\n    {name},\n}}\n"), "X").pop_first().unwrap();
        } else if let Some(attribute) = deep.filter(|line| line.starts_with("#[serde")) {
            attributes.push_str(attribute);
        } else if let Some((field, _)) = deep.and_then(|line| line.split_once(": ")) {
            let attributes = std::mem::take(&mut attributes);
            // Of what is flattened the fields stand in the line themselves.
            if field.starts_with("//") || ["(skip)", "(flatten)"].iter().any(|it| attributes.contains(it)) {
                continue;
            }
            let renamed = attributes.split_once("rename = \"").and_then(|(_, rest)| rest.split('"').next());
            let field = renamed.unwrap_or(field);
            let is_row = |line: &&str| {
                let mut names = line.split('|').nth(1).unwrap_or_default().split('`');
                names.any(|name| name == event)
            };
            let row = page.lines().filter(|line| line.starts_with("| `")).find(is_row);
            if !row.is_some_and(|row| row.contains(&format!("`{field}`"))) {
                missing.push(format!("{event}.{field}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_protocol_page_has_every_frame_with_its_tag() {
    let (page, source) = (page("docs/protocol.md"), page("src/wire/frame.rs"));
    let (_, frames) = source.split_once("\nframes! {").unwrap();
    let frames = frames.split("\n}\n").next().unwrap().lines().filter_map(|line| {
        let (tag, rest) = line.trim().split_once(' ')?;
        Some((tag.parse().ok()?, rest.split(|c: char| !c.is_alphanumeric()).next()?.to_owned()))
    });
    let frames: BTreeMap<u8, String> = frames.collect();
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.split(" | ");
        let tag = cells.next()?.strip_prefix("| ")?.parse().ok()?;
        Some((tag, cells.next()?.trim_matches('`').to_owned()))
    });
    assert_eq!(rows.collect::<BTreeMap<u8, String>>(), frames);
    assert_eq!(frames.keys().copied().collect::<Vec<u8>>(), Frame::TAGS);
    for alpn in [JOIN_ALPN, PEER_ALPN] {
        assert!(page.contains(&format!("`{}`", String::from_utf8_lossy(alpn))));
    }
}

#[test]
fn the_protocol_page_has_the_limits_of_the_code() {
    let page = page("docs/protocol.md");
    let limits = [
        ("bytes of a frame before admission", limits::FRAME_BEFORE as u64),
        ("bytes of a frame afterwards", limits::FRAME_AFTER as u64),
        ("bytes of a text", limits::TEXT_BYTES as u64),
        ("messages of a batch", limits::BATCH_MESSAGES as u64),
        ("bytes of text at which a batch is closed", limits::BATCH_BYTES as u64),
        ("messages on their way to one peer", limits::WINDOW_MESSAGES as u64),
        ("bytes on their way to one peer", limits::WINDOW_BYTES as u64),
        ("members", limits::MEMBERS_MAX as u64),
        ("members of the past", limits::DEPARTED as u64),
        ("addresses of a peer", limits::CANDIDATES as u64),
        ("ranges in `Held`", limits::HELD as u64),
        ("frames of a relayed link on their way", limits::RELAYED_WINDOW.into()),
        ("bytes in `RelayBytes`", limits::RELAYED_BYTES as u64),
        ("seconds between two beats", limits::BEAT_EVERY.as_secs()),
        ("seconds of silence until `Beat` is sent on a peer link", limits::SUSPECT_AFTER.as_secs()),
        ("seconds of silence until a link is given up", limits::DEAD_AFTER.as_secs()),
    ];
    let (_, table) = page.split_once("## Limits").unwrap();
    let rows = table.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    let limits = limits.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(rows.collect::<Vec<(String, u64)>>(), limits);
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name));
    for path in docs.chain(top) {
        let text = fs::read_to_string(&path).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let target = path.parent().unwrap().join(link);
            assert!(target.exists(), "{} names {link}", path.display());
        }
        let quoted = text.split('`').skip(1).step_by(2);
        let named =
            quoted.filter(|name| ["src/", "tests/", "benches/"].iter().any(|dir| name.starts_with(dir)));
        for name in named.filter(|name| !name.contains('*')) {
            assert!(root.join(name).exists(), "{} names {name}", path.display());
        }
    }
}

/// The names of all functions in the Rust files under a directory.
fn functions(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let named = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
            names.extend(named.filter_map(|rest| rest.split('(').next()).map(str::to_owned));
        }
    }
}

#[test]
fn each_threat_names_tests_that_there_are() {
    let mut there_are = BTreeSet::new();
    for dir in ["src", "tests"] {
        functions(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut there_are);
    }
    let page = page("docs/security.md");
    let (_, after) = page.split_once("## Threats").unwrap();
    let rows: Vec<&str> = after.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 15);
    for row in rows {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect();
        assert!(!named.is_empty(), "no test in {row}");
        for name in named {
            assert!(there_are.contains(name), "no test is called {name}");
        }
    }
}
