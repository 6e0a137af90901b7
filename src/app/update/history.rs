//! Everything about the history: pages as one scrolls, searches as one types, what became of a message.

use super::{Effect, NO_MESSAGE, State, ToastKind, toast};
use crate::{
    api::{HistoryCommand, HistoryEvent, Hit, Part, StoreCommand},
    app::{
        keymap::Action,
        layer::{Dialog, Layer, Pending, PromptKind},
        layout,
        log::Entry,
        palette::COMMANDS,
        room::{Focus, Pane, Room, View},
    },
    model::{Delivery, DeliveryStatus, Place, Recipient, Timestamp, limits},
};

/// The history has answered.
pub(super) fn event(state: &mut State, event: HistoryEvent) {
    let Some(room) = state.room_mut() else { return };
    match event {
        HistoryEvent::Opened(opened) => {
            room.muted.extend(opened.muted);
            room.opened(opened.pages);
            super::drafts::put_back(room, opened.drafts);
        }
        HistoryEvent::Page { part, page } => {
            let with = page.conversation;
            room.page(part, page);
            if matches!(part, Part::Around(_)) {
                settle(state, with);
            }
        }
        HistoryEvent::Found { text, hits } => {
            let is_nothing = hits.is_empty();
            room.found(&text, hits);
            if let Some(prompt) = state.prompt_mut().filter(|prompt| prompt.kind == PromptKind::Search) {
                prompt.at = 0;
                let first = text.split_whitespace().next().unwrap_or_default();
                let is_command = COMMANDS.iter().any(|command| command.name == first);
                let words = if is_command {
                    "nothing like it was said; for commands close this and press :"
                } else {
                    "no message has words that begin like these"
                };
                prompt.error = is_nothing.then(|| words.to_owned());
            }
        }
        HistoryEvent::Forgotten(conversation) => {
            if let Some(gone) = room.conversations.iter_mut().find(|other| other.with == conversation) {
                gone.log.forget();
            }
            toast(state, ToastKind::Info, "forgotten here; the others keep what they have");
        }
        HistoryEvent::Info { place, deliveries } => show_info(state, place, &deliveries),
        _ => {}
    }
}

/// What was looked for is here: no rows stay empty beside it.
fn settle(state: &mut State, with: Recipient) {
    let geometry = state.room().map(|room| layout::geometry(state, room));
    let conversations = state.room_mut().into_iter().flat_map(|room| &mut room.conversations);
    if let (Some(geometry), Some(sought)) =
        (geometry, conversations.into_iter().find(|other| other.with == with))
    {
        sought.log.settle(&geometry);
    }
}

/// An answer will not come.
pub(super) fn stop_waiting(state: &mut State) {
    for conversation in state.room_mut().into_iter().flat_map(|room| &mut room.conversations) {
        conversation.log.stop_waiting();
    }
}

/// What has to be asked for after whatever happened: the next page, or what is being searched for.
pub(super) fn follow_up(state: &mut State) -> Option<StoreCommand> {
    let typed = state
        .prompt_mut()
        .filter(|prompt| prompt.kind == PromptKind::Search)
        .map(|prompt| prompt.editor.text().trim().to_owned());
    let geometry =
        state.room().filter(|room| room.shown.view == View::Chat).map(|room| layout::geometry(state, room));
    let room = state.room_mut()?;
    if let Some(text) = typed.filter(|text| *text != room.search.query) {
        room.search.query.clone_from(&text);
        room.search.hits.clear();
        room.search.at = None;
        if !text.is_empty() {
            return Some(StoreCommand::History(HistoryCommand::Search { network: room.network_id, text }));
        }
    }
    let conversation = room.conversation_mut()?;
    let (with, part) = (conversation.with, conversation.log.wanted(&geometry?)?);
    Some(room.ask_page(with, part))
}

/// True when the first (or last) message is not held.
pub(super) fn needs_page(state: &State, action: Action) -> bool {
    let in_chat =
        state.room().filter(|room| room.shown.view == View::Chat && room.shown.pane == Pane::Messages);
    let ends = in_chat.and_then(Room::conversation).map(|conversation| conversation.log.ends());
    match (action, ends) {
        (Action::Top, Some((is_first, _))) => !is_first,
        (_, Some((_, is_last))) => !is_last,
        _ => false,
    }
}

/// To the very first (or last) message.
pub(super) fn jump(state: &mut State, action: Action) -> Vec<Effect> {
    let Some(room) = state.room_mut() else { return Vec::new() };
    let Some(with) = room.conversation().map(|conversation| conversation.with) else { return Vec::new() };
    let part = if action == Action::Top { Part::After(Place::MIN) } else { Part::Newest };
    vec![Effect::Store(room.ask_page(with, part))]
}

// ---- Search ----

/// What was found, a line each.
pub(super) fn suggestions(state: &State) -> Vec<String> {
    let Some(room) = state.room() else { return Vec::new() };
    let zone = &state.defaults.zone;
    let today = state.now.in_zone(zone).date();
    let line = |hit: &Hit| {
        let at = hit.at.in_zone(zone);
        let form = if at.date() == today { "%H:%M" } else { "%Y-%m-%d" };
        let with = match hit.conversation {
            Recipient::Everyone => String::new(),
            Recipient::Peer(_) => format!(" (with {})", hit.with),
        };
        format!("{} {}{with}: {}", at.strftime(form), hit.from, hit.excerpt)
    };
    room.search.hits.iter().map(line).collect()
}

/// Goes to what was chosen.
pub(super) fn go_to_hit(state: &mut State, at: usize) -> Vec<Effect> {
    let Some(room) = state.room_mut() else { return Vec::new() };
    let Some(ask) = room.go_to_hit(at) else { return Vec::new() };
    room.shown.focus = Focus::Browse;
    room.shown.pane = Pane::Messages;
    let (number, count) = (at + 1, room.search.hits.len());
    state.layers.pop();
    toast(state, ToastKind::Info, &format!("match {number} of {count}: n older, N newer, G to the newest"));
    vec![Effect::Store(ask)]
}

/// The next older or newer match of the last search.
pub(super) fn next_hit(state: &mut State, older: bool) -> Vec<Effect> {
    let Some(room) = state.room_mut() else { return Vec::new() };
    let next = match room.search.at {
        None => Some(0),
        Some(at) if older => at.checked_add(1),
        Some(at) => at.checked_sub(1),
    };
    match next.filter(|next| *next < room.search.hits.len()) {
        Some(next) => go_to_hit(state, next),
        None if room.search.hits.is_empty() => {
            toast(state, ToastKind::Info, "search first: / or Ctrl-F");
            Vec::new()
        }
        None => {
            let words = match (older, room.search.hits.len() >= limits::SEARCH_HITS) {
                (true, true) => "no older match among the newest; search for more words to go further back",
                (true, false) => "no older match",
                (false, _) => "no newer match",
            };
            toast(state, ToastKind::Info, words);
            Vec::new()
        }
    }
}

// ---- What became of a message ----

/// Asks who has the message at the mark.
pub(super) fn info(state: &mut State) -> Vec<Effect> {
    let Some(room) = state.room().filter(|room| room.shown.view == View::Chat) else { return Vec::new() };
    let Some(conversation) = room.conversation() else { return Vec::new() };
    let selected = conversation.log.selected().and_then(|selected| conversation.log.entry(selected));
    let Some(Entry::Message(message)) = selected else {
        toast(state, ToastKind::Info, NO_MESSAGE);
        return Vec::new();
    };
    if message.mark.is_some() {
        let (network, conversation, place) = (room.network_id, conversation.with, message.place);
        let command = HistoryCommand::Info { network, conversation, place };
        return vec![Effect::Store(StoreCommand::History(command))];
    }
    let zone = &state.defaults.zone;
    let when = |at: Timestamp| at.in_zone(zone).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let lines = vec![
        format!("from {} ({})", message.from.alias, message.from.peer_id.short()),
        format!("came {}", when(message.at)),
    ];
    state.layers.push(Layer::Note { title: "Message".to_owned(), lines, scroll: 0 });
    Vec::new()
}

fn show_info(state: &mut State, place: Place, deliveries: &[Delivery]) {
    let zone = &state.defaults.zone;
    let when = |at: Timestamp| at.in_zone(zone).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let line = |delivery: &Delivery| {
        let what = match (delivery.status, delivery.reason) {
            (DeliveryStatus::Delivered, _) => "✓ has it since",
            (DeliveryStatus::Queued, _) => "… not yet, said",
            (DeliveryStatus::Sent, _) => "› sent; a classic peer does not say whether it arrived",
            (DeliveryStatus::Failed, Some(reason)) => {
                return format!(
                    "{:<16} ✗ will not get it: {} ({})",
                    delivery.alias.as_str(),
                    reason.words(),
                    when(delivery.at)
                );
            }
            (DeliveryStatus::Failed, None) => "✗ will not get it, since",
        };
        format!("{:<16} {what} {}", delivery.alias.as_str(), when(delivery.at))
    };
    let mut lines = vec![format!("sent {}", when(Timestamp(place)))];
    lines.extend(deliveries.iter().map(line));
    if deliveries.is_empty() {
        lines.push("nobody else was here".to_owned());
    }
    state.layers.push(Layer::Note { title: "Who has it".to_owned(), lines, scroll: 0 });
}

// ---- Forgetting ----

/// Asks whether the conversation that is shown is to be forgotten.
pub(super) fn ask_forget(state: &mut State) {
    let Some(room) = state.room() else { return };
    let Some(with) = room.conversation().map(|conversation| conversation.with) else { return };
    let title = match with {
        Recipient::Everyone => "Forget what was said to everyone?".to_owned(),
        Recipient::Peer(peer) => format!("Forget what was said with {}?", room.name(&peer)),
    };
    let lines = vec![
        "It is deleted here, for good. The others keep what they have, and what still waits for somebody is sent \
         nevertheless while this program runs."
            .to_owned(),
    ];
    state.layers.push(Layer::Dialog(Dialog::new(title, lines, "Forget", Pending::Forget(with))));
}

/// Has a conversation deleted.
pub(super) fn forget(state: &mut State, conversation: Recipient) -> Vec<Effect> {
    let Some(room) = state.room() else { return Vec::new() };
    vec![Effect::Store(StoreCommand::Forget { network: room.network_id, conversation })]
}
