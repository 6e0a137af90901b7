//! The screen without a terminal: the reducer and the drawing under every key, every size, and hostile text.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

#[path = "support/scene.rs"]
mod scene;

use std::{sync::Arc, time::Duration};

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use pyile::{
    api::{
        Check, Finding, HistoryCommand, HistoryEvent, Hit, LinkState, NodeCommand, NodeEvent, Part,
        StoreCommand, Target,
    },
    app::{
        Effect, Event, Open, Screen, State,
        keymap::{self, Action, Context, TABLE},
        layer::Layer,
        room::{Focus, View},
        update,
    },
    model::{
        CloseReason, Closed, DeliveryStatus, ErrorKind, FailReason, HistoryState, KnownHost, Liveness,
        MessageId, NetworkId, Page, Peer, Penalty, Recipient, SafeText, StoredMessage, Summary, Timestamp,
    },
};
use scene::{
    NOW, cast, choose, ctrl, draw, empty_room, history, key, launch, message, node, press, room, text,
    type_text,
};

fn shows(state: &State, words: &str) -> bool {
    text(&draw(state)).iter().any(|row| row.contains(words))
}

/// A state in which keys are pressed in this context.
fn state_in(context: Context) -> State {
    let mut state = match context {
        Context::Launch | Context::Form => launch((80, 24)),
        _ => room((80, 24)),
    };
    match context {
        Context::Form => choose(&mut state, "Host"),
        Context::Browse => _ = press(&mut state, KeyCode::Esc),
        Context::Admin => _ = press(&mut state, KeyCode::F(3)),
        Context::Log => _ = press(&mut state, KeyCode::F(5)),
        Context::Heartbeat => _ = press(&mut state, KeyCode::F(4)),
        Context::Dialog => _ = ctrl(&mut state, 'c'),
        Context::Prompt => _ = ctrl(&mut state, 'o'),
        Context::Help => _ = press(&mut state, KeyCode::F(1)),
        Context::Launch | Context::Compose | Context::Room | Context::Everywhere => {}
    }
    assert!(state.contexts().contains(&context), "{context:?} in {:?}", state.contexts());
    state
}

/// Moves to the button that does it, which is the last, and presses it.
fn confirm(state: &mut State) -> Vec<Effect> {
    while let Some(Layer::Dialog(dialog)) = state.layers.last()
        && dialog.at + 1 < dialog.items.len()
    {
        press(state, KeyCode::Right);
    }
    press(state, KeyCode::Enter)
}

#[test]
fn every_row_of_the_keymap_fires_and_is_told() {
    for binding in TABLE {
        for context in binding.contexts {
            for bound in binding.keys {
                let mut state = state_in(*context);
                let contexts = state.contexts();
                let event = KeyEvent::new(bound.code, bound.modifiers);
                let found = keymap::action(&contexts, &event);
                // A closer context may bind the same key; then this row is not what fires here.
                let closer = contexts.iter().take_while(|other| *other != context).any(|other| {
                    TABLE.iter().any(|row| row.contexts.contains(other) && row.keys.contains(bound))
                });
                assert!(closer || found == Some(binding.action), "{bound} in {context:?}");
                update(&mut state, NOW, Event::Terminal(TerminalEvent::Key(event)));
                draw(&state);
            }
            let rows = keymap::help(&[*context]);
            assert!(rows.iter().any(|(_, help)| *help == binding.help), "{} is in the help", binding.help);
        }
    }
}

#[test]
fn a_message_is_sent_to_whom_the_composer_names() {
    let mut state = room((80, 24));
    assert!(shows(&state, "to everyone (3)"));
    type_text(&mut state, "hello");
    let send =
        |to, text: &str| vec![Effect::Node(NodeCommand::Send { to, text: text.into(), reference: None })];
    assert_eq!(press(&mut state, KeyCode::Enter), send(Target::Everyone, "hello"));
    assert_eq!(press(&mut state, KeyCode::Enter), vec![], "nothing is left to send");
    ctrl(&mut state, 'n');
    assert!(shows(&state, "to bob only"));
    type_text(&mut state, "line one");
    key(&mut state, KeyCode::Enter, KeyModifiers::ALT);
    type_text(&mut state, "line two");
    let bob = Target::from(Recipient::Peer(cast()[1].peer_id));
    assert_eq!(press(&mut state, KeyCode::Enter), send(bob, "line one\nline two"));
}

#[test]
fn a_draft_is_never_lost() {
    let mut state = room((80, 24));
    type_text(&mut state, "half a thou");
    for code in [KeyCode::Esc, KeyCode::F(3), KeyCode::F(5), KeyCode::Esc] {
        press(&mut state, code);
    }
    ctrl(&mut state, 'n');
    ctrl(&mut state, 'p');
    assert!(shows(&state, "half a thou"));
    ctrl(&mut state, 'c');
    assert!(!shows(&state, "half a thou") && shows(&state, "put aside"));
    press(&mut state, KeyCode::Up);
    assert!(shows(&state, "half a thou"));
    let refused = NodeCommand::Send { to: Target::Everyone, text: "busy".into(), reference: None };
    ctrl(&mut state, 'u');
    update(&mut state, NOW, Event::Refused(refused));
    assert!(shows(&state, "busy; try again") && shows(&state, "› busy"));
}

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
    assert!(tell(2, DeliveryStatus::Delivered, 2).contains("… 2/3, dave waits"));
    assert!(tell(3, DeliveryStatus::Delivered, 3).contains("✓ 3/3"));
}

#[test]
fn a_paste_never_sends() {
    let mut state = room((80, 24));
    let lines = "one line\r\n".repeat(500);
    let effects = update(&mut state, NOW, Event::Terminal(TerminalEvent::Paste(lines)));
    assert_eq!(effects, vec![]);
    assert!(shows(&state, "to everyone"));
    let hostile = "\x1b]52;c;aGk=\x07\x1b[2J";
    update(&mut state, NOW, Event::Terminal(TerminalEvent::Paste(hostile.into())));
    assert!(shows(&state, "␛]52;c;aGk=␇␛[2J"));
}

#[test]
fn bans_ask_first_and_cancel_has_the_focus() {
    let mut state = room((120, 35));
    press(&mut state, KeyCode::F(3));
    press(&mut state, KeyCode::Char('b'));
    assert!(shows(&state, "Ban bob?"), "the first member that is not me");
    assert_eq!(press(&mut state, KeyCode::Enter), vec![], "Cancel");
    assert!(state.layers.is_empty());
    press(&mut state, KeyCode::Char('b'));
    let by_key = |peer: &pyile::model::Peer| {
        let peer = Some(peer.peer_id.into());
        vec![Effect::Node(NodeCommand::Ban { peer, addr: None, reason: None })]
    };
    for letter in ['y', 'Y', 'n', 'b'] {
        assert_eq!(press(&mut state, KeyCode::Char(letter)), vec![], "no letter does it");
    }
    assert_eq!(confirm(&mut state), by_key(&cast()[1]));
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('b'));
    for _ in 0..2 {
        press(&mut state, KeyCode::BackTab);
    }
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "[x] by address") && shows(&state, "[x] then set a new password"));
    let effects = confirm(&mut state);
    let addr = Some(cast()[1].addr.ip());
    let peer = Some(cast()[1].peer_id.into());
    assert_eq!(effects, vec![Effect::Node(NodeCommand::Ban { peer, addr, reason: None })]);
    assert!(shows(&state, "New password"));
    type_text(&mut state, "next one");
    assert!(!shows(&state, "next one"), "hidden");
    let effects = press(&mut state, KeyCode::Enter);
    assert!(matches!(&effects[..], [Effect::Node(NodeCommand::SetPassword(_))]));
    press(&mut state, KeyCode::Char('G'));
    press(&mut state, KeyCode::Char('u'));
    assert!(shows(&state, "Lift the ban on mallory"));
}

#[test]
fn commands_say_what_they_take() {
    let mut state = room((80, 24));
    press(&mut state, KeyCode::Char('/'));
    assert!(shows(&state, "/msg NAME TEXT"));
    type_text(&mut state, "msg bo");
    press(&mut state, KeyCode::Tab);
    type_text(&mut state, "hi there");
    let effects = press(&mut state, KeyCode::Enter);
    let to = Target::from(Recipient::Peer(cast()[1].peer_id));
    assert_eq!(
        effects,
        vec![Effect::Node(NodeCommand::Send { to, text: "hi there".into(), reference: None })]
    );
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "ban nobody");
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "nobody called nobody is here"));
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('/'));
    press(&mut state, KeyCode::Char('/'));
    assert!(state.layers.is_empty());
    type_text(&mut state, "etc/passwd");
    let effects = press(&mut state, KeyCode::Enter);
    assert!(matches!(&effects[..], [Effect::Node(NodeCommand::Send { text, .. })] if text == "/etc/passwd"));
}

#[test]
fn names_are_completed() {
    let mut state = room((80, 24));
    type_text(&mut state, "car");
    press(&mut state, KeyCode::Tab);
    assert!(shows(&state, "› carol:"));
    type_text(&mut state, "and @DA");
    press(&mut state, KeyCode::Tab);
    assert!(shows(&state, "carol: and @dave"));
}

/// The form to join with everything filled in; what is missing is told before.
fn joining() -> State {
    let mut state = launch((80, 24));
    choose(&mut state, "Join");
    for _ in 0..3 {
        press(&mut state, KeyCode::Enter);
    }
    assert!(shows(&state, "the host's name or address"), "{:#?}", text(&draw(&state)));
    type_text(&mut state, "10.0.0.1");
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::Tab);
    type_text(&mut state, "secret");
    state
}

#[test]
fn a_failed_join_keeps_every_field_and_names_the_cause_beside_it() {
    let mut state = joining();
    assert!(shows(&state, "••••••") && !shows(&state, "secret"));
    ctrl(&mut state, 'r');
    assert!(shows(&state, "secret"));
    let effects = press(&mut state, KeyCode::Enter);
    assert!(matches!(&effects[..], [Effect::Open(Open::Join { target, .. })] if target == "10.0.0.1"));
    for (reason, words) in [
        (CloseReason::WrongPassword, "2 attempts are left"),
        (CloseReason::Unreachable, "nothing listens"),
        (CloseReason::AliasTaken, "belongs to another"),
        (CloseReason::Banned, "has banned you"),
    ] {
        node(&mut state, NOW, NodeEvent::Left { reason, message: SafeText::line(words), undelivered: 0 });
        assert!(shows(&state, words) && shows(&state, "10.0.0.1") && shows(&state, "secret"));
    }
}

#[test]
fn a_session_that_ends_comes_back_to_the_launch_screen_with_the_reason() {
    let mut state = room((80, 24));
    let left = NodeEvent::Left {
        reason: CloseReason::Kicked,
        message: SafeText::line("the host has removed you (too loud)"),
        undelivered: 0,
    };
    let effects = node(&mut state, NOW, left);
    assert_eq!(effects, vec![Effect::Store(StoreCommand::Recents)]);
    assert!(matches!(state.screen, Screen::Launch(_)));
    assert!(shows(&state, "the host has removed you (too loud)"));
    update(&mut state, NOW, Event::OpenFailed(Closed::new(CloseReason::CannotListen, "port in use")));
    assert!(shows(&state, "port in use"));
}

#[test]
fn leaving_asks_and_tells_a_host_what_it_means() {
    let mut state = room((80, 24));
    ctrl(&mut state, 'c');
    assert!(shows(&state, "the network closes for 3 other(s)"));
    press(&mut state, KeyCode::Esc);
    assert!(state.layers.is_empty());
    ctrl(&mut state, 'c');
    assert_eq!(confirm(&mut state), vec![Effect::Node(NodeCommand::Leave)]);
    let left = NodeEvent::Left { reason: CloseReason::Left, message: SafeText::line(""), undelivered: 0 };
    assert_eq!(node(&mut state, NOW, left), vec![Effect::Quit]);
    ctrl(&mut state, 'z');
    assert!(shows(&state, "Suspend the host?"));
}

#[test]
fn unread_mentions_and_new_below_are_told() {
    let mut state = room((120, 35));
    assert!(shows(&state, "● bob (") || shows(&state, "bob"));
    let peers = cast();
    let ann = Recipient::Peer(peers[0].peer_id);
    let effects = node(&mut state, NOW, message(&peers[2], ann, 9, "psst", false));
    assert_eq!(effects, vec![Effect::Bell]);
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

fn stored(from: &Arc<Peer>, sequence: u64, said: &str) -> StoredMessage {
    let minute = 60_000_000 * sequence.cast_signed();
    StoredMessage {
        id: MessageId { author: from.peer_id, epoch: 1, to: Recipient::Everyone, sequence },
        alias: from.alias.clone(),
        text: SafeText::clean(said),
        sent_at: Timestamp(minute),
        at: Timestamp(minute),
        place: minute,
        reference: None,
        claims: None,
        missed: 0,
        summary: Summary::default(),
        deliveries: Vec::new(),
    }
}

fn page_of(messages: Vec<StoredMessage>, is_first: bool, is_last: bool) -> Page {
    Page { conversation: Recipient::Everyone, messages, is_first, is_last }
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
    history(&mut state, HistoryEvent::Opened(pages));
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
    for words in ["bob              ✓ has it since", "carol            … waits since", "will not get it"]
    {
        assert!(rows.contains(words), "{rows}");
    }
    press(&mut state, KeyCode::Esc);
    assert!(!shows(&state, "Who has it"));
}

#[test]
fn what_is_wrong_and_stays_so_stands_above_the_room() {
    let mut state = room((80, 24));
    let full = NodeEvent::History {
        state: HistoryState::Unsaved,
        message: SafeText::line("the history is not being saved (the disk is full)"),
    };
    node(&mut state, NOW, full);
    assert!(shows(&state, "! the history is not being saved"));
    let saved =
        NodeEvent::History { state: HistoryState::Saved, message: SafeText::line("there is room again") };
    node(&mut state, NOW, saved);
    assert!(!shows(&state, "! the history is not being saved") && shows(&state, "there is room again"));
    let lost = |alone_until| NodeEvent::Link {
        state: LinkState::Waiting,
        message: SafeText::line("connection lost; trying again"),
        retry_in: None,
        alone_until,
    };
    node(&mut state, NOW, lost(Some(NOW.plus(std::time::Duration::from_secs(600)))));
    assert!(shows(&state, "the host is away: nobody new can join"), "{:#?}", text(&draw(&state)));
    node(&mut state, NOW, lost(None));
    assert!(shows(&state, "out of the network until the host is back"));
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
fn a_new_host_is_told_how_others_join() {
    let state = empty_room((80, 24));
    assert!(shows(&state, "pyile join 192.168.1.1:4702"), "{:#?}", text(&draw(&state)));
}

#[test]
fn without_colours_everything_is_still_told_apart() {
    let mut state = room((120, 35));
    state.defaults.color = false;
    let buffer = draw(&state);
    assert!(buffer.content.iter().all(|cell| cell.fg == ratatui::style::Color::Reset));
    for sign in ["◌ carol", "✗ not dave"] {
        assert!(shows(&state, sign), "{sign}");
    }
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

fn any_key() -> impl Strategy<Value = KeyEvent> {
    let code = prop_oneof![
        any::<char>().prop_map(KeyCode::Char),
        proptest::char::range(' ', '~').prop_map(KeyCode::Char),
        (1_u8..13).prop_map(KeyCode::F),
        proptest::sample::select(vec![
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Tab,
            KeyCode::BackTab,
            KeyCode::Backspace,
            KeyCode::Delete,
            KeyCode::Left,
            KeyCode::Right,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::PageUp,
            KeyCode::PageDown,
        ]),
    ];
    let modifiers =
        proptest::sample::select(vec![KeyModifiers::NONE, KeyModifiers::CONTROL, KeyModifiers::ALT]);
    (code, modifiers).prop_map(|(code, modifiers)| KeyEvent::new(code, modifiers))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn any_keys_at_any_size_never_panic(
        keys in proptest::collection::vec(any_key(), 0..120),
        sizes in proptest::collection::vec((1_u16..140, 1_u16..45), 1..8),
        in_room in any::<bool>(),
    ) {
        let mut state = if in_room { room((80, 24)) } else { launch((80, 24)) };
        let every = keys.len() / sizes.len() + 1;
        for (at, event) in keys.into_iter().enumerate() {
            if at % every == 0 {
                let (columns, rows) = sizes[at / every];
                update(&mut state, NOW, Event::Terminal(TerminalEvent::Resize(columns, rows)));
            }
            update(&mut state, NOW, Event::Terminal(TerminalEvent::Key(event)));
            draw(&state);
        }
        let is_quiet = |layer: &Layer| !matches!(layer, Layer::Help { .. });
        let _ = state.layers.iter().all(is_quiet);
    }

    #[test]
    fn hostile_text_reaches_no_cell(raw in "[\\x00-\\x1f\\x7f-\\u{9f}\u{202e}\u{200b}\u{e0041}a-z 日👩\u{301}]{0,200}") {
        let mut state = room((80, 24));
        let bob = &cast()[1];
        let event = NodeEvent::Message {
            id: pyile::model::MessageId { author: bob.peer_id, epoch: 9, to: Recipient::Everyone, sequence: 1 },
            from: bob.clone(),
            to: Recipient::Everyone,
            text: SafeText::clean(&raw),
            sent_at: NOW,
            own: false,
            missed: 3,
                late: false,
                claims: None,
reference: None,
                came_at: NOW,
                place: 1,
        };
        node(&mut state, NOW, event);
        node(&mut state, NOW, NodeEvent::error(pyile::model::ErrorKind::Recv, &raw));
        for cell in &draw(&state).content {
            for c in cell.symbol().chars() {
                prop_assert!(!c.is_control());
                let joins = matches!(u32::from(c), 0xFE0E | 0xFE0F | 0x200C);
                prop_assert!(joins || !pyile::model::text::is_invisible(c));
            }
            prop_assert!(cell.symbol().chars().count() <= 17);
        }
    }
}

#[test]
fn the_views_and_focuses_are_what_the_keys_say() {
    let mut state = room((80, 24));
    for (code, view) in [
        (KeyCode::F(3), View::Admin),
        (KeyCode::F(4), View::Heartbeat),
        (KeyCode::F(5), View::Log),
        (KeyCode::F(2), View::Chat),
    ] {
        press(&mut state, code);
        assert_eq!(state.room().unwrap().shown.view, view);
    }
    assert_eq!(state.room().unwrap().shown.focus, Focus::Compose);
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.room().unwrap().shown.focus, Focus::Browse);
    press(&mut state, KeyCode::Char('i'));
    assert_eq!(state.room().unwrap().shown.focus, Focus::Compose);
    for key in ["Heartbeat", "Banned"] {
        press(&mut state, KeyCode::BackTab);
        let _ = key;
    }
    assert!(shows(&state, "Heartbeat"), "a key brings the pane that is folded away");
    assert_eq!(
        keymap::action(&[Context::Room], &KeyEvent::new(KeyCode::F(2), KeyModifiers::NONE)),
        Some(Action::ViewChat)
    );
}

#[test]
fn what_is_refused_stands_in_the_composer_again() {
    let mut state = room((80, 24));
    type_text(&mut state, "//too long for them");
    let effects = press(&mut state, KeyCode::Enter);
    let [Effect::Node(NodeCommand::Send { to, text, .. })] = &effects[..] else { panic!("{effects:?}") };
    let refused = Some(Box::new((to.clone(), text.clone())));
    let message = SafeText::line("the text takes 3000 bytes");
    let error = NodeEvent::Error { kind: ErrorKind::Send, message, reference: None, refused };
    node(&mut state, NOW, error.clone());
    assert!(shows(&state, "//too long for them") && shows(&state, "the text takes 3000 bytes"));
    // What was begun meanwhile is worth more.
    ctrl(&mut state, 'u');
    type_text(&mut state, "other");
    node(&mut state, NOW, error);
    assert!(shows(&state, "other") && !shows(&state, "//too long"));
}

#[test]
fn a_network_that_becomes_classic_says_so_and_takes_no_key() {
    let mut state = room((120, 35));
    type_text(&mut state, "my ");
    node(&mut state, NOW, NodeEvent::Cleartext { allowed: false, asked: true });
    type_text(&mut state, "yes");
    assert!(shows(&state, "my yes"));
    assert!(shows(&state, "! classic peers are here, and get nothing of yours: /cleartext on"));
    ctrl(&mut state, 'u');
    type_text(&mut state, "/cleartext off");
    let effects = press(&mut state, KeyCode::Enter);
    assert_eq!(effects, [Effect::Node(NodeCommand::Cleartext { allow: false })]);
    node(&mut state, NOW, NodeEvent::Cleartext { allowed: false, asked: false });
    assert!(!shows(&state, "! classic peers"));
}

#[test]
fn letting_classic_peers_in_is_asked_once() {
    let mut state = launch((80, 24));
    choose(&mut state, "Host");
    type_text(&mut state, "open sesame");
    press(&mut state, KeyCode::Tab);
    type_text(&mut state, "x ");
    assert_eq!(press(&mut state, KeyCode::Enter), []);
    assert!(shows(&state, "Let classic peers in?"));
    press(&mut state, KeyCode::Esc);
    assert!(shows(&state, "[x] let Python peers in too"), "everything typed stays");
    press(&mut state, KeyCode::Enter);
    let effects = confirm(&mut state);
    assert!(matches!(&effects[..], [Effect::Open(Open::Host { classic: true, .. })]), "{effects:?}");
    update(&mut state, NOW, Event::OpenFailed(CloseReason::CannotListen.into()));
    press(&mut state, KeyCode::Tab);
    let effects = press(&mut state, KeyCode::Enter);
    press(&mut state, KeyCode::Enter);
    assert!(!shows(&state, "Let classic peers in?"), "{effects:?}");
}

#[test]
fn a_text_that_classic_peers_cannot_read_says_so_while_it_is_written() {
    let mut state = room((120, 35));
    let noah = scene::classic_peer(7, "noah");
    let peers = cast().into_iter().chain([noah]).collect();
    let paste = |state: &mut State, count| {
        update(state, NOW, Event::Terminal(TerminalEvent::Paste("x".repeat(count))));
    };
    paste(&mut state, 1800);
    assert!(!shows(&state, "too long"), "there are none");
    node(&mut state, NOW, NodeEvent::Cleartext { allowed: true, asked: false });
    node(&mut state, NOW, NodeEvent::Roster { version: 9, peers });
    assert!(shows(&state, "to everyone, maybe too long for 1 of 4"));
    node(&mut state, NOW, NodeEvent::Cleartext { allowed: false, asked: false });
    assert!(!shows(&state, "too long"), "they get nothing anyway");
}

#[test]
fn help_loses_no_letter_on_a_small_screen_and_names_a_key_once() {
    for context in [Context::Form, Context::Room, Context::Admin] {
        let mut state = state_in(context);
        update(&mut state, NOW, Event::Terminal(TerminalEvent::Resize(40, 12)));
        press(&mut state, KeyCode::F(1));
        let mut shown = String::new();
        for _ in 0..100 {
            for row in text(&draw(&state)).iter().skip(1) {
                assert!(!row.contains('…'), "{row}");
                shown.push_str(row);
            }
            press(&mut state, KeyCode::Down);
        }
    }
    let help = keymap::help(&state_in(Context::Admin).contexts());
    assert_eq!(help.iter().filter(|(keys, _)| keys == "u").count(), 1, "{help:?}");
}

#[test]
fn without_its_host_a_member_does_not_know_how_the_others_are() {
    let mut state = room((120, 35));
    let (host, join_addr) = (cast()[1].clone(), "192.168.1.2:4702".parse().unwrap());
    node(&mut state, NOW, NodeEvent::Handover { host, join_addr });
    press(&mut state, KeyCode::F(4));
    assert!(shows(&state, "via host"), "{:#?}", text(&draw(&state)));
    let lost = NodeEvent::Link {
        state: LinkState::Waiting,
        message: SafeText::line("connection lost; trying again"),
        retry_in: None,
        alone_until: Some(NOW),
    };
    node(&mut state, NOW, lost);
    assert!(shows(&state, "unknown") && !shows(&state, "via host"));
}

#[test]
fn what_the_screen_remembers_is_bounded() {
    let mut state = room((80, 24));
    let ann = cast()[1].clone();
    for number in 0..3000 {
        let at = Timestamp(NOW.0 + number * 1_000_000);
        let (rtt, alive) = (Some(Duration::from_millis(1)), Liveness::Alive);
        for event in [
            NodeEvent::PeerDown { peer: ann.clone(), reason: CloseReason::Left },
            NodeEvent::PeerUp { peer: ann.clone() },
            NodeEvent::Heartbeat { peer: ann.clone(), state: alive, rtt, missed: 0 },
        ] {
            node(&mut state, at, event);
        }
    }
    let room = state.room().unwrap();
    assert_eq!(room.log.len(), 2000);
    let log = &room.conversation().unwrap().log;
    assert!(log.len() <= 2 * 1000, "{}", log.len());
    for _ in 0..100 {
        let (rtt, alive) = (Some(Duration::from_millis(1)), Liveness::Alive);
        let beat = NodeEvent::Heartbeat { peer: ann.clone(), state: alive, rtt, missed: 0 };
        node(&mut state, NOW, beat);
    }
    assert_eq!(state.room().unwrap().peers[&ann.peer_id].rtts.len(), 32);
}

#[test]
fn a_host_that_is_examined_without_end_fills_no_screen() {
    let mut state = joining();
    press(&mut state, KeyCode::Enter);
    let closed = Closed::new(CloseReason::Unreachable, "no answer");
    let effects = update(&mut state, NOW, Event::OpenFailed(closed));
    assert_eq!(effects, [Effect::Diagnose("10.0.0.1".to_owned())]);
    for number in 0..1000 {
        let finding = Finding::good(Check::Route, &format!("found {number}"));
        update(&mut state, NOW, Event::Found("10.0.0.1".to_owned(), finding));
    }
    let Screen::Launch(launch) = &state.screen else { panic!("no launch screen") };
    assert_eq!(launch.form.as_ref().unwrap().findings.len(), 16);
}

#[test]
fn an_address_that_is_held_back_is_shown_in_admin_and_forgiven_there() {
    let mut state = room((120, 35));
    let addr = "192.168.1.99".parse().unwrap();
    let penalties = vec![Penalty { addr, waiting: 12 }];
    node(&mut state, NOW, NodeEvent::Admission { bans: Vec::new(), attempts: Vec::new(), penalties });
    press(&mut state, KeyCode::F(3));
    assert!(shows(&state, "192.168.1.99") && shows(&state, "held back, 12 wait"));
    for _ in 0..3 {
        press(&mut state, KeyCode::Down);
    }
    press(&mut state, KeyCode::Char('u'));
    assert!(shows(&state, "Let 192.168.1.99 begin anew?"));
    let effects = confirm(&mut state);
    let unban = NodeCommand::Unban { peer: None, addr: Some(addr), reason: None };
    assert_eq!(effects, [Effect::Node(unban)]);
    node(
        &mut state,
        NOW,
        NodeEvent::Admission { bans: Vec::new(), attempts: Vec::new(), penalties: Vec::new() },
    );
    assert!(!shows(&state, "held back"));
}

/// What is written to a terminal, counted.
#[derive(Clone, Default)]
struct Wire(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_typed_key_and_a_message_that_comes_cost_few_bytes() {
    let mut state = room((80, 24));
    let wire = Wire::default();
    let writer = pyile::terminal::writer::Writer::new(wire.clone(), || Ok((80, 24)));
    let mut terminal = ratatui::Terminal::new(writer).unwrap();
    let mut cost = |state: &State| {
        terminal.draw(|frame| pyile::ui::draw(state, frame)).unwrap();
        std::mem::take(&mut *wire.0.lock().unwrap())
    };
    let first = cost(&state);
    assert!(first.len() < 80 * 24 * 3, "{}", first.len());
    assert!(cost(&state).is_empty(), "what has not changed");
    press(&mut state, KeyCode::Char('h'));
    cost(&state);
    for typed in ['e', 'l', 'x', 'é', 'я'] {
        press(&mut state, KeyCode::Char(typed));
        let bytes = cost(&state);
        assert!(bytes.len() <= 4, "{typed}: {:?}", String::from_utf8_lossy(&bytes));
    }
    let bob = &cast()[1];
    node(&mut state, NOW, message(bob, Recipient::Everyone, 77, "lunch at twelve, as usual?", false));
    let bytes = cost(&state);
    assert!(bytes.len() <= 1200, "{}: {:?}", bytes.len(), String::from_utf8_lossy(&bytes));
}

#[test]
fn names_are_whole_and_the_log_keeps_its_times_and_56_columns_at_every_usual_width() {
    for width in [80, 100, 110, 119, 120, 160] {
        let mut state = empty_room((width, 24));
        let mut peers = cast();
        let mut host = pyile::model::Peer::clone(&peers[1]);
        host.alias = pyile::model::Alias::new("bartholomew").unwrap();
        host.role = pyile::model::Role::Host;
        peers[1] = Arc::new(host);
        node(&mut state, NOW, NodeEvent::Roster { version: 2, peers: peers.clone() });
        node(&mut state, NOW, message(&peers[1], Recipient::Everyone, 1, &"word ".repeat(40), false));
        let shown = text(&draw(&state));
        let first = shown.iter().find(|row| row.contains("word")).unwrap();
        assert!(shown.iter().any(|row| row.starts_with(" ● bartholomew")), "{width}: {shown:#?}");
        assert!(first.contains(':'), "{width}: the time: {first}");
        let areas = pyile::app::layout::areas((width, 24), state.room().unwrap());
        assert!(areas.main.width >= 56, "{width}: {areas:?}");
    }
}

#[test]
fn three_wrong_passwords_are_told_alike_by_attempts_and_banned() {
    let mut state = room((120, 35));
    press(&mut state, KeyCode::F(3));
    let addr = "203.0.113.9".parse().unwrap();
    let ban = pyile::model::Ban {
        peer_id: None,
        alias: None,
        addr: Some(addr),
        reason: "3 wrong passwords".to_owned(),
        since: NOW,
        prefix: None,
        automatic: true,
    };
    let admission = NodeEvent::Admission { bans: vec![ban], attempts: vec![], penalties: vec![] };
    node(&mut state, NOW, admission);
    assert!(
        shows(&state, "3 wrong passwords") && !shows(&state, "no wrong passwords"),
        "{:#?}",
        text(&draw(&state))
    );
}

#[test]
fn the_selected_network_of_many_is_in_sight() {
    for size in [(80, 24), (40, 12)] {
        let mut state = launch(size);
        let Screen::Launch(launch) = &mut state.screen else { panic!("no launch screen") };
        let first = launch.recents[0].clone();
        launch.recents = (0..60)
            .map(|number| KnownHost { network: format!("net-{number:02}"), ..first.clone() })
            .collect();
        for number in 0..60 {
            let Screen::Launch(launch) = &mut state.screen else { panic!("no launch screen") };
            launch.at = number;
            let rows = text(&draw(&state));
            let name = format!("▌ net-{number:02}");
            assert!(rows.iter().any(|row| row.contains(&name)), "{size:?}: {rows:#?}");
        }
    }
}

#[test]
fn the_key_stands_beside_names_that_are_one_letter_apart() {
    for (names, are_close) in [
        (["ann", "bob", "rob"], true),
        (["ann", "bobby", "bobbby"], true),
        (["ann", "marc", "macr"], true),
        (["ann", "bob", "robert"], false),
    ] {
        let mut state = empty_room((100, 24));
        let named = |(peer, name): (&Arc<Peer>, &str)| {
            Arc::new(Peer { alias: pyile::model::Alias::new(name).unwrap(), ..Peer::clone(peer) })
        };
        let peers: Vec<Arc<Peer>> = cast().iter().zip(names).map(named).collect();
        node(&mut state, NOW, NodeEvent::Roster { version: 2, peers: peers.clone() });
        for (at, peer) in peers.iter().enumerate() {
            let beside = format!("{} {}", peer.alias, peer.peer_id.short());
            assert_eq!(shows(&state, &beside), are_close && at > 0, "{beside}");
        }
        ctrl(&mut state, 'n');
        let to = |peer: &Arc<Peer>| format!("to {} ({}) only", peer.alias, peer.peer_id.short());
        assert_eq!(peers[1..].iter().any(|peer| shows(&state, &to(peer))), are_close);
    }
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

fn text_of(state: &State) -> Vec<String> {
    text(&draw(state))
}

#[test]
fn what_was_sent_before_comes_back_with_up_and_the_draft_with_down() {
    let mut state = room((80, 24));
    type_text(&mut state, "half");
    press(&mut state, KeyCode::Up);
    assert!(shows(&state, "› on my way"));
    press(&mut state, KeyCode::Up);
    assert!(shows(&state, "› since ten minutes"));
    press(&mut state, KeyCode::Up);
    assert!(shows(&state, "› since ten minutes"), "there is nothing before it");
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Down);
    assert!(shows(&state, "› half"));
    // Neither sending nor changing what came back loses the draft.
    press(&mut state, KeyCode::Up);
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "› half"));
    press(&mut state, KeyCode::Up);
    type_text(&mut state, " now");
    press(&mut state, KeyCode::Down);
    assert!(shows(&state, "› on my way now"), "what was changed stays");
    ctrl(&mut state, 'c');
    assert!(shows(&state, "› half"));
    ctrl(&mut state, 'u');
    press(&mut state, KeyCode::Up);
    assert!(shows(&state, "› on my way now"), "what was put aside");
    ctrl(&mut state, 'r');
    type_text(&mut state, "LOGS");
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "› since ten minutes. dave has the logs") && shows(&state, "stashed draft"));
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
    assert!(shows(&state, "1 more message of dave") && !shows(&state, "the third run"));
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
fn what_somebody_does_begins_with_its_name() {
    let mut state = room((80, 24));
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "me waves");
    let to = Target::from(Recipient::Everyone);
    let sent = NodeCommand::Send { to, text: "/me waves".to_owned(), reference: None };
    assert_eq!(press(&mut state, KeyCode::Enter), [Effect::Node(sent)]);
    node(&mut state, NOW, message(&cast()[1], Recipient::Everyone, 80, "/me nods", false));
    assert!(shows(&state, "*  bob nods"), "{:#?}", text_of(&state));
}

#[test]
fn themes_are_seen_while_they_are_chosen_and_nicks_have_hues_of_their_own() {
    let mut state = room((120, 35));
    let accent = |state: &State| draw(state)[(0, 2)].fg;
    let before = accent(&state);
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "theme");
    press(&mut state, KeyCode::Enter);
    type_text(&mut state, "light");
    assert_ne!(accent(&state), before, "a look at it");
    press(&mut state, KeyCode::Esc);
    assert_eq!(accent(&state), before, "not chosen");
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "theme light");
    press(&mut state, KeyCode::Enter);
    assert_ne!(accent(&state), before);
    // As many members as there are hues, whatever their keys.
    let peers: Vec<Arc<Peer>> =
        (0..9).map(|number| scene::peer(number * 8 + 1, &format!("peer{number}"))).collect();
    let mut state = empty_room((120, 35));
    let ann = cast()[0].clone();
    let roster: Vec<Arc<Peer>> = std::iter::once(ann).chain(peers[1..].iter().cloned()).collect();
    node(&mut state, NOW, NodeEvent::Roster { version: 5, peers: roster });
    let room = state.room().unwrap();
    let hues: std::collections::HashSet<usize> =
        peers[1..].iter().map(|peer| room.hue(&peer.peer_id)).collect();
    assert_eq!(hues.len(), 8);
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
fn a_form_that_was_left_keeps_what_was_typed() {
    let mut state = launch((80, 24));
    choose(&mut state, "Join");
    type_text(&mut state, "10.0.0.7");
    press(&mut state, KeyCode::Esc);
    choose(&mut state, "Join");
    assert!(shows(&state, "10.0.0.7"));
    press(&mut state, KeyCode::Esc);
    choose(&mut state, "lab");
    assert!(!shows(&state, "10.0.0.7") && shows(&state, "192.168.1.66"), "another one");
}

#[test]
fn an_answer_begins_with_a_quote_and_emoji_are_completed_by_their_names() {
    let mut state = room((80, 24));
    type_text(&mut state, "draft");
    press(&mut state, KeyCode::Esc);
    for letter in ['k', 'r'] {
        press(&mut state, KeyCode::Char(letter));
    }
    let rows = text_of(&state);
    let quote = rows.iter().position(|row| row.contains("› > dave: the third run is odd")).expect("a quote");
    assert!(rows[quote + 1].contains("draft"), "{rows:#?}");
    ctrl(&mut state, 'c');
    type_text(&mut state, "so :smil");
    press(&mut state, KeyCode::Tab);
    assert!(shows(&state, "so 😄") || shows(&state, "so 😊"), "{:#?}", text_of(&state));
}

#[test]
fn a_message_of_many_lines_asks_before_it_goes() {
    let mut state = room((80, 24));
    update(&mut state, NOW, Event::Terminal(TerminalEvent::Paste("line\n".repeat(30))));
    assert_eq!(press(&mut state, KeyCode::Enter), []);
    assert!(shows(&state, "Send a long message?") && shows(&state, "30 lines"));
    press(&mut state, KeyCode::Esc);
    assert!(shows(&state, "line"), "nothing is lost");
    press(&mut state, KeyCode::Enter);
    assert!(matches!(&confirm(&mut state)[..], [Effect::Node(NodeCommand::Send { .. })]));
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
    assert_eq!(effects, [Effect::Bell]);
    assert_eq!(state.title(), "(3) lab - pyile");
    ctrl(&mut state, 'n');
    let effects = update(&mut state, NOW, Event::Terminal(TerminalEvent::FocusGained));
    assert_eq!((effects, state.title().as_str()), (vec![], "(2) lab - pyile"), "what bob wrote is read");
    ctrl(&mut state, 'n');
    assert_eq!(state.title(), "lab - pyile");
}

#[test]
fn esc_twice_or_a_letter_that_does_nothing_is_back_to_writing() {
    let mut state = room((80, 24));
    let focus = |state: &State| state.room().unwrap().shown.focus;
    press(&mut state, KeyCode::Esc);
    assert_eq!(focus(&state), Focus::Browse);
    press(&mut state, KeyCode::Esc);
    assert_eq!(focus(&state), Focus::Compose);
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('z'));
    assert!(shows(&state, "› z") && shows(&state, "writing again"));
}

#[test]
fn a_member_sees_what_only_the_host_can_do_and_why_it_cannot() {
    let mut state = room((80, 24));
    let handover =
        NodeEvent::Handover { host: cast()[1].clone(), join_addr: "192.168.1.2:4702".parse().unwrap() };
    node(&mut state, NOW, handover);
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "kick");
    assert!(shows(&state, "only the host: remove a member"));
    type_text(&mut state, " bob");
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "only the host can do that"));
}

#[test]
fn the_keys_of_all_who_are_here_are_shown_and_scroll() {
    let mut state = room((80, 24));
    let peers: Vec<Arc<Peer>> = std::iter::once(cast()[0].clone())
        .chain((2..60).map(|number| scene::peer(number, &format!("peer{number:02}"))))
        .collect();
    node(&mut state, NOW, NodeEvent::Roster { version: 9, peers: peers.clone() });
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "peers");
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, &peers[1].peer_id.fingerprint()), "{:#?}", text_of(&state));
    assert!(shows(&state, "more below") && !shows(&state, "peer59"));
    for _ in 0..8 {
        press(&mut state, KeyCode::PageDown);
    }
    assert!(shows(&state, "peer59") && !shows(&state, "more below"));
    press(&mut state, KeyCode::Esc);
    assert!(!shows(&state, "peer59") || state.layers.is_empty());
}
