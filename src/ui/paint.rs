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

/// A pane: its title in a row of its own where it is headed, with a note at the right. Gives the room inside.
pub(super) fn pane(
    buffer: &mut Buffer,
    area: Rect,
    headed: bool,
    (title, style): (&str, Style),
    (note, note_style): (&str, Style),
) -> Rect {
    let inside = crate::app::layout::inside(area, headed);
    if headed && area.height > 0 {
        let row = Rect { y: area.y, height: 1, ..inside };
        let most = usize::from(row.width);
        let end = put(buffer, row, row.x, row.y, &wrap::fit(title, most), style);
        put_right(buffer, row, end + 2, row.y, note, note_style);
    }
    inside
}

/// A box for what lies on top. Gives the room inside.
pub(super) fn boxed(buffer: &mut Buffer, area: Rect, title: &str, style: Style) -> Rect {
    let inside = Rect {
        x: area.x.saturating_add(2).min(area.right()),
        y: area.y.saturating_add(1).min(area.bottom()),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    };
    if area.width < 2 || area.height < 2 {
        return Rect { width: 0, height: 0, ..inside };
    }
    let (left, right, top, bottom) = (area.left(), area.right() - 1, area.top(), area.bottom() - 1);
    for x in left..=right {
        put(buffer, area, x, top, "─", style);
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
    let most = usize::from(area.width.saturating_sub(6));
    if most > 0 {
        put(buffer, area, left + 2, top, &format!(" {} ", wrap::fit(title, most)), style);
    }
    inside
}

/// A line across an area, with words in it.
pub(super) fn rule(buffer: &mut Buffer, area: Rect, style: Style) {
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            put(buffer, area, x, y, "─", style);
        }
    }
}

/// Gives a row of an area the look of what is selected, from edge to edge.
pub(super) fn fill(buffer: &mut Buffer, area: Rect, y: u16, style: Style) {
    for x in area.left()..area.right() {
        if let Some(cell) = buffer.cell_mut((x, y)) {
            // One look for the whole row: what was coloured would be a patch in it.
            cell.set_style(Style::reset()).set_style(style);
        }
    }
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
