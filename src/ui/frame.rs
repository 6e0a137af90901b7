//! The lines around the room: what and where it is above, what keys do below.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{Theme, paint};
use crate::{
    app::{
        State, ToastKind, keymap,
        layer::Layer,
        layout,
        room::{LinkView, Room, View},
        wrap,
    },
    model::{Role, Timestamp},
};

/// Network, role, address, peers, link state. What does not fit goes, the least needed first.
pub(super) fn title(state: &State, room: &Room, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let role = match room.role {
        Role::Host => "host",
        Role::Member => "member",
    };
    let count = room.others() + 1;
    let peers = if count == 1 { "1 peer".to_owned() } else { format!("{count} peers") };
    let unread = room.conversations.iter().map(|conversation| conversation.unread).sum::<u32>();
    let (link, style) = link(room, state.now, theme);
    // (priority, text, style): the highest numbers go first.
    let mut parts: Vec<(u8, String, Style)> = vec![
        (6, "pyile".to_owned(), theme.accent()),
        (0, room.network.to_string(), Theme::strong()),
        (2, format!("{role} {}", room.alias), Theme::plain()),
        (4, room.join_addr.clone(), Theme::plain()),
        (3, peers, Theme::plain()),
    ];
    // Where the conversations are not to be seen.
    if unread > 0 && (room.shown.view != View::Chat || areas_fold(state, room)) {
        parts.push((0, format!("{unread} unread"), theme.warning()));
    }
    if room.cleartext.on.is_some() {
        parts.push((1, "~classic".to_owned(), theme.warning()));
    }
    parts.push((0, link, style));
    let width =
        |parts: &[(u8, String, Style)]| parts.iter().map(|(_, text, _)| wrap::width(text) + 3).sum::<usize>();
    while width(&parts) > usize::from(area.width) + 1 && parts.len() > 2 {
        let Some(at) = (0..parts.len()).max_by_key(|at| parts.get(*at).map(|(priority, ..)| *priority))
        else {
            break;
        };
        parts.remove(at);
    }
    let mut x = area.x + u16::from(area.width > 20);
    for (at, (_, text, style)) in parts.iter().enumerate() {
        if at > 0 {
            x = paint::put(buffer, area, x, area.y, " · ", Theme::dim());
        }
        x = paint::put(buffer, area, x, area.y, text, *style);
    }
}

fn link(room: &Room, now: Timestamp, theme: Theme) -> (String, Style) {
    match (&room.link, room.role) {
        (LinkView::Joined, Role::Host) => ("● open".to_owned(), theme.good()),
        (LinkView::Joined, Role::Member) => ("● joined".to_owned(), theme.good()),
        // Why it was lost stands in the log.
        (LinkView::Lost { retry_at, .. }, _) => {
            let text = match retry_at.map(|at| at.since(now).as_secs()) {
                Some(seconds) if seconds > 0 => format!("◌ host lost, retry {seconds} s"),
                _ => "◌ host lost, retry now".to_owned(),
            };
            (text, theme.warning())
        }
    }
}

/// What is wrong and stays so.
pub(super) fn banner(state: &State, room: &Room, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    if let Some(words) = room.banner(&state.defaults.zone, usize::from(area.width)) {
        let text = wrap::fit(&format!(" ! {words}"), usize::from(area.width));
        paint::put(buffer, area, area.x, area.y, &text, theme.warning());
    }
}

fn areas_fold(state: &State, room: &Room) -> bool {
    layout::areas(state.size, room).peers.is_empty()
}

/// A short notice, or the keys that matter here.
pub(super) fn hint(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    // A question needs its keys.
    let is_asking = matches!(state.layers.last(), Some(Layer::Dialog(_)));
    if let Some(toast) = state.toast.as_ref().filter(|_| !is_asking) {
        let (sign, style) = match toast.kind {
            ToastKind::Info => ("›", theme.accent()),
            ToastKind::Error => ("!", theme.bad()),
        };
        let text = format!(" {sign} {}", toast.text);
        paint::put(buffer, area, area.x, area.y, &wrap::fit(&text, usize::from(area.width)), style);
        return;
    }
    // Help is what a newcomer needs: it always has its place, at the right.
    let help = "F1 help";
    let reserved = if area.width > 30 { u16::try_from(help.len() + 1).unwrap_or(0) } else { 0 };
    if reserved > 0 {
        let within = Rect { width: area.width.saturating_sub(1), ..area };
        paint::put_right(buffer, within, area.x, area.y, help, Theme::dim());
    }
    let mut x = area.x + 1;
    for (key, word) in keymap::hints(&state.contexts()).into_iter().filter(|(_, word)| *word != "help") {
        let width = u16::try_from(wrap::width(&key) + wrap::width(word) + 1).unwrap_or(u16::MAX);
        if x.saturating_add(width) >= area.right().saturating_sub(reserved + 1) {
            break;
        }
        x = paint::put(buffer, area, x, area.y, &key, Theme::strong());
        x = paint::put(buffer, area, x + 1, area.y, word, Theme::dim()) + 2;
    }
}
