//! What a host does: bans, kicks, leaving.

use super::*;

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
fn leaving_asks_and_tells_a_host_what_it_means() {
    let mut state = room((80, 24));
    ctrl(&mut state, 'c');
    assert!(shows(&state, "the network closes for 3 others"));
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

#[test]
fn an_invite_is_made_copied_listed_and_taken_back() {
    let mut state = room((80, 24));
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "invite 3 2d");
    let effects = press(&mut state, KeyCode::Enter);
    let asked = NodeCommand::Invite { uses: Some(3), hours: Some(48), pass: true, addrs: Vec::new() };
    assert_eq!(effects, [Effect::Node(asked)]);
    invited(&mut state);
    let link = invite().link();
    let rows = text(&draw(&state));
    let shown = rows[1..3].concat().replace(' ', "");
    assert_eq!(shown, *link, "in full rows, to be selected: {rows:#?}");
    assert!(shows(&state, "one person, within 24 h") && shows(&state, "/revoke mk4x2p"));
    assert!(rows.iter().filter(|row| row.contains('▀')).count() > 15, "a code: {rows:#?}");
    assert_eq!(press(&mut state, KeyCode::Char('c')), [Effect::Copy(link.to_string())]);
    assert!(shows(&state, "Copied"));
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::F(3));
    assert!(shows(&state, "Invites 1") && shows(&state, "for 1 more, 24 h"), "{:#?}", text(&draw(&state)));
    for _ in 0..3 {
        press(&mut state, KeyCode::Down);
    }
    press(&mut state, KeyCode::Char('u'));
    assert!(shows(&state, "Take the invite mk4x2p back?"), "{:#?}", text(&draw(&state)));
    assert_eq!(press(&mut state, KeyCode::Enter), [], "Cancel is first");
    press(&mut state, KeyCode::Char('u'));
    let revoke = |id: &str| Effect::Node(NodeCommand::Revoke { invite: Some(id.to_owned()) });
    assert_eq!(confirm(&mut state), [revoke("mk4x2p")]);
    node(&mut state, NOW, NodeEvent::Invites { invites: Vec::new() });
    assert!(!shows(&state, "Invites"));
}

#[test]
fn whoever_waits_at_the_door_is_told_of_on_top_let_in_and_turned_away() {
    let mut state = room((80, 24));
    let applicant = |number: u8, alias: &str| Applicant {
        peer_id: PeerId([number; 32]),
        alias: Alias::new(alias).unwrap(),
        addr: [192, 168, 1, number].into(),
        until: Timestamp(NOW.0 + 300_000_000),
        invited: false,
    };
    let applicants = vec![applicant(40, "erin"), applicant(41, "frank")];
    let effects = node(&mut state, NOW, NodeEvent::Applicants { applicants });
    assert!(effects.contains(&Effect::Bell), "the person here is called: {effects:?}");
    let key = PeerId([40; 32]).short();
    assert!(shows(&state, &format!("erin ({key}) and 1 more waits at the door: /approve erin, or F3")));
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "approve erin");
    let approve = |number: u8| Effect::Node(NodeCommand::Approve { peer: PeerId([number; 32]).into() });
    assert_eq!(press(&mut state, KeyCode::Enter), [approve(40)]);
    press(&mut state, KeyCode::F(3));
    assert!(shows(&state, "At the door (a lets in, x turns away) 2"), "{:#?}", text(&draw(&state)));
    assert_eq!(press(&mut state, KeyCode::Char('a')), [], "which of them?");
    for _ in 0..4 {
        press(&mut state, KeyCode::Down);
    }
    assert_eq!(press(&mut state, KeyCode::Char('a')), [approve(41)]);
    press(&mut state, KeyCode::Char('x'));
    assert!(shows(&state, "Turn frank away?"), "{:#?}", text(&draw(&state)));
    let refuse = NodeCommand::Refuse { peer: PeerId([41; 32]).into(), reason: None };
    assert_eq!(confirm(&mut state), [Effect::Node(refuse)]);
    node(&mut state, NOW, NodeEvent::Applicants { applicants: Vec::new() });
    assert!(!shows(&state, "At the door") && !shows(&state, "waits at the door: "));
}

#[test]
fn a_deputy_is_named_after_a_question_marked_and_told_when_the_network_is_theirs_to_open() {
    let mut state = room((120, 35));
    let peers = cast();
    let typed = |state: &mut State, line: &str| {
        press(state, KeyCode::Char('/'));
        type_text(state, line);
        press(state, KeyCode::Enter)
    };
    assert_eq!(typed(&mut state, "deputy"), []);
    assert!(shows(&state, "nobody is your deputy; /deputy NAME names one"), "{:#?}", text(&draw(&state)));
    press(&mut state, KeyCode::Esc);
    assert_eq!(typed(&mut state, "deputy bob"), []);
    assert!(shows(&state, "Make bob your deputy?"), "{:#?}", text(&draw(&state)));
    let name = NodeCommand::Deputy { peer: Some(peers[1].peer_id.into()) };
    assert_eq!(confirm(&mut state), [Effect::Node(name)]);
    node(&mut state, NOW, NodeEvent::Deputy { peer: Some(peers[1].clone()) });
    assert!(shows(&state, "bob (deputy)"), "{:#?}", text(&draw(&state)));
    assert_eq!(typed(&mut state, "deputy"), [Effect::Node(NodeCommand::Deputy { peer: None })]);
    node(&mut state, NOW, NodeEvent::Deputy { peer: None });
    assert!(!shows(&state, "(deputy)"));
    assert_eq!(typed(&mut state, "takeover"), []);
    assert!(shows(&state, "you are not the deputy"), "{:#?}", text(&draw(&state)));
    // As the deputy, when the host is gone.
    for size in [(80, 24), (40, 12)] {
        let mut state = room(size);
        node(&mut state, NOW, NodeEvent::Deputy { peer: Some(peers[0].clone()) });
        let (state_of_link, message) = (LinkState::Waiting, SafeText::line("gone"));
        let link = NodeEvent::Link { state: state_of_link, message, retry_in: None, alone_until: None };
        node(&mut state, NOW, link);
        assert!(shows(&state, "/takeover"), "{:#?}", text(&draw(&state)));
        typed(&mut state, "takeover");
        assert!(shows(&state, "Open the network again?"), "{:#?}", text(&draw(&state)));
        assert_eq!(confirm(&mut state), [Effect::Node(NodeCommand::TakeOver)]);
    }
}

#[test]
fn words_are_compared_and_a_verified_key_is_marked_wherever_it_is_and_missed_where_it_is_not() {
    let mut state = room((120, 35));
    let peers = cast();
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "verify bob");
    let effects = press(&mut state, KeyCode::Enter);
    assert_eq!(effects, [Effect::Node(NodeCommand::Verify { peer: peers[1].peer_id.into() })]);
    let words = ["maple", "orbit", "canyon", "lunar", "shift", "tiger"].map(str::to_owned).to_vec();
    node(&mut state, NOW, NodeEvent::Verify { peer: peers[1].clone(), words: words.clone(), own: true });
    assert!(shows(&state, "maple  orbit  canyon  lunar  shift  tiger"), "{:#?}", text(&draw(&state)));
    assert_eq!(press(&mut state, KeyCode::Enter), [], "Cancel is first");
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "verify bob");
    press(&mut state, KeyCode::Enter);
    let same = NodeCommand::Compared { peer: peers[1].peer_id.into(), words: Some(words.clone()) };
    assert_eq!(confirm(&mut state), [Effect::Node(same)]);
    node(&mut state, NOW, NodeEvent::Verified { peer: peers[1].clone() });
    assert!(shows(&state, "bob ✓"), "{:#?}", text(&draw(&state)));
    // What somebody else begins is told, and shown when it is wanted.
    node(&mut state, NOW, NodeEvent::Verify { peer: peers[2].clone(), words, own: false });
    assert!(state.layers.is_empty() && shows(&state, "carol wants to compare words with you"));
    // A no is said, not only thought.
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "verify carol");
    press(&mut state, KeyCode::Enter);
    press(&mut state, KeyCode::Right);
    let differ = NodeCommand::Compared { peer: peers[2].peer_id.into(), words: None };
    assert_eq!(press(&mut state, KeyCode::Enter), [Effect::Node(differ)]);
    node(&mut state, NOW, NodeEvent::Verified { peer: peers[3].clone() });
    // One verified key under the name of another is not that one.
    let mut posing = (*peers[3]).clone();
    posing.alias = Alias::new("bob").unwrap();
    let roster = vec![peers[0].clone(), Arc::new(posing), peers[2].clone()];
    node(&mut state, NOW, NodeEvent::Roster { version: 8, peers: roster });
    assert!(shows(&state, "is NOT the bob that you verified"), "{:#?}", text(&draw(&state)));
    assert!(shows(&state, "● bob was dave") && shows(&state, "○ bob ✓"), "{:#?}", text(&draw(&state)));
    // Somebody else under the name of a verified key.
    let mut other = (*peers[1]).clone();
    other.peer_id = PeerId([77; 32]);
    let other = Arc::new(other);
    let roster = vec![peers[0].clone(), other.clone(), peers[2].clone(), peers[3].clone()];
    node(&mut state, NOW, NodeEvent::PeerUp { peer: other });
    node(&mut state, NOW, NodeEvent::Roster { version: 9, peers: roster });
    assert!(shows(&state, "is NOT the bob that you verified"), "{:#?}", text(&draw(&state)));
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
fn a_new_host_is_told_how_others_join() {
    let state = empty_room((80, 24));
    assert!(shows(&state, "pyile join 192.168.1.1:4702"), "{:#?}", text(&draw(&state)));
}

#[test]
fn whoever_has_left_can_still_be_banned_and_kicked() {
    let mut state = room((80, 24));
    let bob = cast()[1].clone();
    let down = NodeEvent::PeerDown { peer: bob.clone(), reason: CloseReason::Left };
    node(&mut state, NOW, down);
    let command = |state: &mut State, line: &str| {
        type_text(state, line);
        press(state, KeyCode::Enter)
    };
    command(&mut state, "/ban bob flooding");
    assert!(shows(&state, "Ban bob?") && shows(&state, "is away now"), "{:#?}", text_of(&state));
    let reason = Some("flooding".to_owned());
    let key = Some(bob.peer_id.into());
    let banned = Effect::Node(NodeCommand::Ban { peer: key.clone(), addr: None, reason });
    assert_eq!(confirm(&mut state), [banned]);
    press(&mut state, KeyCode::Esc);
    command(&mut state, "/kick bob");
    assert!(shows(&state, "Its name is free then"), "{:#?}", text_of(&state));
    assert_eq!(
        confirm(&mut state),
        [Effect::Node(NodeCommand::Kick { peer: key, addr: None, reason: None })]
    );
    // Also once it was removed.
    node(&mut state, NOW, NodeEvent::PeerDown { peer: bob.clone(), reason: CloseReason::Kicked });
    command(&mut state, "/ban bob");
    assert!(shows(&state, "Ban bob?"));
    // One of whom no address is known.
    press(&mut state, KeyCode::Esc);
    let addr = "0.0.0.0:0".parse().unwrap();
    let zoe = std::sync::Arc::new(pyile::model::Peer { addr, ..(*scene::peer(9, "zoe")).clone() });
    node(&mut state, NOW, NodeEvent::Roster { version: 9, peers: vec![cast()[0].clone(), zoe.clone()] });
    node(&mut state, NOW, NodeEvent::PeerDown { peer: zoe, reason: CloseReason::Left });
    type_text(&mut state, "/ban zo");
    press(&mut state, KeyCode::Tab);
    assert!(shows(&state, "› /ban zoe"), "is offered: {:#?}", text_of(&state));
    press(&mut state, KeyCode::Enter);
    assert!(shows(&state, "Ban zoe?") && !shows(&state, "by address"), "{:#?}", text_of(&state));
}
