//! What keys do in the room.

use crossterm::event::{KeyCode, KeyEvent};

use super::{Effect, NO_MESSAGE, State, ToastKind, admin, command, history, toast};
use crate::{
    api::{NodeCommand, StoreCommand},
    app::{
        AdminColumn, AdminRow, admin_rows,
        composer::Composer,
        keymap::Action,
        layer::{Dialog, Layer, Pending, Prompt, PromptKind},
        layout,
        log::{Entry, Message},
        room::{Focus, Grade, Pane, Recalled, Room, Stash, View},
        wrap,
    },
    model::{Recipient, Role, SafeText, limits},
};

pub(super) fn action(state: &mut State, action: Action, key: &KeyEvent) -> Vec<Effect> {
    if matches!(action, Action::Close | Action::Compose | Action::Submit) {
        // What the last notice was about is over.
        state.toast = None;
    }
    match action {
        Action::ViewChat => view(state, View::Chat),
        Action::ViewAdmin => view(state, View::Admin),
        Action::ViewHeartbeat => view(state, View::Heartbeat),
        Action::ViewLog => view(state, View::Log),
        Action::Submit => return submit(state),
        Action::Next | Action::Previous => next(state, action == Action::Next),
        Action::Palette => state.layers.push(Layer::Prompt(Prompt::new(PromptKind::Palette))),
        Action::GoTo => state.layers.push(Layer::Prompt(Prompt::new(PromptKind::GoTo))),
        Action::Search => {
            if state.room().is_some_and(|room| room.shown.view != View::Chat) {
                view(state, View::Chat);
            }
            state.layers.push(Layer::Prompt(Prompt::new(PromptKind::Search)));
        }
        Action::Menu => menu(state),
        Action::Editor => {
            let Some(room) = state.room_mut() else { return Vec::new() };
            compose(room);
            let Some(conversation) = room.conversation() else { return Vec::new() };
            let (with, draft) = (conversation.with, conversation.draft.text().to_owned());
            state.editing = Some((room.network_id, draft.clone()));
            return vec![Effect::Edit(with, draft)];
        }
        Action::Recall => state.layers.push(Layer::Prompt(Prompt::new(PromptKind::Recall))),
        Action::Approve => return admin::approve_selected(state),
        Action::Ban => admin::ban_selected(state),
        Action::Kick => admin::kick_selected(state),
        Action::Unban => admin::unban_selected(state),
        Action::Handover => admin::hand_over_selected(state),
        Action::Copy => return copy(state),
        Action::Reply => reply(state),
        Action::Info => return history::info(state),
        Action::Unfold => {
            let geometry = state.room().map(|room| layout::geometry(state, room));
            if let Some(geometry) = geometry
                && let Some(room) = state.room_mut().filter(|room| room.shown.view == View::Chat)
                && let Some(conversation) = room.conversation_mut()
            {
                conversation.log.unfold_selected(&geometry);
            }
        }
        Action::FindOlder | Action::FindNewer => {
            return history::next_hit(state, action == Action::FindOlder);
        }
        Action::Top | Action::Bottom if history::needs_page(state, action) => {
            return history::jump(state, action);
        }
        Action::Ways => return ways(state),
        Action::Close => close(state),
        _ => {
            if let Some(room) = state.room_mut() {
                match action {
                    Action::NextConversation => {
                        room.show((room.current + 1) % room.conversations.len().max(1));
                    }
                    Action::PreviousConversation => {
                        let count = room.conversations.len().max(1);
                        room.show((room.current + count - 1) % count);
                    }
                    Action::Jump => {
                        if let KeyCode::Char(digit) = key.code {
                            let at = digit.to_digit(10).and_then(|number| number.checked_sub(1));
                            room.show(at.map_or(usize::MAX, |at| at as usize));
                        }
                    }
                    Action::NextUnread => next_unread(room),
                    Action::Compose => compose(room),
                    Action::Filter => {
                        room.shown.filter = match room.shown.filter {
                            Grade::Info => Grade::Warning,
                            Grade::Warning => Grade::Error,
                            Grade::Error => Grade::Info,
                        };
                        room.shown.scrolled = 0;
                    }
                    _ => scroll(state, action),
                }
            }
        }
    }
    Vec::new()
}

fn view(state: &mut State, view: View) {
    let Some(room) = state.room_mut() else { return };
    room.shown.scrolled = 0;
    if view == View::Chat {
        room.show(room.current);
        room.shown.focus = Focus::Compose;
        room.shown.pane = Pane::Messages;
    } else {
        if room.shown.view == View::Chat {
            room.look_away();
        }
        room.shown.view = view;
        room.shown.admin_at = 0;
    }
}

/// Shows who reaches whom, as the host knows it now, or the heartbeat again.
fn ways(state: &mut State) -> Vec<Effect> {
    let Some(room) = state.room_mut() else { return Vec::new() };
    room.shown.reachability = !room.shown.reachability;
    room.shown.scrolled = 0;
    if room.shown.reachability { vec![Effect::Node(NodeCommand::Ways)] } else { Vec::new() }
}

fn compose(room: &mut Room) {
    room.show(room.current);
    room.shown.focus = Focus::Compose;
    room.shown.pane = Pane::Messages;
}

/// Esc: closes the view, else goes from writing to browsing. Never quits, never drops a draft.
fn close(state: &mut State) {
    let Some(room) = state.room_mut() else { return };
    match (room.shown.view, room.shown.focus) {
        (View::Chat, Focus::Compose) => {
            room.shown.focus = Focus::Browse;
            room.shown.pane = Pane::Messages;
        }
        (View::Chat, Focus::Browse) => {
            let is_at_end = room.conversation().is_none_or(|conversation| conversation.log.is_at_end());
            if room.shown.pane == Pane::Messages && is_at_end {
                return compose(room);
            }
            room.shown.pane = Pane::Messages;
            if let Some(conversation) =
                room.conversation_mut().filter(|conversation| conversation.log.ends().1)
            {
                conversation.log.to_bottom();
            }
        }
        _ => compose(room),
    }
}

fn submit(state: &mut State) -> Vec<Effect> {
    let Some(room) = state.room_mut() else { return Vec::new() };
    let Some(conversation) = room.conversation_mut() else { return Vec::new() };
    let with = conversation.with;
    let text = conversation.draft.text();
    if text.trim().is_empty() {
        return Vec::new();
    }
    if text.len() > limits::TEXT_BYTES {
        let message = format!(
            "too long: {} bytes, at most {} are possible; send it in parts",
            text.len(),
            limits::TEXT_BYTES
        );
        toast(state, ToastKind::Error, &message);
        return Vec::new();
    }
    if text.starts_with('/') && !text.starts_with("//") {
        let line = conversation.take_draft();
        let effects = command::run(state, &line);
        return effects.unwrap_or_else(|message| {
            toast(state, ToastKind::Error, &message);
            if let Some(conversation) = state.room_mut().and_then(Room::conversation_mut) {
                conversation.draft.insert(&line);
            }
            Vec::new()
        });
    }
    let lines = text.lines().count();
    // What was sent before in this conversation may be sent here again.
    let begun_for = conversation.begun_for.filter(|_| conversation.recalled.is_none());
    if let Some(other) = begun_for.filter(|other| *other != with) {
        let whom = |with: Recipient| match with {
            Recipient::Everyone => "everyone".to_owned(),
            Recipient::Peer(peer) => format!("{} only", room.name(&peer)),
        };
        let title = format!("Send to {}?", whom(with));
        let words = vec![format!("What you send was begun for {}.", whom(other))];
        let dialog = Dialog::new(title, words, "Send", Pending::Send(with));
        state.layers.push(Layer::Dialog(dialog));
        return Vec::new();
    }
    if lines > limits::LONG_LINES {
        let to = if with == Recipient::Everyone { "everyone" } else { "one member only" };
        let words = vec![format!("It has {lines} lines, and goes to {to}.")];
        let dialog = Dialog::new("Send a long message?".to_owned(), words, "Send", Pending::Send(with));
        state.layers.push(Layer::Dialog(dialog));
        return Vec::new();
    }
    room.send_draft(with).map(Effect::Node).into_iter().collect()
}

/// Tab: completes a name; on an empty line goes to the next pane.
fn next(state: &mut State, forward: bool) {
    let Some(room) = state.room_mut() else { return };
    if room.shown.view == View::Admin {
        return next_column(room, forward);
    }
    if room.shown.view != View::Chat {
        return;
    }
    let draft_is_empty = room.conversation().is_none_or(|conversation| conversation.draft.is_empty());
    if room.shown.focus == Focus::Compose && !draft_is_empty {
        if forward {
            complete(room);
        }
        return;
    }
    let mut panes = vec![None, Some(Pane::Peers), Some(Pane::Messages), Some(Pane::Heartbeat)];
    // Only the host knows whom it refuses.
    panes.extend((room.role == Role::Host).then_some(Some(Pane::Banned)));
    let now = if room.shown.focus == Focus::Compose { None } else { Some(room.shown.pane) };
    let at = panes.iter().position(|pane| *pane == now).unwrap_or(0);
    let step = if forward { 1 } else { panes.len() - 1 };
    match panes.get((at + step) % panes.len()).copied().flatten() {
        Some(pane) => (room.shown.focus, room.shown.pane) = (Focus::Browse, pane),
        None => compose(room),
    }
}

/// Tab in Admin: the first line of the next column that has any.
fn next_column(room: &mut Room, forward: bool) {
    let rows = admin_rows(room);
    let now = rows.get(room.shown.admin_at).map(AdminRow::column);
    let first_of = |column: AdminColumn| rows.iter().position(|row| row.column() == column);
    let columns = [AdminColumn::Members, AdminColumn::Attempts, AdminColumn::Banned];
    let at = columns.iter().position(|column| Some(*column) == now).unwrap_or(0);
    let step = if forward { 1 } else { columns.len() - 1 };
    let others = (1..columns.len()).filter_map(|turn| columns.get((at + turn * step) % columns.len()));
    if let Some(first) = others.copied().find_map(first_of) {
        room.shown.admin_at = first;
    }
}

fn complete(room: &mut Room) {
    let Some(conversation) = room.conversation() else { return };
    let range = conversation.draft.word();
    let text = conversation.draft.text();
    let word = text.get(range.clone()).unwrap_or_default();
    if let Some(emoji) = emoji(word) {
        if let Some(conversation) = room.conversation_mut() {
            conversation.draft.replace(range, emoji);
        }
        return;
    }
    let (at, start) = word.strip_prefix('@').map_or(("", word), |start| ("@", start));
    let start = start.to_lowercase();
    if start.is_empty() {
        return;
    }
    let names = room.present().into_iter().map(|view| view.peer.alias.to_string());
    let Some(name) = names.into_iter().find(|name| name.to_lowercase().starts_with(&start)) else { return };
    let end = if range.start == 0 && at.is_empty() { ": " } else { " " };
    let whole = format!("{at}{name}{end}");
    if let Some(conversation) = room.conversation_mut() {
        conversation.draft.replace(range, &whole);
    }
}

/// The emoji whose name begins as typed after a colon: the one with that name, else the shortest.
fn emoji(word: &str) -> Option<&'static str> {
    let start = word.strip_prefix(':').filter(|start| start.len() >= limits::EMOJI_LETTERS)?;
    let start = start.trim_end_matches(':').to_lowercase();
    let named = |emoji: &'static emojis::Emoji| {
        let names = emoji.shortcodes().filter(|name| name.starts_with(&start));
        names.map(str::len).min().map(|length| (length, emoji))
    };
    emojis::iter().filter_map(named).min_by_key(|(length, _)| *length).map(|(_, emoji)| emoji.as_str())
}

fn next_unread(room: &mut Room) {
    let count = room.conversations.len();
    let unread = |at: &usize| room.conversations.get(*at).is_some_and(|conversation| conversation.unread > 0);
    let next = (1..=count).map(|step| (room.current + step) % count.max(1)).find(unread);
    if let Some(at) = next {
        room.show(at);
    }
}

fn scroll(state: &mut State, action: Action) {
    let Some(room) = state.room() else { return };
    let geometry = layout::geometry(state, room);
    let width = layout::composer_width(state, room);
    let page = isize::try_from(geometry.rows.saturating_sub(1)).unwrap_or(1).max(1);
    let Some(room) = state.room_mut() else { return };
    match (room.shown.view, room.shown.focus, room.shown.pane) {
        (View::Chat, Focus::Compose, _) if matches!(action, Action::Up | Action::Down) => {
            line(room, action == Action::Down, width);
        }
        (View::Chat, Focus::Browse, Pane::Peers) if matches!(action, Action::Up | Action::Down) => {
            let count = room.conversations.len().max(1);
            let step = if action == Action::Down { 1 } else { count - 1 };
            room.show((room.current + step) % count);
        }
        (View::Chat, _, _) => {
            let Some(conversation) = room.conversation_mut() else { return };
            let log = &mut conversation.log;
            match action {
                Action::Up => log.step(false, &geometry),
                Action::Down => log.step(true, &geometry),
                Action::PageUp => log.scroll(page, &geometry),
                Action::PageDown => log.scroll(-page, &geometry),
                Action::HalfUp => log.scroll((page / 2).max(1), &geometry),
                Action::HalfDown => log.scroll(-(page / 2).max(1), &geometry),
                Action::Top => log.to_top(&geometry),
                Action::Bottom => log.to_bottom(),
                _ => {}
            }
        }
        (View::Admin, _, _) => {
            let last = admin_rows(room).len().saturating_sub(1);
            room.shown.admin_at = moved(room.shown.admin_at, action, page).min(last);
        }
        (View::Log, _, _) => {
            // The newest line is at the bottom: up means further back.
            let last = room.log_lines().count().saturating_sub(1);
            let back = match action {
                Action::Up => Action::Down,
                Action::Down => Action::Up,
                Action::PageUp => Action::PageDown,
                Action::PageDown => Action::PageUp,
                Action::HalfUp => Action::HalfDown,
                Action::HalfDown => Action::HalfUp,
                Action::Top => Action::Bottom,
                Action::Bottom => Action::Top,
                other => other,
            };
            room.shown.scrolled = moved(room.shown.scrolled, back, page).min(last);
        }
        (View::Heartbeat, _, _) => {
            let last = room.peers.len().saturating_sub(1);
            room.shown.scrolled = moved(room.shown.scrolled, action, page).min(last);
        }
    }
}

/// The wheel: a few rows of the log, wherever letters go.
pub(super) fn wheel(state: &mut State, is_up: bool) {
    let Some(room) = state.room() else { return };
    let geometry = layout::geometry(state, room);
    let rows = limits::WHEEL_ROWS.cast_signed();
    let Some(room) = state.room_mut() else { return };
    let is_list = room.shown.focus == Focus::Browse && room.shown.pane == Pane::Peers;
    if room.shown.view != View::Chat || is_list {
        let action = if is_up { Action::Up } else { Action::Down };
        for _ in 0..limits::WHEEL_ROWS {
            scroll(state, action);
        }
        return;
    }
    if let Some(conversation) = room.conversation_mut() {
        conversation.log.scroll(if is_up { rows } else { -rows }, &geometry);
    }
}

fn moved(at: usize, action: Action, page: isize) -> usize {
    let page = page.unsigned_abs();
    match action {
        Action::Up => at.saturating_sub(1),
        Action::Down => at + 1,
        Action::PageUp => at.saturating_sub(page),
        Action::PageDown => at + page,
        Action::HalfUp => at.saturating_sub(page / 2),
        Action::HalfDown => at + page / 2,
        Action::Top => 0,
        Action::Bottom => usize::MAX,
        _ => at,
    }
}

/// Up and down while writing: a line of the draft, or the stashed one.
fn line(room: &mut Room, down: bool, width: usize) {
    let has_stash = room.stash.is_some();
    let Some(conversation) = room.conversation_mut() else { return };
    if conversation.draft.is_empty() && !down && conversation.recalled.is_none() && has_stash {
        room.bring_back();
    } else if !conversation.draft.row(down, width) {
        conversation.recall(!down);
    }
}

/// Begins an answer to the selected message: a quote of its first line, and what stands in the draft below it.
fn reply(state: &mut State) {
    let Some(room) = state.room_mut().filter(|room| room.shown.view == View::Chat) else { return };
    let Some(conversation) = room.conversation_mut() else { return };
    let selected = conversation.log.selected().and_then(|selected| conversation.log.entry(selected));
    let Some(Entry::Message(message)) = selected else {
        return toast(state, ToastKind::Info, NO_MESSAGE);
    };
    let line = message.text.as_str().lines().next().unwrap_or_default();
    let who = if message.is_action { String::new() } else { format!("{}: ", message.from.alias) };
    let quote = wrap::fit(&format!("> {who}{line}"), limits::QUOTED_CELLS);
    // What was recalled is sent already; the draft of before goes below the quote.
    let below = conversation.unsent().map(|Stash { text, .. }| text).collect::<Vec<_>>().join("\n");
    conversation.recalled = None;
    conversation.draft = Composer::with(&format!("{quote}\n{below}"));
    conversation.log.to_bottom();
    compose(room);
}

/// A draft comes back from another editor.
pub(super) fn edited(state: &mut State, with: Recipient, text: Result<String, String>) -> Vec<Effect> {
    let Some((network, was)) = state.editing.take() else { return Vec::new() };
    let text = match text {
        Ok(text) => text,
        Err(message) => {
            toast(state, ToastKind::Error, &message);
            return Vec::new();
        }
    };
    let Some(room) = state.room_mut().filter(|room| room.network_id == network) else {
        // The session has ended meanwhile.
        toast(state, ToastKind::Info, "what you wrote is kept for that network, and on the clipboard");
        let keep = StoreCommand::KeepDrafts { network, drafts: vec![(with, text.clone())] };
        return vec![Effect::Store(keep), Effect::Copy(text)];
    };
    let at = room.conversation_with(with);
    if let Some(conversation) = room.conversations.get_mut(at) {
        let begun_for = conversation.begun_for;
        let mut aside = Vec::new();
        if conversation.draft.text() != was {
            // It came there meanwhile.
            aside.push(conversation.draft.text().to_owned());
        }
        aside.extend(conversation.recalled.take().map(Recalled::into_draft));
        conversation.draft = Composer::with(SafeText::clean(text.trim_end()).as_str());
        conversation.begun_for = begun_for;
        for text in aside {
            room.put_aside(Stash { text, with });
        }
    }
    Vec::new()
}

/// What can be done with the selected message.
fn menu(state: &mut State) {
    let Some(room) = state.room_mut().filter(|room| room.shown.view == View::Chat) else { return };
    let Some(conversation) = room.conversation_mut() else { return };
    let log = &mut conversation.log;
    let selected = log.selected().and_then(|selected| Some((selected, log.entry(selected)?)));
    let Some((entry, Entry::Message(Message { id, .. }))) = selected else {
        return toast(state, ToastKind::Info, NO_MESSAGE);
    };
    let id = *id;
    log.point(entry);
    room.shown.focus = Focus::Browse;
    room.shown.pane = Pane::Messages;
    state.layers.push(Layer::Prompt(Prompt::new(PromptKind::Menu(id))));
}

fn copy(state: &mut State) -> Vec<Effect> {
    let Some(room) = state.room() else { return Vec::new() };
    let text = room.conversation().and_then(|conversation| {
        let selected = conversation.log.selected()?;
        conversation.log.entry(selected).map(|entry| entry.text().to_owned())
    });
    let Some(text) = text.filter(|_| room.shown.view == View::Chat) else { return Vec::new() };
    toast(state, ToastKind::Info, "copied");
    vec![Effect::Copy(text)]
}
