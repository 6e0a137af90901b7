//! The map of the modules, held as a test: who may use whom, and what the pure layers must never name.
//!
//! Change this table in the same commit as the shape.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Module, and the modules that it may use.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("api", &["model"]),
    ("wire", &["model"]),
    ("security", &["model"]),
    ("proto", &["model", "api", "wire", "security"]),
    ("width", &[]),
    ("theme", &["model"]),
    ("app", &["model", "api", "width", "theme"]),
    ("ui", &["model", "api", "app", "width", "theme"]),
    ("cli", &[]),
    ("store", &["model", "api", "security"]),
    ("net", &["model", "api", "wire", "security", "proto", "store"]),
    ("network", &["model", "api", "security", "proto", "store", "net"]),
    ("config", &["model", "app", "cli", "net", "theme"]),
    ("doctor", &["model", "api", "wire", "security", "store", "net", "network"]),
    ("headless", &["model", "api", "net", "network"]),
    ("terminal", &["model", "width"]),
    ("telemetry", &[]),
    (
        "run",
        &[
            "model",
            "api",
            "app",
            "ui",
            "theme",
            "cli",
            "config",
            "doctor",
            "wire",
            "security",
            "store",
            "net",
            "network",
            "headless",
            "terminal",
            "telemetry",
        ],
    ),
];

/// The parts of `proto`, the lowest first: each knows what stands on its line or above, and nothing of what stands below.
const PARTS: &[&[&str]] = &[
    // Inputs and outputs, what a node begins with, small tools.
    &["io", "config", "rate", "backoff", "timers", "turn", "window"],
    // Who is a member, and what is known of the network.
    &["detector", "reachability", "roster", "group"],
    // Streams, batches, cursors, audiences, receipts; what of a peer's streams is here.
    &["log", "inbox"],
    // Which link to whom. It knows no message.
    &["links"],
    // The log over the links.
    &["messaging"],
    // Comparing words over the links.
    &["verifying"],
    // The roles.
    &["limiter", "admission", "role", "host", "member"],
    // The clear wire, to and from messages.
    &["classic"],
    // They route.
    &["mesh"],
    &["node"],
];

const PURE: &[&str] = &["model", "api", "wire", "security", "proto", "width", "theme", "app", "ui"];

/// What a pure layer must never name. `security` alone may draw a key.
const IMPURE: &[&str] = &[
    "tokio::net",
    "tokio::time",
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "std::env",
    "thread_rng",
    "OsRng",
    "spawn(",
    "println!",
    "sleep(",
];

/// Names that parts had once, and what they are called now: nobody has to know both.
const OLD_NAMES: &[(&str, &str)] = &[
    ("gate", "limiter"),
    ("edge", "io"),
    ("office", "pending handover"),
    ("asking", "joining"),
    ("circuit", "relayed link"),
    ("carrier", "relay"),
    ("leg", "hop"),
    ("talk", "classic messaging"),
    ("heard_by", "acknowledged"),
    ("ways_part", "reachability part"),
    ("waybook", "reachability"),
    ("noway", "unreachable"),
    ("examine", "diagnose, probe"),
    ("knock", "probe, join"),
    ("machine", "platform"),
    ("walls", "outages"),
    ("outbox", "log"),
    ("tally", "receipts"),
    ("numbering", "stream, epoch"),
    ("telling", "notifications"),
];

/// A file, and why it may name what others may not.
type Place = (&'static str, &'static str);

/// What only these files may name.
const SEAMS: &[(&[&str], &[Place])] = &[
    (
        &["TcpStream", "TcpListener", "TcpSocket", "UdpSocket", "lookup_host"],
        &[
            ("net/platform.rs", "the seam under all sockets"),
            ("net/probe.rs", "asks the system for a route; nothing is sent"),
        ],
    ),
    (
        &["SystemRandom", "OsRng", "getrandom"],
        &[
            ("net/mod.rs", "the seed that the platform gives a node"),
            ("security/identity.rs", "draws a key, once in the life of a profile"),
            ("security/words.rs", "draws a password that is offered"),
        ],
    ),
    (
        &["Instant::now", "SystemTime::now"],
        &[
            ("net/clock.rs", "the time that the platform gives a node"),
            ("store/history/database.rs", "when a disk was tried last, and old messages were looked for"),
            ("headless.rs", "how long a session may take to leave"),
            ("doctor.rs", "how long a diagnosis may take from inside the network"),
            ("run/screen.rs", "when the screen is drawn next"),
        ],
    ),
    (
        &["AtomicBool", "AtomicU", "AtomicI"],
        &[
            ("wire/codec.rs", "a session's limit grows when it is admitted, while its reader waits"),
            ("terminal.rs", "a panic in any thread gives the terminal back"),
        ],
    ),
];

/// Every source file of a module, without its tests and comments.
fn sources() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let mut sources: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let inner = path.strip_prefix(&root).unwrap().to_owned();
            let first = inner.components().next().unwrap().as_os_str().to_str().unwrap();
            let module = first.trim_end_matches(".rs").to_owned();
            let is_test =
                inner.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
            if is_test || module == "lib" || module == "main" {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = lines.collect::<Vec<_>>().join("\n");
            sources.entry(module).or_default().push((inner, code));
        }
    }
    sources
}

/// The modules that `code` names after `crate::`.
fn used(code: &str) -> BTreeSet<String> {
    named_after("crate::", code)
}

fn named_after(start: &str, code: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, path) in code.match_indices(start) {
        let rest = &code[at + path.len()..];
        let word = |text: &str| -> String {
            text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
        };
        if !rest.starts_with('{') {
            modules.insert(word(rest));
            continue;
        }
        let mut depth = 0;
        let mut expects_name = false;
        for (at, c) in rest.char_indices() {
            match c {
                '{' => (depth, expects_name) = (depth + 1, depth == 0),
                '}' => depth -= 1,
                ',' => expects_name = depth == 1,
                c if expects_name && !c.is_whitespace() => {
                    modules.insert(word(&rest[at..]));
                    expects_name = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    modules
}

#[test]
fn every_module_uses_only_what_it_may() {
    let sources = sources();
    let listed: BTreeSet<String> = LAYERS.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(sources.keys().cloned().collect::<BTreeSet<_>>(), listed, "every module is in the table");
    for (module, allowed) in LAYERS {
        for (path, code) in &sources[*module] {
            for name in used(code) {
                let fine = name == *module || allowed.contains(&name.as_str());
                assert!(fine, "{} uses {name}, which {module} may not", path.display());
            }
        }
    }
}

#[test]
fn the_table_has_no_cycle() {
    for (at, (module, allowed)) in LAYERS.iter().enumerate() {
        for name in *allowed {
            let place = LAYERS.iter().position(|(other, _)| other == name).unwrap();
            assert!(place < at, "{module} may use {name}, which must stand above it");
        }
    }
}

/// The plain data of `proto` that all of its parts name without saying where it is from.
fn is_plain(name: &str) -> bool {
    name.starts_with(char::is_uppercase)
}

#[test]
fn each_part_of_the_protocol_knows_only_what_stands_below_it() {
    let place = |part: &str| PARTS.iter().position(|parts| parts.contains(&part));
    let mut found = BTreeSet::new();
    for (path, code) in &sources()["proto"] {
        let inner = path.strip_prefix("proto").unwrap();
        let part = inner.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if ["mod", "tests"].contains(&part) {
            continue;
        }
        found.insert(part.to_owned());
        let here = place(part).unwrap_or_else(|| panic!("{} is no part of the table", path.display()));
        let depth = inner.components().count() - 1;
        let mut names = if depth == 0 { named_after(" super::", code) } else { BTreeSet::new() };
        for (start, end) in code.match_indices("crate::{").map(|(at, _)| (at, code[at..].find(';').unwrap()))
        {
            let block = &code[start..start + end];
            names.extend(
                block.find(" proto::").map(|at| named_after(" proto::", &block[at..])).unwrap_or_default(),
            );
        }
        for name in names.iter().filter(|name| !is_plain(name) && *name != part) {
            let other = place(name).unwrap_or_else(|| panic!("{}: what is {name}?", path.display()));
            assert!(other <= here, "{} uses {name}, which stands above it", path.display());
        }
    }
    let listed: BTreeSet<String> = PARTS.iter().copied().flatten().map(|part| (*part).to_owned()).collect();
    assert_eq!(found, listed, "every part is there");
}

/// A function of the protocol that needs more than this beside itself is several.
const MOST_PARAMETERS: usize = 5;

#[test]
fn functions_of_the_protocol_have_few_parameters_and_none_is_handed_the_whole_node() {
    for (path, code) in &sources()["proto"] {
        for (at, _) in code.match_indices("fn ") {
            let rest = &code[at..];
            let Some(open) = rest.find('(').filter(|open| !rest[..*open].contains([';', '{'])) else {
                continue;
            };
            let (mut depth, mut commas, mut last) = (0, 0, ' ');
            for c in rest[open..].chars() {
                match c {
                    '(' | '<' | '[' => depth += 1,
                    '>' if last == '-' => {}
                    ')' | '>' | ']' => depth -= 1,
                    ',' if depth == 1 => commas += 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                last = if c.is_whitespace() { last } else { c };
            }
            let parameters = if last == ',' { commas } else { commas + 1 };
            let has_self = rest[open..]
                .trim_start_matches(['(', '&', ' ', '\n'])
                .trim_start_matches("mut ")
                .starts_with("self");
            let others = parameters - usize::from(has_self);
            assert!(others <= MOST_PARAMETERS, "{}: {}", path.display(), &rest[..open]);
        }
        for whole in ["&mut Core", "&mut Node", "&mut Mesh"] {
            assert!(
                !code.contains(whole) || path.ends_with("node.rs"),
                "{} is handed {whole}",
                path.display()
            );
        }
    }
}

/// Two files beside each other that need each other are one, or a third one is missing.
#[test]
fn no_files_beside_each_other_use_each_other() {
    let mut uses: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for (path, code) in sources().into_values().flatten() {
        let beside = |name: String| path.with_file_name(name).with_extension("rs");
        let names = named_after(" super::", &code).into_iter().map(beside).filter(|other| *other != path);
        uses.insert(path.clone(), names.collect());
    }
    let circles: Vec<_> = uses
        .iter()
        .flat_map(|(path, names)| names.iter().map(move |other| (path, other)))
        .filter(|(path, other)| path < other && uses.get(*other).is_some_and(|back| back.contains(*path)))
        .collect();
    assert_eq!(circles, []);
}

#[test]
fn pure_layers_name_no_clock_socket_file_or_thread() {
    for (module, files) in sources() {
        if !PURE.contains(&module.as_str()) {
            continue;
        }
        for (path, code) in files {
            for name in IMPURE {
                assert!(!code.contains(name), "{} names {name}", path.display());
            }
        }
    }
}

#[test]
fn sockets_clocks_randomness_and_shared_state_are_named_where_they_belong() {
    for (path, code) in sources().into_values().flatten() {
        for (names, places) in SEAMS {
            let may = places.iter().any(|(place, _)| path.ends_with(place));
            for name in names.iter().filter(|_| !may) {
                assert!(!code.contains(name), "{} names {name}", path.display());
            }
        }
    }
    for (names, places) in SEAMS {
        for (place, why) in *places {
            let text =
                fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(place)).unwrap();
            assert!(
                names.iter().any(|name| text.contains(name)),
                "{place} needs none of {names:?} now: {why}"
            );
        }
    }
}

#[test]
fn nothing_bears_an_old_name() {
    let is_code = |path: &Path| path.extension().is_some_and(|end| end == "rs");
    for (path, code) in sources().into_values().flatten().filter(|(path, _)| is_code(path)) {
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // Every second part between quotation marks is a text.
        let words = code
            .split('"')
            .step_by(2)
            .flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_'));
        let words: BTreeSet<String> = words.map(str::to_lowercase).chain([file]).collect();
        for (old, new) in OLD_NAMES {
            assert!(!words.contains(*old), "{}: {old} is {new} now", path.display());
        }
    }
}

#[test]
fn the_reader_of_paths_reads_them() {
    let code = "use crate::{\n    api::{A, B},\n    model::C,\n};\nfn f() { crate::wire::x() }";
    let names: Vec<String> = used(code).into_iter().collect();
    assert_eq!(names, ["api", "model", "wire"]);
}
