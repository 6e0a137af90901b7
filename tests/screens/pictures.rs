//! The pictures in `assets/`, rendered from the real screens. To write them anew after a change of the screens:
//! `PYILE_PICTURES=write cargo test --test screens pictures`

use std::{env, fs, path::Path, sync::Arc, time::Duration};

use crate::scene::{
    NOW, cast, choose, classic_peer, ctrl, draw, history, invited, launch, message, node, press, room,
    svg_on, text, type_text, with,
};
use crossterm::event::KeyCode;
use pyile::{
    api::{Check, Finding, HistoryEvent, Hit, LinkState, NodeEvent, Verdict},
    app::{Effect, Event, State, update},
    model::{
        Answer, CloseReason, Closed, NearbyNetwork, Peer, PeerId, Reached, Recipient, SafeText, Sighting,
        Timestamp, Unreachable,
    },
};

fn admin(size: (u16, u16)) -> State {
    let mut state = room(size);
    press(&mut state, KeyCode::F(3));
    state
}

fn around(size: (u16, u16)) -> State {
    let mut state = launch(size);
    for (number, name, micros) in [(22, "lab", 2_100), (21, "band practice", 400), (9, "lab", 900)] {
        let network = NearbyNetwork {
            peer_id: PeerId([number; 32]),
            name: SafeText::line(name),
            addrs: vec!["192.168.1.20:4702".parse().unwrap()],
            version: 1,
            answer: Answer::After(Duration::from_micros(micros)),
        };
        update(&mut state, NOW, Event::Nearby(Sighting::Here(network)));
    }
    state
}

fn joining_form(size: (u16, u16)) -> State {
    let mut state = launch(size);
    choose(&mut state, "Join");
    type_text(&mut state, "192.168.1.66");
    state
}

fn hosting_form(size: (u16, u16)) -> State {
    let mut state = launch(size);
    state.defaults.offered = Some(pyile::model::Password::new("maple orbit canyon lunar".to_owned()));
    press(&mut state, KeyCode::Char('h'));
    state
}

fn invite(size: (u16, u16)) -> State {
    let mut state = room(size);
    invited(&mut state);
    state
}

/// An invite that was pasted on the first screen.
fn pasted(size: (u16, u16)) -> State {
    let mut state = launch(size);
    let link = crate::scene::invite().link().to_string();
    update(&mut state, NOW, Event::Terminal(crossterm::event::Event::Paste(link)));
    state
}

/// Words that two people compare.
fn words(size: (u16, u16)) -> State {
    let mut state = room(size);
    let words = ["maple", "orbit", "canyon", "lunar", "shift", "tiger"].map(str::to_owned).to_vec();
    node(&mut state, NOW, NodeEvent::Verify { peer: cast()[1].clone(), words, own: true });
    state
}

/// The host is gone, and the person here is its deputy.
fn deputy(size: (u16, u16)) -> State {
    let mut state = alone(size);
    node(&mut state, NOW, NodeEvent::Deputy { peer: Some(cast()[0].clone()) });
    let (gone, message) = (LinkState::Waiting, SafeText::line("connection lost; trying again"));
    let link = NodeEvent::Link { state: gone, message, retry_in: None, alone_until: None };
    node(&mut state, NOW, link);
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "takeover");
    press(&mut state, KeyCode::Enter);
    state
}

fn invites(size: (u16, u16)) -> State {
    let mut state = invite(size);
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::F(3));
    state
}

fn ban_dialog(size: (u16, u16)) -> State {
    let mut state = room(size);
    press(&mut state, KeyCode::F(3));
    press(&mut state, KeyCode::Char('b'));
    state
}

/// The form, sent off.
fn joining(size: (u16, u16), password: &str) -> State {
    let mut state = launch(size);
    choose(&mut state, "Join");
    type_text(&mut state, "192.168.1.66");
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::Tab);
    type_text(&mut state, password);
    press(&mut state, KeyCode::Enter);
    state
}

fn failed_join(size: (u16, u16)) -> State {
    let mut state = joining(size, "guess");
    let message = "wrong password, or somebody is between you and the host; 2 attempts are left before this \
                   address is banned";
    update(&mut state, NOW, Event::OpenFailed(Closed::new(CloseReason::WrongPassword, message)));
    state
}

fn help(size: (u16, u16)) -> State {
    let mut state = room(size);
    press(&mut state, KeyCode::F(1));
    state
}

fn heartbeat(size: (u16, u16)) -> State {
    let mut state = room(size);
    press(&mut state, KeyCode::F(4));
    state
}

/// Links and code in a message.
fn markup(size: (u16, u16)) -> State {
    let mut state = room(size);
    let text = "*tomorrow* at _nine_: run `cargo bench`, then read https://example.org/notes_2\n```\nfn main() {}\n```";
    node(&mut state, NOW, message(&cast()[1], Recipient::Everyone, 40, text, false));
    state
}

/// What can be done with a message.
fn menu(size: (u16, u16)) -> State {
    let mut state = markup(size);
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('m'));
    state
}

/// While the host is away: the banner, a gap, and a search over everything.
fn alone(size: (u16, u16)) -> State {
    let mut state = room(size);
    let bob = &cast()[1];
    let handover = NodeEvent::Handover { host: bob.clone(), join_addr: "192.168.1.2:4702".parse().unwrap() };
    node(&mut state, NOW, handover);
    let event = message(bob, Recipient::Everyone, 40, "the host's rack lost power, it seems", false);
    node(&mut state, NOW, with(event, 12, None));
    node(
        &mut state,
        NOW,
        NodeEvent::Link {
            state: LinkState::Waiting,
            message: SafeText::line("connection lost; trying again"),
            retry_in: Some(Duration::from_secs(3)),
            alone_until: Some(NOW.plus(Duration::from_secs(600))),
        },
    );
    state
}

/// Python programs among the others.
fn classic(size: (u16, u16)) -> State {
    let mut state = room(size);
    let (noah, eve) = (classic_peer(7, "noah"), classic_peer(8, "192.168.1.8"));
    node(&mut state, NOW, NodeEvent::Cleartext { allowed: true, asked: false });
    let peers = cast().into_iter().chain([noah.clone(), eve.clone()]).collect();
    node(&mut state, NOW, NodeEvent::Roster { version: 9, peers });
    let event = message(&noah, Recipient::Everyone, 1, "hello from Python. can you read me?", false);
    node(&mut state, NOW, event);
    let event = message(&eve, Recipient::Everyone, 1, "me too", false);
    node(&mut state, NOW, with(event, 0, Some("ann")));
    state
}

fn classic_host(size: (u16, u16)) -> State {
    let mut state = launch(size);
    choose(&mut state, "Host");
    type_text(&mut state, "open sesame");
    press(&mut state, KeyCode::Tab);
    type_text(&mut state, " ");
    press(&mut state, KeyCode::Enter);
    state
}

/// Dave's machine lets nobody in, and carol and bob do not see each other.
fn ways(size: (u16, u16)) -> State {
    let mut state = room(size);
    let cast = cast();
    let [ann, bob, carol, dave] = cast.as_slice() else { unreachable!() };
    let no =
        |from: &Arc<Peer>, to: &Arc<Peer>, reason| Unreachable { from: from.peer_id, to: to.peer_id, reason };
    let ways = vec![
        no(ann, dave, CloseReason::NoAnswer),
        no(bob, dave, CloseReason::NoAnswer),
        no(ann, carol, CloseReason::NothingListens),
        no(carol, ann, CloseReason::NothingListens),
    ];
    node(&mut state, NOW, NodeEvent::NoWays { ways });
    node(&mut state, NOW, NodeEvent::Route { peer: carol.clone(), via: Some(bob.clone()) });
    let row = |from: &Arc<Peer>, reached: &[&Arc<Peer>]| Reached {
        from: from.peer_id,
        reached: reached.iter().map(|peer| peer.peer_id).collect(),
    };
    let rows = vec![row(ann, &[bob]), row(bob, &[ann, carol]), row(dave, &[ann, bob]), row(carol, &[bob])];
    node(&mut state, NOW, NodeEvent::Ways { rows });
    state
}

fn ways_grid(size: (u16, u16)) -> State {
    let mut state = ways(size);
    press(&mut state, KeyCode::F(4));
    press(&mut state, KeyCode::Char('w'));
    state
}

fn ways_heartbeat(size: (u16, u16)) -> State {
    let mut state = ways(size);
    press(&mut state, KeyCode::F(4));
    state
}

fn diagnosed(size: (u16, u16)) -> State {
    let mut state = joining(size, "open sesame");
    let closed = Closed::new(
        CloseReason::Unreachable,
        "no answer from 192.168.1.66:4702 within 5 s; check the address, and that no firewall blocks port 4702",
    );
    let effects = update(&mut state, NOW, Event::OpenFailed(closed));
    assert_eq!(effects, [Effect::Diagnose("192.168.1.66".to_owned())]);
    for finding in [
        Finding::good(Check::Route, "192.168.1.66 is reached from 192.168.1.5"),
        Finding::new(
            Check::Port,
            Verdict::Bad,
            "no answer at all from 192.168.1.66:4702 within 5 s: a firewall drops what is sent there, or nobody has \
             that address",
            "check the address; then let the port in on the host's machine, for example:\nsudo ufw allow 4702/tcp",
        ),
    ] {
        update(&mut state, NOW, Event::Found("192.168.1.66".to_owned(), finding));
    }
    state
}

fn search(size: (u16, u16)) -> State {
    let mut state = alone(size);
    ctrl(&mut state, 'f');
    type_text(&mut state, "rack po");
    let hit = |days: i64, from: &str, excerpt: &str, with: Option<&str>| Hit {
        conversation: with.map_or(Recipient::Everyone, |_| Recipient::Peer(cast()[2].peer_id)),
        with: with.unwrap_or("everyone").to_owned(),
        place: days,
        at: Timestamp(NOW.0 - days * 86_400_000_000),
        from: SafeText::line(from),
        excerpt: SafeText::line(excerpt),
    };
    let hits = vec![
        hit(0, "bob", "the host's rack lost power, it seems", None),
        hit(3, "you", "which power strip feeds rack 4?", Some("carol")),
        hit(40, "dave", "rack 2 has no power since the works in the corridor", None),
    ];
    history(&mut state, HistoryEvent::Found { text: "rack po".to_owned(), hits });
    press(&mut state, KeyCode::Down);
    state
}

#[test]
fn the_pictures_show_the_screens() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let write = env::var("PYILE_PICTURES").is_ok_and(|value| value == "write");
    let mut pictures = Vec::new();
    for (name, state) in vec![
        ("launch", launch((80, 24))),
        ("around", around((80, 24))),
        ("join-failed", failed_join((80, 24))),
        ("host-80x24", hosting_form((80, 24))),
        ("menu", menu((80, 24))),
        ("markup", markup((80, 24))),
        ("room", room((120, 35))),
        ("room-80x24", room((80, 24))),
        ("room-40x12", room((40, 12))),
        ("room-160x45", room((160, 45))),
        ("room-100x30", room((100, 30))),
        ("room-60x20", room((60, 20))),
        ("admin", admin((120, 35))),
        ("admin-80x24", admin((80, 24))),
        ("invite", invite((120, 35))),
        ("invite-80x24", invite((80, 24))),
        ("invite-40x12", invite((40, 12))),
        ("invites-80x24", invites((80, 24))),
        ("pasted-80x24", pasted((80, 24))),
        ("words-80x24", words((80, 24))),
        ("deputy-80x24", deputy((80, 24))),
        ("ban", ban_dialog((120, 35))),
        ("join-80x24", joining_form((80, 24))),
        ("heartbeat", heartbeat((120, 35))),
        ("help-80x24", help((80, 24))),
        ("alone-80x24", alone((80, 24))),
        ("search", search((120, 35))),
        ("examined-80x24", diagnosed((80, 24))),
        ("ways", ways_grid((120, 35))),
        ("ways-40x12", ways_grid((40, 12))),
        ("ways-heartbeat", ways_heartbeat((120, 35))),
        ("ways-room-80x24", ways((80, 24))),
        ("classic", classic((120, 35))),
        ("classic-40x12", classic((40, 12))),
        ("classic-host-80x24", classic_host((80, 24))),
    ] {
        pictures.push((name.to_owned(), draw(&state), crate::scene::DARK));
    }
    let mut state = room((120, 35));
    for (name, paper) in
        [("light", crate::scene::LIGHT), ("dark", crate::scene::DARK), ("high-contrast", crate::scene::DARK)]
    {
        state.themes.show(name);
        pictures.push((format!("theme-{name}"), draw(&state), paper));
    }
    state.themes.show("default");
    for (name, paper) in [
        ("room-on-white", crate::scene::LIGHT),
        ("room-on-solarized-dark", crate::scene::SOLARIZED_DARK),
        ("room-on-solarized-light", crate::scene::SOLARIZED_LIGHT),
    ] {
        pictures.push((name.to_owned(), draw(&state), paper));
    }
    for (name, buffer, paper) in pictures {
        let path = assets.join(format!("{name}.svg"));
        let picture = svg_on(&buffer, &paper);
        if write {
            fs::write(&path, picture).unwrap();
        } else {
            let kept = fs::read_to_string(&path).unwrap_or_default();
            let shown = text(&buffer).join("\n");
            assert!(
                kept == picture,
                "{} does not show the screen any more; look at it, and if it is right write the pictures \
                 anew: PYILE_PICTURES=write cargo test --test screens pictures\n{shown}",
                path.display()
            );
        }
    }
}
