//! The conversations: everyone first, then each peer, with liveness, round trip and what is unread.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{Theme, has_focus, heartbeat, paint};
use crate::{
    app::{
        State,
        layout::{self, Areas},
        room::{Conversation, Pane, PeerView, Room},
        wrap,
    },
    model::{Recipient, Role, Wire, limits},
};

/// Cells for what is unread, and for the round trip where the heartbeat has no pane of its own.
const UNREAD: u16 = 3;
const RTT: u16 = 7;

pub(super) fn draw(state: &State, room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) {
    if areas.peers.width < 4 {
        return;
    }
    let focused = has_focus(room, Pane::Peers);
    let inner = paint::pane(buffer, areas.peers, true, ("Peers", theme.title(focused)), ("", Theme::plain()));
    let rows = usize::from(inner.height);
    let first = layout::first_conversation(room, rows);
    for (row, (at, conversation)) in room.conversations.iter().enumerate().skip(first).take(rows).enumerate()
    {
        let y = inner.y + u16::try_from(row).unwrap_or(0);
        let line = Rect { y, height: 1, ..inner };
        draw_row(state, room, theme, (conversation, at == room.current), (line, areas), buffer);
        if at == room.current {
            if focused {
                let row = Rect { x: areas.peers.x + 1, width: areas.peers.width - 1, ..areas.peers };
                paint::fill(buffer, row, y, Theme::selected());
            }
            paint::put(buffer, areas.peers, areas.peers.x, y, "▌", theme.accent());
        }
    }
}

fn draw_row(
    state: &State,
    room: &Room,
    theme: Theme,
    (conversation, is_shown): (&Conversation, bool),
    (line, areas): (Rect, &Areas),
    buffer: &mut Buffer,
) {
    let view = match conversation.with {
        Recipient::Everyone => None,
        Recipient::Peer(peer) => room.peers.get(&peer),
    };
    let (sign, sign_style, name) = match (conversation.with, view) {
        (Recipient::Everyone, _) => ("#", theme.accent(), "everyone".to_owned()),
        (Recipient::Peer(_), Some(view)) => {
            let (sign, _, style) = heartbeat::liveness(state, room, view, theme);
            // What it says of itself stands where one writes to it.
            let sign = if view.peer.status.is_some() && sign == "●" { "◐" } else { sign };
            (sign, style, view.peer.alias.to_string())
        }
        (Recipient::Peer(peer), None) => ("○", theme.dim(), room.name(&peer)),
    };
    let style = if is_shown || conversation.unread > 0 { Theme::strong() } else { Theme::plain() };
    let unread = match (conversation.unread, conversation.mentioned) {
        (0, _) => String::new(),
        (count, true) => format!("@{}", count.min(99)),
        (count, false) => count.min(999).to_string(),
    };
    let unread_style = if conversation.mentioned { theme.warning() } else { theme.accent() };
    let x = paint::put(buffer, line, line.x, line.y, sign, sign_style) + 1;
    // Columns at the right: what is unread, and before it the round trip.
    paint::put_right(buffer, line, x, line.y, &unread, unread_style);
    let mut right = line.right().saturating_sub(UNREAD);
    let what = match conversation.with {
        Recipient::Peer(peer) => words(room, &peer, view),
        Recipient::Everyone => String::new(),
    };
    let short = wrap::width(&name).min(limits::NAME_CELLS);
    if let Some(view) = view
        && areas.heartbeat.is_empty()
    {
        let (rtt, style) = heartbeat::brief(state, view, theme);
        let needed = x + u16::try_from(short + wrap::width(&shorter(&what)) + 1).unwrap_or(0);
        let cells = Rect { x: line.x, width: right.saturating_sub(line.x), ..line };
        let from = right.saturating_sub(u16::try_from(wrap::width(&rtt)).unwrap_or(0));
        // A name goes before a number.
        if needed <= from && line.width >= 20 && !rtt.is_empty() {
            paint::put_right(buffer, cells, needed, line.y, &rtt, style);
            right = right.saturating_sub(RTT);
        }
    }
    if unread.is_empty() && right + UNREAD == line.right() {
        right = line.right();
    }
    let room_for_name = usize::from(right.saturating_sub(x));
    paint::put(buffer, line, x, line.y, &label(&name, &what, room_for_name), style);
}

/// A name with what is to be known of it, in as many words as there is room for. The name goes first.
fn label(name: &str, what: &str, most: usize) -> String {
    let fits = |what: &str| wrap::width(name) + wrap::width(what) <= most;
    let forms = [what.to_owned(), shorter(what), shorter(what).replace(" ⌂", "")];
    let what = forms.iter().find(|what| fits(what)).cloned().unwrap_or_else(|| shorter(what));
    let name = wrap::fit_name(name, most.saturating_sub(wrap::width(&what)));
    wrap::fit(&format!("{name}{what}"), most)
}

/// What is to be known of a peer beside its name.
fn words(room: &Room, peer: &crate::model::PeerId, view: Option<&PeerView>) -> String {
    let Some(view) = view else {
        return if peer.wire() == Wire::Classic { " ~classic".to_owned() } else { String::new() };
    };
    let sure = match room.verified_as(peer) {
        Some(_) if room.is_verified(&view.peer) => " ✓".to_owned(),
        Some(alias) => format!(" was {alias}"),
        None => String::new(),
    };
    let key = if view.is_close { format!(" {}", peer.short()) } else { String::new() };
    let role = match view.peer.role {
        Role::Host => " (host)",
        Role::Member if room.deputy == Some(*peer) => " (deputy)",
        Role::Member => "",
    };
    let wire = if view.peer.wire == Wire::Classic && *peer != room.me { " ~classic" } else { "" };
    let via = match view.via.filter(|_| view.present) {
        Some(via) => format!(" through {}", room.name(&via)),
        None => String::new(),
    };
    format!("{sure}{key}{role}{wire}{via}")
}

/// The same in signs.
fn shorter(what: &str) -> String {
    let what = what.replace(" ~classic", " ~").replace(" (host)", " ⌂").replace(" (deputy)", "");
    match what.split_once(" through ") {
        Some((before, _)) => format!("{before} ⇢"),
        None => what,
    }
}
