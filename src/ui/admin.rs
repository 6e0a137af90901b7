//! The Admin view: members over the whole width, attempts and banned below them.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
};

use super::{Theme, banned, heartbeat, paint};
use crate::{
    app::{AdminColumn, AdminRow, State, admin_rows, invite::time_left, layout::Areas, room::Room, wrap},
    model::{Peer, Role, Wire, limits},
};

/// Columns from which attempts and banned stand side by side.
const BESIDE: u16 = 70;

pub(super) fn draw(state: &State, room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) {
    let rows = admin_rows(room);
    let count = |column| rows.iter().filter(|row| row.column() == column).count();
    let (attempts, bans) = (count(AdminColumn::Attempts), count(AdminColumn::Banned));
    // A title and a line at least; of many lines half of the view.
    let height =
        |count: usize| u16::try_from(count.max(1) + 1).unwrap_or(u16::MAX).min(areas.main.height / 2);
    let main = areas.main;
    let (members, left, right) = if main.width >= BESIDE {
        let below = height(attempts.max(bans)) + 1;
        let top = main.height.saturating_sub(below);
        let line = Rect { y: main.y + top, height: 1.min(below), ..main };
        let half = main.width / 2;
        paint::rule(buffer, line, theme.dim());
        paint::put(buffer, main, main.x + half, line.y, "┬", theme.dim());
        let lower = Rect { y: line.y + 1, height: below.saturating_sub(1), ..main };
        for y in lower.top()..lower.bottom() {
            paint::put(buffer, main, main.x + half, y, "│", theme.dim());
        }
        let right = Rect { x: main.x + half + 1, width: main.width - half - 1, ..lower };
        (Rect { height: top, ..main }, Rect { width: half, ..lower }, right)
    } else {
        let (attempts, bans) = (height(attempts).min(main.height / 3), height(bans).min(main.height / 3));
        let top = main.height - attempts - bans;
        let left = Rect { y: main.y + top, height: attempts, ..main };
        (Rect { height: top, ..main }, left, Rect { y: left.bottom(), height: bans, ..main })
    };
    let list = List { state, room, theme, rows: &rows };
    // They take no room where there are none.
    let high = |column: AdminColumn| match count(column) {
        0 => 0,
        count => height(count).min(members.height / 3),
    };
    let (door, invites) = (high(AdminColumn::Door), high(AdminColumn::Invites));
    let [members, first, at_door, second, open] = Layout::vertical([
        Constraint::Min(0),
        Constraint::Length(u16::from(door > 0)),
        Constraint::Length(door),
        Constraint::Length(u16::from(invites > 0)),
        Constraint::Length(invites),
    ])
    .areas(members);
    for line in [first, second] {
        paint::rule(buffer, line, theme.dim());
    }
    list.draw(AdminColumn::Members, members, buffer);
    list.draw(AdminColumn::Door, at_door, buffer);
    list.draw(AdminColumn::Invites, open, buffer);
    list.draw(AdminColumn::Attempts, left, buffer);
    list.draw(AdminColumn::Banned, right, buffer);
}

struct List<'a> {
    state: &'a State,
    room: &'a Room,
    theme: Theme,
    rows: &'a [AdminRow],
}

impl List<'_> {
    fn draw(&self, column: AdminColumn, area: Rect, buffer: &mut Buffer) {
        let at = self.room.shown.admin_at;
        let selected = self.rows.get(at).map_or(AdminColumn::Members, AdminRow::column);
        let title = match column {
            AdminColumn::Members => "Members",
            AdminColumn::Door => "At the door (a lets in, x turns away)",
            AdminColumn::Invites => "Invites",
            AdminColumn::Attempts => "Attempts",
            AdminColumn::Banned => "Banned",
        };
        let own: Vec<(usize, &AdminRow)> =
            self.rows.iter().enumerate().filter(|(_, row)| row.column() == column).collect();
        let title = if own.is_empty() { title.to_owned() } else { format!("{title} {}", own.len()) };
        let style = self.theme.title(column == selected);
        let inner = paint::pane(buffer, area, true, (&title, style), ("", Theme::plain()));
        if own.is_empty() {
            let words = wrap::fit(self.nothing(column), usize::from(inner.width));
            paint::put(buffer, inner, inner.x, inner.y, &words, self.theme.dim());
        }
        let height = usize::from(inner.height);
        let first =
            own.iter().position(|(index, _)| *index == at).map_or(0, |at| (at + 1).saturating_sub(height));
        for (line, (index, row)) in own.into_iter().skip(first).take(height).enumerate() {
            let y = inner.y + u16::try_from(line).unwrap_or(0);
            let text = match row {
                AdminRow::Member(peer) => self.member(peer, usize::from(inner.width)),
                AdminRow::Applicant(applicant) => {
                    let left = time_left(applicant.until, self.state.now);
                    let how = if applicant.invited { "by an invite" } else { "by the password" };
                    let (key, addr) = (applicant.peer_id.short(), applicant.addr);
                    let name = wrap::fit_name(applicant.alias.as_str(), limits::NAME_CELLS);
                    format!("{name}  {key}  {addr}  {how}, {left} left")
                }
                AdminRow::Invite(info) => {
                    let left = time_left(info.until, self.state.now);
                    let by = info.by.map(|by| format!(", by {}", self.room.name(&by))).unwrap_or_default();
                    format!("{:<16} for {} more, {left}{by}", info.id, info.uses)
                }
                AdminRow::Attempt(attempt) => {
                    format!("{:<16} {} wrong, {} left", attempt.addr.to_string(), attempt.wrong, attempt.left)
                }
                AdminRow::Penalty(penalty) => {
                    format!("{:<16} held back, {} wait", penalty.addr.to_string(), penalty.waiting)
                }
                AdminRow::Banned(ban) => banned::words(self.state, ban, usize::from(inner.width)),
            };
            let text = wrap::fit(&text, usize::from(inner.width));
            paint::put(buffer, inner, inner.x, y, &text, Theme::plain());
            if index == at {
                paint::fill(buffer, area, y, Theme::selected());
            }
        }
    }

    fn nothing(&self, column: AdminColumn) -> &'static str {
        match (column, self.room.role) {
            (AdminColumn::Attempts | AdminColumn::Banned, Role::Member) => "only the host knows",
            (AdminColumn::Door | AdminColumn::Invites, _) => "none",
            (AdminColumn::Members, _) => "nobody else is here",
            (AdminColumn::Attempts, _) if self.room.door.bans.iter().any(|ban| ban.automatic) => {
                "none but those banned"
            }
            (AdminColumn::Attempts, _) => "no wrong passwords",
            (AdminColumn::Banned, _) => "nobody",
        }
    }

    /// A member in columns: its state, name, key and address, and its round trip.
    fn member(&self, peer: &Peer, width: usize) -> String {
        let view = self.room.peers.get(&peer.peer_id);
        let status = view.map(|view| heartbeat::liveness(self.state, self.room, view, self.theme));
        let (sign, words, _) = status.unwrap_or(("●", String::new(), Theme::plain()));
        let name = wrap::fit_name(peer.alias.as_str(), limits::NAME_CELLS);
        let gap = " ".repeat(limits::NAME_CELLS.saturating_sub(wrap::width(&name)));
        let key = if peer.wire == Wire::Classic { "~classic".to_owned() } else { peer.peer_id.short() };
        let addr = peer.addr.ip().to_string();
        if width < 50 {
            return format!("{sign} {name}{gap}  {key:<9}  {addr}");
        }
        let words = if self.room.is_verified(peer) { format!("verified  {words}") } else { words };
        format!("{sign} {name}{gap}  {key:<9}  {addr:<16}  {words:>12}")
    }
}
