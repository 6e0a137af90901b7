use std::sync::Arc;

use super::*;
use crate::{
    api::Outcome,
    model::{Alias, CloseReason, Delivery, DeliveryStatus, MessageId, Network, Span, Summary},
};

const ME: PeerId = PeerId([1; 32]);
const BOB: PeerId = PeerId([2; 32]);
const LAB: NetworkId = NetworkId([9; 16]);
const EVERYONE: Recipient = Recipient::Everyone;

fn alias(name: &str) -> Alias {
    Alias::new(name).unwrap()
}

fn open_in(dir: &Path) -> History {
    History::open(ME, Some(dir), Keeping::OnDisk(Retention::default())).unwrap()
}

fn in_memory() -> History {
    History::open(ME, None, Keeping::InMemory).unwrap()
}

fn keep(author: PeerId, to: Recipient, sequence: u64, text: &str) -> Write {
    let place = 1000 * sequence.cast_signed();
    let deliveries = if author == ME {
        vec![Delivery {
            peer: BOB,
            alias: alias("bob"),
            status: DeliveryStatus::Queued,
            reason: None,
            at: Timestamp(0),
        }]
    } else {
        Vec::new()
    };
    let message = StoredMessage {
        id: MessageId { author, epoch: 5, to, sequence },
        alias: alias(if author == ME { "ann" } else { "bob" }),
        text: SafeText::clean(text),
        sent_at: Timestamp(place),
        at: Timestamp(place),
        place,
        signature: (to == EVERYONE).then_some([7; 64]),
        reference: (author == ME).then(|| Arc::from("r")),
        claims: None,
        missed: 0,
        summary: Summary { delivered: 0, total: u32::from(author == ME) },
        deliveries,
    };
    let spans = vec![Span { from: 1, to: sequence, first: 1000, last: place }];
    Write::Keep { network: LAB, message: Box::new(message), spans }
}

fn settle(first: u64, last: u64, status: DeliveryStatus, reason: Option<CloseReason>) -> Write {
    let (network, to, epoch, peer, at) = (LAB, EVERYONE, 5, BOB, Timestamp(77));
    Write::Settle(Box::new(Outcome { network, to, epoch, first, last, peer, status, reason, at }))
}

fn texts(messages: &[StoredMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

fn newest(history: &mut History, with: Recipient) -> Vec<String> {
    texts(&history.page(&LAB, &with, Part::Newest).messages).into_iter().map(str::to_owned).collect()
}

#[test]
fn what_is_kept_comes_back_after_a_crash_and_after_an_end_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open_in(dir.path());
    assert_eq!(history.state(), (HistoryState::Saved, ""));
    let writes = vec![
        keep(ME, EVERYONE, 1, "one"),
        keep(BOB, EVERYONE, 2, "two"),
        keep(BOB, Recipient::Peer(ME), 3, "for you"),
        keep(ME, Recipient::Peer(BOB), 4, "for bob"),
        keep(ME, EVERYONE, 5, "five"),
        settle(1, 1, DeliveryStatus::Delivered, None),
    ];
    assert_eq!(history.commit(writes), Committed::ForGood);
    // No end in order: what it counted may have gone further than the disk knows.
    drop(history);
    let mut history = open_in(dir.path());
    let recalled = history.recall(&LAB);
    assert!(!recalled.continues);
    assert_eq!(texts(&recalled.outbox), ["for bob", "five"]);
    assert_eq!(recalled.outbox[1].deliveries[0].status, DeliveryStatus::Queued);
    assert_eq!(recalled.outbox[1].reference.as_deref(), Some("r"));
    assert_eq!(recalled.people, [(ME, alias("ann")), (BOB, alias("bob"))]);
    let mut streams: Vec<_> = recalled.streams.iter().map(|s| (s.author, s.to, s.spans[0].to)).collect();
    streams.sort_unstable();
    assert_eq!(
        streams,
        [(ME, EVERYONE, 5), (ME, Recipient::Peer(BOB), 4), (BOB, EVERYONE, 2), (BOB, Recipient::Peer(ME), 3)]
    );
    assert_eq!(newest(&mut history, EVERYONE), ["one", "two", "five"]);
    assert_eq!(newest(&mut history, Recipient::Peer(BOB)), ["for you", "for bob"]);
    history.close();
    drop(history);
    let mut history = open_in(dir.path());
    assert!(history.recall(&LAB).continues);
    assert!(history.recall(&NetworkId([8; 16])).streams.is_empty(), "another network");
    let opened = history.open_all(&LAB);
    let labels: Vec<&str> = opened.iter().map(|(_, label)| label.as_str()).collect();
    assert_eq!(labels, ["everyone", "bob"]);
}

#[test]
fn nothing_is_kept_twice_and_marks_tell_what_became_of_it() {
    let mut history = in_memory();
    history.commit((1..=4).map(|number| keep(ME, EVERYONE, number, "x")).collect());
    history.commit(vec![keep(ME, EVERYONE, 2, "again")]);
    history.commit(vec![settle(1, 2, DeliveryStatus::Delivered, None)]);
    history.commit(vec![settle(1, 3, DeliveryStatus::Failed, Some(CloseReason::Expired))]);
    let page = history.page(&LAB, &EVERYONE, Part::Newest);
    assert_eq!(texts(&page.messages), ["x"; 4]);
    let marks: Vec<_> = page
        .messages
        .iter()
        .map(|m| (m.summary.delivered, m.deliveries.first().map(|d| (d.status, d.reason))))
        .collect();
    let failed = Some((DeliveryStatus::Failed, Some(CloseReason::Expired)));
    assert_eq!(marks, [(1, None), (1, None), (0, failed), (0, Some((DeliveryStatus::Queued, None)))]);
    let info = history.info(&LAB, &EVERYONE, 1000);
    assert_eq!(
        (info[0].alias.as_str(), info[0].status, info[0].at),
        ("bob", DeliveryStatus::Delivered, Timestamp(77))
    );
}

#[test]
fn pages_of_a_long_conversation() {
    let mut history = in_memory();
    let count = 3 * limits::PAGE as u64;
    history.commit((1..=count).map(|number| keep(BOB, EVERYONE, number, &number.to_string())).collect());
    let page = history.page(&LAB, &EVERYONE, Part::Newest);
    assert_eq!((page.messages.len(), page.is_first, page.is_last), (limits::PAGE, false, true));
    let before = page.messages[0].place;
    let older = history.page(&LAB, &EVERYONE, Part::Before(before));
    assert_eq!(older.messages.last().unwrap().place, before, "the one that was named overlaps");
    assert!(!older.is_first && !older.is_last);
    let oldest = history.page(&LAB, &EVERYONE, Part::Before(5000));
    assert_eq!((oldest.messages.len(), oldest.is_first), (5, true));
    let newer = history.page(&LAB, &EVERYONE, Part::After(1000 * count.cast_signed()));
    assert_eq!((newer.messages.len(), newer.is_last), (1, true));
    let around = history.page(&LAB, &EVERYONE, Part::Around(300_000));
    assert_eq!(around.messages.len(), limits::PAGE + 1);
    assert!(around.messages.iter().any(|message| message.place == 300_000));
}

#[test]
fn holes_are_seen_in_pages() {
    let mut history = in_memory();
    history.commit([3, 4, 8].map(|number| keep(BOB, EVERYONE, number, "x")).to_vec());
    let missed: Vec<u64> =
        history.page(&LAB, &EVERYONE, Part::Newest).messages.iter().map(|message| message.missed).collect();
    assert_eq!(missed, [0, 0, 3]);
}

#[test]
fn searches_find_words_parts_of_words_accents_and_scripts_without_spaces() {
    let mut history = in_memory();
    let said = ["The Quick brown fox", "déjà vu", "来週の会議は火曜日です", "quick note", "nothing"];
    history.commit((1..).zip(said).map(|(number, text)| keep(BOB, EVERYONE, number, text)).collect());
    for (typed, expected) in [
        ("quick", vec![4000, 1000]),
        ("qui", vec![4000, 1000]),
        ("brown the", vec![1000]),
        ("deja", vec![2000]),
        ("会議", vec![3000]),
        ("\"", vec![]),
        ("quick AND OR NEAR(", vec![]),
    ] {
        let places: Vec<Place> = history.search(&LAB, typed).iter().map(|hit| hit.place).collect();
        assert_eq!(places, expected, "{typed}");
    }
    let hit = &history.search(&LAB, "brown")[0];
    assert_eq!((hit.from.as_str(), hit.with.as_str(), hit.excerpt.as_str()), ("bob", "everyone", said[0]));
    assert!(history.search(&NetworkId([8; 16]), "quick").is_empty(), "another network");
}

#[test]
fn others_are_given_what_they_may_read_in_parts() {
    let mut history = in_memory();
    let text = "x".repeat(limits::RANGE_BYTES / 4);
    history.commit((1..=9).map(|number| keep(BOB, EVERYONE, number, &text)).collect());
    let all = Held { author: BOB, epoch: 5, from: 1, to: 9 };
    assert_eq!(history.held(&LAB, Timestamp(0)), [all]);
    assert_eq!(history.held(&LAB, Timestamp(3500)), [Held { from: 4, ..all }]);
    let (messages, next) = history.range(&LAB, &EVERYONE, &all, Timestamp(0));
    assert_eq!((messages.len(), next), (4, Some(5)));
    let (messages, next) = history.range(&LAB, &EVERYONE, &Held { from: 7, ..all }, Timestamp(8000));
    assert_eq!((messages.len(), next), (2, None));
}

#[test]
fn answers_have_an_end() {
    let mut history = in_memory();
    let text = format!("needle {}", "hay ".repeat(500));
    history.commit((1..=1500).map(|number| keep(BOB, EVERYONE, number, &text)).collect());
    let hits = history.search(&LAB, "needle");
    assert_eq!((hits.len(), hits[0].place), (200, 1_500_000), "the newest");
    assert!(hits[0].excerpt.as_str().chars().count() <= 2 * 60 + 10, "{}", hits[0].excerpt.as_str());
    history.commit((1501..=2500).map(|number| keep(BOB, EVERYONE, number, "short")).collect());
    let all = Held { author: BOB, epoch: 5, from: 1501, to: 2500 };
    let (messages, next) = history.range(&LAB, &EVERYONE, &all, Timestamp(0));
    assert_eq!((messages.len(), next), (200, Some(1701)));
    // As many authors as anybody cares to be.
    let author = |number: u16| PeerId(std::array::from_fn(|at| number.to_be_bytes()[at % 2] | 4));
    let authors: std::collections::BTreeSet<PeerId> = (0..5000).map(author).collect();
    assert!(authors.len() > 1001);
    history.commit(authors.into_iter().map(|author| keep(author, EVERYONE, 1, "hello")).collect());
    assert_eq!(history.held(&LAB, Timestamp(0)).len(), 1000);
}

#[test]
fn a_history_in_memory_takes_128_mib_and_lets_the_oldest_go() {
    let mut history = in_memory();
    let text = "z".repeat(limits::TEXT_BYTES);
    for batch in 0..100 {
        history.commit((1..=100).map(|one| keep(BOB, EVERYONE, 100 * batch + one, &text)).collect());
    }
    let newest = history.page(&LAB, &EVERYONE, Part::Newest).messages.last().unwrap().id.sequence;
    assert_eq!(newest, 10_000, "160 MiB were said");
    let most = 128 << 20;
    assert!((most / 2..=most + most / 8).contains(&history.used().unwrap()), "{:?}", history.used());
}

#[test]
fn a_forgotten_conversation_is_gone_and_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open_in(dir.path());
    history.commit(vec![keep(BOB, EVERYONE, 1, "a secret word"), keep(BOB, Recipient::Peer(ME), 1, "stays")]);
    history.forget(LAB, EVERYONE);
    assert!(newest(&mut history, EVERYONE).is_empty());
    assert!(history.search(&LAB, "secret").is_empty());
    assert_eq!(newest(&mut history, Recipient::Peer(BOB)), ["stays"]);
    let known = history.recall(&LAB).streams;
    assert!(known.iter().any(|stream| stream.to == EVERYONE), "others need not hand it on again");
    history.close();
    drop(history);
    let bytes = fs::read(dir.path().join(FILE)).unwrap();
    assert!(!bytes.windows(6).any(|window| window == b"secret"), "not even in the file");
}

#[test]
fn old_messages_go_when_they_are_not_to_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { time: Duration::from_secs(3600), bytes: 0 };
    let mut history = History::open(ME, Some(dir.path()), Keeping::OnDisk(retention)).unwrap();
    history.commit(vec![keep(BOB, EVERYONE, 1, "of 1970")]);
    assert!(newest(&mut history, EVERYONE).is_empty());
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { time: Duration::ZERO, bytes: 300_000 };
    let mut history = History::open(ME, Some(dir.path()), Keeping::OnDisk(retention)).unwrap();
    let text = "y".repeat(2000);
    history.commit((1..=500).map(|number| keep(BOB, EVERYONE, number, &text)).collect());
    assert!(history.used().unwrap() <= 300_000);
    assert_eq!(history.page(&LAB, &EVERYONE, Part::Newest).messages.last().unwrap().id.sequence, 500);
}

#[test]
fn a_history_in_memory_gathers_and_whoever_asks_sees_all_of_it() {
    let mut history = in_memory();
    let mut most = 0;
    for number in 1..=5000 {
        let writes = vec![
            keep(ME, EVERYONE, number, "one more"),
            settle(number, number, DeliveryStatus::Delivered, None),
        ];
        assert_eq!(history.commit(writes), Committed::ForGood);
        most = most.max(history.unsaved.len());
        if number % 1300 == 0 {
            let page = history.page(&LAB, &EVERYONE, Part::Newest);
            let last = page.messages.last().unwrap();
            assert_eq!((last.id.sequence, last.summary.delivered), (number, 1));
        }
    }
    assert!((100..=limits::ROWS_TOGETHER).contains(&most), "{most}");
    assert_eq!(history.recall(&LAB).streams[0].spans[0].to, 5000);
    // Before and after the first search, and what was forgotten before it.
    history.commit(vec![keep(BOB, Recipient::Peer(ME), 1, "a secret word")]);
    history.forget(LAB, Recipient::Peer(BOB));
    history.commit(vec![keep(BOB, EVERYONE, 5001, "before the search")]);
    assert_eq!(history.search(&LAB, "search").len(), 1);
    history.commit(vec![keep(BOB, EVERYONE, 5002, "after the search")]);
    assert_eq!(history.search(&LAB, "search").len(), 2);
    assert!(history.search(&LAB, "secret").is_empty());
}

#[test]
fn what_cannot_be_used_is_set_aside_and_said() {
    for (content, why) in [(Content::Garbage, "is damaged"), (Content::Newer, "newer pyile (form 99,")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        content.put(&path);
        let before = fs::read(&path).unwrap();
        let mut history = open_in(dir.path());
        let (state, message) = history.state();
        assert_eq!(state, HistoryState::Saved);
        assert!(message.contains(why) && message.contains("it is now history-set-aside-"), "{message}");
        assert_eq!(history.commit(vec![keep(BOB, EVERYONE, 1, "x")]), Committed::ForGood);
        let aside = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("history-set-aside"))
            .unwrap();
        assert_eq!(fs::read(aside).unwrap(), before, "as it was");
        drop(history);
        assert_eq!(newest(&mut open_in(dir.path()), EVERYONE), ["x"]);
    }
}

enum Content {
    Garbage,
    Newer,
}

impl Content {
    fn put(&self, path: &Path) {
        match self {
            Self::Garbage => fs::write(path, [0xA5; 8192]).unwrap(),
            Self::Newer => {
                let db = Connection::open(path).unwrap();
                db.pragma_update(None, "user_version", 99).unwrap();
            }
        }
    }
}

#[test]
fn a_database_that_is_damaged_while_it_is_in_use_is_replaced_and_talk_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open_in(dir.path());
    history.commit((1..=500).map(|number| keep(BOB, EVERYONE, number, &"z".repeat(500))).collect());
    history.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let path = dir.path().join(FILE);
    let size = fs::metadata(&path).unwrap().len();
    fs::write(&path, vec![0x5A; usize::try_from(size).unwrap()]).unwrap();
    history.db.execute_batch("PRAGMA shrink_memory").unwrap();
    let mut outcomes = Vec::new();
    for number in 501..=520 {
        outcomes.push(history.commit(vec![keep(BOB, EVERYONE, number, "after")]));
        history.page(&LAB, &EVERYONE, Part::Newest);
    }
    assert!(outcomes.iter().all(|outcome| *outcome == Committed::ForGood), "{outcomes:?}");
    assert!(history.state().1.contains("and a new history begins"), "{:?}", history.state());
    drop(history);
    assert!(newest(&mut open_in(dir.path()), EVERYONE).contains(&"after".to_owned()));
}

#[test]
fn a_name_is_never_forgotten_for_a_key() {
    let mut history = in_memory();
    history.commit(vec![keep(BOB, EVERYONE, 1, "hello")]);
    let Write::Keep { network, mut message, spans } = keep(BOB, EVERYONE, 2, "handed on") else {
        unreachable!()
    };
    message.alias = Alias::of_key(&BOB);
    history.commit(vec![Write::Keep { network, message, spans }]);
    let page = history.page(&LAB, &EVERYONE, Part::Newest);
    assert!(page.messages.iter().all(|message| message.alias.as_str() == "bob"));
    assert_eq!(history.recall(&LAB).people, [(BOB, alias("bob"))]);
}

#[test]
fn a_network_has_its_name() {
    let mut history = in_memory();
    history.commit(vec![Write::Name(Network { id: LAB, name: "lab".into() })]);
    history.recall(&LAB);
    let name: String = history.db.query_row("SELECT name FROM network", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "lab");
}
