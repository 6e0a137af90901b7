//! Putting text into cells: the only way from text to the buffer.

use std::num::NonZeroU16;

use ratatui::{
    buffer::{Buffer, CellDiffOption, CellWidth as _},
    layout::Rect,
    style::Style,
};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::app::wrap;

/// Puts `text` at `x`, `y` as far as it fits into `area`. Gives the column behind it.
pub(crate) fn put(buffer: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    let mut at = x;
    if y < area.top() || y >= area.bottom() || x < area.left() {
        return at;
    }
    for cluster in text.graphemes(true) {
        let width = u16::try_from(wrap::cells(cluster)).unwrap_or(u16::MAX);
        let Some(cells) = NonZeroU16::new(width).filter(|_| !cluster.starts_with(char::is_control)) else {
            continue;
        };
        if at.saturating_add(width) > area.right() {
            break;
        }
        if let Some(cell) = buffer.cell_mut((at, y)) {
            cell.set_symbol(cluster).set_style(style);
            // What the log laid out is what ratatui skips.
            let is_usual = cell.symbol().cell_width() == width;
            cell.set_diff_option(if is_usual {
                CellDiffOption::None
            } else {
                CellDiffOption::ForcedWidth(cells)
            });
        }
        for covered in 1..width {
            if let Some(cell) = buffer.cell_mut((at + covered, y)) {
                cell.reset();
                cell.set_style(style);
            }
        }
        at += width;
    }
    at
}

/// Puts `text` so that it ends at the right edge of `area`; nothing when it does not fit behind `from`.
pub(super) fn put_right(buffer: &mut Buffer, area: Rect, from: u16, y: u16, text: &str, style: Style) {
    let width = u16::try_from(wrap::width(text)).unwrap_or(u16::MAX);
    if let Some(x) = area.right().checked_sub(width)
        && x >= from
    {
        put(buffer, area, x, y, text, style);
    }
}

/// A pane: a frame, or only a rule above, with a title. Gives the room inside.
pub(super) fn pane(
    buffer: &mut Buffer,
    area: Rect,
    framed: bool,
    title: &str,
    note: &str,
    style: Style,
) -> Rect {
    let inside = crate::app::layout::inside(area, framed);
    if area.width < 2 || area.height == 0 {
        return Rect { width: 0, height: 0, ..inside };
    }
    let (left, right, top) = (area.left(), area.right() - 1, area.top());
    for x in left..=right {
        put(buffer, area, x, top, "─", style);
    }
    if framed && area.height > 1 {
        let bottom = area.bottom() - 1;
        for x in left..=right {
            put(buffer, area, x, bottom, "─", style);
        }
        for y in top..=bottom {
            put(buffer, area, left, y, "│", style);
            put(buffer, area, right, y, "│", style);
        }
        for (x, y, corner) in [(left, top, "╭"), (right, top, "╮"), (left, bottom, "╰"), (right, bottom, "╯")]
        {
            put(buffer, area, x, y, corner, style);
        }
    }
    let most = usize::from(area.width.saturating_sub(4));
    if most > 2 {
        let title = format!(" {} ", wrap::fit(title, most.saturating_sub(2)));
        let end = put(buffer, area, left + 2, top, &title, style);
        if !note.is_empty() {
            let within = Rect { width: area.width.saturating_sub(2), ..area };
            put_right(buffer, within, end + 1, top, &format!(" {note} "), style);
        }
    }
    inside
}

/// Empties an area, for what lies on top.
pub(super) fn clear(buffer: &mut Buffer, area: Rect) {
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.reset();
            }
        }
    }
}

/// An area of at most this size in the middle of another.
pub(super) fn centered(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}
