//! What the terminal is told of, and whether somebody looks at it.

use super::{Effect, State};
use crate::{
    app::{
        Noticed,
        room::{Heard, View},
    },
    model::limits,
};

/// What the terminal is told of something that was said, unless it was told of something just before.
pub(super) fn notice(state: &mut State, heard: &Heard) -> Vec<Effect> {
    let notices = state.notices;
    let needed = if heard.is_call { Noticed::Calls } else { Noticed::Everything };
    if notices.of < needed || state.noticed.is_some_and(|at| state.now.since(at) < limits::NOTICE_PAUSE) {
        return Vec::new();
    }
    state.noticed = Some(state.now);
    let network = state.room().map(|room| room.network.to_string()).unwrap_or_default();
    let words = if notices.has_text {
        let text: String = heard.text.as_str().replace('\n', " ");
        format!("{}: {}", heard.from, text.chars().take(limits::NOTICE_CHARACTERS).collect::<String>())
    } else if heard.is_call {
        format!("{} calls you", heard.from)
    } else {
        format!("{} said something", heard.from)
    };
    // It never begins with a digit: with one and a semicolon OSC 9 means something else.
    let notify = Effect::Notify(format!("pyile, {network}: {words}"));
    let bell = notices.bell.then_some(Effect::Bell);
    bell.into_iter().chain([notify]).collect()
}

/// Somebody looks at the terminal from now on, or nobody does.
pub(super) fn looked_at(state: &mut State, is_seen: bool) {
    state.in_sight = Some(is_seen);
    let Some(room) = state.room_mut() else { return };
    room.in_sight = Some(is_seen);
    if is_seen && room.shown.view == View::Chat {
        room.show(room.current);
    } else if !is_seen {
        room.look_away();
    }
}
