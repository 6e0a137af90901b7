//! Drawing: the state made visible, one file a pane.
//!
//! It must never change the state or decide anything, and put no text into the buffer but through `paint`, which
//! knows how wide a cluster is.

mod admin;
mod banned;
mod composer;
mod frame;
mod heartbeat;
mod invite;
mod launch;
mod layers;
mod log;
mod messages;
pub(crate) mod paint;
mod peers;
mod prompt;
mod reachability;
mod theme;

use ratatui::{Frame, layout::Position};

use self::theme::Theme;
use crate::app::{
    Screen, State, layout,
    room::{Focus, Pane, View},
};

/// A link that is drawn, or the part of it that stands in one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its first column.
    pub x: u16,
    /// Its row.
    pub y: u16,
    /// Its columns.
    pub width: u16,
    /// Where it leads: visible ASCII only.
    pub url: String,
}

/// Draws everything. Gives the links that can be followed.
pub fn draw(state: &State, frame: &mut Frame<'_>) -> Vec<Link> {
    let theme = Theme::from(&state.palette());
    let area = frame.area();
    let mut links = Vec::new();
    if area.is_empty() {
        return links;
    }
    let buffer = frame.buffer_mut();
    let mut cursor: Option<Position> = None;
    match &state.screen {
        Screen::Launch(launch) => cursor = launch::draw(state, launch, theme, area, buffer),
        Screen::Room(room) => {
            let areas = layout::areas((area.width, area.height), room);
            frame::title(state, room, theme, areas.title, buffer);
            frame::banner(state, room, theme, areas.banner, buffer);
            match room.shown.view {
                View::Chat => {
                    for x in areas.lines().into_iter().flatten() {
                        for y in areas.main.top()..areas.main.bottom() {
                            paint::put(buffer, area, x, y, "│", theme.dim());
                        }
                    }
                    cursor = composer::draw(room, theme, &areas, buffer);
                    peers::draw(state, room, theme, &areas, buffer);
                    links = messages::draw(state, room, theme, &areas, buffer);
                    heartbeat::pane(state, room, theme, &areas, buffer);
                    banned::draw(state, room, theme, &areas, buffer);
                }
                View::Admin => admin::draw(state, room, theme, &areas, buffer),
                View::Heartbeat if room.shown.reachability => reachability::view(room, theme, &areas, buffer),
                View::Heartbeat => heartbeat::view(state, room, theme, &areas, buffer),
                View::Log => log::draw(state, room, theme, &areas, buffer),
            }
            frame::hint(state, theme, areas.hint, buffer);
        }
    }
    if let Some(layer) = state.layers.last() {
        cursor = layers::draw(state, layer, theme, area, buffer);
    }
    if let Some(cursor) = cursor
        && area.contains(cursor)
    {
        frame.set_cursor_position(cursor);
    }
    if !state.layers.is_empty() {
        // What lies on top covers them.
        links.clear();
    }
    links
}

/// True when browsing moves in this pane.
fn has_focus(room: &crate::app::room::Room, pane: Pane) -> bool {
    room.shown.view == View::Chat && room.shown.focus == Focus::Browse && room.shown.pane == pane
}
