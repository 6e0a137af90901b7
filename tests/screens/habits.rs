//! What people expect of a messenger that they have open all day.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use pyile::{
    api::OpenedHistory,
    app::{Noticed, Notices, keymap::Keymap},
};

use super::*;

fn draft(state: &State) -> &str {
    state.room().unwrap().conversation().unwrap().draft.text()
}

fn later(state: &mut State, seconds: u64) -> Vec<Effect> {
    update(state, NOW.plus(Duration::from_secs(seconds)), Event::Tick)
}

#[test]
fn arguments_of_commands_are_suggested_and_completed() {
    let mut state = room((80, 24));
    type_text(&mut state, "/");
    type_text(&mut state, "kick ");
    assert!(shows(&state, "/kick NAME [REASON]") && shows(&state, "carol"), "{:#?}", text_of(&state));
    type_text(&mut state, "c");
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "› /kick carol"), "what was chosen stands in the line first");
    assert!(state.layers.iter().all(|layer| !matches!(layer, Layer::Dialog(_))));
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "Kick carol"), "{:#?}", text_of(&state));
    press(&mut state, KeyCode::Esc);
    for (typed, whole) in [("theme hi", "› /theme high-contrast"), ("cleartext of", "› /cleartext off")] {
        type_text(&mut state, "/");
        type_text(&mut state, typed);
        press(&mut state, KeyCode::Tab);
        assert!(shows(&state, whole), "{:#?}", text_of(&state));
        press(&mut state, KeyCode::Esc);
    }
}

#[test]
fn every_key_of_a_room_can_be_found_among_the_commands() {
    let mut state = room((120, 35));
    type_text(&mut state, "/");
    type_text(&mut state, "quot");
    let rows = text_of(&state);
    let reply = rows.iter().find(|row| row.contains("/reply")).unwrap();
    assert!(reply.contains("Esc r"), "{reply}");
    press(&mut state, KeyCode::Enter);
    assert!(draft(&state).starts_with("> "), "done without a key: {}", draft(&state));
}

#[test]
fn a_draft_that_was_for_one_asks_before_it_goes_to_everyone() {
    let mut state = room((80, 24));
    ctrl(&mut state, 'n');
    type_text(&mut state, "between us");
    ctrl(&mut state, 'c');
    ctrl(&mut state, 'p');
    press(&mut state, KeyCode::Up);
    assert_eq!(draft(&state), "between us");
    assert_eq!(press(&mut state, KeyCode::Enter), vec![]);
    assert!(shows(&state, "Send to everyone?") && shows(&state, "begun for bob only"));
    press(&mut state, KeyCode::Enter);
    assert_eq!(draft(&state), "between us", "Cancel comes first");
    press(&mut state, KeyCode::Enter);
    assert!(matches!(confirm(&mut state)[..], [Effect::Node(NodeCommand::Send { .. }), ..]));
    // In its own conversation nothing is asked.
    ctrl(&mut state, 'n');
    type_text(&mut state, "and this");
    ctrl(&mut state, 'c');
    press(&mut state, KeyCode::Up);
    assert!(matches!(press(&mut state, KeyCode::Enter)[..], [Effect::Node(NodeCommand::Send { .. }), ..]));
}

#[test]
fn what_is_written_is_kept_and_comes_back() {
    let mut state = room((80, 24));
    let bob = Recipient::Peer(cast()[1].peer_id);
    let network = state.room().unwrap().network_id;
    type_text(&mut state, "for all");
    ctrl(&mut state, 'n');
    type_text(&mut state, "for bob");
    assert_eq!(later(&mut state, 1), vec![], "not at each key");
    let drafts = vec![(Recipient::Everyone, "for all".to_owned()), (bob, "for bob".to_owned())];
    let keep = |drafts| Effect::Store(StoreCommand::KeepDrafts { network, drafts });
    assert_eq!(later(&mut state, 2), vec![keep(drafts.clone())]);
    assert_eq!(later(&mut state, 9), vec![], "once");
    // What is sent is not kept any more, and must not come back after a crash.
    let effects = press(&mut state, KeyCode::Enter);
    assert!(effects.contains(&keep(vec![(bob, String::new())])), "{effects:?}");
    // Another session begins with them, and with who is muted.
    let mut state = room((80, 24));
    type_text(&mut state, "newer");
    let muted = vec![cast()[2].peer_id];
    let opened = OpenedHistory { drafts, muted: muted.clone(), ..OpenedHistory::default() };
    history(&mut state, HistoryEvent::Opened(Box::new(opened)));
    assert_eq!(draft(&state), "newer", "what is written here already stays");
    assert_eq!(state.room().unwrap().stash.as_ref().unwrap().text, "for all", "and the other is put aside");
    ctrl(&mut state, 'n');
    assert_eq!(draft(&state), "for bob");
    // It is sent at once, and is not kept any more.
    let effects = press(&mut state, KeyCode::Enter);
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::Store(StoreCommand::KeepDrafts { drafts, .. })
            if drafts.contains(&(bob, String::new())))),
        "{effects:?}"
    );
    ctrl(&mut state, 'p');
    assert!(state.room().unwrap().muted.contains(&muted[0]));
    // The end of the session does not wait.
    type_text(&mut state, "!");
    let left = NodeEvent::Left { reason: CloseReason::Left, message: SafeText::line(""), undelivered: 0 };
    let effects = update(&mut state, NOW, Event::Node(left));
    assert!(
        matches!(&effects[..], [Effect::Store(StoreCommand::KeepDrafts { drafts, .. }), ..] if !drafts.is_empty()),
        "{effects:?}"
    );
}

#[test]
fn a_draft_is_written_in_an_editor_and_comes_back() {
    let mut state = room((80, 24));
    type_text(&mut state, "first");
    let everyone = Recipient::Everyone;
    assert_eq!(ctrl(&mut state, 'x'), vec![Effect::Edit(everyone, "first".to_owned())]);
    let edited = Event::Edited(everyone, Ok("first\n\nsecond\u{1b}[2J\n\n".to_owned()));
    update(&mut state, NOW, edited);
    assert_eq!(draft(&state), "first\n\nsecond␛[2J", "clean, without the last line's end");
    ctrl(&mut state, 'x');
    update(&mut state, NOW, Event::Edited(everyone, Err("the editor ended with an error".to_owned())));
    assert!(shows(&state, "the editor ended") && draft(&state).starts_with("first"));
    // What came into the draft meanwhile is put aside.
    ctrl(&mut state, 'x');
    let refused = NodeCommand::Send { to: Target::Everyone, text: "refused".into(), reference: None };
    state.room_mut().unwrap().conversation_mut().unwrap().take_draft();
    update(&mut state, NOW, Event::Refused(refused));
    update(&mut state, NOW, Event::Edited(everyone, Ok("written".to_owned())));
    assert_eq!(draft(&state), "written");
    assert_eq!(state.room().unwrap().stash.as_ref().unwrap().text, "refused");
    // The session may end meanwhile: what was written is not lost.
    ctrl(&mut state, 'x');
    let left = NodeEvent::Left { reason: CloseReason::HostLost, message: SafeText::line(""), undelivered: 0 };
    update(&mut state, NOW, Event::Node(left));
    let effects = update(&mut state, NOW, Event::Edited(everyone, Ok("long".to_owned())));
    let kept = vec![(everyone, "long".to_owned())];
    assert!(
        matches!(&effects[..], [Effect::Store(StoreCommand::KeepDrafts { drafts, .. }), Effect::Copy(copied)]
        if *drafts == kept && copied == "long"),
        "{effects:?}"
    );
}

#[test]
fn what_was_recalled_is_no_draft_and_whom_a_draft_was_for_is_never_forgotten() {
    let mut state = room((80, 24));
    let bob = Recipient::Peer(cast()[1].peer_id);
    node(&mut state, NOW, message(&cast()[0], Recipient::Everyone, 90, "sent already", true));
    type_text(&mut state, "half a thought");
    press(&mut state, KeyCode::Up);
    assert_eq!(draft(&state), "sent already");
    let effects = later(&mut state, 3);
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::Store(StoreCommand::KeepDrafts { drafts, .. })
        if *drafts == vec![(Recipient::Everyone, "half a thought".to_owned())])),
        "{effects:?}"
    );
    press(&mut state, KeyCode::Down);
    ctrl(&mut state, 'u');
    // Begun for bob, it asks wherever and however often it is put aside.
    ctrl(&mut state, 'n');
    type_text(&mut state, "between us");
    ctrl(&mut state, 'c');
    ctrl(&mut state, 'p');
    for _ in 0..3 {
        press(&mut state, KeyCode::Up);
        assert_eq!(draft(&state), "between us");
        assert_eq!(press(&mut state, KeyCode::Enter), vec![]);
        assert!(shows(&state, "begun for bob only"));
        press(&mut state, KeyCode::Esc);
        later(&mut state, 9);
        assert!(state.room().unwrap().kept.iter().all(|(with, _)| *with == bob), "kept as bob's");
        ctrl(&mut state, 'c');
    }
}

#[test]
fn a_peers_new_name_moves_no_link_and_a_kick_is_no_ban() {
    let mut state = room((120, 35));
    let eve = cast()[1].clone();
    let said = format!("{}see http://example.org/|ssh://host", pyile::model::limits::ACTION);
    node(&mut state, NOW, message(&eve, Recipient::Everyone, 90, &said, false));
    let mut peers = cast();
    let alias = pyile::model::Alias::new("x1").unwrap();
    peers[1] = Arc::new(Peer { alias, ..Peer::clone(&eve) });
    node(&mut state, NOW, NodeEvent::Roster { version: 9, peers });
    let mut links = Vec::new();
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(120, 35)).unwrap();
    terminal.draw(|frame| links = pyile::ui::draw(&state, frame)).unwrap();
    assert!(links.iter().all(|link| link.url.starts_with("http://example.org/")), "{links:?}");
    let peer = cast()[2].clone();
    node(&mut state, NOW, NodeEvent::PeerDown { peer: peer.clone(), reason: CloseReason::Kicked });
    for by in 0..=2 {
        node(&mut state, NOW, NodeEvent::CutOff { peer_id: peer.peer_id, by, of: 2 });
    }
    assert!(!shows(&state, "banned carol"), "{:#?}", text_of(&state));
}

#[test]
fn enter_takes_what_a_command_proposes_and_its_words_go_first_in_a_menu() {
    let mut state = room((80, 24));
    type_text(&mut state, "/");
    type_text(&mut state, "mute");
    press(&mut state, KeyCode::Enter);
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "› /mute bob"), "{:#?}", text_of(&state));
    let effects = press(&mut state, KeyCode::Enter);
    assert!(matches!(&effects[..], [Effect::Store(StoreCommand::KeepMuted { is_muted: true, .. }), ..]));
    type_text(&mut state, "/");
    type_text(&mut state, "nick bo");
    assert!(
        matches!(press(&mut state, KeyCode::Enter)[..], [Effect::Node(NodeCommand::Nick { .. })]),
        "no proposal"
    );
    type_text(&mut state, "/");
    type_text(&mut state, "search relay");
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "› relay"), "{:#?}", text_of(&state));
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('m'));
    type_text(&mut state, "who");
    assert!(matches!(
        press(&mut state, KeyCode::Enter)[..],
        [Effect::Store(StoreCommand::History(HistoryCommand::Info { .. }))]
    ));
    // Help twice is no help.
    press(&mut state, KeyCode::Esc);
    state.layers.clear();
    press(&mut state, KeyCode::F(1));
    press(&mut state, KeyCode::F(1));
    assert!(state.layers.is_empty());
}

#[test]
fn a_message_has_a_menu_with_its_links() {
    let mut state = room((80, 24));
    let said = "see *this*: https://example.org/x_y, or javascript:alert(1)";
    node(&mut state, NOW, message(&cast()[1], Recipient::Everyone, 90, said, false));
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('m'));
    assert!(shows(&state, "open https://example.org/x_y") && shows(&state, "who has it"));
    assert!(!shows(&state, "open javascript"));
    assert_eq!(
        press(&mut state, KeyCode::Enter),
        vec![Effect::OpenLink("https://example.org/x_y".to_owned())]
    );
    press(&mut state, KeyCode::Char('m'));
    type_text(&mut state, "quote");
    press(&mut state, KeyCode::Enter);
    assert!(draft(&state).starts_with("> bob: see *this*"), "{}", draft(&state));
}

#[test]
fn links_and_signs_are_drawn_where_they_stand_and_nothing_is_left_out() {
    let mut state = room((80, 24));
    let said = "*now* _look_ at `x = 1`: https://example.org/a/very/long/path/that/has/to/be/broken/over/two/rows.html";
    node(&mut state, NOW, message(&cast()[1], Recipient::Everyone, 90, said, false));
    let mut links = Vec::new();
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| links = pyile::ui::draw(&state, frame)).unwrap();
    assert_eq!(links.len(), 3, "a part in each row: {links:?}");
    assert!(links.iter().all(|link| link.url.ends_with("/rows.html")));
    let buffer = terminal.backend().buffer();
    let cells = links.iter().flat_map(|link| (link.x..link.x + link.width).map(|x| &buffer[(x, link.y)]));
    let shown: String = cells.clone().map(ratatui::buffer::Cell::symbol).collect();
    assert_eq!(Some(shown.as_str()), said.split_whitespace().last(), "as it is written");
    assert!(cells.into_iter().all(|cell| cell.modifier.contains(ratatui::style::Modifier::UNDERLINED)));
    assert!(shows(&state, "*now* _look_ at `x = 1`"), "the signs stay");
    // What lies on top is no link.
    press(&mut state, KeyCode::F(1));
    terminal.draw(|frame| links = pyile::ui::draw(&state, frame)).unwrap();
    assert_eq!(links, vec![]);
}

#[test]
fn the_terminal_is_told_of_calls_and_not_more_often_than_it_bears() {
    let said = |to, number| message(&cast()[1], to, number, "lunch?", false);
    let me = Recipient::Peer(cast()[0].peer_id);
    let notify = |text: &str| Effect::Notify(text.to_owned());
    let told = |state: &mut State, at: u64, to, number| {
        let effects = update(state, NOW.plus(Duration::from_secs(at)), Event::Node(said(to, number)));
        effects.into_iter().filter(|effect| !matches!(effect, Effect::Store(_))).collect::<Vec<_>>()
    };
    let mut state = room((80, 24));
    assert_eq!(told(&mut state, 10, Recipient::Everyone, 90), vec![], "not for everybody's words");
    assert_eq!(told(&mut state, 10, me, 1), vec![Effect::Bell, notify("pyile, lab: bob: lunch?")]);
    assert_eq!(told(&mut state, 11, me, 2), vec![], "not again at once");
    assert_eq!(told(&mut state, 14, me, 3).len(), 2);
    state.notices = Notices { of: Noticed::Everything, has_text: false, bell: false };
    assert_eq!(told(&mut state, 20, Recipient::Everyone, 91), vec![notify("pyile, lab: bob said something")]);
    assert_eq!(told(&mut state, 30, me, 4), vec![notify("pyile, lab: bob calls you")], "the content hidden");
    state.notices.of = Noticed::Nothing;
    assert_eq!(told(&mut state, 40, me, 5), vec![]);
    update(&mut state, NOW, Event::Terminal(TerminalEvent::FocusGained));
    state.notices = Notices::default();
    assert_eq!(told(&mut state, 50, me, 6), vec![], "whoever looks at it needs no notice");
}

#[test]
fn keys_of_ones_own_stand_in_help_and_hints() {
    let mut state = room((120, 35));
    let own = [("go-to".to_owned(), vec!["Ctrl-G".to_owned()]), ("help".to_owned(), vec!["F9".to_owned()])];
    state.keymap = Keymap::with(&own.into_iter().collect()).unwrap();
    assert!(shows(&state, "Ctrl-G go to") && shows(&state, "F9 help"), "{:#?}", text_of(&state).last());
    ctrl(&mut state, 'g');
    assert!(shows(&state, "Go to"));
    press(&mut state, KeyCode::Esc);
    ctrl(&mut state, 'o');
    assert!(state.layers.is_empty(), "the key of before does nothing");
}

#[test]
fn a_click_shows_a_conversation_chooses_a_message_and_opens_its_menu() {
    let mut state = room((80, 24));
    let click = |state: &mut State, column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
        update(state, NOW, Event::Terminal(TerminalEvent::Mouse(event)));
    };
    let row_of = |state: &State, words: &str| {
        u16::try_from(text_of(state).iter().position(|row| row.contains(words)).unwrap()).unwrap()
    };
    let row = row_of(&state, "● bob");
    click(&mut state, 3, row);
    assert!(shows(&state, "to bob only"));
    ctrl(&mut state, 'p');
    let row = row_of(&state, "morning!");
    click(&mut state, 60, row);
    assert_eq!(state.room().unwrap().shown.focus, Focus::Browse);
    assert!(text_of(&state)[usize::from(row)].contains('▌'));
    click(&mut state, 60, row);
    assert!(shows(&state, "reply, with a quote"));
    press(&mut state, KeyCode::Esc);
    click(&mut state, 10, 22);
    assert_eq!(state.room().unwrap().shown.focus, Focus::Compose);
}

#[test]
fn a_ban_is_one_line_however_much_becomes_known_of_it() {
    let mut state = room((120, 35));
    let bob = cast()[1].clone();
    let banned = |state: &State| text_of(state).into_iter().filter(|row| row.contains("banned bob")).count();
    for event in [
        NodeEvent::PeerDown { peer: bob.clone(), reason: CloseReason::Banned },
        NodeEvent::CutOff { peer_id: bob.peer_id, by: 1, of: 2 },
        NodeEvent::Banned { peer_id: Some(bob.peer_id), addr: None, reason: SafeText::line("spam") },
        NodeEvent::CutOff { peer_id: bob.peer_id, by: 2, of: 2 },
    ] {
        node(&mut state, NOW, event);
        assert_eq!(banned(&state), 1, "{:#?}", text_of(&state));
    }
    assert!(shows(&state, "banned bob (spam); cut off by 2 of 2"), "{:#?}", text_of(&state));
    let lifted = NodeEvent::Unbanned { peer_id: Some(bob.peer_id), addr: None, reason: SafeText::line("") };
    node(&mut state, NOW, lifted);
    node(&mut state, NOW, NodeEvent::PeerUp { peer: bob.clone() });
    node(&mut state, NOW, NodeEvent::PeerDown { peer: bob, reason: CloseReason::Banned });
    assert_eq!(banned(&state), 2, "another ban is another line");
}

#[test]
fn the_first_letters_of_the_launch_screen_open_what_they_name() {
    for (letter, words) in [('h', "Host a network"), ('j', "Join a network")] {
        let mut state = launch((80, 24));
        press(&mut state, KeyCode::Char(letter));
        assert!(shows(&state, words), "{:#?}", text_of(&state));
    }
    let mut state = launch((80, 24));
    assert_eq!(press(&mut state, KeyCode::Char('d')), vec![Effect::Open(Open::Demo)]);
}

#[test]
fn names_and_what_people_say_of_themselves_are_shown_where_one_writes_to_them() {
    let mut state = room((80, 24));
    type_text(&mut state, "/");
    type_text(&mut state, "nick annie");
    assert_eq!(
        press(&mut state, KeyCode::Enter),
        vec![Effect::Node(NodeCommand::Nick { alias: "annie".to_owned() })]
    );
    let away = |state: &mut State, typed: &str| {
        type_text(state, "/");
        type_text(state, typed);
        let effects = press(state, KeyCode::Enter);
        let [Effect::Node(NodeCommand::Away { text })] = &effects[..] else { panic!("{effects:?}") };
        text.clone()
    };
    assert_eq!(away(&mut state, "away at lunch").as_deref(), Some("at lunch"));
    assert_eq!(away(&mut state, "away").as_deref(), Some("away"));
    let mut peers = cast();
    let relabel = |peer: &Arc<Peer>, alias: &str, status: &str| {
        let (alias, status) = (pyile::model::Alias::new(alias).unwrap(), pyile::model::Status::new(status));
        Arc::new(Peer { alias, status, ..Peer::clone(peer) })
    };
    peers[0] = relabel(&peers[0], "annie", "away");
    peers[1] = relabel(&peers[1], "bob", "at lunch");
    node(&mut state, NOW, NodeEvent::Roster { version: 9, peers: peers.clone() });
    assert!(shows(&state, "ann is called annie now") && shows(&state, "bob says \"at lunch\""));
    assert!(shows(&state, "◐ bob"));
    assert_eq!(away(&mut state, "away"), None, "once more, and one is here again");
    ctrl(&mut state, 'n');
    assert!(shows(&state, "to bob only, who says: at lunch"), "{:#?}", text_of(&state));
    // Whoever names the new name calls.
    let call = message(&cast()[2], Recipient::Everyone, 95, "annie, look", false);
    let effects = update(&mut state, NOW, Event::Node(call));
    assert!(effects.contains(&Effect::Bell));
}

#[test]
fn what_cannot_be_done_now_says_why() {
    let mut state = empty_room((120, 35));
    type_text(&mut state, "/");
    for (typed, words) in [
        ("reply", "nothing was said yet: answer a message"),
        ("rejoin", "you are in: ask a lost host"),
        ("cleartext", "no classic peers are let in: whether"),
        ("next", "nothing is unread: the next conversation"),
    ] {
        type_text(&mut state, typed);
        assert!(shows(&state, words), "{typed}: {:#?}", text_of(&state));
        press(&mut state, KeyCode::Esc);
        type_text(&mut state, "/");
    }
}

#[test]
fn the_hint_line_names_what_can_be_done_where_one_is() {
    let hint = |state: &State| text_of(state).last().cloned().unwrap_or_default();
    let mut state = room((120, 35));
    press(&mut state, KeyCode::Esc);
    assert!(hint(&state).contains("y copy"));
    press(&mut state, KeyCode::BackTab);
    assert!(!hint(&state).contains("copy") && hint(&state).contains("search"), "{}", hint(&state));
    ctrl(&mut state, 'f');
    assert!(!hint(&state).contains("complete"), "{}", hint(&state));
}
