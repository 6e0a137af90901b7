//! Where everything goes: drawn for 80x24, breathing at 120x35, usable at 40x12, and harmless at 1x1.

use ratatui::layout::{Constraint, Layout, Rect};

use super::{
    audience,
    log::Geometry,
    room::{Focus, Pane, Room, View},
    state::State,
    wrap,
};

/// The areas of the room. Panes are parted by one line each.
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
    /// The line above what is being written; empty outside the chat.
    pub rule: Rect,
    /// What is being written, with its prompt; empty outside the chat.
    pub composer: Rect,
    /// Liveness; empty when folded away.
    pub heartbeat: Rect,
    /// Bans; empty when folded away.
    pub banned: Rect,
    /// Keys, or a short notice.
    pub hint: Rect,
    /// Each pane has its title in a row of its own.
    pub headed: bool,
}

/// Columns from which the right pane is shown.
const WIDE: u16 = 120;
/// Columns that the log has at least while something stands beside it.
const LOG_LEAST: u16 = 56;
/// Columns of the conversations at most, and at least.
const PEERS: (u16, u16) = (23, 15);
/// Columns from which panes have titles.
const HEADED: u16 = 60;

/// The room's areas.
#[must_use]
pub fn areas(size: (u16, u16), room: &Room) -> Areas {
    let (width, height) = size;
    let whole = Rect::new(0, 0, width, height);
    let banner = Constraint::Length(u16::from(room.has_banner() && height > 6));
    let [title, banner, body, hint] =
        Layout::vertical([Constraint::Length(1), banner, Constraint::Min(0), Constraint::Length(1)])
            .areas(whole);
    let mut areas = Areas { title, banner, hint, headed: true, ..Areas::default() };
    if room.shown.view != View::Chat {
        areas.main = body;
        return areas;
    }
    // What the line and the conversations leave to the log.
    let left = width.saturating_sub(LOG_LEAST + 1).min(PEERS.0);
    let left = if left < PEERS.1 { 0 } else { left };
    let right = if width >= WIDE { (width / 4).clamp(30, 40) } else { 0 };
    // A pane that is folded away takes the place of the messages while it is browsed.
    let folded = match room.shown.pane {
        _ if room.shown.focus == Focus::Compose => None,
        Pane::Peers if left == 0 => Some(Pane::Peers),
        Pane::Heartbeat | Pane::Banned if right == 0 => Some(room.shown.pane),
        _ => None,
    };
    areas.headed = width >= HEADED || folded.is_some();
    let most = usize::from(body.height / 3).max(1);
    let text_width = text_area(Rect { width, ..whole }, room).width;
    let draft = room.conversation().map_or("", |conversation| conversation.draft.text());
    let rows = wrap::first_rows(draft, usize::from(text_width), most).len().min(most);
    let rule = Constraint::Length(u16::from(body.height >= 5));
    let rows = Constraint::Length(u16::try_from(rows).unwrap_or(1));
    let [panes, rule, composer] = Layout::vertical([Constraint::Min(0), rule, rows]).areas(body);
    (areas.rule, areas.composer) = (rule, composer);
    let line = |side: u16| Constraint::Length(u16::from(side > 0));
    let [peers, _, main, _, side] = Layout::horizontal([
        Constraint::Length(left),
        line(left),
        Constraint::Min(0),
        line(right),
        Constraint::Length(right),
    ])
    .areas(panes);
    (areas.peers, areas.main) = (peers, main);
    if right > 0 {
        let bans = u16::try_from(room.door.bans.len()).unwrap_or(u16::MAX).clamp(1, 8) + 2;
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

impl Areas {
    /// The columns of the lines between panes.
    #[must_use]
    pub fn lines(&self) -> [Option<u16>; 2] {
        let beside = |area: Rect| Some(area.left()).filter(|_| !area.is_empty() && area.left() > 0);
        [
            beside(self.main).filter(|_| !self.peers.is_empty()),
            beside(self.heartbeat).filter(|_| !self.main.is_empty()),
        ]
        .map(|x| x.map(|x| x - 1))
    }
}

/// The room inside a pane: a column at the left for marks, one free at the right, and its title above.
#[must_use]
pub fn inside(area: Rect, headed: bool) -> Rect {
    let title = u16::from(headed).min(area.height);
    Rect {
        x: area.x.saturating_add(1).min(area.right()),
        y: area.y + title,
        width: area.width.saturating_sub(2),
        height: area.height - title,
    }
}

/// Where the text goes that is being written: after its prompt.
#[must_use]
pub fn text_area(composer: Rect, room: &Room) -> Rect {
    let prompt = wrap::width(&audience::prompt(room, composer.width).before);
    let before = u16::try_from(prompt).unwrap_or(u16::MAX).saturating_add(1).min(composer.width);
    let width = (composer.width - before).saturating_sub(1).max(2);
    Rect { x: composer.x + before, width, ..composer }
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

/// The columns of a log of `width` cells: whoever comes or goes moves nothing.
#[must_use]
pub fn columns(width: usize) -> Columns {
    let time = if width >= 44 { 7 } else { 0 };
    let name = match width {
        62.. => 14,
        44.. => 10,
        _ => 8,
    };
    Columns { time, name, text: width.saturating_sub(time + name).max(2) }
}

/// The geometry of the message log that is shown.
#[must_use]
pub fn geometry(state: &State, room: &Room) -> Geometry {
    let areas = areas(state.size, room);
    let inner = inside(areas.main, areas.headed);
    Geometry {
        text: columns(usize::from(inner.width)).text,
        rows: usize::from(inner.height),
        zone: state.defaults.zone.clone(),
        muted: room.muted.clone(),
    }
}

/// Where a list of conversations with so many rows begins, so that it has the one that is open.
#[must_use]
pub fn first_conversation(room: &Room, rows: usize) -> usize {
    room.current.saturating_sub(rows.saturating_sub(1))
}

/// The width of the composer's text, in cells.
#[must_use]
pub fn composer_width(state: &State, room: &Room) -> usize {
    usize::from(text_area(areas(state.size, room).composer, room).width)
}
