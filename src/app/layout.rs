//! Where everything goes: drawn for 80x24, breathing at 120x35, usable at 40x12, and harmless at 1x1.

use ratatui::layout::{Constraint, Layout, Rect};

use super::{
    log::Geometry,
    room::{Focus, Pane, Room, View},
    state::State,
    wrap,
};

/// The areas of the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Areas {
    /// Network, role, address, peers, link.
    pub title: Rect,
    /// What is wrong and stays so; empty when nothing is.
    pub banner: Rect,
    /// Conversations; empty when folded away.
    pub peers: Rect,
    /// What was said, or the full view.
    pub main: Rect,
    /// What is being written; empty outside the chat.
    pub composer: Rect,
    /// Liveness; empty when folded away.
    pub heartbeat: Rect,
    /// Bans; empty when folded away.
    pub banned: Rect,
    /// Keys, or a short notice.
    pub hint: Rect,
    /// Panes have a frame around them; else only a rule above.
    pub framed: bool,
}

/// Columns from which the side panes are shown.
const WIDE: u16 = 120;
/// Columns from which the conversations have room for more than a name.
const BREATHING: u16 = 100;
/// Columns from which the conversations are shown.
const MEDIUM: u16 = 64;

/// The room's areas.
#[must_use]
pub fn areas(size: (u16, u16), room: &Room) -> Areas {
    let (width, height) = size;
    let whole = Rect::new(0, 0, width, height);
    let framed = width >= 60 && height >= 16;
    let banner = Constraint::Length(u16::from(room.has_banner() && height > 6));
    let [title, banner, body, hint] =
        Layout::vertical([Constraint::Length(1), banner, Constraint::Min(0), Constraint::Length(1)])
            .areas(whole);
    let mut areas = Areas { title, banner, hint, framed, ..Areas::default() };
    if room.shown.view != View::Chat {
        areas.main = body;
        return areas;
    }
    // Browsing a pane that is folded away brings it in the place of the messages.
    let folded = match room.shown.pane {
        _ if room.shown.focus == Focus::Compose => None,
        Pane::Peers if width < MEDIUM => Some(Pane::Peers),
        Pane::Heartbeat | Pane::Banned if width < WIDE => Some(room.shown.pane),
        _ => None,
    };
    let left = if width >= BREATHING {
        24
    } else if width >= MEDIUM {
        18
    } else {
        0
    };
    let right = if width >= WIDE { (width / 4).clamp(30, 40) } else { 0 };
    let [peers, middle, side] =
        Layout::horizontal([Constraint::Length(left), Constraint::Min(0), Constraint::Length(right)])
            .areas(body);
    let frame = if framed { 2 } else { 1 };
    let text_width = usize::from(middle.width.saturating_sub(if framed { 4 } else { 0 }));
    let most = usize::from(body.height / 3).max(1);
    let rows = room
        .conversation()
        .map_or(1, |conversation| wrap::first_rows(conversation.draft.text(), text_width, most).len());
    let composer_height = u16::try_from(rows.min(most)).unwrap_or(1) + frame;
    let [main, composer] =
        Layout::vertical([Constraint::Min(0), Constraint::Length(composer_height)]).areas(middle);
    areas.peers = peers;
    areas.main = main;
    areas.composer = composer;
    if right > 0 {
        let bans = u16::try_from(room.door.bans.len()).unwrap_or(u16::MAX).clamp(1, 8) + frame;
        [areas.heartbeat, areas.banned] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(bans)]).areas(side);
    }
    match folded {
        Some(Pane::Peers) => (areas.peers, areas.main) = (main, Rect::default()),
        Some(Pane::Heartbeat) => (areas.heartbeat, areas.main) = (main, Rect::default()),
        Some(Pane::Banned) => (areas.banned, areas.main) = (main, Rect::default()),
        _ => {}
    }
    areas
}

/// The room inside a pane's frame.
#[must_use]
pub fn inside(area: Rect, framed: bool) -> Rect {
    if framed {
        Rect {
            x: area.x.saturating_add(2).min(area.right()),
            y: area.y.saturating_add(1).min(area.bottom()),
            width: area.width.saturating_sub(4),
            height: area.height.saturating_sub(2),
        }
    } else {
        Rect { y: area.y.saturating_add(1).min(area.bottom()), height: area.height.saturating_sub(1), ..area }
    }
}

/// The columns of the message log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Cells for the time, its gap included; 0 = not shown.
    pub time: usize,
    /// Cells for the name, its gap included.
    pub name: usize,
    /// Cells for the text.
    pub text: usize,
}

/// The columns of a log of `width` cells.
#[must_use]
pub fn columns(width: usize, room: &Room) -> Columns {
    let longest = room.peers.values().map(|view| wrap::width(view.peer.alias.as_str())).max().unwrap_or(4);
    let time = if width >= 44 { 6 } else { 0 };
    let name = longest.clamp(4, if width >= 60 { 16 } else { 8 }) + 2;
    Columns { time, name, text: width.saturating_sub(time + name).max(2) }
}

/// The geometry of the message log that is shown.
#[must_use]
pub fn geometry(state: &State, room: &Room) -> Geometry {
    let areas = areas(state.size, room);
    let inner = inside(areas.main, areas.framed);
    Geometry {
        text: columns(usize::from(inner.width), room).text,
        rows: usize::from(inner.height),
        zone: state.defaults.zone.clone(),
    }
}

/// The width of the composer's text, in cells.
#[must_use]
pub fn composer_width(state: &State, room: &Room) -> usize {
    let areas = areas(state.size, room);
    usize::from(inside(areas.composer, areas.framed).width).max(2)
}
