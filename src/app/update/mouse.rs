//! What a click does, where the mouse is the program's (`mouse = true`).

use super::{Effect, State, act_without_key};
use crate::app::{
    keymap::Action,
    layout,
    log::Row,
    room::{Focus, Pane, Room, View},
};

/// A click on a cell. On a conversation it opens that, on a message it selects it, on a selected message it opens its menu, and
/// on the draft it goes to writing.
pub(super) fn click(state: &mut State, x: u16, y: u16) -> Vec<Effect> {
    if !state.layers.is_empty() {
        return Vec::new();
    }
    let Some(room) = state.room().filter(|room| room.shown.view == View::Chat) else { return Vec::new() };
    let areas = layout::areas(state.size, room);
    let at = (x, y).into();
    if areas.composer.contains(at) {
        return act_without_key(state, Action::Compose);
    }
    if areas.peers.contains(at) {
        let inner = layout::inside(areas.peers, true);
        let first = layout::first_conversation(room, usize::from(inner.height));
        let row = y.checked_sub(inner.y).map(usize::from);
        if let (Some(row), Some(room)) = (row, state.room_mut())
            && first + row < room.conversations.len()
        {
            room.show(first + row);
            room.shown.focus = Focus::Compose;
        }
        return Vec::new();
    }
    let Some(entry) = areas.main.contains(at).then(|| entry_at(state, room, y)).flatten() else {
        return Vec::new();
    };
    let was_browsing = room.shown.focus == Focus::Browse && room.shown.pane == Pane::Messages;
    let Some(room) = state.room_mut() else { return Vec::new() };
    (room.shown.focus, room.shown.pane) = (Focus::Browse, Pane::Messages);
    let Some(conversation) = room.conversation_mut() else { return Vec::new() };
    let is_chosen = was_browsing && conversation.log.selected() == Some(entry);
    conversation.log.point(entry);
    if is_chosen { act_without_key(state, Action::Menu) } else { Vec::new() }
}

/// The message that has this row of the screen.
fn entry_at(state: &State, room: &Room, y: u16) -> Option<u64> {
    let areas = layout::areas(state.size, room);
    let inner = layout::inside(areas.main, areas.headed);
    let rows = room.conversation()?.log.visible(&layout::geometry(state, room));
    // A short log stands at the bottom.
    let blank = usize::from(inner.height).saturating_sub(rows.len());
    let row = usize::from(y.checked_sub(inner.y)?).checked_sub(blank)?;
    match rows.get(row)? {
        Row::Text { entry, .. } | Row::Folded { entry, .. } | Row::Flood { entry, .. } => Some(*entry),
        Row::Day(_) | Row::Gap(_) | Row::New => None,
    }
}
