//! The message log of the conversation that is shown.

use std::ops::Range;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::{Link, Theme, has_focus, paint};
use crate::{
    app::{
        State, audience,
        keymap::{Action, Context},
        layout::{self, Areas, Columns},
        log::{Entry, Gap, Mark, Message, MessageLog, Row},
        markup::Kind,
        room::{Pane, Room},
        wrap,
    },
    model::{Recipient, Timestamp, Wire},
};

/// Draws the log. Gives the links in it.
pub(super) fn draw(
    state: &State,
    room: &Room,
    theme: Theme,
    areas: &Areas,
    buffer: &mut Buffer,
) -> Vec<Link> {
    let Some(conversation) = room.conversation() else { return Vec::new() };
    if areas.main.is_empty() {
        return Vec::new();
    }
    let focused = has_focus(room, Pane::Messages);
    let heading = match conversation.with {
        Recipient::Everyone => "Messages · everyone".to_owned(),
        Recipient::Peer(peer) => {
            let classic = if peer.wire() == Wire::Classic { ", classic" } else { "" };
            format!("Messages · {} only ({}{classic})", room.name(&peer), peer.short())
        }
    };
    let below = conversation.log.below();
    let key = state.keymap.key(&state.contexts_below_help(), Action::Bottom).unwrap_or_default();
    let note = match (below, conversation.log.position(), conversation.log.ends()) {
        (1.., ..) => format!("{below} new below: {key}"),
        (0, _, (_, false)) => format!("earlier; to the newest: {key}"),
        (0, 1000, _) => String::new(),
        (0, position, (true, _)) => format!("{} %; to the newest: {key}", position / 10),
        (0, _, (false, _)) => format!("scrolled up; to the newest: {key}"),
    };
    let note_style = if below > 0 { theme.warning() } else { theme.dim() };
    let title = (heading.as_str(), theme.title(focused));
    let inner = paint::pane(buffer, areas.main, areas.headed, title, (&note, note_style));
    if !areas.headed && !note.is_empty() {
        // Without a row of titles the line below the log tells of it.
        let line = Rect { width: areas.rule.width.saturating_sub(1), ..areas.rule };
        // Who reads the draft goes before it.
        let above = wrap::width(&audience::prompt(room, areas.composer.width).above);
        let from = line.x + u16::try_from(above + 4).unwrap_or(u16::MAX);
        paint::put_right(buffer, line, from, line.y, &format!(" {note} "), note_style);
    }
    if inner.is_empty() {
        return Vec::new();
    }
    if conversation.log.is_empty() {
        empty(room, theme, conversation.with, inner, buffer);
        return Vec::new();
    }
    let columns = layout::columns(usize::from(inner.width));
    let geometry = layout::geometry(state, room);
    let rows = conversation.log.visible(&geometry);
    let selected = conversation.log.selected().filter(|_| focused);
    // A short log stands at the bottom, where one writes.
    let blank = usize::from(inner.height).saturating_sub(rows.len());
    let log = &conversation.log;
    let mut pen = Pen { state, room, theme, log, columns, inner, selected, links: Vec::new() };
    for (at, row) in rows.iter().enumerate() {
        let y = inner.y + u16::try_from(blank + at).unwrap_or(0);
        pen.row(row, y, buffer);
    }
    pen.links
}

/// Says what the next step is where nothing was said yet.
fn empty(room: &Room, theme: Theme, with: Recipient, inner: Rect, buffer: &mut Buffer) {
    let lines = match (with, room.others()) {
        (Recipient::Everyone, 0) => vec![
            "Nobody else is here yet.".to_owned(),
            format!("Others join with: pyile join {}", room.join_addr),
            match &room.password {
                Some(password) => format!("and the password: {}", password.reveal()),
                None => "and the password. You can write already.".to_owned(),
            },
            "Or /invite makes a link that needs no password.".to_owned(),
        ],
        (Recipient::Everyone, _) => vec!["Nothing was said yet. Write, and press Enter.".to_owned()],
        (Recipient::Peer(peer), _) if peer.wire() == Wire::Classic => {
            let name = room.name(&peer);
            let words = match room.cleartext.on {
                Some(false) => format!(
                    "{name} is a classic peer, and gets nothing of yours: /cleartext on sends to it in clear."
                ),
                _ => format!(
                    "What you write here goes to {name} in clear: whoever watches the network can read it."
                ),
            };
            vec![words]
        }
        (Recipient::Peer(peer), _) => {
            vec![format!("Only {} will read what you write here.", room.name(&peer))]
        }
    };
    let width = usize::from(inner.width);
    let broken: Vec<String> = lines
        .iter()
        .flat_map(|line| {
            wrap::rows(line, width).into_iter().filter_map(|range| line.get(range)).map(str::to_owned)
        })
        .collect();
    let top = inner.height.saturating_sub(u16::try_from(broken.len()).unwrap_or(0)) / 2;
    for (at, line) in broken.iter().enumerate() {
        let y = inner.y + top + u16::try_from(at).unwrap_or(0);
        paint::put(buffer, inner, inner.x, y, line, theme.dim());
    }
}

/// Cells that are left to what became of a message behind what is folded.
const MARK_CELLS: usize = 12;

struct Pen<'a> {
    state: &'a State,
    room: &'a Room,
    theme: Theme,
    log: &'a MessageLog,
    columns: Columns,
    inner: Rect,
    selected: Option<u64>,
    links: Vec<Link>,
}

impl Pen<'_> {
    fn row(&mut self, row: &Row, y: u16, buffer: &mut Buffer) {
        match row {
            Row::Day(at) => {
                let day = at.in_zone(&self.state.defaults.zone).strftime("%A, %-d %B %Y").to_string();
                self.rule(&day, y, buffer);
            }
            Row::Gap(number) => {
                if let Some(gap) = self.log.gap_before(*number) {
                    self.rule(&self.gap(&gap), y, buffer);
                }
            }
            Row::New => self.new_from_here(y, buffer),
            Row::Folded { entry, lines } => {
                let lines =
                    if *lines == 1 { "1 more line".to_owned() } else { format!("{lines} more lines") };
                let end = self.folded(&lines, y, buffer);
                if let Some(Entry::Message(message)) = self.log.entry(*entry) {
                    self.mark(*entry, message, end + 1, y, buffer);
                }
            }
            Row::Flood { entry, messages } => {
                if self.selected == Some(*entry) {
                    self.bar(y, "▌", self.theme.accent(), buffer);
                }
                let Some(Entry::Message(message)) = self.log.entry(*entry) else { return };
                let name = &message.from.alias;
                let is_muted = self.room.muted.contains(&message.from.peer_id);
                let words = match (messages, is_muted) {
                    (1, true) => format!("1 message of {name}, muted"),
                    (count, true) => format!("{count} messages of {name}, muted"),
                    (1, false) => format!("1 more message of {name}"),
                    (more, false) => format!("{more} more messages of {name}"),
                };
                self.folded(&words, y, buffer);
            }
            Row::Text { entry, range, is_first, has_mark } => {
                let Some(content) = self.log.entry(*entry) else { return };
                if self.selected == Some(*entry) {
                    self.bar(y, "▌", self.theme.accent(), buffer);
                } else if matches!(content, Entry::Message(message) if message.mentions_me) {
                    self.bar(y, "┃", self.theme.warning(), buffer);
                }
                let text = content.text().get(range.clone()).unwrap_or_default();
                match content {
                    Entry::Message(message) => {
                        let end = self.message(message, text, *is_first, y, buffer);
                        self.styled(message, range, y, buffer);
                        self.highlight(text, self.text_x(), y, buffer);
                        if *has_mark {
                            self.mark(*entry, message, end + 1, y, buffer);
                        }
                    }
                    Entry::Notice { at, .. } => {
                        let x = self.text_x();
                        if *is_first {
                            self.time(*at, y, buffer);
                        }
                        paint::put(buffer, self.inner, x, y, text, self.theme.dim());
                    }
                }
            }
        }
    }

    /// Says what is folded, and how to see it. Gives the column behind it.
    fn folded(&self, what: &str, y: u16, buffer: &mut Buffer) -> u16 {
        let room = usize::from(self.inner.right().saturating_sub(self.text_x()));
        let key = self.state.keymap.key(&[Context::Browse], Action::Unfold).unwrap_or_default();
        let long = format!("… {what}: {key} shows all (Esc first)");
        // What became of it goes before how to see it.
        let words = if wrap::width(&long) + MARK_CELLS <= room { long } else { format!("… {what}: {key}") };
        paint::put(buffer, self.inner, self.text_x(), y, &wrap::fit(&words, room), self.theme.dim())
    }

    fn gap(&self, gap: &Gap) -> String {
        let time = |at: Timestamp| at.in_zone(&self.state.defaults.zone).strftime("%H:%M").to_string();
        let (missed, name, before) = (gap.missed, gap.from.alias.as_str(), time(gap.before));
        match gap.after.map(time) {
            Some(after) if after != before => {
                format!("{missed} of {name} missed between {after} and {before}")
            }
            _ => format!("{missed} of {name} missed before {before}"),
        }
    }

    /// A bar at the left edge: which message a key acts on, or that it names this peer.
    fn bar(&self, y: u16, sign: &str, style: Style, buffer: &mut Buffer) {
        if let Some(cell) = buffer.cell_mut((self.inner.x.saturating_sub(1), y)) {
            cell.set_symbol(sign).set_style(style);
        }
    }

    fn text_x(&self) -> u16 {
        self.inner.x + u16::try_from(self.columns.time + self.columns.name).unwrap_or(0)
    }

    fn time(&self, at: crate::model::Timestamp, y: u16, buffer: &mut Buffer) {
        if self.columns.time > 0 {
            let time = at.in_zone(&self.state.defaults.zone).strftime("%H:%M").to_string();
            paint::put(buffer, self.inner, self.inner.x, y, &time, self.theme.dim());
        }
    }

    fn message(&self, message: &Message, text: &str, is_first: bool, y: u16, buffer: &mut Buffer) -> u16 {
        let own = message.from.peer_id == self.room.me;
        if is_first {
            self.time(message.at, y, buffer);
            let name = if message.is_action { "*" } else { message.from.alias.as_str() };
            let name = wrap::fit_name(name, self.columns.name.saturating_sub(2));
            let style = match own {
                true => Theme::strong(),
                false if message.mentions_me => self.theme.warning().add_modifier(Modifier::BOLD),
                false => self.theme.name(self.room.hue(&message.from.peer_id)),
            };
            let indent = self.columns.name.saturating_sub(2 + wrap::width(&name));
            let x = self.inner.x + u16::try_from(self.columns.time + indent).unwrap_or(0);
            paint::put(buffer, self.inner, x, y, &name, style);
        }
        paint::put(buffer, self.inner, self.text_x(), y, text, Theme::plain())
    }

    /// Draws what of a row of a message looks other than the rest, over it.
    fn styled(&mut self, message: &Message, row: &Range<usize>, y: u16, buffer: &mut Buffer) {
        let text = message.text.as_str();
        for span in &message.spans {
            let part = span.range.start.max(row.start)..span.range.end.min(row.end);
            let (Some(before), Some(shown)) = (text.get(row.start..part.start), text.get(part)) else {
                continue;
            };
            let offset = u16::try_from(wrap::width(before)).unwrap_or(u16::MAX);
            let x = self.text_x().saturating_add(offset);
            // Nothing of what is drawn already is taken back: bold stays bold where it is italic too.
            let style = match span.kind {
                Kind::Bold => Style::new().add_modifier(Modifier::BOLD),
                Kind::Italic => Style::new().add_modifier(Modifier::ITALIC),
                Kind::Code => self.theme.accent().remove_modifier(Modifier::BOLD),
                Kind::Link => Style::new().add_modifier(Modifier::UNDERLINED),
            };
            let end = x.saturating_add(u16::try_from(wrap::width(shown.trim_end())).unwrap_or(u16::MAX));
            let end = end.min(self.inner.right());
            for x in x..end {
                if let Some(cell) = buffer.cell_mut((x, y)) {
                    cell.set_style(style);
                }
            }
            if let (Kind::Link, true, Some(url)) = (span.kind, x < end, text.get(span.range.clone())) {
                self.links.push(Link { x, y, width: end - x, url: url.to_owned() });
            }
        }
    }

    /// What became of an own message, or how another's came: in words, or by its sign at the right edge.
    fn mark(&self, entry: u64, message: &Message, x: u16, y: u16, buffer: &mut Buffer) {
        let Some(text) = self.log.mark_text(entry) else { return };
        let style = message.mark.as_ref().map_or(self.theme.warning(), |mark| self.mark_style(mark));
        let most = usize::from(self.inner.right().saturating_sub(x));
        if wrap::width(&text) <= most {
            paint::put_right(buffer, self.inner, x, y, &text, style);
        } else {
            let sign: String = text.chars().take(1).collect();
            let margin = Rect { width: self.inner.width + 1, ..self.inner };
            paint::put(buffer, margin, self.inner.right(), y, &sign, style);
        }
    }

    /// Where reading stopped.
    fn new_from_here(&self, y: u16, buffer: &mut Buffer) {
        let line = Rect { y, height: 1, ..self.inner };
        paint::rule(buffer, line, self.theme.warning());
        let x = line.x + line.width.saturating_sub(5) / 2;
        paint::put(buffer, line, x, y, " new ", self.theme.warning());
    }

    fn mark_style(&self, mark: &Mark) -> Style {
        if !mark.failed.is_empty() {
            self.theme.bad()
        } else if mark.queued && !mark.is_settled() {
            self.theme.warning()
        } else {
            self.theme.dim()
        }
    }

    /// Marks what was searched for.
    fn highlight(&self, text: &str, x: u16, y: u16, buffer: &mut Buffer) {
        let query = self.room.search.query.to_lowercase();
        let lower = text.to_lowercase();
        // Where letters change their length with their case, positions would be off.
        if self.selected.is_none() || lower.len() != text.len() {
            return;
        }
        for (at, found) in query.split_whitespace().flat_map(|word| lower.match_indices(word)) {
            let (Some(before), Some(found)) = (text.get(..at), text.get(at..at + found.len())) else {
                continue;
            };
            let from = x + u16::try_from(wrap::width(before)).unwrap_or(u16::MAX - x);
            paint::put(buffer, self.inner, from, y, found, Theme::selected());
        }
    }

    fn rule(&self, words: &str, y: u16, buffer: &mut Buffer) {
        let words = format!(" {} ", wrap::fit(words, usize::from(self.inner.width).saturating_sub(4)));
        let width = u16::try_from(wrap::width(&words)).unwrap_or(self.inner.width);
        let start = self.inner.x + self.inner.width.saturating_sub(width) / 2;
        paint::rule(buffer, Rect { y, height: 1, ..self.inner }, self.theme.dim());
        paint::put(buffer, self.inner, start, y, &words, self.theme.dim());
    }
}
