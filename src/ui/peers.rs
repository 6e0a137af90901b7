//! The conversations: everyone first, then each peer, with liveness and what is unread.

use ratatui::buffer::Buffer;

use super::{Theme, has_focus, heartbeat, paint};
use crate::{
    app::{
        State,
        layout::Areas,
        room::{Pane, PeerView, Room},
        wrap,
    },
    model::{Recipient, Role, Wire},
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
        let (sign, sign_style, name, what) = match conversation.with {
            Recipient::Everyone => ("*", theme.accent(), "Everyone".to_owned(), String::new()),
            Recipient::Peer(peer) => match room.peers.get(&peer) {
                Some(view) => {
                    let (sign, _, style) = heartbeat::liveness(state, room, view, theme);
                    (sign, style, view.peer.alias.to_string(), words(room, view))
                }
                None => {
                    let what = if peer.wire() == Wire::Classic { " ~classic" } else { "" };
                    ("○", Theme::dim(), room.name(&peer), what.to_owned())
                }
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
        let beside = if unread.is_empty() { 0 } else { unread.len() + 1 };
        let room_for_name = usize::from(inner.right().saturating_sub(x + 1)).saturating_sub(beside);
        // Beside a long name the mark must do; a longer one gives way to it.
        let fits = |what: &str| wrap::width(&name) + wrap::width(what) <= room_for_name;
        let key = match conversation.with {
            Recipient::Peer(peer) if room.peers.get(&peer).is_some_and(|view| view.is_close) => {
                format!(" {}", peer.short())
            }
            _ => String::new(),
        };
        let with_key = [format!("{key}{what}"), format!("{key}{}", shorter(&what)), key.clone()];
        let without = [what.clone(), shorter(&what), what.replace(" (host)", "")];
        let forms: Vec<String> = if key.is_empty() { without.into() } else { [with_key, without].concat() };
        let what = forms.iter().find(|what| fits(what)).cloned().unwrap_or_else(|| shorter(&what));
        let name = wrap::fit_name(&name, room_for_name.saturating_sub(wrap::width(&what)));
        let label = wrap::fit(&format!("{name}{what}"), room_for_name);
        let end = paint::put(buffer, inner, x + 1, y, &label, style);
        if unread.is_empty() {
            // Where the heartbeat has no pane of its own.
            let view = match conversation.with {
                Recipient::Peer(peer) if areas.heartbeat.is_empty() => room.peers.get(&peer),
                _ => None,
            };
            let rtt = view.filter(|view| view.present).and_then(heartbeat::last_rtt);
            paint::put_right(buffer, inner, end + 1, y, &rtt.unwrap_or_default(), Theme::dim());
            continue;
        }
        let unread_style = if conversation.mentioned { theme.warning() } else { theme.accent() };
        paint::put_right(buffer, inner, end + 1, y, &unread, unread_style);
    }
}

/// What is to be known of a peer beside its name.
fn words(room: &Room, view: &PeerView) -> String {
    let peer = &view.peer;
    let role = if peer.role == Role::Host { " (host)" } else { "" };
    let wire = if peer.wire == Wire::Classic && peer.peer_id != room.me { " ~classic" } else { "" };
    let via = match view.via.filter(|_| view.present) {
        Some(via) => format!(" through {}", room.name(&via)),
        None => String::new(),
    };
    format!("{role}{wire}{via}")
}

/// The same in signs.
fn shorter(what: &str) -> String {
    let what = what.replace(" ~classic", " ~").replace(" (host)", " ⌂");
    match what.split_once(" through ") {
        Some((before, _)) => format!("{before} ⇢"),
        None => what,
    }
}
