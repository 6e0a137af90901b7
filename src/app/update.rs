//! The reducer: one event in, the state changed, effects out.

mod admin;
mod command;
mod drafts;
mod history;
mod invite;
mod launch;
mod mouse;
mod notices;
mod prompt;
mod room;
mod verify;

pub use self::prompt::{suggestions, why_not};

use std::time::Duration;

use crossterm::event::{
    Event as TerminalEvent, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};

use super::{
    Effect, Event, Open,
    composer::{Composer, Edit},
    keymap::Action,
    launch::{Launch, form::Progress},
    layer::{Dialog, Item, Layer, Pending},
    room::{Focus, LinkView, Room, View},
    state::{Screen, State, Toast, ToastKind},
    strength::Strength,
};
use crate::{
    api::{NodeCommand, NodeEvent, StoreCommand, StoreEvent},
    model::{CloseReason, Closed, Liveness, SafeText, Timestamp, limits},
};

/// What acts on a message has none.
const NO_MESSAGE: &str = "this is no message: choose one with the arrows";

/// Takes in what happened and says what is to be done.
pub fn update(state: &mut State, now: Timestamp, event: Event) -> Vec<Effect> {
    state.now = now;
    if state.toast.as_ref().is_some_and(|toast| toast.until <= now) {
        state.toast = None;
    }
    let is_node = matches!(event, Event::Node(_));
    let before = if is_node { None } else { drafts::stamp(state) };
    let mut effects = handle(state, event);
    if !is_node && before.is_some() && drafts::stamp(state).is_some_and(|after| Some(after) != before) {
        state.unsaved.get_or_insert(now);
    }
    effects.extend(drafts::keep(state, drafts::is_sent(state)).map(Effect::Store));
    effects.extend(history::follow_up(state).into_iter().map(Effect::Store));
    effects
}

fn handle(state: &mut State, event: Event) -> Vec<Effect> {
    match event {
        Event::Terminal(TerminalEvent::Resize(columns, rows)) => {
            state.size = (columns, rows);
            Vec::new()
        }
        Event::Terminal(TerminalEvent::Key(key)) if key.kind != KeyEventKind::Release => pressed(state, &key),
        Event::Terminal(TerminalEvent::Paste(text)) => {
            pasted(state, &text);
            Vec::new()
        }
        Event::Terminal(TerminalEvent::Mouse(mouse)) => {
            match mouse.kind {
                MouseEventKind::ScrollUp => wheel(state, true),
                MouseEventKind::ScrollDown => wheel(state, false),
                MouseEventKind::Down(MouseButton::Left) => {
                    return mouse::click(state, mouse.column, mouse.row);
                }
                _ => {}
            }
            Vec::new()
        }
        Event::Terminal(event @ (TerminalEvent::FocusGained | TerminalEvent::FocusLost)) => {
            notices::looked_at(state, event == TerminalEvent::FocusGained);
            Vec::new()
        }
        Event::Node(event) => node_event(state, event),
        Event::Store(StoreEvent::Recents(recents)) => {
            state.recents.clone_from(&recents);
            if let Some(launch) = state.launch_mut() {
                launch.recents = recents;
                launch.at = launch.at.min(launch.choices().len().saturating_sub(1));
            }
            Vec::new()
        }
        Event::Store(StoreEvent::History(event)) => {
            history::event(state, event);
            Vec::new()
        }
        Event::Store(StoreEvent::Failed { message, .. }) => {
            history::stop_waiting(state);
            toast(state, ToastKind::Error, &message);
            Vec::new()
        }
        Event::Refused(command) => {
            refused(state, command);
            Vec::new()
        }
        Event::Asked(asked) => open(state, asked),
        Event::Remark(text) => {
            toast(state, ToastKind::Error, &text);
            Vec::new()
        }
        Event::OpenFailed(closed) => failed(state, &closed),
        Event::Nearby(sighting) => launch::sighted(state, sighting),
        Event::Edited(with, text) => room::edited(state, with, text),
        Event::Found(target, finding) => launch::found(state, &target, finding),
        Event::Terminal(_) | Event::Store(_) | Event::Tick => Vec::new(),
    }
}

/// How long until the screen changes by time alone; nothing when it does not.
#[must_use]
pub fn next_tick(state: &State) -> Option<Duration> {
    let toast = state.toast.as_ref().map(|toast| toast.until.since(state.now));
    let is_counting = state.room().is_some_and(|room| {
        matches!(room.link, LinkView::Lost { retry_at: Some(_), .. })
            || room.peers.values().any(|view| view.present && view.state == Liveness::Suspect)
    });
    let unsaved = state.unsaved.map(|since| limits::DRAFT_PAUSE.saturating_sub(state.now.since(since)));
    [toast, unsaved, is_counting.then_some(Duration::from_secs(1))].into_iter().flatten().min()
}

pub(super) fn toast(state: &mut State, kind: ToastKind, text: &str) {
    let until = state.now.plus(limits::TOAST_TIME);
    state.toast = Some(Toast { kind, text: SafeText::line(text), until });
}

// ---- The node ----

fn node_event(state: &mut State, event: NodeEvent) -> Vec<Effect> {
    if let NodeEvent::Left { reason, message, .. } = &event {
        return left(state, &Closed::new(*reason, message.to_string()));
    }
    if let NodeEvent::Invite { link, info } = event {
        return invite::show(state, link.0, info);
    }
    let compared = match &event {
        NodeEvent::Verify { peer, own: true, .. } => Some((peer.peer_id, false)),
        NodeEvent::Verified { peer } | NodeEvent::NotVerified { peer, .. } => Some((peer.peer_id, true)),
        _ => None,
    };
    let now = state.now;
    if matches!(event, NodeEvent::Authenticated { .. } | NodeEvent::Handover { .. }) {
        // Errors and questions of the session are over with it.
        state.toast = None;
    }
    let Some(room) = state.room_mut() else { return launch::opening(state, event) };
    let text = match &event {
        NodeEvent::Error { message, .. } => Some((ToastKind::Error, message.to_string())),
        NodeEvent::Attempt { addr, .. } => Some((ToastKind::Info, format!("wrong password from {addr}"))),
        _ => None,
    };
    let changes_ways = matches!(event, NodeEvent::NoWays { .. } | NodeEvent::PeerUp { .. });
    let is_looked_at = room.shown.reachability && room.shown.view == View::Heartbeat;
    // What was left out is looked up.
    let skipped = matches!(event, NodeEvent::Skipped { .. }).then(|| Effect::Store(room.open_history()));
    // Whoever looks at it needs no bell.
    let is_seen = room.in_sight == Some(true);
    let followed = room.apply(now, event);
    let count = super::admin_rows(room).len();
    room.shown.admin_at = room.shown.admin_at.min(count.saturating_sub(1));
    if let Some((peer, is_done)) = compared {
        verify::follow(state, peer, is_done);
    }
    if let (true, Some((kind, text))) = (followed.notable, text) {
        toast(state, kind, &text);
    }
    let ask = (changes_ways && is_looked_at).then_some(Effect::Node(NodeCommand::Ways));
    let mut effects =
        followed.heard.filter(|_| !is_seen).map(|heard| notices::notice(state, &heard)).unwrap_or_default();
    effects.extend(ask.into_iter().chain(skipped));
    effects
}

/// The session is over: back to the launch screen with the reason, or out.
fn left(state: &mut State, closed: &Closed) -> Vec<Effect> {
    state.ended = Some(closed.clone());
    let mut effects: Vec<Effect> = drafts::keep(state, true).map(Effect::Store).into_iter().collect();
    if state.quitting {
        effects.push(Effect::Quit);
        return effects;
    }
    state.leaving = false;
    if matches!(state.screen, Screen::Room(_)) {
        let message =
            Some(format!("The session ended: {closed}.")).filter(|_| closed.reason != CloseReason::Left);
        let recents = state.recents.clone();
        state.defaults.has_kept_password |= state.is_host();
        state.screen = Screen::Launch(Launch { recents, message, ..Launch::default() });
        state.layers.clear();
    } else if closed.reason == CloseReason::Left {
        if let Some(form) = state.form_mut() {
            form.progress = Progress::Editing;
        }
    } else {
        effects.extend(failed(state, closed));
    }
    effects.push(Effect::Store(StoreCommand::Recents));
    effects
}

fn failed(state: &mut State, closed: &Closed) -> Vec<Effect> {
    state.leaving = false;
    let Some(launch) = state.launch_mut() else { return Vec::new() };
    launch.opening = false;
    match &mut launch.form {
        Some(form) => {
            form.failed(closed);
            form.to_diagnose(closed).map(Effect::Diagnose).into_iter().collect()
        }
        None => {
            launch.message = Some(closed.to_string());
            Vec::new()
        }
    }
}

/// The node was busy: nothing that was typed is lost.
fn refused(state: &mut State, command: NodeCommand) {
    toast(state, ToastKind::Error, "the network is busy; try again in a moment");
    if let NodeCommand::Send { text, .. } = command
        && let Some(conversation) = state.room_mut().and_then(Room::conversation_mut)
        && conversation.draft.is_empty()
    {
        conversation.draft = Composer::with(&super::room::as_typed(&text));
    }
}

// ---- Keys ----

fn pressed(state: &mut State, key: &KeyEvent) -> Vec<Effect> {
    let contexts = state.contexts();
    match state.keymap.action(&contexts, key) {
        // Letters that act only on an empty line are letters elsewhere.
        Some(Action::Palette) if key.code == KeyCode::Char('/') && types_slash(state) => {
            type_text(state, "/");
            Vec::new()
        }
        Some(action) => act(state, action, key),
        None => {
            if let KeyCode::Char(c) = key.code
                && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
            {
                // A letter that has no action was meant to be written.
                if state.layers.is_empty()
                    && let Some(room) = state.room_mut()
                    && room.shown.focus == Focus::Browse
                    && room.shown.view == View::Chat
                {
                    room.shown.focus = Focus::Compose;
                    toast(state, ToastKind::Info, "writing again; Esc lets letters act");
                }
                type_text(state, &c.to_string());
            }
            Vec::new()
        }
    }
}

/// The wheel scrolls the log; elsewhere it is as many arrows: they may have been keys that came at once.
fn wheel(state: &mut State, is_up: bool) {
    let action = if is_up { Action::Up } else { Action::Down };
    for _ in 0..limits::WHEEL_ROWS {
        match state.layers.last() {
            Some(Layer::Help { .. } | Layer::Note { .. }) => help_action(state, action),
            Some(Layer::Prompt(_)) => _ = prompt::action(state, action),
            Some(Layer::Invite(_)) => {}
            Some(Layer::Dialog(_)) => {
                _ = dialog_action(state, if is_up { Action::Left } else { Action::Right });
            }
            None if state.room().is_some() => return room::wheel(state, is_up),
            None => _ = launch::action(state, action),
        }
    }
}

fn types_slash(state: &State) -> bool {
    let composing =
        state.room().is_some_and(|room| room.shown.view == View::Chat && room.shown.focus == Focus::Compose);
    let draft = state.room().and_then(Room::conversation).is_some_and(|c| !c.draft.is_empty());
    state.layers.is_empty() && composing && draft
}

/// The editor that letters go to.
fn editor(state: &mut State) -> Option<&mut Composer> {
    match state.layers.last() {
        Some(Layer::Prompt(_)) => return state.prompt_mut().map(|prompt| &mut prompt.editor),
        Some(_) => return None,
        None => {}
    }
    match &mut state.screen {
        Screen::Launch(launch) => {
            let form = launch.form.as_mut().filter(|form| form.progress == Progress::Editing)?;
            form.field_mut().filter(|field| field.is_on.is_none()).map(|field| &mut field.value)
        }
        Screen::Room(room) if room.shown.view == View::Chat && room.shown.focus == Focus::Compose => {
            room.conversation_mut().map(|conversation| &mut conversation.draft)
        }
        Screen::Room(_) => None,
    }
}

fn type_text(state: &mut State, text: &str) {
    // The palette is opened by a slash; another one right after it means a slash to be sent.
    if text == "/"
        && state.prompt_mut().is_some_and(|prompt| {
            prompt.kind == super::layer::PromptKind::Palette && prompt.editor.text() == "/"
        })
        && let Some(room) = state.room_mut()
        && room.shown.focus == Focus::Compose
    {
        if let Some(conversation) = room.conversation_mut() {
            conversation.draft.insert("//");
        }
        state.layers.pop();
        return;
    }
    begin_typing(state);
    if let Some(editor) = editor(state) {
        editor.type_text(text);
    } else if text == " " && state.layers.is_empty() {
        state
            .form_mut()
            .filter(|form| form.progress == Progress::Editing)
            .map(super::launch::form::Form::toggle);
    }
    typed(state);
}

/// A password that was offered goes when another one is typed.
fn begin_typing(state: &mut State) {
    if state.layers.is_empty()
        && let Some(form) = state.form_mut().filter(|form| form.progress == Progress::Editing)
    {
        form.begin_typing();
    }
}

/// What was typed last may have been what was wrong.
fn typed(state: &mut State) {
    if let Some(prompt) = state.prompt_mut() {
        prompt.error = None;
        prompt.at = 0;
        prompt.rate();
    } else if let Some(form) = state.form_mut() {
        if let Some(field) = form.field_mut() {
            field.error = None;
        }
        form.rate();
    }
}

/// A paste never sends by itself.
fn pasted(state: &mut State, text: &str) {
    let one_line = state.prompt_mut().is_some() || state.form_mut().is_some();
    if state.layers.is_empty()
        && let Some(room) = state.room_mut()
    {
        room.shown.view = View::Chat;
        room.shown.focus = Focus::Compose;
    }
    if state.layers.is_empty() && state.launch_mut().is_some_and(|launch| launch.form.is_none()) {
        return invite::pasted(state, text);
    }
    begin_typing(state);
    let text = if one_line { SafeText::line(text.trim_end()) } else { SafeText::clean(text) };
    if let Some(editor) = editor(state) {
        editor.insert(text.as_str());
    }
    typed(state);
}

fn act(state: &mut State, action: Action, key: &KeyEvent) -> Vec<Effect> {
    match action {
        Action::Redraw => return vec![Effect::Redraw],
        Action::Suspend => return suspend(state),
        Action::Interrupt => return interrupt(state),
        Action::Help if matches!(state.layers.last(), Some(Layer::Help { .. })) => _ = state.layers.pop(),
        Action::Help => state.layers.push(Layer::Help { scroll: 0 }),
        Action::Edit(edit) => {
            if let Some(form) = state.form_mut() {
                // Whoever changes what was offered wants something like it.
                form.is_offered &= matches!(edit, Edit::Left | Edit::Right | Edit::LineStart | Edit::LineEnd);
            }
            if let Some(editor) = editor(state) {
                editor.edit(edit);
            }
            if !matches!(edit, Edit::Left | Edit::Right) {
                typed(state);
            }
        }
        action => {
            return match state.layers.last() {
                Some(Layer::Help { .. } | Layer::Note { .. }) => {
                    help_action(state, action);
                    Vec::new()
                }
                Some(Layer::Dialog(_)) => dialog_action(state, action),
                Some(Layer::Prompt(_)) => prompt::action(state, action),
                Some(Layer::Invite(_)) => invite::action(state, action),
                None => match state.screen {
                    Screen::Launch(_) => launch::action(state, action),
                    Screen::Room(_) => room::action(state, action, key),
                },
            };
        }
    }
    Vec::new()
}

fn help_action(state: &mut State, action: Action) {
    if action == Action::Close {
        state.layers.pop();
        return;
    }
    let page = usize::from(state.size.1.saturating_sub(6)).max(1);
    // Rows may be broken into several; drawing stops at the last one.
    let most =
        3 * (state.keymap.help(&state.contexts_below_help()).len() + super::palette::COMMANDS.len() + 8);
    let note = match state.layers.last() {
        Some(Layer::Note { lines, .. }) => 3 * lines.len(),
        _ => 0,
    };
    let most = most.max(note);
    if let Some(Layer::Help { scroll } | Layer::Note { scroll, .. }) = state.layers.last_mut() {
        *scroll = match action {
            Action::Up => scroll.saturating_sub(1),
            Action::PageUp => scroll.saturating_sub(page),
            Action::Down => *scroll + 1,
            Action::PageDown => *scroll + page,
            _ => *scroll,
        }
        .min(most);
    }
}

/// What a key does, done by its name.
fn act_without_key(state: &mut State, action: Action) -> Vec<Effect> {
    act(state, action, &KeyEvent::new(KeyCode::Null, KeyModifiers::NONE))
}

fn suspend(state: &mut State) -> Vec<Effect> {
    if !state.is_host() {
        return vec![Effect::Suspend];
    }
    let lines = vec![
        "While you are suspended nobody is admitted, and after".to_owned(),
        format!("{} s the members take the host for lost.", limits::DEAD_AFTER.as_secs()),
    ];
    let dialog = Dialog::new("Suspend the host?".to_owned(), lines, "Suspend", Pending::Suspend);
    state.layers.push(Layer::Dialog(dialog));
    Vec::new()
}

fn interrupt(state: &mut State) -> Vec<Effect> {
    // Asked for twice, it is meant.
    if matches!(state.layers.last(), Some(Layer::Dialog(Dialog { pending: Pending::Leave, .. }))) {
        return command::confirmed(state);
    }
    if state.layers.pop().is_some() {
        return Vec::new();
    }
    let is_host = state.is_host();
    let Some(room) = state.room_mut() else {
        let is_opening = state.form_mut().is_some_and(|form| form.progress != Progress::Editing);
        if is_opening {
            state.quitting = true;
            return vec![Effect::Node(NodeCommand::Leave), Effect::Quit];
        }
        return vec![Effect::Quit];
    };
    if let Some(conversation) = room.conversation_mut()
        && !conversation.draft.is_empty()
    {
        room.put_draft_aside();
        toast(state, ToastKind::Info, "draft put aside; ↑ on an empty line brings it back");
        return Vec::new();
    }
    ask_leave(state, is_host);
    Vec::new()
}

/// Asks whether to leave, and tells a host what that means.
fn ask_leave(state: &mut State, is_host: bool) {
    let Some(room) = state.room_mut() else { return };
    let others = room.others();
    let lines = match (is_host, others) {
        (true, 0) => vec!["Nobody else is here. The network closes.".to_owned()],
        (true, others) => vec![
            format!(
                "You are the host: the network closes for {}.",
                if others == 1 { "the other one".to_owned() } else { format!("{others} others") }
            ),
            "They are told, and come back by themselves when you host again.".to_owned(),
        ],
        (false, _) => vec!["The others see that you left. You can join again any time.".to_owned()],
    };
    let title = format!("Leave {}?", room.network);
    state.layers.push(Layer::Dialog(Dialog::new(title, lines, "Leave", Pending::Leave)));
}

fn dialog_action(state: &mut State, action: Action) -> Vec<Effect> {
    let Some(Layer::Dialog(dialog)) = state.layers.last_mut() else { return Vec::new() };
    match action {
        Action::Left => dialog.step(false),
        Action::Right => dialog.step(true),
        Action::Close => _ = state.layers.pop(),
        Action::Toggle => _ = dialog.toggle(),
        Action::Submit if dialog.toggle() => {}
        Action::Submit if dialog.items.get(dialog.at) == Some(&Item::Differ) => return verify::differ(state),
        Action::Submit if dialog.items.get(dialog.at) != Some(&Item::Yes) => {
            state.layers.pop();
        }
        Action::Submit => return command::confirmed(state),
        _ => {}
    }
    Vec::new()
}

/// Opens a network that is asked for in a form; before a password that is easy to guess is taken, asks.
fn open_asked(state: &mut State, asked: Open) -> Vec<Effect> {
    let strength = state.form_mut().and_then(|form| form.strength);
    if strength != Some(Strength::Weak) {
        return open(state, asked);
    }
    let lines = vec![
        "Whoever guesses it is in. Somebody who tries what people choose first may need few guesses."
            .to_owned(),
        "Four words that have nothing to do with each other are hard to guess and easy to tell.".to_owned(),
    ];
    let title = "Take a password that is easy to guess?".to_owned();
    let dialog = Dialog::new(title, lines, "Take it", Pending::WeakPassword(Box::new(asked)));
    state.layers.push(Layer::Dialog(dialog));
    Vec::new()
}

/// Opens a network; before classic peers are let in for the first time, asks.
fn open(state: &mut State, open: Open) -> Vec<Effect> {
    if matches!(open, Open::Host { classic: true, .. }) && !state.defaults.knows_classic {
        let lines = vec![
            "Classic peers, the Python program pyile_protocol, know no encryption: whoever watches the network can \
             read the network's password when they join, and what they say and are told."
                .to_owned(),
            "What other peers say to each other stays encrypted.".to_owned(),
        ];
        let title = "Let classic peers in?".to_owned();
        let dialog = Dialog::new(title, lines, "Let them in", Pending::Open(Box::new(open)));
        state.layers.push(Layer::Dialog(dialog));
        return Vec::new();
    }
    open_now(state, open)
}

fn open_now(state: &mut State, open: Open) -> Vec<Effect> {
    let doing = match open {
        Open::Host { .. } => "opening the network",
        _ => "connecting",
    };
    if let Some(form) = state.form_mut() {
        form.progress = Progress::Opening(doing.to_owned());
    }
    if matches!(&open, Open::Host { password: Some(own), .. } if state.defaults.offered.as_ref() != Some(own))
    {
        // Somebody has chosen another one: it was not to be told to anybody.
        state.defaults.offered = None;
    }
    vec![Effect::Open(open)]
}
