//! Liveness: a line a peer in the room, a table in full.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{Theme, has_focus, paint, reachability};
use crate::{
    app::{
        State,
        layout::Areas,
        room::{LinkView, Pane, PeerView, Room},
        wrap,
    },
    model::{CloseReason, Liveness, Role, limits},
};

/// Cells of a round trip: up to `9999.9 ms`.
const RTT_CELLS: usize = 9;
/// Round trips at most that are drawn in a row beside the messages.
const SPARKS: usize = 10;
const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// What is known of a peer's liveness: a sign, words, and how they look.
pub(super) fn liveness(
    state: &State,
    room: &Room,
    view: &PeerView,
    theme: Theme,
) -> (&'static str, String, Style) {
    let seconds = state.now.since(view.since).as_secs();
    if !view.present {
        let at = view.since.in_zone(&state.defaults.zone).strftime("%H:%M:%S");
        let why = match view.gone {
            Some(CloseReason::HeartbeatTimeout) => {
                format!("removed {at}, no heartbeat for {} s", limits::DEAD_AFTER.as_secs())
            }
            Some(reason) => format!("{} {at}", reason.words()),
            None => format!("gone {at}"),
        };
        let cut = match view.cut_off {
            Some((by, of)) => format!(", cut off by {by} of {of}"),
            None => String::new(),
        };
        return ("○", format!("{why}{cut}"), theme.dim());
    }
    if view.peer.peer_id == room.me {
        return ("●", "you".to_owned(), theme.good());
    }
    match view.state {
        Liveness::Suspect => ("◌", format!("silent {seconds} s"), theme.warning()),
        Liveness::Dead => ("○", "lost".to_owned(), theme.bad()),
        Liveness::Alive if view.missed > 0 => ("◐", format!("{} missed", view.missed), theme.warning()),
        Liveness::Alive => match rtt(view) {
            Some(rtt) => ("●", rtt, theme.good()),
            // A member hears the heartbeat of its host only; the others' is the host's to judge.
            None if room.role == Role::Member && view.peer.role == Role::Member => match room.link {
                LinkView::Joined => ("●", "via host".to_owned(), theme.good()),
                LinkView::Lost { .. } => ("◌", "unknown".to_owned(), theme.dim()),
            },
            None => ("●", "alive".to_owned(), theme.good()),
        },
    }
}

/// How a peer is reached, where that is not as it should be.
fn way(room: &Room, view: &PeerView) -> Option<String> {
    if let Some(via) = view.via {
        return Some(format!("through {}", room.name(&via)));
    }
    let (tried, reason) = reachability::why_unreached(room, &view.peer.peer_id)?;
    let who = if tried == 1 { "1 does".to_owned() } else { format!("{tried} do") };
    Some(format!("{who} not reach it: {}", reason.words()))
}

/// The last round trip, or for how long a peer is silent: what a list of names has room for.
pub(super) fn brief(state: &State, view: &PeerView, theme: Theme) -> (String, Style) {
    match view.state {
        _ if !view.present => (String::new(), theme.dim()),
        Liveness::Suspect => (format!("{} s", state.now.since(view.since).as_secs()), theme.warning()),
        _ => (rtt(view).unwrap_or_default(), theme.dim()),
    }
}

/// The last round trip, always in milliseconds: `12.0 ms`.
fn rtt(view: &PeerView) -> Option<String> {
    view.rtts.back().map(|last| format!("{} ms", tenths(*last)))
}

/// How much round trips vary around their mean: `±3.1`.
fn spread(view: &PeerView) -> String {
    let count = view.rtts.len() as u64;
    let mean = view.rtts.iter().sum::<u64>() / count.max(1);
    let spread = view.rtts.iter().map(|rtt| rtt.abs_diff(mean)).sum::<u64>() / count.max(1);
    format!("±{}", tenths(spread))
}

fn tenths(thousandths: u64) -> String {
    format!("{}.{}", thousandths / 1000, thousandths % 1000 / 100)
}

fn sparkline(view: &PeerView, width: usize) -> String {
    let most = view.rtts.iter().max().copied().unwrap_or(1).max(1);
    let skip = view.rtts.len().saturating_sub(width);
    view.rtts
        .iter()
        .skip(skip)
        .filter_map(|rtt| BARS.get(usize::try_from(rtt * 7 / most).unwrap_or(0)))
        .copied()
        .collect()
}

/// Who is told of: those present, then those that went lately.
fn listed(room: &Room) -> Vec<&PeerView> {
    let mut views: Vec<&PeerView> =
        room.present().into_iter().filter(|view| view.peer.peer_id != room.me).collect();
    let mut gone: Vec<&PeerView> = room.peers.values().filter(|view| !view.present).collect();
    gone.sort_by_key(|view| std::cmp::Reverse(view.since));
    views.extend(gone);
    views
}

/// The pane beside the messages.
pub(super) fn pane(state: &State, room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) {
    if areas.heartbeat.width < 4 {
        return;
    }
    let focused = has_focus(room, Pane::Heartbeat);
    let title = ("Heartbeat", theme.title(focused));
    let inner = paint::pane(buffer, areas.heartbeat, true, title, ("", Theme::plain()));
    let mut y = inner.y;
    let name_width = columns(room);
    for view in listed(room) {
        if y >= inner.bottom() {
            break;
        }
        let (sign, words, style) = liveness(state, room, view, theme);
        let x = paint::put(buffer, inner, inner.x, y, sign, style) + 1;
        let name = wrap::fit_name(view.peer.alias.as_str(), name_width);
        paint::put(buffer, inner, x, y, &name, Theme::plain());
        let x = x + u16::try_from(name_width).unwrap_or(0) + 2;
        let width = usize::from(inner.right().saturating_sub(x));
        if view.present {
            // Numbers stand below each other; what else is said begins where they begin.
            let is_number = words.ends_with(" ms");
            let words = if is_number { format!("{words:>RTT_CELLS$}") } else { words };
            let number_style = if is_number { theme.dim() } else { style };
            let end = paint::put(buffer, inner, x, y, &wrap::fit(&words, width), number_style);
            let spark_x = end.max(x + u16::try_from(RTT_CELLS).unwrap_or(0)) + 2;
            let room_left = usize::from(inner.right().saturating_sub(spark_x));
            paint::put(buffer, inner, spark_x, y, &sparkline(view, room_left.min(SPARKS)), theme.dim());
            y += 1;
        } else {
            let rows = wrap::rows(&words, width);
            let space = usize::from(inner.bottom() - y).min(2);
            for (at, range) in rows.iter().take(space).enumerate() {
                let is_cut = at + 1 == space && rows.len() > space;
                let end = if is_cut { words.len() } else { range.end };
                let text = words.get(range.start..end).unwrap_or_default().trim_end();
                paint::put(buffer, inner, x, y, &wrap::fit(text, width), style);
                y += 1;
            }
        }
    }
    if listed(room).is_empty() {
        paint::put(buffer, inner, inner.x, y, "nobody else is here", theme.dim());
    }
}

fn columns(room: &Room) -> usize {
    room.peers
        .values()
        .map(|view| wrap::width(view.peer.alias.as_str()))
        .max()
        .unwrap_or(4)
        .clamp(4, limits::NAME_CELLS)
}

/// The full view.
pub(super) fn view(state: &State, room: &Room, theme: Theme, areas: &Areas, buffer: &mut Buffer) {
    let note = format!("beat every {} s, w: who reaches whom", limits::BEAT_EVERY.as_secs());
    let inner = paint::pane(buffer, areas.main, true, ("Heartbeat", theme.accent()), (&note, theme.dim()));
    if inner.is_empty() {
        return;
    }
    let name = columns(room);
    let wide = inner.width >= 70;
    let state_x = inner.x + 2 + u16::try_from(name + 2).unwrap_or(0);
    let spark_x = state_x + 30;
    // An address and a port must have room beside it.
    let spark_width = inner.right().saturating_sub(spark_x + 24).min(32);
    let addr_x = spark_x + spark_width + 2;
    let heading = |buffer: &mut Buffer, x: u16, text: &str| {
        paint::put(buffer, inner, x, inner.y, text, theme.dim());
    };
    heading(buffer, inner.x + 2, "peer");
    heading(buffer, state_x, "round trip, spread");
    if wide {
        heading(buffer, spark_x, "round trips");
        heading(buffer, addr_x, "address");
    }
    let mut y = inner.y + 1;
    for view in listed(room).into_iter().skip(room.shown.scrolled) {
        let (sign, words, style) = liveness(state, room, view, theme);
        paint::put(buffer, inner, inner.x, y, sign, style);
        let label = wrap::fit_name(view.peer.alias.as_str(), name);
        paint::put(buffer, inner, inner.x + 2, y, &label, Theme::plain());
        let until = if wide && view.present { spark_x.saturating_sub(1) } else { inner.right() };
        let cell = Rect { width: until.min(inner.right()).saturating_sub(inner.x), ..inner };
        let words = match words.strip_suffix(" ms") {
            Some(_) => format!("{words:>RTT_CELLS$}  {}", spread(view)),
            None => words,
        };
        paint::put(buffer, cell, state_x, y, &words, style);
        let way = way(room, view);
        if wide && view.present {
            paint::put(buffer, inner, spark_x, y, &sparkline(view, spark_width.into()), theme.dim());
            let end = paint::put(buffer, inner, addr_x, y, &view.peer.addr.to_string(), theme.dim());
            if let Some(way) = &way {
                let room_left = usize::from(inner.right().saturating_sub(end + 2));
                paint::put(buffer, inner, end + 2, y, &wrap::fit(way, room_left), theme.warning());
            }
        }
        y += 1;
        if y >= inner.bottom() {
            return;
        }
    }
}
