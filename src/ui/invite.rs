//! An invite that was made just now, over the whole screen: the line to copy in full rows, and a QR code where there is room.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
};

use super::{Theme, paint};
use crate::app::{
    State,
    invite::{Code, InviteCard, QUIET, time_left},
    wrap,
};

/// Columns of the words at most, where a code stands beside them.
const WORDS: u16 = 60;

/// Columns between the words and the code.
const GAP: u16 = 2;

/// Black and white, whatever the terminal calls so: a camera needs them.
const BLACK: Color = Color::Indexed(16);
const WHITE: Color = Color::Indexed(231);

pub(super) fn draw(state: &State, card: &InviteCard, theme: Theme, area: Rect, buffer: &mut Buffer) {
    // The keys stay in sight.
    let area = Rect { height: area.height.saturating_sub(1), ..area };
    paint::clear(buffer, area);
    let inner = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let network = state.room().map(|room| room.network.to_string()).unwrap_or_default();
    let title = wrap::fit(&format!("Invite to {network}"), usize::from(inner.width));
    paint::put(buffer, inner, inner.x, inner.y, &title, theme.accent());
    // In full rows, so that it can be selected with the mouse.
    let link = card.invite.link();
    let mut y = inner.y + 1;
    for range in hard_rows(&link, usize::from(area.width)) {
        paint::put(buffer, area, area.x, y, link.get(range).unwrap_or_default(), Theme::strong());
        y += 1;
    }
    let below = Rect { y, height: inner.bottom().saturating_sub(y), ..inner };
    let palette = state.palette();
    let can_be_drawn = !palette.only_ascii;
    let code = card.code.as_ref().filter(|code| can_be_drawn && fits(code, below));
    let mut text_width = below.width;
    if let Some(code) = code {
        let (width, _) = size(code);
        text_width = below.width.saturating_sub(width + GAP);
        text_width = text_width.min(WORDS);
        let at = Rect { x: below.x + text_width + GAP, width, ..below };
        draw_code(code, at, palette.accent.is_some() || palette.good.is_some(), buffer);
    }
    let mut y = below.y + u16::from(below.height > 8);
    for (words, style) in lines(state, card, theme, code.is_some(), can_be_drawn) {
        let width = usize::from(text_width).max(8);
        let rows = wrap::rows(&words, width);
        for range in rows {
            paint::put(buffer, below, below.x, y, words.get(range).unwrap_or_default(), style);
            y += 1;
        }
    }
}

/// What is to be known of it, a paragraph each.
fn lines(
    state: &State,
    card: &InviteCard,
    theme: Theme,
    has_code: bool,
    can_be_drawn: bool,
) -> Vec<(String, Style)> {
    let mut lines = Vec::new();
    let mut say = |words: String, style| lines.push((words, style));
    if let Some(info) = &card.info {
        let who = if info.uses == 1 { "one person".to_owned() } else { format!("{} people", info.uses) };
        let left = time_left(info.until, state.now);
        let words = format!("Whoever has this line gets in without the password: {who}, within {left}.");
        say(words, Theme::plain());
    } else {
        say(
            "Says whose key the host has. Whoever joins by it is asked for the password.".to_owned(),
            Theme::plain(),
        );
    }
    say(String::new(), Theme::plain());
    say("They paste it into pyile's first screen, or give it to: pyile join".to_owned(), Theme::plain());
    say(String::new(), Theme::plain());
    match &card.info {
        Some(info) if state.is_host() => say(format!("To take it back: /revoke {}", info.id), theme.dim()),
        Some(info) => say(format!("The host sees it as {}, and can take it back.", info.id), theme.dim()),
        None => {}
    }
    say(format!("Host key: {}", card.invite.key.short()), theme.dim());
    if !has_code && can_be_drawn && card.code.is_some() {
        say("In a larger window a QR code stands here.".to_owned(), theme.dim());
    }
    if card.is_copied {
        say(String::new(), Theme::plain());
        say("Copied, if your terminal takes it.".to_owned(), theme.good());
    }
    lines
}

/// Rows of exactly this width: nothing of a link is a word.
fn hard_rows(link: &str, width: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let (width, end) = (width.max(1), link.len());
    (0..end).step_by(width).map(move |at| at..(at + width).min(end))
}

/// Columns and rows of a code with what is light around it.
fn size(code: &Code) -> (u16, u16) {
    let side = u16::try_from(code.side + 2 * QUIET).unwrap_or(u16::MAX);
    (side, side.div_ceil(2))
}

fn fits(code: &Code, area: Rect) -> bool {
    let (width, height) = size(code);
    height <= area.height && width.saturating_add(24 + GAP) <= area.width
}

/// Two modules a cell. Without colours what is light is drawn, as on a dark screen: most cameras read both.
fn draw_code(code: &Code, area: Rect, has_colors: bool, buffer: &mut Buffer) {
    let (width, height) = size(code);
    for row in 0..height {
        for column in 0..width {
            let dark = |half: u16| code.is_dark(usize::from(column), usize::from(2 * row + half));
            let (upper, lower) = (dark(0), dark(1));
            let color = |is_dark| if is_dark { BLACK } else { WHITE };
            let (sign, style) = if has_colors {
                ("▀", Style::new().fg(color(upper)).bg(color(lower)))
            } else {
                let sign = match (upper, lower) {
                    (false, false) => "█",
                    (false, true) => "▀",
                    (true, false) => "▄",
                    (true, true) => " ",
                };
                (sign, Theme::plain())
            };
            paint::put(buffer, area, area.x + column, area.y + row, sign, style);
        }
    }
}
