use std::{fs, sync::Arc};

use rusqlite::Connection;

use super::{database::FILE, *};
use crate::{
    api::{Audience, Receipt},
    model::{
        Addressee, Alias, CloseReason, DeliveryStatus, FailReason, Interval, Network, Resolution, SafeText,
        Signature, Span, StoredBatch, StoredMessage, StreamId,
    },
};

const ME: PeerId = PeerId([1; 32]);
const BOB: PeerId = PeerId([2; 32]);
const LAB: NetworkId = NetworkId([9; 16]);
const EVERYONE: Recipient = Recipient::Everyone;

fn alias(name: &str) -> Alias {
    Alias::new(name).unwrap()
}

fn open_in(dir: &Path) -> History {
    History::open(ME, Some(dir), Keeping::OnDisk(Retention::default()))
}

fn in_memory() -> History {
    History::open(ME, None, Keeping::InMemory)
}

/// One of each; the directory stays as long as it is needed.
fn both() -> [(History, Option<tempfile::TempDir>); 2] {
    let dir = tempfile::tempdir().unwrap();
    [(open_in(dir.path()), Some(dir)), (in_memory(), None)]
}

fn on_disk(history: &History) -> &Database {
    match history {
        History::OnDisk(database) => database,
        History::InMemory(_) => panic!("in memory"),
    }
}

fn batch_of(author: PeerId, to: Recipient, first: u64, said: &[&str]) -> Write {
    let place = 1000 * first.cast_signed();
    let stream = StreamId { author, epoch: 5, to };
    let texts: Vec<SafeText> = said.iter().map(|text| SafeText::clean(text)).collect();
    let signature = (to == EVERYONE).then_some(Signature([7; 64]));
    let references = if author == ME { vec![Some(Arc::from("r")); texts.len()] } else { Vec::new() };
    let batch = Batch { stream, first, sent_at: Timestamp(place), texts, signature };
    let spans = vec![Span { from: 1, to: batch.last(), first: 1000, last: place }];
    let alias = alias(if author == ME { "ann" } else { "bob" });
    let at = Timestamp(place);
    let stored = StoredBatch { batch, alias, at, place, references, claims: None };
    Write::Keep { network: LAB, batch: Arc::new(stored), spans }
}

fn keep(author: PeerId, to: Recipient, sequence: u64, text: &str) -> Write {
    batch_of(author, to, sequence, &[text])
}

/// What is said in an own stream from a number on is for bob, up to another one.
fn address(to: Recipient, first: u64, last: Option<u64>, resolution: Option<Resolution>) -> Write {
    let stream = StreamId { author: ME, epoch: 5, to };
    let interval = Interval { first, last, resolution, at: Timestamp(66) };
    Write::Audience(Box::new(Audience {
        network: LAB,
        stream,
        intervals: vec![(BOB, alias("bob"), interval)],
    }))
}

fn receipt(to: Recipient, up_to: u64) -> Write {
    let stream = StreamId { author: ME, epoch: 5, to };
    Write::Receipt(Box::new(Receipt { network: LAB, stream, peer: BOB, up_to, at: Timestamp(77) }))
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
        address(EVERYONE, 1, None, None),
        keep(ME, EVERYONE, 1, "one"),
        keep(BOB, EVERYONE, 2, "two"),
        keep(BOB, Recipient::Peer(ME), 3, "for you"),
        address(Recipient::Peer(BOB), 4, None, None),
        keep(ME, Recipient::Peer(BOB), 4, "for bob"),
        batch_of(ME, EVERYONE, 5, &["five", "six"]),
        receipt(EVERYONE, 1),
    ];
    assert_eq!(history.commit(writes), Committed::ForGood);
    drop(history);
    let mut history = open_in(dir.path());
    let recalled = history.recall(&LAB);
    let own: Vec<_> = recalled.own.iter().map(|own| (own.id.to, own.last, own.addressees[0].kept)).collect();
    assert_eq!(own, [(EVERYONE, 6, 1), (Recipient::Peer(BOB), 4, 0)]);
    let Addressee { peer, alias: label, intervals, .. } = &recalled.own[0].addressees[0];
    assert_eq!((*peer, label.as_str(), intervals[0].first, intervals[0].last), (BOB, "bob", 1, None));
    assert_eq!(recalled.own[0].references.len(), 3);
    assert_eq!(recalled.own[0].ages, [(6, Timestamp(5000))]);
    let mut people = recalled.people;
    people.sort_unstable();
    assert_eq!(people, [(ME, alias("ann")), (BOB, alias("bob"))]);
    let mut streams: Vec<_> =
        recalled.streams.iter().map(|s| (s.id.author, s.id.to, s.spans[0].to)).collect();
    streams.sort_unstable();
    assert_eq!(
        streams,
        [(ME, EVERYONE, 6), (ME, Recipient::Peer(BOB), 4), (BOB, EVERYONE, 2), (BOB, Recipient::Peer(ME), 3)]
    );
    assert_eq!(newest(&mut history, EVERYONE), ["one", "two", "five", "six"]);
    assert_eq!(newest(&mut history, Recipient::Peer(BOB)), ["for you", "for bob"]);
    history.commit(vec![receipt(EVERYONE, 6)]);
    history.close();
    drop(history);
    let mut history = open_in(dir.path());
    assert_eq!(history.recall(&LAB).own.len(), 1, "everybody has all that was said to everyone");
    assert!(history.recall(&NetworkId([8; 16])).streams.is_empty(), "another network");
    let opened = history.open_all(&LAB);
    let labels: Vec<&str> = opened.pages.iter().map(|(_, label)| label.as_str()).collect();
    assert_eq!(labels, ["everyone", "bob"]);
}

#[test]
fn nothing_is_kept_twice_and_marks_tell_what_became_of_it() {
    for (mut history, _dir) in both() {
        history.commit(vec![address(EVERYONE, 1, None, None), batch_of(ME, EVERYONE, 1, &["x"; 4])]);
        history.commit(vec![batch_of(ME, EVERYONE, 1, &["x"; 4])]);
        history.commit(vec![receipt(EVERYONE, 2)]);
        let failed = Resolution::Failed(FailReason::Expired);
        history.commit(vec![
            address(EVERYONE, 1, Some(2), None),
            address(EVERYONE, 3, Some(3), Some(failed)),
            address(EVERYONE, 4, None, None),
        ]);
        let page = history.page(&LAB, &EVERYONE, Part::Newest);
        assert_eq!(texts(&page.messages), ["x"; 4]);
        let marks: Vec<_> = page
            .messages
            .iter()
            .map(|m| (m.summary.delivered, m.deliveries.first().map(|d| (d.status, d.reason))))
            .collect();
        let failed = Some((DeliveryStatus::Failed, Some(FailReason::Expired)));
        assert_eq!(marks, [(1, None), (1, None), (0, failed), (0, Some((DeliveryStatus::Queued, None)))]);
        let info = history.info(&LAB, &EVERYONE, 1001);
        assert_eq!(
            (info[0].alias.as_str(), info[0].status, info[0].at),
            ("bob", DeliveryStatus::Delivered, Timestamp(77))
        );
    }
}

#[test]
fn a_batch_that_comes_again_is_compared_word_for_word() {
    for (mut history, _dir) in both() {
        history.commit(vec![
            batch_of(BOB, EVERYONE, 1, &["a", "b", "c"]),
            keep(BOB, Recipient::Peer(ME), 1, "d"),
        ]);
        let mut compare = |write: Write| match write {
            Write::Keep { network, batch, .. } => history.compare(&network, &batch.batch).unwrap(),
            _ => unreachable!(),
        };
        assert_eq!(compare(batch_of(BOB, EVERYONE, 1, &["a", "b", "c"])), Compared::Same);
        assert_eq!(compare(keep(BOB, Recipient::Peer(ME), 1, "d")), Compared::Same);
        assert_eq!(compare(batch_of(BOB, EVERYONE, 3, &["c", "d"])), Compared::Lacks(vec![4]));
        assert_eq!(compare(keep(BOB, EVERYONE, 9, "x")), Compared::Lacks(vec![9]));
        let Compared::Differs(Some(proof)) = compare(keep(BOB, EVERYONE, 2, "x")) else { panic!("differs") };
        assert_eq!((proof.first, proof.last(), proof.signature), (1, 3, Some(Signature([7; 64]))));
        assert!(matches!(compare(keep(BOB, Recipient::Peer(ME), 1, "x")), Compared::Differs(_)));
    }
}

#[test]
fn pages_of_a_long_conversation() {
    for (mut history, _dir) in both() {
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
}

#[test]
fn holes_are_seen_in_pages() {
    for (mut history, _dir) in both() {
        history.commit([3, 4, 8].map(|number| keep(BOB, EVERYONE, number, "x")).to_vec());
        let missed: Vec<u64> = history
            .page(&LAB, &EVERYONE, Part::Newest)
            .messages
            .iter()
            .map(|message| message.missed)
            .collect();
        assert_eq!(missed, [0, 0, 3]);
    }
}

#[test]
fn searches_find_words_parts_of_words_accents_and_scripts_without_spaces() {
    for (mut history, _dir) in both() {
        let said = [
            "The Quick brown fox",
            "déjà vu",
            "来週の会議は火曜日です",
            "quick note",
            "nothing",
            "Donaudampfschiff 🚢 100%",
            "well done 👍🏽",
            "नमस्ते दुनिया",
        ];
        history.commit((1..).zip(said).map(|(number, text)| keep(BOB, EVERYONE, number, text)).collect());
        for (typed, expected) in [
            ("quick", vec![4000, 1000]),
            ("qui", vec![4000, 1000]),
            ("brown the", vec![1000]),
            ("deja", vec![2000]),
            ("会議", vec![3000]),
            ("\"", vec![]),
            ("uick", vec![4000, 1000]),
            ("dampf", vec![6000]),
            ("DAMPF 🚢", vec![6000]),
            ("quick 🚢", vec![]),
            ("👍", vec![7000]),
            ("0%", vec![6000]),
            ("1_0%", vec![]),
            ("दुनिया", vec![8000]),
            ("quick AND OR NEAR(", vec![]),
        ] {
            let places: Vec<Place> = history.search(&LAB, typed).iter().map(|hit| hit.place).collect();
            assert_eq!(places, expected, "{typed}");
        }
        let hit = &history.search(&LAB, "brown")[0];
        assert_eq!(
            (hit.from.as_str(), hit.with.as_str(), hit.excerpt.as_str()),
            ("bob", "everyone", said[0])
        );
        assert!(history.search(&NetworkId([8; 16]), "quick").is_empty(), "another network");
    }
}

#[test]
fn the_index_is_not_in_the_commit_and_misses_nothing_after_a_crash_or_where_numbers_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let indexed = |history: &History| -> i64 {
        let sql = "SELECT count(*) FROM message_text WHERE message_text MATCH 'cafe'";
        on_disk(history).connection().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let mut history = open_in(dir.path());
    history.commit(vec![keep(BOB, EVERYONE, 1, "café one"), keep(BOB, Recipient::Peer(ME), 2, "café two")]);
    assert_eq!(indexed(&history), 0);
    // A crash before the index has them.
    drop(history);
    let mut history = open_in(dir.path());
    assert!(history.index_in().is_some());
    assert_eq!(history.search(&LAB, "cafe").len(), 2);
    assert_eq!((indexed(&history), history.index_in()), (2, None));
    // The newest message goes, and its number in the database belongs to another one.
    history.forget(LAB, Recipient::Peer(BOB));
    history.commit(vec![keep(BOB, EVERYONE, 3, "café three")]);
    assert!(history.index_in().is_some());
    history.index();
    assert_eq!((indexed(&history), history.search(&LAB, "cafe").len()), (2, 2));
}

#[test]
fn others_are_given_what_they_may_read_in_parts() {
    for (mut history, _dir) in both() {
        let text = "x".repeat(limits::RANGE_BYTES / 4);
        history.commit((1..=9).map(|number| keep(BOB, EVERYONE, number, &text)).collect());
        let all = Held { author: BOB, epoch: 5, from: 1, to: 9 };
        assert_eq!(history.held(&LAB, Timestamp(0)).unwrap(), [all]);
        assert_eq!(history.held(&LAB, Timestamp(3500)).unwrap(), [Held { from: 4, ..all }]);
        let (messages, next) = history.range(&LAB, &EVERYONE, &all, Timestamp(0)).unwrap();
        assert_eq!((messages.len(), next), (5, Some(6)));
        let (messages, next) =
            history.range(&LAB, &EVERYONE, &Held { from: 7, ..all }, Timestamp(8000)).unwrap();
        assert_eq!((messages.len(), next), (2, None));
    }
}

#[test]
fn answers_have_an_end() {
    for (mut history, _dir) in both() {
        let text = format!("needle {}", "hay ".repeat(500));
        history.commit((1..=1500).map(|number| keep(BOB, EVERYONE, number, &text)).collect());
        let hits = history.search(&LAB, "needle");
        assert_eq!((hits.len(), hits[0].place), (200, 1_500_000), "the newest");
        assert!(hits[0].excerpt.as_str().chars().count() <= 2 * 60 + 10, "{}", hits[0].excerpt.as_str());
        history.commit((1501..=2500).map(|number| keep(BOB, EVERYONE, number, "short")).collect());
        let all = Held { author: BOB, epoch: 5, from: 1501, to: 2500 };
        let (batches, next) = history.range(&LAB, &EVERYONE, &all, Timestamp(0)).unwrap();
        assert_eq!((batches.len(), next), (200, Some(1701)));
        // As many authors as anybody cares to be.
        let author = |number: u16| PeerId(std::array::from_fn(|at| number.to_be_bytes()[at % 2] | 4));
        let authors: std::collections::BTreeSet<PeerId> = (0..5000).map(author).collect();
        assert!(authors.len() > 1001);
        history.commit(authors.into_iter().map(|author| keep(author, EVERYONE, 1, "hello")).collect());
        assert_eq!(history.held(&LAB, Timestamp(0)).unwrap().len(), 1000);
    }
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
    let all = Held { author: BOB, epoch: 5, from: 1, to: 10_000 };
    let (oldest, _) = history.range(&LAB, &EVERYONE, &all, Timestamp(0)).unwrap();
    let kept = (10_001 - oldest[0].batch.first) * limits::TEXT_BYTES as u64;
    let most = 128 << 20;
    assert!((most - most / 16..=most).contains(&kept), "{kept}");
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
    assert!(known.iter().any(|stream| stream.id.to == EVERYONE), "others need not hand it on again");
    history.close();
    drop(history);
    let bytes = fs::read(dir.path().join(FILE)).unwrap();
    assert!(!bytes.windows(6).any(|window| window == b"secret"), "not even in the file");
}

#[test]
fn old_messages_go_when_they_are_not_to_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { time: Duration::from_secs(3600), bytes: 0 };
    let mut history = History::open(ME, Some(dir.path()), Keeping::OnDisk(retention));
    history.commit(vec![keep(BOB, EVERYONE, 1, "of 1970")]);
    assert!(newest(&mut history, EVERYONE).is_empty());
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { time: Duration::ZERO, bytes: 300_000 };
    let mut history = History::open(ME, Some(dir.path()), Keeping::OnDisk(retention));
    let text = "y".repeat(2000);
    history.commit(vec![keep(ME, EVERYONE, 1, "my own words")]);
    history.commit((1..=500).map(|number| keep(BOB, EVERYONE, number, &text)).collect());
    assert!(on_disk(&history).used() <= 300_000);
    let messages = history.page(&LAB, &EVERYONE, Part::Newest).messages;
    assert_eq!(messages.last().unwrap().id.sequence, 500);
    assert!(messages.len() < 200);
    assert_eq!(
        history.search(&LAB, "own words").len(),
        1,
        "whoever says most does not decide what others lose"
    );
    // Own ones go where nothing else is left.
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(ME, Some(dir.path()), Keeping::OnDisk(retention));
    history.commit((1..=500).map(|number| keep(ME, EVERYONE, number, &text)).collect());
    assert!(on_disk(&history).used() <= 300_000);
    let room = room_for_history(&dir.path().join("not-there-yet"));
    assert!((limits::HISTORY_LEAST..=limits::HISTORY_BYTES).contains(&room));
}

#[test]
fn old_batches_go_as_a_whole_and_what_somebody_lacks_stays() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { time: Duration::from_secs(3600), bytes: 0 };
    let mut history = History::open(ME, Some(dir.path()), Keeping::OnDisk(retention));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_micros()).unwrap();
    let mut writes = vec![address(EVERYONE, 1, None, None)];
    for (first, age) in [(1, 7200), (4, 7200), (7, 7200), (10, 60)] {
        let Write::Keep { network, batch, spans } = batch_of(ME, EVERYONE, first, &["x"; 3]) else {
            panic!()
        };
        let place = now - age * 1_000_000 + first.cast_signed();
        let batch = Arc::new(StoredBatch { place, ..(*batch).clone() });
        writes.push(Write::Keep { network, batch, spans });
    }
    writes.push(receipt(EVERYONE, 6));
    history.commit(writes);
    let left: Vec<u64> = history
        .page(&LAB, &EVERYONE, Part::Newest)
        .messages
        .iter()
        .map(|message| message.id.sequence)
        .collect();
    assert_eq!(left, [7, 8, 9, 10, 11, 12]);
    assert_eq!(history.recall(&LAB).own[0].addressees[0].kept, 6, "and it is known who has what");
}

#[test]
fn a_history_that_is_locked_gone_or_read_only_is_tried_again_and_meanwhile_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    drop(open_in(dir.path()));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut history = open_in(dir.path());
    assert_eq!(history.state().0, HistoryState::Unsaved);
    assert!(history.state().1.contains("another program has locked the file"), "{}", history.state().1);
    assert_eq!(history.commit(vec![keep(BOB, EVERYONE, 1, "meanwhile")]), Committed::NotYet);
    let same = keep(BOB, EVERYONE, 1, "meanwhile");
    let Write::Keep { batch, .. } = &same else { panic!() };
    assert_eq!(history.compare(&LAB, &batch.batch), Ok(Compared::Same), "it is here, though not for good");
    assert!(history.retry_in().is_some());
    assert!(matches!(history.range(&LAB, &EVERYONE, &ALL_OF_BOB, Timestamp(0)), Err(Unread)));
    drop(other);
    assert_eq!(history.write_waiting(), Committed::ForGood);
    assert_eq!(history.state().0, HistoryState::Saved);
    assert_eq!(newest(&mut history, EVERYONE), ["meanwhile"]);
    // Taken away under it.
    fs::remove_file(&path).unwrap();
    assert_eq!(history.commit(vec![keep(BOB, EVERYONE, 2, "anew")]), Committed::ForGood);
    assert!(history.state().1.contains("a new history begins"), "{}", history.state().1);
    assert_eq!(newest(&mut open_in(dir.path()), EVERYONE), ["anew"], "in a file that others find");
    fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(history.commit(vec![keep(BOB, EVERYONE, 3, "nowhere")]), Committed::NotYet);
    assert!(history.state().1.contains("directory is gone"), "{}", history.state().1);
    fs::create_dir(dir.path()).unwrap();
    assert_eq!(history.write_waiting(), Committed::ForGood);
    assert_eq!(newest(&mut open_in(dir.path()), EVERYONE), ["nowhere"]);
}

const ALL_OF_BOB: Held = Held { author: BOB, epoch: 5, from: 1, to: 100 };

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
    on_disk(&history).connection().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let path = dir.path().join(FILE);
    let size = fs::metadata(&path).unwrap().len();
    fs::write(&path, vec![0x5A; usize::try_from(size).unwrap()]).unwrap();
    on_disk(&history).connection().execute_batch("PRAGMA shrink_memory").unwrap();
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
    let dir = tempfile::tempdir().unwrap();
    let mut history = open_in(dir.path());
    history.commit(vec![keep(BOB, EVERYONE, 1, "hello")]);
    let Write::Keep { network, batch, spans } = keep(BOB, EVERYONE, 2, "handed on") else { unreachable!() };
    let batch = Arc::new(StoredBatch { alias: Alias::of_key(&BOB), ..(*batch).clone() });
    history.commit(vec![Write::Keep { network, batch, spans }]);
    let page = history.page(&LAB, &EVERYONE, Part::Newest);
    assert!(page.messages.iter().all(|message| message.alias.as_str() == "bob"));
    assert_eq!(history.recall(&LAB).people, [(BOB, alias("bob"))]);
}

#[test]
fn a_network_has_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open_in(dir.path());
    history.commit(vec![Write::Name(Network { id: LAB, name: "lab".into() })]);
    history.recall(&LAB);
    let db = on_disk(&history).connection();
    let name: String = db.query_row("SELECT name FROM network", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "lab");
}

/// Written by the profile of ann, with the second form of the database: one member was away, and one was banned
/// before it read anything.
const OLD: &[u8] = include_bytes!("../../../tests/history-2.db");

#[test]
fn nothing_of_a_history_of_the_form_before_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    fs::write(&path, OLD).unwrap();
    let db = Connection::open(&path).unwrap();
    let key = |alias: &str| {
        let query = "SELECT key FROM person WHERE alias = ?";
        PeerId(db.query_row(query, [alias], |row| row.get(0)).unwrap())
    };
    let (me, bob, carol) = (key("ann"), key("bob"), key("carol"));
    let network = NetworkId(db.query_row("SELECT key FROM network", [], |row| row.get(0)).unwrap());
    let before: i64 = db.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap();
    drop(db);
    let mut history = History::open(me, Some(dir.path()), Keeping::OnDisk(Retention::default()));
    assert_eq!(history.state(), (HistoryState::Saved, ""));
    let page = |history: &mut History, with: Recipient| history.page(&network, &with, Part::Newest).messages;
    let everyone = page(&mut history, EVERYONE);
    assert_eq!(texts(&everyone), ["one for all", "two for the host", "grüße 日本", "three for two"]);
    let summaries: Vec<String> = everyone
        .iter()
        .filter(|message| message.id.author == me)
        .map(|message| message.summary.to_string())
        .collect();
    assert_eq!(summaries, ["2/2", "1/1", "2/2"]);
    assert_eq!(everyone[0].reference.as_deref(), Some("r1"));
    let with_bob = page(&mut history, Recipient::Peer(bob));
    assert_eq!(texts(&with_bob), ["for you alone", "and for you", "bob is away", "still away"]);
    let with_carol = page(&mut history, Recipient::Peer(carol));
    let marks = |messages: &[StoredMessage]| {
        messages
            .iter()
            .map(|message| message.deliveries.first().map(|one| (one.status, one.reason)))
            .collect::<Vec<_>>()
    };
    let queued = Some((DeliveryStatus::Queued, None));
    assert_eq!(marks(&with_bob), [None, None, queued, queued]);
    assert_eq!(marks(&with_carol), [Some((DeliveryStatus::Failed, Some(CloseReason::Banned.into())))]);
    let info = history.info(&network, &EVERYONE, everyone[0].place);
    assert!(info.len() == 2 && info.iter().all(|one| one.status == DeliveryStatus::Delivered), "{info:?}");
    assert_eq!(before, 9);
    assert_eq!(history.search(&network, "日本").len(), 1);
    // What waits for bob goes on waiting, and goes when he is back.
    let recalled = history.recall(&network);
    let own: Vec<_> = recalled.own.iter().map(|own| (own.id.to, own.last, own.addressees[0].kept)).collect();
    assert_eq!(own, [(Recipient::Peer(bob), 3, 1)]);
    let wanted = Held { author: me, epoch: recalled.own[0].id.epoch, from: 2, to: 3 };
    let (batches, _) = history.range(&network, &Recipient::Peer(bob), &wanted, Timestamp(0)).unwrap();
    let said: Vec<&str> =
        batches.iter().flat_map(|stored| &stored.batch.texts).map(SafeText::as_str).collect();
    assert_eq!(said, ["bob is away", "still away"]);
    // And what others may be given still has its author's signature.
    for held in history.held(&network, Timestamp(0)).unwrap() {
        let (batches, _) = history.range(&network, &EVERYONE, &held, Timestamp(0)).unwrap();
        assert!(!batches.is_empty());
        for stored in batches {
            assert!(crate::security::sign::batch_holds(&network, &stored.batch), "{:?}", stored.batch);
        }
    }
}

#[test]
fn drafts_and_the_muted_outlive_a_restart_on_disk_alone() {
    let drafts = |texts: &[(Recipient, &str)]| -> Vec<(Recipient, String)> {
        texts.iter().map(|(with, text)| (*with, (*text).to_owned())).collect()
    };
    let first = drafts(&[(EVERYONE, "for all"), (Recipient::Peer(BOB), "for bob")]);
    let other = NetworkId([8; 16]);
    for (mut history, dir) in both() {
        history.commit(vec![
            Write::Drafts { network: LAB, drafts: first.clone() },
            Write::Drafts { network: other, drafts: drafts(&[(EVERYONE, "elsewhere")]) },
            Write::Muted(BOB, true),
            Write::Muted(ME, true),
            Write::Muted(ME, false),
        ]);
        history.commit(vec![Write::Drafts { network: LAB, drafts: drafts(&[(EVERYONE, "")]) }]);
        history.close();
        drop(history);
        let mut history = dir.as_ref().map_or_else(in_memory, |dir| open_in(dir.path()));
        let opened = history.open_all(&LAB);
        if dir.is_some() {
            assert_eq!((&opened.drafts[..], &opened.muted[..]), (&first[1..], &[BOB][..]));
            assert_eq!(history.open_all(&other).drafts, drafts(&[(EVERYONE, "elsewhere")]));
        } else {
            assert!(opened.drafts.is_empty() && opened.muted.is_empty());
        }
    }
}
