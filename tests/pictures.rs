//! The pictures in `assets/`, rendered from the real screens. To write them anew after a change of the screens:
//! `PYILE_PICTURES=write cargo test --test pictures`

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

#[path = "support/scene.rs"]
mod scene;

use std::{env, fs, path::Path};

use crossterm::event::KeyCode;
use pyile::{
    app::{Event, State, update},
    model::{CloseReason, Closed},
};
use scene::{draw, launch, press, room, svg, text, type_text};

fn ban_dialog(size: (u16, u16)) -> State {
    let mut state = room(size);
    press(&mut state, KeyCode::F(3));
    press(&mut state, KeyCode::Char('b'));
    state
}

fn failed_join(size: (u16, u16)) -> State {
    let mut state = launch(size);
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Enter);
    type_text(&mut state, "192.168.1.66");
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::Tab);
    type_text(&mut state, "guess");
    press(&mut state, KeyCode::Enter);
    let message = "wrong password, or somebody is between you and the host; 2 attempts are left before this \
                   address is banned";
    update(&mut state, scene::NOW, Event::OpenFailed(Closed::new(CloseReason::WrongPassword, message)));
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

#[test]
fn the_pictures_show_the_screens() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let write = env::var("PYILE_PICTURES").is_ok_and(|value| value == "write");
    for (name, state) in [
        ("launch", launch((80, 24))),
        ("join-failed", failed_join((80, 24))),
        ("room", room((120, 35))),
        ("room-80x24", room((80, 24))),
        ("room-40x12", room((40, 12))),
        ("ban", ban_dialog((120, 35))),
        ("heartbeat", heartbeat((120, 35))),
        ("help-80x24", help((80, 24))),
    ] {
        let buffer = draw(&state);
        let path = assets.join(format!("{name}.svg"));
        let picture = svg(&buffer);
        if write {
            fs::write(&path, picture).unwrap();
        } else {
            let kept = fs::read_to_string(&path).unwrap_or_default();
            let shown = text(&buffer).join("\n");
            assert!(
                kept == picture,
                "{} does not show the screen any more; look at it, and if it is right write the pictures \
                 anew: PYILE_PICTURES=write cargo test --test pictures\n{shown}",
                path.display()
            );
        }
    }
}
