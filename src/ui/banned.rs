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
    let title = match room.door.bans.len() {
        0 => "Banned".to_owned(),
        count => format!("Banned {count}"),
    };
    let title = (title.as_str(), theme.title(has_focus(room, Pane::Banned)));
    let inner = paint::pane(buffer, areas.banned, true, title, ("", Theme::plain()));
    if room.door.bans.is_empty() {
        let words = match room.role {
            Role::Host => "nobody",
            Role::Member => "only the host knows",
        };
        paint::put(buffer, inner, inner.x, inner.y, words, theme.dim());
    }
    for (row, ban) in room.door.bans.iter().rev().take(usize::from(inner.height)).enumerate() {
        let y = inner.y + u16::try_from(row).unwrap_or(0);
        let words = words(state, ban, usize::from(inner.width));
        paint::put(buffer, inner, inner.x, y, &words, Theme::plain());
    }
}

/// A ban in a line of so many cells: who, from where, why, since when; the last of these go first.
pub(super) fn words(state: &State, ban: &Ban, most: usize) -> String {
    let who = match (ban.peer_id, &ban.alias) {
        (Some(peer), Some(alias)) => format!("{alias} {}", peer.short()),
        (Some(peer), None) => peer.short(),
        (None, _) => String::new(),
    };
    let addr = ban.addr_text().unwrap_or_default();
    let reason = SafeText::line(&ban.reason);
    let since = ban.since.in_zone(&state.defaults.zone).strftime("%H:%M").to_string();
    let mut parts = vec![who, addr, reason.to_string(), since];
    parts.retain(|part| !part.is_empty());
    while parts.len() > 1 && wrap::width(&parts.join("  ")) > most {
        parts.pop();
    }
    wrap::fit(&parts.join("  "), most)
}
