//! The Log view: what happened, the newest at the bottom.

use ratatui::buffer::Buffer;

use super::{Theme, paint};
use crate::app::{
    State,
    layout::Areas,
    room::{Grade, Room},
    wrap,
};

pub(super) fn draw(state: &State, room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) {
    let note = match room.shown.filter {
        Grade::Info => "all",
        Grade::Warning => "warnings and errors",
        Grade::Error => "errors",
    };
    let inner = paint::pane(buffer, areas.main, true, ("Log", theme.accent()), (note, theme.dim()));
    if inner.is_empty() {
        return;
    }
    let time_width: u16 = if inner.width >= 40 { 9 } else { 0 };
    let text_x = inner.x + time_width + 2;
    let width = usize::from(inner.right().saturating_sub(text_x)).max(2);
    let mut y = inner.bottom();
    for line in room.log_lines().rev().skip(room.shown.scrolled) {
        let text = line.text.as_str();
        let rows = wrap::rows(text, width);
        let height = u16::try_from(rows.len()).unwrap_or(u16::MAX);
        if y < inner.y.saturating_add(height) {
            break;
        }
        y -= height;
        let (sign, style) = match line.grade {
            Grade::Info => ("·", Theme::plain()),
            Grade::Warning => ("!", theme.warning()),
            Grade::Error => ("✗", theme.bad()),
        };
        if time_width > 0 {
            let time = line.at.in_zone(&state.defaults.zone).strftime("%H:%M:%S").to_string();
            paint::put(buffer, inner, inner.x, y, &time, theme.dim());
        }
        paint::put(buffer, inner, inner.x + time_width, y, sign, style);
        for (at, range) in rows.into_iter().enumerate() {
            let row = y + u16::try_from(at).unwrap_or(0);
            paint::put(buffer, inner, text_x, row, text.get(range).unwrap_or_default(), style);
        }
    }
    if room.log_lines().next().is_none() {
        paint::put(buffer, inner, inner.x, inner.y, "nothing to show", theme.dim());
    }
}
