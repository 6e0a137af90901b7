//! The launch screen and its forms.

use super::*;

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
    assert!(matches!(&effects[..], [Effect::Open(Open::Join { target, .. })] if target.host() == "10.0.0.1"));
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
fn a_pasted_invite_opens_the_form_and_needs_no_password() {
    let mut state = launch((80, 24));
    let paste = |state: &mut State, text: &str| {
        update(state, NOW, Event::Terminal(TerminalEvent::Paste(text.into())))
    };
    paste(&mut state, "hello");
    assert!(shows(&state, "paste all of it: pyile://"));
    paste(&mut state, "pyile://192.168.1.1/abc");
    assert!(shows(&state, "copy all of it"), "{:#?}", text(&draw(&state)));
    let link = invite().link();
    let (one, two) = link.split_at(80);
    paste(&mut state, &format!("{one}\n{two}\n"));
    assert!(shows(&state, "Your name") && shows(&state, "not needed by an invite"));
    // The cursor stands in the name, which is all that is left to say.
    let effects = press(&mut state, KeyCode::Enter);
    let [Effect::Open(Open::Join { target, password: None, .. })] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(*target, JoinTarget::Invite(Box::new(invite())));
    // What the host says of it stands beside it, and only where it led is shown in the room.
    let words = "this invite is used up; ask for another, or join with the password";
    let left = NodeEvent::Left {
        reason: CloseReason::InviteRefused,
        message: SafeText::line(words),
        undelivered: 0,
    };
    node(&mut state, NOW, left);
    assert!(shows(&state, "this invite is used up"), "{:#?}", text(&draw(&state)));
}

#[test]
fn the_room_of_an_invited_member_shows_no_pass() {
    let mut state = launch((120, 35));
    update(&mut state, NOW, Event::Terminal(TerminalEvent::Paste(invite().link().to_string())));
    let peers = cast();
    let listening = NodeEvent::Listening {
        role: pyile::model::Role::Member,
        join_addr: None,
        peer_addr: peers[1].addr,
        peer_id: peers[1].peer_id,
        alias: peers[1].alias.clone(),
        network: SafeText::line("lab"),
        network_id: NetworkId([1; 16]),
    };
    node(&mut state, NOW, listening);
    let pass = invite().link().split_once('#').unwrap().1.to_owned();
    assert!(shows(&state, "192.168.1.1:4702") && !shows(&state, &pass[..8]), "{:#?}", text(&draw(&state)));
}

fn around(number: u8, name: &str, rtt: Option<u64>) -> NearbyNetwork {
    NearbyNetwork {
        peer_id: PeerId([number; 32]),
        name: NearbyNetwork::clean_name(name),
        addrs: vec![format!("192.168.1.{number}:4702").parse().unwrap()],
        version: 1,
        answer: rtt.map_or(Answer::Awaited, |micros| Answer::After(Duration::from_micros(micros))),
    }
}

fn sight(state: &mut State, network: NearbyNetwork) {
    update(state, NOW, Event::Nearby(Sighting::Here(network)));
}

#[test]
fn networks_around_are_listed_by_key_and_what_is_chosen_stays_so() {
    let mut state = launch((80, 24));
    let chosen = |state: &State| {
        let rows = text(&draw(state));
        rows.into_iter().find(|row| row.contains('▌')).unwrap_or_default()
    };
    assert!(chosen(&state).contains("lab"));
    press(&mut state, KeyCode::Down);
    assert!(chosen(&state).contains("Host"));
    sight(&mut state, around(20, "band practice", None));
    sight(&mut state, around(21, "band practice", Some(400)));
    // One that is called as a known one and is not it, and the known one itself.
    sight(&mut state, around(22, "LAB", None));
    sight(&mut state, around(9, "lab", Some(900)));
    assert!(chosen(&state).contains("Host"), "{:#?}", text(&draw(&state)));
    let rows = text(&draw(&state));
    let of = |words: &str| rows.iter().filter(|row| row.contains(words)).count();
    assert_eq!((of("band practice"), of("0.4 ms"), of("NOT the LAB that you know")), (2, 1, 1), "{rows:#?}");
    assert_eq!(of("around, 0.9 ms"), 1, "the known one is marked in its line: {rows:#?}");
    for key in [20, 21, 22] {
        assert_eq!(of(&PeerId([key; 32]).short()), 1);
    }
    // Chosen, it is joined at its key and nobody else's.
    press(&mut state, KeyCode::Up);
    assert!(chosen(&state).contains("band practice"));
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "pyile://192.168.1.20"), "{:#?}", text(&draw(&state)));
    type_text(&mut state, "open sesame");
    let effects = press(&mut state, KeyCode::Enter);
    let [Effect::Open(Open::Join { target: JoinTarget::Invite(invite), password: Some(_), .. })] =
        &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((invite.key, &invite.pass), (PeerId([20; 32]), &None));
}

#[test]
fn a_network_that_is_gone_is_gone_and_a_flood_of_them_is_bounded() {
    let mut state = launch((80, 24));
    sight(&mut state, around(20, "band practice", None));
    update(&mut state, NOW, Event::Nearby(Sighting::Gone(PeerId([20; 32]))));
    assert!(!shows(&state, "band practice"));
    for number in 10..=255 {
        sight(&mut state, around(number, "\u{1b}[2J\u{202e}spam", None));
    }
    let rows = text(&draw(&state));
    assert!(rows.iter().all(|row| !row.contains(['\u{1b}', '\u{202e}'])));
    for line in ["lab", "Host", "Join", "Demo"] {
        assert!(rows.iter().any(|row| row.contains(line)), "{line} is in sight: {rows:#?}");
    }
    let Screen::Launch(launch) = &state.screen else { panic!() };
    assert!(launch.nearby.len() <= 32);
    let offered = pyile::app::launch::form::Form::to_host(&state.defaults);
    assert!(offered.fields.iter().any(|field| field.is_on == Some(true)), "the box is ticked");
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

/// The host form of a first start, with four words offered.
fn hosting() -> State {
    let mut state = launch((80, 24));
    state.defaults.offered = Some(pyile::model::Password::new("maple orbit canyon lunar".to_owned()));
    press(&mut state, KeyCode::Char('h'));
    state
}

#[test]
fn whoever_hosts_is_offered_four_words_and_sees_them_until_somebody_has_come() {
    let mut state = hosting();
    assert!(shows(&state, "maple orbit canyon lunar") && shows(&state, "tell these, or type your own"));
    let effects = press(&mut state, KeyCode::Enter);
    let [Effect::Open(Open::Host { password: Some(password), .. })] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(password.reveal(), "maple orbit canyon lunar");
    let listening = NodeEvent::Listening {
        role: pyile::model::Role::Host,
        join_addr: Some("192.168.1.1:4702".parse().unwrap()),
        peer_addr: "192.168.1.1:50000".parse().unwrap(),
        peer_id: cast()[0].peer_id,
        alias: cast()[0].alias.clone(),
        network: SafeText::line("lab"),
        network_id: NetworkId([9; 16]),
    };
    node(&mut state, NOW, listening);
    assert!(shows(&state, "and the password: maple orbit canyon lunar"), "{:#?}", text_of(&state));
    node(&mut state, NOW, NodeEvent::PeerUp { peer: cast()[1].clone() });
    assert!(state.room().unwrap().password.is_none(), "it has been told");
}

#[test]
fn a_password_of_ones_own_takes_the_place_of_the_offered_one_is_hidden_and_rated() {
    let mut state = hosting();
    type_text(&mut state, "p");
    assert!(shows(&state, "•") && !shows(&state, "maple"));
    type_text(&mut state, "assword1");
    assert!(shows(&state, "weak: easy to guess"));
    assert_eq!(press(&mut state, KeyCode::Enter), vec![]);
    assert!(shows(&state, "easy to guess?"), "a second yes: {:#?}", text_of(&state));
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "•••••••••"), "Cancel comes first, and what was typed stays");
    press(&mut state, KeyCode::Enter);
    assert!(matches!(&confirm(&mut state)[..], [Effect::Open(Open::Host { .. })]));
    assert!(state.defaults.offered.is_none(), "nothing to be told aloud");
    let mut state = hosting();
    update(&mut state, NOW, Event::Terminal(TerminalEvent::Paste("correct horse battery staple".to_owned())));
    assert!(shows(&state, "strong") && !shows(&state, "maple"));
    assert!(matches!(&press(&mut state, KeyCode::Enter)[..], [Effect::Open(Open::Host { .. })]));
}

#[test]
fn another_password_is_rated_and_can_be_looked_at() {
    let mut state = room((80, 24));
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "password");
    press(&mut state, KeyCode::Enter);
    type_text(&mut state, "dragon");
    assert!(shows(&state, "••••••") && shows(&state, "weak: easy to guess") && !shows(&state, "dragon"));
    ctrl(&mut state, 'r');
    assert!(shows(&state, "dragon"), "{:#?}", text(&draw(&state)));
    type_text(&mut state, " of the fourth lake");
    assert!(shows(&state, "strong"));
}

#[test]
fn another_password_that_is_easy_to_guess_is_asked_about() {
    let mut state = room((80, 24));
    type_text(&mut state, "/");
    type_text(&mut state, "password");
    press(&mut state, KeyCode::Enter);
    type_text(&mut state, "labs");
    assert_eq!(press(&mut state, KeyCode::Enter), vec![]);
    assert!(shows(&state, "easy to guess?"));
    assert!(matches!(&confirm(&mut state)[..], [Effect::Node(NodeCommand::SetPassword(_))]));
}
