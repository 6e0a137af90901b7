//! Who reaches whom: a grid, and in words what is in the way.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{Theme, paint};
use crate::{
    app::{layout::Areas, room::Room, wrap},
    model::{CloseReason, PeerId, Unreachable, Wire},
};

/// Columns of a cell: a number of up to two digits and a space.
const CELL: u16 = 3;

/// What is known of the way from one member to another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Oneself,
    Reached,
    Closed,
    Unknown,
}

fn way(room: &Room, from: &PeerId, to: &PeerId) -> Way {
    if from == to {
        Way::Oneself
    } else if room.reach.unreachable.iter().any(|way| way.from == *from && way.to == *to) {
        Way::Closed
    } else if room.reach.reached.iter().any(|row| row.from == *from && row.reached.contains(to)) {
        Way::Reached
    } else {
        Way::Unknown
    }
}

/// Why a member is not reached by those who tried, if that is so.
pub(super) fn why_unreached(room: &Room, peer: &PeerId) -> Option<(usize, CloseReason)> {
    let mut tried = room.reach.unreachable.iter().filter(|way| way.to == *peer);
    let first: &Unreachable = tried.next()?;
    Some((1 + tried.count(), first.reason))
}

/// The view.
pub(super) fn view(room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) {
    let (title, note) = (("Who reaches whom", theme.accent()), ("w: heartbeat", theme.dim()));
    let inner = paint::pane(buffer, areas.main, true, title, note);
    if inner.is_empty() {
        return;
    }
    let members: Vec<PeerId> = room
        .present()
        .into_iter()
        .map(|view| view.peer.peer_id)
        .filter(|peer| peer.wire() == Wire::Native)
        .collect();
    let name_width = members.iter().map(|peer| wrap::width(&room.name(peer))).max().unwrap_or(4).clamp(4, 16);
    let label = u16::try_from(name_width).unwrap_or(4) + 4;
    let columns = usize::from(inner.width.saturating_sub(label) / CELL);
    let mut y = inner.y;
    for at in 0..members.len().min(columns) {
        let x = inner.x + label + CELL * u16::try_from(at).unwrap_or(0);
        paint::put(buffer, inner, x, y, &format!("{:>2}", at + 1), theme.dim());
    }
    y += 1;
    let words = in_words(room, &members, usize::from(inner.width));
    let legend = "✓ reached   ✗ no way   · not tried   a row tries, a column is tried";
    let told = words.len().min(usize::from(inner.height.saturating_sub(2) / 3).max(1));
    let gap = u16::from(inner.height > 12);
    let below = u16::try_from(told).unwrap_or(0) + 1 + gap;
    let grid = Rect { height: inner.height.saturating_sub(1 + below), y, ..inner };
    for (at, from) in members.iter().enumerate().skip(room.shown.scrolled).take(usize::from(grid.height)) {
        let name = wrap::fit_name(&room.name(from), name_width);
        paint::put(buffer, inner, inner.x, y, &format!("{:>2} {name}", at + 1), Theme::plain());
        for (column, to) in members.iter().take(columns).enumerate() {
            let (sign, style) = match way(room, from, to) {
                Way::Oneself => ("-", theme.dim()),
                Way::Reached => ("✓", theme.good()),
                Way::Closed => ("✗", theme.bad()),
                Way::Unknown => ("·", theme.dim()),
            };
            let x = inner.x + label + CELL * u16::try_from(column).unwrap_or(0) + 1;
            paint::put(buffer, inner, x, y, sign, style);
        }
        y += 1;
    }
    y += gap;
    paint::put(buffer, inner, inner.x, y, &wrap::fit(legend, usize::from(inner.width)), theme.dim());
    for line in words.into_iter().take(told) {
        y += 1;
        paint::put(buffer, inner, inner.x, y, &line, theme.warning());
    }
}

/// What is in the way, a line each for whoever is out of reach.
fn in_words(room: &Room, members: &[PeerId], width: usize) -> Vec<String> {
    let line = |to: &PeerId| {
        let tried: Vec<&Unreachable> = room.reach.unreachable.iter().filter(|way| way.to == *to).collect();
        let reason = tried.first()?.reason.words();
        let names: Vec<String> = tried.iter().take(3).map(|way| room.name(&way.from)).collect();
        let more = match tried.len().saturating_sub(names.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (from, to) = (names.join(", "), room.name(to));
        Some(wrap::fit(&format!("{to} is not reached by {from}{more}: {reason}"), width))
    };
    let mut lines: Vec<String> = members.iter().filter_map(line).collect();
    if lines.is_empty() {
        lines.push("nobody is known to be out of reach".to_owned());
    }
    lines
}
