//! What a history of a million messages costs: opening the room, a page, a search while one types, a frame.
//!
//! `cargo bench --bench history` prints each figure beside the same with an empty history.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "this is a benchmark")]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use pyile::{
    api::{HistoryCommand, HistoryEvent, NodeEvent, OpenedHistory, Part, StoreCommand, StoreEvent},
    app::{Defaults, Event, State, update},
    model::{
        Alias, Batch, Network, NetworkId, Page, PeerId, Recipient, Role, SafeText, Signature, Span,
        StoredBatch, StreamId, Timestamp,
    },
    store::{Keeping, Profile, Retention},
    ui,
};
use ratatui::{Terminal, backend::TestBackend};
use tokio::sync::mpsc;

const MESSAGES: u64 = 1_000_000;
const LAB: NetworkId = NetworkId([1; 16]);
const WORDS: [&str; 16] = [
    "build", "bench", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "morning", "logs", "deploy",
    "red", "green", "rack", "coffee",
];

fn open(dir: &Path) -> Profile {
    Profile::open(dir, Keeping::OnDisk(Retention::default())).unwrap()
}

/// A text of about 60 letters; one in ten thousand has a rare word.
/// Columns and rows of the screen.
const SIZE: (u16, u16) = (120, 35);

fn text(number: u64) -> String {
    let word = |salt: u64| WORDS[usize::try_from((number * 7 + salt * 13 + number / 5) % 16).unwrap()];
    let rare = if number.is_multiple_of(10_000) { " zanzibar" } else { "" };
    format!("{} {} {} {} {} number {number}{rare}", word(1), word(2), word(3), word(4), word(5))
}

fn message(number: u64) -> StoreCommand {
    let author = PeerId([2; 32]);
    let place = 1_700_000_000_000_000 + number.cast_signed() * 1_000_000;
    let stream = StreamId { author, epoch: 1, to: Recipient::Everyone };
    let texts = vec![SafeText::clean(&text(number))];
    let (sent_at, signature) = (Timestamp(place), Some(Signature([3; 64])));
    let batch = StoredBatch {
        batch: Batch { stream, first: number, sent_at, texts, signature },
        alias: Alias::new("bob").unwrap(),
        at: Timestamp(place),
        place,
        references: Vec::new(),
        claims: None,
    };
    let spans = vec![Span { from: 1, to: number, first: 1_700_000_000_000_000, last: place }];
    StoreCommand::Keep { token: number, network: LAB, batch: Arc::new(batch), spans }
}

/// Asks the store and waits for its answer.
fn ask(profile: &Profile, command: HistoryCommand) -> HistoryEvent {
    let (reply, mut answers) = mpsc::channel(16);
    profile.commands(vec![StoreCommand::History(command)], &reply).unwrap();
    drop(reply);
    loop {
        if let StoreEvent::History(event) = answers.blocking_recv().unwrap() {
            return event;
        }
    }
}

/// Fills a history. Gives how long it took.
fn fill(dir: &Path) -> Duration {
    let profile = open(dir);
    let (reply, mut answers) = mpsc::channel(1024);
    let begin = Instant::now();
    for first in (1..=MESSAGES).step_by(5000) {
        let mut bundle: Vec<StoreCommand> = (first..first + 5000).map(message).collect();
        while let Err(back) = profile.commands(bundle, &reply) {
            bundle = back;
            answers.blocking_recv();
        }
    }
    while !matches!(
        answers.blocking_recv(),
        Some(StoreEvent::History(HistoryEvent::Kept { token: MESSAGES, .. }))
    ) {}
    drop(profile);
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn timed<T>(times: usize, mut what: impl FnMut() -> T) -> Duration {
    median(
        (0..times)
            .map(|_| {
                let begin = Instant::now();
                std::hint::black_box(what());
                begin.elapsed()
            })
            .collect(),
    )
}

/// From the start of the process until it says that it listens.
fn start(dir: &Path) -> Duration {
    timed(9, || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pyile"))
            .args(["host", "--json", "--listen", "127.0.0.1:0", "--alias", "ann", "--data-dir"])
            .arg(dir)
            .env("PYILE_PASSWORD", "open sesame")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}");
        child.kill().unwrap();
        child.wait().unwrap();
    })
}

/// A room with a window over the history.
fn room(profile: &Profile) -> State {
    let alias = Alias::new("ann").unwrap();
    let defaults = Defaults {
        alias: alias.clone(),
        listen: "127.0.0.1:4702".parse().unwrap(),
        network: "lab".into(),
        classic: false,
        map_port: false,
        announce: false,
        knows_classic: false,
        has_kept_password: true,
        offered: None,
        zone: jiff::tz::TimeZone::UTC,
        color: true,
    };
    let now = Timestamp(1_790_000_000_000_000);
    let mut state = State::new(defaults, Vec::new(), SIZE, now);
    let listening = NodeEvent::Listening {
        role: Role::Host,
        join_addr: Some("127.0.0.1:4702".parse().unwrap()),
        peer_addr: "127.0.0.1:50000".parse().unwrap(),
        peer_id: PeerId([1; 32]),
        alias,
        network: SafeText::line("lab"),
        network_id: LAB,
    };
    update(&mut state, now, Event::Node(listening));
    let opened = ask(profile, HistoryCommand::Open { network: LAB });
    update(&mut state, now, Event::Store(StoreEvent::History(opened)));
    state
}

fn row(what: &str, none: Option<Duration>, million: Duration) {
    let shown = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1000.0);
    println!("{what:<44} {:>12} {:>12}", none.map(shown).unwrap_or_default(), shown(million));
}

fn main() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [none, million] = [dirs[0].path().join("default"), dirs[1].path().join("default")];
    drop(open(&none));
    let filling = fill(&million);
    let size = std::fs::metadata(million.join("history.db")).unwrap().len();
    let rate = u128::from(MESSAGES) * 1_000_000 / filling.as_micros();
    println!(
        "{MESSAGES} messages kept in {:.1} s: {rate} a second, {} MiB\n",
        filling.as_secs_f64(),
        size >> 20
    );
    println!("{:<44} {:>12} {:>12}", "median", "none", "1,000,000");

    row("process start until it listens", Some(start(dirs[0].path())), start(dirs[1].path()));
    let network = Network { id: LAB, name: "lab".into() };
    let whole = |dir: &Path| {
        timed(9, || {
            let profile = open(dir);
            ask(&profile, HistoryCommand::Recall(network.clone()));
            let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
            let state = room(&profile);
            terminal.draw(|frame| drop(ui::draw(&state, frame))).unwrap();
        })
    };
    row("profile, history, room, first frame", Some(whole(&none)), whole(&million));

    let (empty, full) = (open(&none), open(&million));
    let page = |place| HistoryCommand::Page {
        network: LAB,
        conversation: Recipient::Everyone,
        part: Part::Before(place),
    };
    let middle = 1_700_000_000_000_000 + 500_000_000_000;
    row(
        "a page from the middle",
        Some(timed(99, || ask(&empty, page(middle)))),
        timed(99, || ask(&full, page(middle))),
    );
    for typed in
        ["z", "za", "zanzibar", "b", "bu", "build", "build quick", "number 1", "number 123456", "nowhere"]
    {
        let search = |profile: &Profile| {
            timed(9, || ask(profile, HistoryCommand::Search { network: LAB, text: typed.to_owned() }))
        };
        row(&format!("search {typed:?}"), Some(search(&empty)), search(&full));
    }
    let single = timed(99, || {
        let (reply, mut answers) = mpsc::channel(16);
        full.commands(vec![message(MESSAGES + 1)], &reply).unwrap();
        answers.blocking_recv()
    });
    row("one message kept for good", None, single);

    let frame = |profile: &Profile| {
        let state = room(profile);
        let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
        timed(999, || {
            terminal.draw(|frame| drop(ui::draw(&state, frame))).unwrap();
        })
    };
    // The same number of messages on the screen.
    let few = {
        let mut state = room(&empty);
        let HistoryEvent::Page { page: shown, .. } = ask(&full, page(i64::MAX)) else { panic!() };
        let page = Page { messages: shown.messages[150..].to_vec(), is_first: true, is_last: true, ..shown };
        let opened = HistoryEvent::Opened(Box::new(OpenedHistory {
            pages: vec![(page, SafeText::line("everyone"))],
            ..OpenedHistory::default()
        }));
        update(&mut state, Timestamp(1_790_000_000_000_000), Event::Store(StoreEvent::History(opened)));
        let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
        timed(999, || {
            terminal.draw(|frame| drop(ui::draw(&state, frame))).unwrap();
        })
    };
    row("a frame, all of it a flood of one peer", Some(few), frame(&full));
}
