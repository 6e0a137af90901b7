//! What is being written, and for whom.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{Theme, paint};
use crate::{
    app::{
        audience,
        layout::{self, Areas},
        room::{Focus, Room},
        wrap,
    },
    model::limits,
};

pub(super) fn draw(room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) -> Option<Position> {
    let conversation = room.conversation()?;
    let area = areas.composer;
    let prompt = audience::prompt(room, area.width);
    let focused = room.shown.focus == Focus::Compose;
    let style = match (focused, prompt.is_direct) {
        (false, _) => theme.dim(),
        (true, false) => theme.accent(),
        // What one person only reads must not be mistaken.
        (true, true) => theme.warning(),
    };
    let text = conversation.draft.text();
    rule(room, theme, areas, (&prompt.above, style), buffer);
    if area.is_empty() {
        return None;
    }
    paint::put(buffer, area, area.x + 1, area.y, &prompt.before, style);
    let inner = layout::text_area(area, room);
    if text.is_empty() {
        let words = if focused { "" } else { "press i to write" };
        paint::put(buffer, inner, inner.x, inner.y, words, theme.dim());
        return focused.then_some(Position { x: inner.x, y: inner.y });
    }
    let width = usize::from(inner.width).max(2);
    let (rows, (row, column)) = conversation.draft.view(width, usize::from(inner.height));
    // What does not fit is there, though it is not seen.
    let above = rows.first().is_some_and(|first| first.start > 0);
    let below = rows.last().is_some_and(|last| last.end < text.len());
    for (hidden, y, sign) in [(above, inner.y, "↑"), (below, inner.bottom() - 1, "↓")] {
        if hidden && inner.right() < area.right() {
            paint::put(buffer, area, inner.right(), y, sign, theme.dim());
        }
    }
    for (at, range) in rows.into_iter().enumerate() {
        let y = inner.y + u16::try_from(at).unwrap_or(0);
        paint::put(buffer, inner, inner.x, y, text.get(range).unwrap_or_default(), Theme::plain());
    }
    let x = inner.x + u16::try_from(column.min(width.saturating_sub(1))).unwrap_or(0);
    focused.then_some(Position { x, y: inner.y + u16::try_from(row).unwrap_or(0) })
}

/// The line above, where the lines between panes end, with what is to be known of the draft.
fn rule(
    room: &Room,
    theme: Theme,
    areas: &Areas,
    (above, style): (&str, ratatui::style::Style),
    buffer: &mut Buffer,
) {
    let line = areas.rule;
    paint::rule(buffer, line, theme.dim());
    for x in areas.lines().into_iter().flatten() {
        paint::put(buffer, line, x, line.y, "┴", theme.dim());
    }
    let within = Rect { x: line.x + 1, width: line.width.saturating_sub(2), ..line };
    let mut end = within.x;
    if !above.is_empty() {
        let words = format!(" {} ", wrap::fit(above, usize::from(within.width).saturating_sub(2)));
        end = paint::put(buffer, within, within.x, line.y, &words, style);
    }
    let bytes = room.conversation().map_or(0, |conversation| conversation.draft.text().len());
    let note = match bytes {
        bytes if bytes > limits::TEXT_BYTES * 3 / 4 => format!(" {bytes} of {} bytes ", limits::TEXT_BYTES),
        _ if room.stash.is_some() => " ↑ stashed draft ".to_owned(),
        _ => return,
    };
    paint::put_right(buffer, within, end + 1, line.y, &note, theme.dim());
}
