use super::*;
use crate::{
    api::Part,
    model::{Alias, PeerId, Recipient, Role, Wire},
};

fn geometry(rows: usize) -> Geometry {
    Geometry { text: 20, rows, zone: jiff::tz::TimeZone::UTC, muted: BTreeSet::new() }
}

fn log(count: u64) -> MessageLog {
    let from = Arc::new(Peer {
        peer_id: PeerId([1; 32]),
        alias: Alias::new("bob").unwrap(),
        addr: "10.0.0.1:1".parse().unwrap(),
        role: Role::Member,
        wire: Wire::Native,
        status: None,
    });
    let mut log = MessageLog::default();
    for number in 0..count {
        log.insert(Entry::Message(Message {
            id: MessageId { author: from.peer_id, epoch: 1, to: Recipient::Everyone, sequence: number },
            from: from.clone(),
            text: SafeText::clean(&format!("message number {number} is a bit long")),
            at: Timestamp(61_000_000 * number.cast_signed()),
            place: number.cast_signed(),
            missed: 0,
            mark: None,
            claims: None,
            mentions_me: false,
            is_action: false,
            spans: Box::default(),
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
            Row::Gap(number) => format!("gap {}", log.gap_before(number).unwrap().missed),
            Row::New => "new".to_owned(),
            Row::Folded { lines, .. } => format!("{lines} more"),
            Row::Flood { messages, .. } => format!("{messages} folded"),
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
    log.insert(Entry::Notice { at: Timestamp(0), place: 50, text: SafeText::clean("new"), passings: 0 });
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
fn stepping() {
    let mut log = log(30);
    let last = log.selected().unwrap();
    log.step(false, &geometry(3));
    assert_eq!(log.selected(), Some(last - 1));
    log.step(true, &geometry(3));
    assert_eq!(log.selected(), Some(last));
}

fn message(sequence: u64) -> Message {
    let Some(Entry::Message(message)) = log(1).entries.pop_front() else { unreachable!() };
    let text = SafeText::clean(&format!("m{sequence}"));
    let place = sequence.cast_signed();
    Message {
        id: MessageId { sequence, ..message.id },
        at: Timestamp(61_000_000 * place),
        place,
        text,
        ..message
    }
}

fn messages(numbers: std::ops::RangeInclusive<u64>) -> Vec<Message> {
    numbers.map(message).collect()
}

/// What is held, as numbers.
fn held(log: &MessageLog) -> Vec<i64> {
    log.entries.iter().map(Entry::place).collect()
}

#[test]
fn what_was_missed_goes_in_at_its_place_and_the_view_stays() {
    let mut log = MessageLog::default();
    for number in (1..=40).filter(|number| *number != 20) {
        log.insert(Entry::Message(message(number)));
    }
    log.scroll(4, &geometry(3));
    let before = view(&log, 3);
    log.insert(Entry::Message(message(20)));
    assert_eq!(view(&log, 3), before);
    assert_eq!(log.below(), 0, "it is not below");
    assert_eq!(held(&log), (1..=40).collect::<Vec<_>>());
}

#[test]
fn marks_follow_their_messages_when_others_are_put_before_them() {
    let mut log = MessageLog::default();
    let to = message(1).from;
    let own = |sequence| {
        let mark = Mark {
            summary: Summary { delivered: 0, total: 1 },
            waiting: vec![to.clone()],
            ..Mark::default()
        };
        Message { mark: Some(Box::new(mark)), ..message(sequence) }
    };
    log.insert(Entry::Message(own(10)));
    log.insert(Entry::Message(own(30)));
    log.insert(Entry::Message(message(20)));
    log.insert(Entry::Message(message(5)));
    log.page(Part::Before(5), messages(1..=5), true, false);
    for sequence in [10, 30] {
        let summary = Summary { delivered: 1, total: 1 };
        log.delivery(&message(sequence).id, &to, DeliveryStatus::Delivered, None, summary);
    }
    let marks: Vec<String> = log
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Message(Message { mark: Some(mark), .. }) => Some(mark.text()),
            _ => None,
        })
        .collect();
    assert_eq!(marks, ["✓", "✓"]);
    assert!(log.open.is_empty());
}

#[test]
fn the_window_moves_over_the_history_and_stays_small() {
    let window = limits::LOG_WINDOW as u64;
    let size = 10 * window;
    let mut log = MessageLog::default();
    log.page(Part::Newest, messages(size - 199..=size), false, true);
    for number in size + 1..=size + 2 * window {
        log.insert(Entry::Message(message(number)));
    }
    let most = limits::LOG_WINDOW;
    assert!((most - most / 10..=most).contains(&log.len()), "while one reads the newest");
    let size = size + 2 * window;
    // All the way up, page by page.
    let mut asked = 0;
    while log.ends() != (true, false) {
        log.scroll(50, &geometry(5));
        if let Some(part) = log.wanted(&geometry(5)) {
            let Part::Before(place) = part else { panic!("{part:?}") };
            assert!(log.wanted(&geometry(5)).is_none(), "one page at a time");
            let (from, to) = ((place - 199).max(1), place);
            log.page(part, messages(from.cast_unsigned()..=to.cast_unsigned()), from == 1, false);
            asked += 1;
        }
        assert!(log.len() <= 2 * limits::LOG_WINDOW);
    }
    assert!(asked > 40, "{asked}");
    assert_eq!(held(&log)[..3], [1, 2, 3]);
    // What comes meanwhile is counted, not held.
    log.insert(Entry::Message(message(size + 1)));
    assert_eq!(log.below(), 1);
    // And down again, to the newest.
    while !log.ends().1 {
        log.scroll(-50, &geometry(5));
        if let Some(Part::After(place)) = log.wanted(&geometry(5)) {
            let to = (place.cast_unsigned() + 199).min(size + 1);
            log.page(Part::After(place), messages(place.cast_unsigned()..=to), false, to == size + 1);
        }
    }
    log.scroll(-1000, &geometry(5));
    assert_eq!(log.position(), 1000);
    let last: Vec<i64> = held(&log).into_iter().rev().take(3).collect();
    assert_eq!(last, [size + 1, size, size - 1].map(u64::cast_signed));
    let all = held(&log);
    assert!(all.windows(2).all(|pair| pair[0] + 1 == pair[1]), "without holes and each once");
}

#[test]
fn a_page_of_the_newest_leaves_what_came_after_it() {
    let mut log = MessageLog::default();
    log.ask();
    log.insert(Entry::Message(message(100)));
    log.insert(Entry::Notice {
        at: Timestamp(0),
        place: 101,
        text: SafeText::clean("bob joined"),
        passings: 0,
    });
    log.insert(Entry::Message(message(102)));
    log.page(Part::Newest, messages(95..=100), false, true);
    assert_eq!(held(&log), [95, 96, 97, 98, 99, 100, 101, 102]);
    assert_eq!(view(&log, 1), ["m102"]);
    assert_eq!(log.below(), 0);
}

#[test]
fn what_becomes_of_a_message_while_its_page_is_on_its_way_is_not_lost() {
    let mut log = MessageLog::default();
    let to = message(1).from;
    log.ask();
    let summary = Summary { delivered: 1, total: 1 };
    log.delivery(&message(7).id, &to, DeliveryStatus::Delivered, None, summary);
    let mark = Mark { summary: Summary { delivered: 0, total: 1 }, waiting: vec![to], ..Mark::default() };
    log.page(Part::Newest, vec![Message { mark: Some(Box::new(mark)), ..message(7) }], true, true);
    let Some(Entry::Message(Message { mark: Some(mark), .. })) = log.entries.front() else { unreachable!() };
    assert_eq!(mark.text(), "✓");
}

#[test]
fn what_is_said_to_nobody_who_is_here_tells_who_has_it_once_they_are_back() {
    let mut log = MessageLog::default();
    let to = message(1).from;
    log.insert(Entry::Message(Message { mark: Some(Box::default()), ..message(7) }));
    let mark = |log: &MessageLog| match log.entries.front() {
        Some(Entry::Message(Message { mark: Some(mark), .. })) => mark.text(),
        _ => unreachable!(),
    };
    assert_eq!(mark(&log), "nobody else is here");
    let summary = |delivered| Summary { delivered, total: 1 };
    log.delivery(&message(7).id, &to, DeliveryStatus::Queued, None, summary(0));
    assert!(mark(&log).starts_with("… 0/1, not yet"), "{}", mark(&log));
    log.delivery(&message(7).id, &to, DeliveryStatus::Delivered, None, summary(1));
    assert_eq!(mark(&log), "✓");
}

#[test]
fn gaps_tell_between_what_times_and_close() {
    let mut log = MessageLog::default();
    log.insert(Entry::Message(Message { at: Timestamp(60), ..message(1) }));
    log.insert(Entry::Message(Message { at: Timestamp(90), missed: 3, ..message(5) }));
    let number = log.selected().unwrap();
    let gap = log.gap_before(number).unwrap();
    assert_eq!((gap.missed, gap.after, gap.before), (3, Some(Timestamp(60)), Timestamp(90)));
    assert!(view(&log, 10).contains(&"gap 3".to_owned()));
    log.gap(&message(5).id, 0);
    assert!(!view(&log, 10).iter().any(|row| row.starts_with("gap")));
}

#[test]
fn every_message_of_a_short_log_can_be_pointed_at() {
    let mut log = log(4);
    let geometry = geometry(20);
    let (first, all) = (log.selected().unwrap() - 3, log.visible(&geometry).len());
    for expected in [2, 1, 0, 0] {
        log.step(false, &geometry);
        assert_eq!(log.selected(), Some(first + expected));
        assert_eq!(log.visible(&geometry).len(), all, "all of it stays");
    }
    log.insert(Entry::Message(message(9)));
    assert_eq!(log.selected(), Some(first), "what comes meanwhile moves nothing");
    for expected in [1, 2, 3, 4] {
        log.step(true, &geometry);
        assert_eq!(log.selected(), Some(first + expected));
    }
    assert_eq!(log.below(), 0, "at the end again");
}

#[test]
fn a_message_of_thousands_of_lines_takes_no_more_than_a_third_of_the_view_until_it_is_opened() {
    let mut log = log(3);
    let Some(Entry::Message(last)) = log.entries.back().cloned() else { panic!() };
    let id = MessageId { sequence: 99, ..last.id };
    let (text, at) = (SafeText::clean(&"x\n".repeat(4000)), last.at.plus(limits::FOLDED_WITHIN * 2));
    log.insert(Entry::Message(Message { id, text, at, place: 99, ..last }));
    assert_eq!(view(&log, 12)[7..], ["x", "x", "x", "x", "3997 more"]);
    assert_eq!(view(&log, 60)[7..].len(), 11, "ten lines at most");
    assert!(view(&log, 12)[0..7].iter().any(|row| row.starts_with("message number")), "others are in sight");
    log.unfold_selected(&geometry(12));
    assert_eq!(view(&log, 12).iter().filter(|row| *row == "x").count(), 12, "from its beginning");
    log.scroll(-5, &geometry(12));
    log.unfold_selected(&geometry(12));
    assert_eq!(log.visible(&geometry(12)).len(), 12, "no empty rows after folding");
}

#[test]
fn many_short_messages_of_one_peer_take_no_more_than_a_third_of_the_view_until_they_are_opened() {
    let mut log = log(3);
    let (said, at) = match log.entries.back() {
        Some(Entry::Message(message)) => (message.clone(), message.at),
        _ => panic!(),
    };
    let eve = Arc::new(Peer { peer_id: PeerId([6; 32]), ..(*said.from).clone() });
    let flood = |sequence: u64, apart: i64| {
        let id = MessageId { author: eve.peer_id, sequence, ..said.id };
        let text = SafeText::clean(&format!("spam {sequence}"));
        let at = Timestamp(at.0 + apart * sequence.cast_signed());
        let place = 100 + sequence.cast_signed();
        Entry::Message(Message { id, from: eve.clone(), text, at, place, ..said.clone() })
    };
    for sequence in 0..500 {
        log.insert(flood(sequence, 100_000));
        if sequence == 100 {
            // One's own words and those of others between them do not help it.
            let id = MessageId { sequence: 99, ..said.id };
            log.insert(Entry::Message(Message {
                id,
                place: 201,
                at: Timestamp(at.0 + 9_900_000),
                ..said.clone()
            }));
        }
    }
    assert_eq!(view(&log, 12)[7..], ["395 folded", "spam 496", "spam 497", "spam 498", "spam 499"][..]);
    assert_eq!(
        view(&log, 12)[4..7],
        ["101 folded", "message number 2 is", "a bit long"],
        "others are in sight"
    );
    let geometry = geometry(12);
    for _ in 0..4 {
        log.step(false, &geometry);
    }
    let folded = log.selected();
    log.step(false, &geometry);
    let Some(Entry::Message(before)) = log.entry(log.selected().unwrap()) else { panic!() };
    assert_eq!(before.from.peer_id, said.from.peer_id, "what is folded is one step");
    log.step(true, &geometry);
    assert_eq!(log.selected(), folded);
    log.unfold_selected(&geometry);
    assert!(view(&log, 12).iter().all(|row| row.starts_with("spam")), "all of it: {:?}", view(&log, 12));
    log.to_bottom();
    assert!(view(&log, 12).contains(&"395 folded".to_owned()));
    // However long it goes on.
    for sequence in 500..5000 {
        log.insert(flood(sequence, 100_000));
    }
    let shown = view(&log, 12);
    assert!(log.len() <= limits::LOG_WINDOW);
    assert!(shown.iter().filter(|row| !row.starts_with("spam")).count() >= 7, "{shown:?}");
    assert!(shown.iter().any(|row| row.starts_with("message number")), "{shown:?}");
    // Where a page brings nothing but such, what is before it is asked for.
    let page = |from: u64| {
        (from..from + 200).map(|sequence| match flood(sequence, 100_000) {
            Entry::Message(message) => message,
            Entry::Notice { .. } => unreachable!(),
        })
    };
    let mut log = MessageLog::default();
    log.page(Part::Newest, page(1000).collect(), false, true);
    assert_eq!(log.wanted(&geometry), Some(Part::Before(1100)));
    log.page(Part::Before(1100), page(800).collect(), false, false);
    assert_eq!(view(&log, 12)[0], "396 folded");
    // Scrolling stops at no row that is not there.
    log.scroll(1000, &geometry);
    assert!(!view(&log, 12).is_empty());
    // Where reading stopped is told in front of what is folded.
    let mut log = self::log(3);
    for sequence in 0..20 {
        let Entry::Message(message) = flood(sequence, 100_000) else { unreachable!() };
        log.new_from(message.place);
        log.insert(Entry::Message(message));
    }
    assert_eq!(view(&log, 12)[6..8], ["new", "16 folded"]);
    // Who says as much in its own time is not folded.
    let mut log = self::log(3);
    for sequence in 0..20 {
        log.insert(flood(sequence, 20_000_000));
    }
    assert!(view(&log, 12).iter().all(|row| row.starts_with("spam")));
}

#[test]
fn comings_and_goings_in_a_row_take_one_line() {
    let mut log = log(1);
    let minute = |minute: i64| Timestamp(minute * 60_000_000);
    for number in 0..1000 {
        log.pass(minute(0), 10 + number, &format!("eve-{number} joined"));
        if number == 2 {
            assert_eq!(log.entries.back().unwrap().text(), "eve-0, eve-1 and eve-2 joined");
        }
    }
    assert_eq!(log.len(), 2);
    let words = "1000 times somebody came, went or took another name; the last: eve-999 joined";
    assert_eq!(log.entries.back().unwrap().text(), words);
    log.pass(minute(6), 2000, "later");
    log.insert(Entry::Notice { at: minute(6), place: 2001, text: SafeText::line("a ban"), passings: 0 });
    log.pass(minute(6), 2002, "after it");
    assert_eq!(log.len(), 5, "what is later, or something else, stands by itself");
}
