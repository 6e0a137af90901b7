//! The conversations: everyone first, then each peer, with liveness and what is unread.

use ratatui::buffer::Buffer;

use super::{Theme, has_focus, heartbeat, paint};
use crate::{
    app::{
        State,
        layout::Areas,
        room::{Pane, Room},
        wrap,
    },
    model::{Recipient, Role},
};

pub(super) fn draw(state: &State, room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) {
    if areas.peers.width < 4 {
        return;
    }
    let focused = has_focus(room, Pane::Peers);
    let title = format!("Peers {}", room.others() + 1);
    let inner = paint::pane(buffer, areas.peers, areas.framed, &title, "", theme.frame(focused));
    // The one that is shown stays visible in a long list.
    let rows = usize::from(inner.height);
    let first = room.current.saturating_sub(rows.saturating_sub(1));
    for (row, (at, conversation)) in room.conversations.iter().enumerate().skip(first).take(rows).enumerate()
    {
        let y = inner.y + u16::try_from(row).unwrap_or(0);
        let (sign, sign_style, name, is_host) = match conversation.with {
            Recipient::Everyone => ("*", theme.accent(), "Everyone".to_owned(), false),
            Recipient::Peer(peer) => match room.peers.get(&peer) {
                Some(view) => {
                    let (sign, _, style) = heartbeat::liveness(state, room, view, theme);
                    (sign, style, view.peer.alias.to_string(), view.peer.role == Role::Host)
                }
                None => ("○", Theme::dim(), room.name(&peer), false),
            },
        };
        let unread = match (conversation.unread, conversation.mentioned) {
            (0, _) => String::new(),
            (count, true) => format!("@{}", count.min(999)),
            (count, false) => count.min(999).to_string(),
        };
        let style = match (at == room.current, conversation.unread > 0) {
            (true, _) => Theme::selected(),
            (false, true) => Theme::strong(),
            (false, false) => Theme::plain(),
        };
        let x = paint::put(buffer, inner, inner.x, y, sign, sign_style);
        let label = if is_host { format!("{name} (host)") } else { name };
        let room_for_name = usize::from(inner.right().saturating_sub(x + 1)).saturating_sub(unread.len() + 1);
        let end = paint::put(buffer, inner, x + 1, y, &wrap::fit(&label, room_for_name), style);
        let unread_style = if conversation.mentioned { theme.warning() } else { theme.accent() };
        paint::put_right(buffer, inner, end + 1, y, &unread, unread_style);
    }
}
