//! What one reads: the log, marks, search, what calls.

use pyile::api::OpenedHistory;

use super::*;

#[test]
fn a_mark_waits_for_all_even_for_one_that_seemed_gone() {
    use pyile::model::{DeliveryStatus, MessageId, Summary};
    let mut state = room((120, 35));
    let peers = cast();
    // The host of this member is lost for a moment, but still in the roster.
    node(
        &mut state,
        NOW,
        NodeEvent::PeerDown { peer: peers[3].clone(), reason: CloseReason::ConnectionLost },
    );
    node(&mut state, NOW, message(&peers[0], Recipient::Everyone, 50, "short away", true));
    let id = MessageId { author: peers[0].peer_id, epoch: 1, to: Recipient::Everyone, sequence: 50 };
    let mut tell = |peer: usize, status, delivered| {
        let summary = Summary { delivered, total: 3 };
        let peer = peers[peer].clone();
        let reference = None;
        node(&mut state, NOW, NodeEvent::Delivery { id, reference, peer, status, reason: None, summary });
        text(&draw(&state)).into_iter().find(|row| row.contains("short away")).unwrap()
    };
    tell(3, DeliveryStatus::Queued, 0);
    tell(1, DeliveryStatus::Delivered, 1);
    assert!(tell(2, DeliveryStatus::Delivered, 2).contains("… 2/3, not yet dave"));
    assert!(tell(3, DeliveryStatus::Delivered, 3).contains("✓ 3/3"));
}

#[test]
fn unread_mentions_and_new_below_are_told() {
    let mut state = room((120, 35));
    assert!(shows(&state, "● bob (") || shows(&state, "bob"));
    let peers = cast();
    let ann = Recipient::Peer(peers[0].peer_id);
    let effects = node(&mut state, NOW, message(&peers[2], ann, 9, "psst", false));
    assert_eq!(effects[0], Effect::Bell);
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('u'));
    assert!(shows(&state, "to bob only"), "the first unread");
    key(&mut state, KeyCode::Char('a'), KeyModifiers::ALT);
    assert!(shows(&state, "psst"));
    key(&mut state, KeyCode::Char('1'), KeyModifiers::ALT);
    let minute = |number: u64| Timestamp(NOW.0 + 61_000_000 * number.cast_signed());
    for number in 0..60 {
        let event = message(&peers[1], Recipient::Everyone, 100 + number, "more", false);
        node(&mut state, minute(number), event);
    }
    press(&mut state, KeyCode::PageUp);
    for number in 60..67 {
        let event = message(&peers[1], Recipient::Everyone, 200 + number, "below", false);
        node(&mut state, minute(number), event);
    }
    assert!(shows(&state, "7 new below: End"), "{:#?}", text_of(&state));
    key(&mut state, KeyCode::End, KeyModifiers::CONTROL);
    assert!(!shows(&state, "new below"));
}

#[test]
fn search_goes_over_everything_that_was_ever_said() {
    let mut state = room((120, 35));
    let peers = cast();
    ctrl(&mut state, 'f');
    type_text(&mut state, "buil");
    let effects = press(&mut state, KeyCode::Char('d'));
    let network = NetworkId([1; 16]);
    let search = HistoryCommand::Search { network, text: "build".into() };
    assert_eq!(effects, [Effect::Store(StoreCommand::History(search))], "as one types");
    let hit = |place: i64, excerpt: &str| Hit {
        conversation: Recipient::Everyone,
        with: "everyone".into(),
        place,
        at: Timestamp(place),
        from: SafeText::line("bob"),
        excerpt: SafeText::line(excerpt),
    };
    let hits = vec![hit(120_000_000, "the newer build"), hit(60_000_000, "the build of 1970")];
    history(&mut state, HistoryEvent::Found { text: "bui".into(), hits: vec![hit(1, "outdated")] });
    assert!(!shows(&state, "outdated"), "an answer to what is no longer asked");
    history(&mut state, HistoryEvent::Found { text: "build".into(), hits });
    assert!(shows(&state, "1970-01-01 bob: the build of 1970"), "{:#?}", text(&draw(&state)));
    press(&mut state, KeyCode::Down);
    let around = |place| HistoryCommand::Page {
        network,
        conversation: Recipient::Everyone,
        part: Part::Around(place),
    };
    let effects = press(&mut state, KeyCode::Enter);
    assert_eq!(effects, [Effect::Store(StoreCommand::History(around(60_000_000)))]);
    let messages = vec![stored(&peers[1], 1, "the build of 1970"), stored(&peers[2], 2, "the newer build")];
    let event = HistoryEvent::Page { part: Part::Around(60_000_000), page: page_of(messages, false, false) };
    history(&mut state, event);
    assert!(shows(&state, "the build of 1970") && shows(&state, "earlier; to the newest: End"));
    assert_eq!(press(&mut state, KeyCode::Char('y')), [Effect::Copy("the build of 1970".into())]);
    // N goes to the newer match, n back to the older one.
    let effects = press(&mut state, KeyCode::Char('N'));
    assert_eq!(effects, [Effect::Store(StoreCommand::History(around(120_000_000)))]);
    press(&mut state, KeyCode::Char('N'));
    assert!(shows(&state, "no newer match"));
    // G asks for the newest again.
    let newest = HistoryCommand::Page { network, conversation: Recipient::Everyone, part: Part::Newest };
    let effects = press(&mut state, KeyCode::Char('G'));
    assert!(effects.contains(&Effect::Store(StoreCommand::History(newest))), "{effects:?}");
    ctrl(&mut state, 'f');
    type_text(&mut state, "nowhere");
    history(&mut state, HistoryEvent::Found { text: "nowhere".into(), hits: Vec::new() });
    assert!(shows(&state, "no message has words that begin like these"));
}

#[test]
fn what_was_looked_for_stands_among_what_came_after_it() {
    let mut state = room((80, 24));
    let peers = cast();
    let messages = (1..=40).map(|number| stored(&peers[1], number, &format!("word {number}"))).collect();
    let event = HistoryEvent::Page { part: Part::Around(60_000_000), page: page_of(messages, true, false) };
    history(&mut state, event);
    assert!(shows(&state, "word 1") && shows(&state, "word 15"), "{:#?}", text(&draw(&state)));
    press(&mut state, KeyCode::Esc);
    assert_eq!(press(&mut state, KeyCode::Char('y')), [Effect::Copy("word 1".into())], "it is chosen");
}

#[test]
fn a_room_opens_with_what_was_said_before_and_asks_for_more_as_one_scrolls() {
    let mut state = launch((80, 24));
    let peers = cast();
    let listening = NodeEvent::Listening {
        role: pyile::model::Role::Host,
        join_addr: Some("0.0.0.0:4702".parse().unwrap()),
        peer_addr: peers[0].addr,
        peer_id: peers[0].peer_id,
        alias: peers[0].alias.clone(),
        network: SafeText::line("lab"),
        network_id: NetworkId([1; 16]),
    };
    let effects = node(&mut state, NOW, listening);
    let open = HistoryCommand::Open { network: NetworkId([1; 16]) };
    assert_eq!(effects, [Effect::Store(StoreCommand::History(open))]);
    // Somebody who is not here now, and everyone.
    let messages = (101..=300).map(|number| stored(&peers[1], number, &format!("said {number}"))).collect();
    let with_bob = Page {
        conversation: Recipient::Peer(peers[1].peer_id),
        ..page_of(
            vec![StoredMessage { text: SafeText::clean("only you"), ..stored(&peers[1], 1, "") }],
            true,
            true,
        )
    };
    let pages =
        vec![(page_of(messages, false, true), SafeText::line("everyone")), (with_bob, SafeText::line("bob"))];
    history(&mut state, HistoryEvent::Opened(Box::new(OpenedHistory { pages, ..OpenedHistory::default() })));
    assert!(shows(&state, "said 300") && shows(&state, "bob"), "{:#?}", text(&draw(&state)));
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.extend(press(&mut state, KeyCode::PageUp));
    }
    let part = Part::Before(60_000_000 * 101);
    let page = HistoryCommand::Page { network: NetworkId([1; 16]), conversation: Recipient::Everyone, part };
    assert_eq!(asked, [Effect::Store(StoreCommand::History(page))], "once");
    let messages = (1..=101).map(|number| stored(&peers[1], number, &format!("said {number}"))).collect();
    history(&mut state, HistoryEvent::Page { part, page: page_of(messages, true, false) });
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('g'));
    assert!(shows(&state, "said 1") && shows(&state, "1 January 1970"), "{:#?}", text(&draw(&state)));
}

#[test]
fn who_has_a_message_is_shown_for_each() {
    let mut state = room((100, 30));
    press(&mut state, KeyCode::Esc);
    let own = "since ten minutes. dave has the logs";
    for _ in 0..40 {
        let effects = press(&mut state, KeyCode::Char('y'));
        if effects == [Effect::Copy(own.into())] {
            break;
        }
        press(&mut state, KeyCode::Char('k'));
    }
    let effects = press(&mut state, KeyCode::Char('I'));
    let [Effect::Store(StoreCommand::History(HistoryCommand::Info { place, .. }))] = effects[..] else {
        panic!("{effects:?}")
    };
    let delivery = |alias: &str, status, reason| pyile::model::Delivery {
        peer: cast()[1].peer_id,
        alias: pyile::model::Alias::new(alias).unwrap(),
        status,
        reason,
        at: NOW,
    };
    let deliveries = vec![
        delivery("bob", DeliveryStatus::Delivered, None),
        delivery("carol", DeliveryStatus::Queued, None),
        delivery("dave", DeliveryStatus::Failed, Some(FailReason::Expired)),
    ];
    history(&mut state, HistoryEvent::Info { place, deliveries });
    let rows = text(&draw(&state)).join("\n");
    for words in ["bob              ✓ has it since", "carol            … not yet, said", "will not get it"]
    {
        assert!(rows.contains(words), "{rows}");
    }
    press(&mut state, KeyCode::Esc);
    assert!(!shows(&state, "Who has it"));
}

#[test]
fn forgetting_a_conversation_asks_first() {
    let mut state = room((80, 24));
    type_text(&mut state, "/forget");
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "Forget what was said to everyone?"));
    let effects = confirm(&mut state);
    let forget = StoreCommand::Forget { network: NetworkId([1; 16]), conversation: Recipient::Everyone };
    assert_eq!(effects, [Effect::Store(forget)]);
    history(&mut state, HistoryEvent::Forgotten(Recipient::Everyone));
    assert!(!shows(&state, "morning!") && shows(&state, "forgotten here"));
}

#[test]
fn a_frame_with_a_million_messages_wraps_only_what_is_visible() {
    let mut state = empty_room((100, 30));
    let bob = &cast()[1];
    let event =
        message(bob, Recipient::Everyone, 1, "one of a million, long enough to be wrapped once", false);
    for _ in 0..1_000_000 {
        node(&mut state, NOW, event.clone());
    }
    // Drawn a thousand times within the time limit of any test run; wrapping all of it once takes longer.
    for _ in 0..1000 {
        node(&mut state, NOW, event.clone());
        draw(&state);
    }
    press(&mut state, KeyCode::Esc);
    let effects = press(&mut state, KeyCode::Char('g'));
    let part = Part::After(pyile::model::Place::MIN);
    let first = HistoryCommand::Page { network: NetworkId([1; 16]), conversation: Recipient::Everyone, part };
    assert_eq!(effects, [Effect::Store(StoreCommand::History(first))], "the rest is in the history");
    let log = &state.room().unwrap().conversation().unwrap().log;
    assert_eq!(log.len(), pyile::model::limits::LOG_WINDOW, "memory stays flat");
}

#[test]
fn that_all_is_well_is_told_of_the_newest_own_message_only_and_no_mark_takes_a_row() {
    let mut state = room((80, 24));
    let (ann, all) = (&cast()[0], Recipient::Everyone);
    assert!(!shows(&state, "✓ 3/3"), "an older one, which everybody has");
    let mut say = |sequence: u64, text: &str| {
        node(&mut state, NOW, message(ann, all, sequence, text, true));
        for (delivered, peer) in (1..).zip(&cast()[1..]) {
            let id = MessageId { author: ann.peer_id, epoch: 1, to: all, sequence };
            let summary = Summary { delivered, total: 3 };
            let (status, reason, reference) = (DeliveryStatus::Delivered, None, None);
            let event = NodeEvent::Delivery { id, reference, peer: peer.clone(), status, reason, summary };
            node(&mut state, NOW, event);
        }
        text_of(&state)
    };
    let shown = say(3, "and there");
    assert!(shown.iter().any(|row| row.contains("and there") && row.ends_with("✓ 3/3")), "{shown:#?}");
    // A text that fills its row leaves the mark a sign at the edge.
    let shown = say(4, &"x".repeat(37));
    assert!(shown.iter().any(|row| row.ends_with("xxx✓")), "{shown:#?}");
    assert_eq!(shown.iter().filter(|row| row.contains('✓')).count(), 1, "{shown:#?}");
}

#[test]
fn a_line_tells_where_reading_stopped() {
    let is_rule = |row: &String| row.contains("─ new ─");
    let mut state = room((80, 24));
    let bob = &cast()[1];
    let say = |state: &mut State, number: u64| {
        node(state, NOW, message(bob, Recipient::Everyone, 100 + number, &format!("news {number}"), false));
    };
    say(&mut state, 0);
    assert!(!text_of(&state).iter().any(is_rule), "somebody reads it as it comes");
    // The terminal says that nobody looks at it; then another conversation is shown.
    update(&mut state, NOW, Event::Terminal(TerminalEvent::FocusLost));
    say(&mut state, 1);
    say(&mut state, 2);
    update(&mut state, NOW, Event::Terminal(TerminalEvent::FocusGained));
    let rows = text_of(&state);
    let at = rows.iter().position(is_rule).expect("a line");
    assert!(rows[at + 1].contains("news 1") && rows[at - 1].contains("news 0"), "{rows:#?}");
    ctrl(&mut state, 'n');
    say(&mut state, 3);
    ctrl(&mut state, 'p');
    let rows = text_of(&state);
    let at = rows.iter().position(is_rule).expect("a line");
    assert!(rows[at + 1].contains("news 3"), "{rows:#?}");
    node(&mut state, NOW, message(&cast()[0], Recipient::Everyone, 50, "thanks", true));
    assert!(!text_of(&state).iter().any(is_rule), "who answers has read");
}

#[test]
fn what_a_muted_member_says_is_folded_and_calls_nobody() {
    let mut state = room((80, 24));
    let run = |state: &mut State, line: &str| {
        press(state, KeyCode::Char('/'));
        type_text(state, line);
        press(state, KeyCode::Enter)
    };
    run(&mut state, "mute dave");
    assert!(shows(&state, "1 message of dave, muted") && !shows(&state, "the third run"));
    let dave = &cast()[3];
    let called = node(&mut state, NOW, message(dave, Recipient::Everyone, 90, "ann! ann!", false));
    assert_eq!(called, []);
    let to_me = Recipient::Peer(cast()[0].peer_id);
    assert_eq!(node(&mut state, NOW, message(dave, to_me, 91, "psst", false)), []);
    assert!(!text_of(&state)[0].contains("unread"));
    run(&mut state, "mute dave");
    assert!(shows(&state, "ann! ann!") && shows(&state, "the third run"));
}

#[test]
fn the_wheel_scrolls_the_log_and_moves_no_draft() {
    let mut state = room((80, 24));
    type_text(&mut state, "draft");
    let top = |state: &State| text_of(state)[5].clone();
    for number in 0..40 {
        let at = Timestamp(NOW.0 + 61_000_000 * number);
        let sequence = 100 + number.cast_unsigned();
        node(
            &mut state,
            at,
            message(&cast()[1], Recipient::Everyone, sequence, &format!("row {number}"), false),
        );
    }
    let before = top(&state);
    let wheel = |kind| {
        let (column, row, modifiers) = (0, 0, KeyModifiers::NONE);
        Event::Terminal(TerminalEvent::Mouse(crossterm::event::MouseEvent { kind, column, row, modifiers }))
    };
    update(&mut state, NOW, wheel(crossterm::event::MouseEventKind::ScrollUp));
    assert_ne!(top(&state), before);
    assert!(shows(&state, "› draft"));
    update(&mut state, NOW, wheel(crossterm::event::MouseEventKind::ScrollDown));
    assert_eq!(top(&state), before);
}

#[test]
fn whoever_looks_elsewhere_is_told_by_the_title_and_the_bell() {
    let mut state = room((80, 24));
    let carol = &cast()[2];
    let ann = Recipient::Peer(cast()[0].peer_id);
    update(&mut state, NOW, Event::Terminal(TerminalEvent::FocusGained));
    let effects = node(&mut state, NOW, message(carol, ann, 9, "psst", false));
    assert_eq!(effects, [], "no bell for whoever looks at it");
    assert_eq!(state.title(), "(2) lab - pyile");
    update(&mut state, NOW, Event::Terminal(TerminalEvent::FocusLost));
    let effects = node(&mut state, NOW, message(carol, ann, 10, "psst!", false));
    assert_eq!(effects[0], Effect::Bell);
    assert_eq!(state.title(), "(3) lab - pyile");
    ctrl(&mut state, 'n');
    let effects = update(&mut state, NOW, Event::Terminal(TerminalEvent::FocusGained));
    assert_eq!((effects, state.title().as_str()), (vec![], "(2) lab - pyile"), "what bob wrote is read");
    ctrl(&mut state, 'n');
    assert_eq!(state.title(), "lab - pyile");
}
