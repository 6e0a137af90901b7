//! What is being written, and for whom.

use ratatui::{buffer::Buffer, layout::Position};

use super::{Theme, paint};
use crate::{
    app::{
        layout::Areas,
        room::{Focus, Room},
    },
    model::{CloseReason, Recipient, Wire, limits},
};

/// Who reads what is said to everyone, how many of them in clear, and whether they can.
fn everyone(room: &Room, bytes: usize, width: u16) -> String {
    let (others, classic) = (room.others(), room.classic());
    let (read, get) = if classic == 1 { ("reads", "gets") } else { ("read", "get") };
    match (classic, room.cleartext.on) {
        (0, _) => format!("to everyone ({others})"),
        (_, Some(false)) => format!("to everyone, {classic} of {others} {get} nothing"),
        _ if bytes > limits::CLASSIC_TEXT => {
            format!("to everyone, maybe too long for {classic} of {others}")
        }
        _ if width < 50 => format!("to everyone, {classic} of {others} in clear"),
        _ => format!("to everyone ({others}), {classic} of {others} {read} this in clear"),
    }
}

pub(super) fn draw(room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) -> Option<Position> {
    let conversation = room.conversation()?;
    if areas.composer.is_empty() {
        return None;
    }
    let focused = room.shown.focus == Focus::Compose;
    let title = match conversation.with {
        Recipient::Everyone => everyone(room, conversation.draft.text().len(), areas.composer.width),
        Recipient::Peer(peer) => {
            let view = room.peers.get(&peer);
            let where_it_is = match view.and_then(|view| view.gone) {
                Some(CloseReason::Kicked | CloseReason::Banned) => ", who was removed",
                _ if peer.wire() == Wire::Classic && !view.is_some_and(|view| view.present) => {
                    ", who is gone: nothing can wait for it"
                }
                _ if peer.wire() == Wire::Classic && room.cleartext.on == Some(false) => {
                    ", who gets nothing in clear"
                }
                _ if peer.wire() == Wire::Classic => {
                    let is_long = conversation.draft.text().len() > limits::CLASSIC_TEXT;
                    if is_long { ", in clear, maybe too long" } else { ", in clear" }
                }
                _ if view.is_some_and(|view| view.present) => "",
                _ => ", who is away: it waits",
            };
            let via = view.filter(|view| view.present).and_then(|view| view.via);
            let through = via.map(|via| format!(", through {}", room.name(&via))).unwrap_or_default();
            let key = view.filter(|view| view.is_close).map(|_| format!(" ({})", peer.short()));
            format!("to {}{} only{where_it_is}{through}", room.name(&peer), key.unwrap_or_default())
        }
    };
    let text = conversation.draft.text();
    let note = match text.len() {
        bytes if bytes > limits::TEXT_BYTES * 3 / 4 => format!("{bytes} of {} bytes", limits::TEXT_BYTES),
        _ if room.stash.is_some() => "↑ stashed draft".to_owned(),
        _ => String::new(),
    };
    let inner = paint::pane(buffer, areas.composer, areas.framed, &title, &note, theme.frame(focused));
    if inner.is_empty() {
        return None;
    }
    if text.is_empty() {
        let words = if focused { "" } else { "press i to write" };
        paint::put(buffer, inner, inner.x, inner.y, words, Theme::dim());
        return focused.then_some(Position { x: inner.x, y: inner.y });
    }
    let width = usize::from(inner.width).max(2);
    let (rows, (row, column)) = conversation.draft.view(width, usize::from(inner.height));
    for (at, range) in rows.into_iter().enumerate() {
        let y = inner.y + u16::try_from(at).unwrap_or(0);
        paint::put(buffer, inner, inner.x, y, text.get(range).unwrap_or_default(), Theme::plain());
    }
    let x = inner.x + u16::try_from(column.min(width.saturating_sub(1))).unwrap_or(0);
    focused.then_some(Position { x, y: inner.y + u16::try_from(row).unwrap_or(0) })
}
