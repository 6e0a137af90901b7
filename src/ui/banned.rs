//! Whom the host refuses.

use ratatui::buffer::Buffer;

use super::{Theme, has_focus, paint};
use crate::{
    app::{
        State,
        layout::Areas,
        room::{Pane, Room},
        wrap,
    },
    model::{Ban, Role, SafeText},
};

pub(super) fn draw(state: &State, room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) {
    if areas.banned.width < 4 {
        return;
    }
    let focused = has_focus(room, Pane::Banned);
    let title = if room.door.bans.is_empty() {
        "Banned".to_owned()
    } else {
        format!("Banned {}", room.door.bans.len())
    };
    let inner = paint::pane(buffer, areas.banned, areas.framed, &title, "", theme.frame(focused));
    if room.door.bans.is_empty() {
        let words = match room.role {
            Role::Host => "nobody",
            Role::Member => "only the host knows",
        };
        paint::put(buffer, inner, inner.x, inner.y, words, Theme::dim());
    }
    for (row, ban) in room.door.bans.iter().rev().take(usize::from(inner.height)).enumerate() {
        let y = inner.y + u16::try_from(row).unwrap_or(0);
        let words = wrap::fit(&words(state, ban), usize::from(inner.width));
        paint::put(buffer, inner, inner.x, y, &words, Theme::plain());
    }
}

/// A ban in one line: who, from where, why, since when.
pub(super) fn words(state: &State, ban: &Ban) -> String {
    let who = match (ban.peer_id, &ban.alias) {
        (Some(peer), Some(alias)) => format!("{alias} {}", peer.short()),
        (Some(peer), None) => peer.short(),
        (None, _) => String::new(),
    };
    let addr = ban.addr_text().unwrap_or_default();
    let reason = SafeText::line(&ban.reason);
    let since = ban.since.in_zone(&state.defaults.zone).strftime("%H:%M").to_string();
    let parts = [who, addr, reason.to_string(), since];
    parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("  ")
}
