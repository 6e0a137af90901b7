//! The Admin view: members, attempts and banned side by side.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
};

use super::{Theme, banned, heartbeat, paint};
use crate::{
    app::{AdminColumn, AdminRow, State, admin_rows, layout::Areas, room::Room, wrap},
    model::{Role, Wire},
};

pub(super) fn draw(state: &State, room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) {
    let rows = admin_rows(room);
    let selected = rows.get(room.shown.admin_at);
    let column = selected.map_or(AdminColumn::Members, AdminRow::column);
    let columns = [
        (AdminColumn::Members, "Members"),
        (AdminColumn::Attempts, "Attempts"),
        (AdminColumn::Banned, "Banned"),
    ];
    let constraints = [Constraint::Fill(5), Constraint::Fill(4), Constraint::Fill(4)];
    let rects: [Rect; 3] = if areas.main.width >= 76 {
        Layout::horizontal(constraints).areas(areas.main)
    } else {
        // Side by side does not fit: one below the other.
        Layout::vertical([Constraint::Fill(2), Constraint::Fill(1), Constraint::Fill(1)]).areas(areas.main)
    };
    for ((kind, title), area) in columns.into_iter().zip(rects) {
        let own: Vec<(usize, &AdminRow)> =
            rows.iter().enumerate().filter(|(_, row)| row.column() == kind).collect();
        let title = if own.is_empty() { title.to_owned() } else { format!("{title} {}", own.len()) };
        let inner = paint::pane(buffer, area, areas.framed, &title, "", theme.frame(kind == column));
        if inner.is_empty() {
            continue;
        }
        if own.is_empty() {
            let words = match (kind, room.role) {
                (_, Role::Member) if kind != AdminColumn::Members => "only the host knows",
                (AdminColumn::Members, _) => "nobody else is here",
                (AdminColumn::Attempts, _) if room.door.bans.iter().any(|ban| ban.automatic) => {
                    "none but those banned"
                }
                (AdminColumn::Attempts, _) => "no wrong passwords",
                (AdminColumn::Banned, _) => "nobody",
            };
            paint::put(buffer, inner, inner.x, inner.y, words, Theme::dim());
        }
        let height = usize::from(inner.height);
        let at = own.iter().position(|(at, _)| *at == room.shown.admin_at).unwrap_or(0);
        let first = (at + 1).saturating_sub(height);
        for (line, (index, row)) in own.into_iter().skip(first).take(height).enumerate() {
            let y = inner.y + u16::try_from(line).unwrap_or(0);
            let text = words(state, room, row, theme);
            let is_selected = index == room.shown.admin_at;
            let style = if is_selected { Theme::selected() } else { Theme::plain() };
            let width = usize::from(inner.width);
            let mut text = wrap::fit(&text, width);
            if is_selected {
                text.push_str(&" ".repeat(width.saturating_sub(wrap::width(&text))));
            }
            paint::put(buffer, inner, inner.x, y, &text, style);
        }
    }
}

fn words(state: &State, room: &Room, row: &AdminRow, theme: Theme) -> String {
    match row {
        AdminRow::Member(peer) => {
            let status =
                room.peers.get(&peer.peer_id).map(|view| heartbeat::liveness(state, room, view, theme));
            let (sign, words, _) = status.unwrap_or(("●", String::new(), Theme::plain()));
            let key = if peer.wire == Wire::Classic { "~classic".to_owned() } else { peer.peer_id.short() };
            format!("{sign} {}  {words}  {}  {key}", peer.alias, peer.addr.ip())
        }
        AdminRow::Attempt(attempt) => {
            format!("{}  {} wrong, {} left", attempt.addr, attempt.wrong, attempt.left)
        }
        AdminRow::Penalty(penalty) => format!("{}  held back, {} wait", penalty.addr, penalty.waiting),
        AdminRow::Banned(ban) => banned::words(state, ban),
    }
}
