//! What one writes: drafts, completion, commands, recall.

use super::*;

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
fn rows_of_a_draft_that_do_not_fit_are_there_and_it_is_seen() {
    let mut state = room((80, 24));
    let lines: Vec<String> = (1..=40).map(|number| format!("row {number}")).collect();
    update(&mut state, NOW, Event::Terminal(TerminalEvent::Paste(lines.join("\n"))));
    let seen = |state: &State| {
        let rows = text(&draw(state));
        let with = |sign: char| rows.iter().any(|row| row.contains("row ") && row.trim_end().ends_with(sign));
        (with('↑'), with('↓'))
    };
    assert_eq!(seen(&state), (true, false), "{:#?}", text(&draw(&state)));
    for _ in 0..20 {
        press(&mut state, KeyCode::Up);
    }
    assert_eq!(seen(&state), (true, true), "{:#?}", text(&draw(&state)));
    for _ in 0..19 {
        press(&mut state, KeyCode::Up);
    }
    assert_eq!(seen(&state), (false, true), "{:#?}", text(&draw(&state)));
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
