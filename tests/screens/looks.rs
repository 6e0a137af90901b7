//! How it looks at every size, with every text, and what it costs.

use super::*;

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
fn without_colours_everything_is_still_told_apart() {
    let mut state = room((120, 35));
    state.defaults.color = false;
    let buffer = draw(&state);
    assert!(buffer.content.iter().all(|cell| cell.fg == ratatui::style::Color::Reset));
    for sign in ["◌ carol", "✗ not dave"] {
        assert!(shows(&state, sign), "{sign}");
    }
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
        state.keymap.action(&[Context::Room], &KeyEvent::new(KeyCode::F(2), KeyModifiers::NONE)),
        Some(Action::ViewChat)
    );
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
    let help = Keymap::default().help(&state_in(Context::Admin).contexts());
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
        terminal.draw(|frame| drop(pyile::ui::draw(state, frame))).unwrap();
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
    assert!(bytes.len() <= 700, "{}: {:?}", bytes.len(), String::from_utf8_lossy(&bytes));
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
