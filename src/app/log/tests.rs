use super::*;
use crate::model::{Alias, PeerId, Recipient, Role, Wire};

fn geometry(rows: usize) -> Geometry {
    Geometry { text: 20, rows, zone: jiff::tz::TimeZone::UTC }
}

fn log(count: u64) -> MessageLog {
    let from = Arc::new(Peer {
        peer_id: PeerId([1; 32]),
        alias: Alias::new("bob").unwrap(),
        addr: "10.0.0.1:1".parse().unwrap(),
        role: Role::Member,
        wire: Wire::Native,
    });
    let mut log = MessageLog::default();
    for number in 0..count {
        log.push(Entry::Message(Message {
            id: MessageId { author: from.peer_id, epoch: 1, to: Recipient::Everyone, sequence: number },
            from: from.clone(),
            text: SafeText::clean(&format!("message number {number} is a bit long")),
            at: Timestamp(0),
            missed: 0,
            mark: None,
            mentions_me: false,
        }));
    }
    log
}

/// The view as text.
fn view(log: &MessageLog, rows: usize) -> Vec<String> {
    log.visible(&geometry(rows))
        .into_iter()
        .map(|row| match row {
            Row::Day(_) => "day".to_owned(),
            Row::Gap(missed) => format!("gap {missed}"),
            Row::Mark(_) => "mark".to_owned(),
            Row::Text { entry, range, .. } => log.entry(entry).unwrap().text()[range].trim().to_owned(),
        })
        .collect()
}

#[test]
fn the_newest_is_at_the_bottom() {
    let log = log(3);
    assert_eq!(view(&log, 3), ["a bit long", "message number 2 is", "a bit long"]);
    assert_eq!(view(&log, 100).len(), 7);
    assert_eq!(view(&log, 100)[0], "day");
    assert!(view(&MessageLog::default(), 5).is_empty());
}

#[test]
fn scrolling_by_rows_up_and_down_comes_back() {
    let mut log = log(50);
    let bottom = view(&log, 5);
    for _ in 0..7 {
        log.scroll(3, &geometry(5));
    }
    assert_ne!(view(&log, 5), bottom);
    let before = view(&log, 5);
    log.push(Entry::Notice { at: Timestamp(0), text: SafeText::clean("new") });
    assert_eq!(view(&log, 5), before, "the view stays where it is");
    assert_eq!(log.below(), 1);
    for _ in 0..8 {
        log.scroll(-3, &geometry(5));
    }
    assert_eq!(view(&log, 5).last().unwrap(), "new");
    assert_eq!(log.below(), 0);
}

#[test]
fn the_top_is_a_full_view() {
    let mut log = log(50);
    log.to_top(&geometry(5));
    assert_eq!(view(&log, 5)[..2], ["day", "message number 0 is"]);
    assert_eq!(view(&log, 5).len(), 5);
    log.scroll(1000, &geometry(5));
    assert_eq!(view(&log, 5)[0], "day", "no further up");
    log.scroll(-10_000, &geometry(5));
    assert_eq!(log.position(), 1000);
}

#[test]
fn stepping_and_finding() {
    let mut log = log(30);
    log.step(false, &geometry(3));
    assert_eq!(log.selected(), Some(28));
    log.step(true, &geometry(3));
    assert_eq!(log.selected(), Some(29));
    assert_eq!(log.find("NUMBER 7", None, true), Some(7));
    assert_eq!(log.find("number 1", Some(19), true), Some(18));
    assert_eq!(log.find("number 1", Some(1), false), Some(10));
    assert_eq!(log.find("nothing", None, true), None);
}

#[test]
fn a_million_messages_are_held_and_no_more() {
    let mut log = log(0);
    for number in 0..=limits::LOG_MESSAGES as u64 {
        log.push(Entry::Notice { at: Timestamp(0), text: SafeText::clean(&number.to_string()) });
    }
    assert_eq!(log.len(), limits::LOG_MESSAGES);
    log.to_top(&geometry(3));
    assert_eq!(view(&log, 3)[1], "1", "the oldest went");
}
