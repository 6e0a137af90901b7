//! Lines that are typed on top of the screen: what they suggest, and what Enter does with them.

use super::{Effect, State, ToastKind, command, toast};
use crate::{
    api::NodeCommand,
    app::{
        keymap::Action,
        layer::{Dialog, Layer, Pending, Prompt, PromptKind},
        log::Entry,
        markup,
        palette::{self, Command},
        room::{Focus, LinkView},
        strength::Strength,
    },
    model::{MessageId, Password, PeerId, Recipient, limits},
};

pub(super) fn action(state: &mut State, action: Action) -> Vec<Effect> {
    match action {
        Action::Close => {
            state.layers.pop();
        }
        Action::Submit => return submit(state),
        Action::Next => complete(state),
        Action::Reveal => {
            if let Some(prompt) = state.prompt_mut() {
                prompt.revealed = !prompt.revealed;
            }
        }
        Action::Up | Action::Down => {
            let down = action == Action::Down;
            let count = suggestions(state).len().max(1);
            if let Some(prompt) = state.prompt_mut() {
                prompt.at = if down { prompt.at + 1 } else { prompt.at + count - 1 } % count;
            }
        }
        _ => {}
    }
    Vec::new()
}

/// What the prompt on top suggests: names of commands, or of conversations.
#[must_use]
pub fn suggestions(state: &State) -> Vec<String> {
    let Some(Layer::Prompt(prompt)) = state.layers.last() else { return Vec::new() };
    match prompt.kind {
        PromptKind::Palette => match palette::begun(prompt.editor.text()) {
            Some((command, first)) => first.map(|first| arguments(state, command, first)).unwrap_or_default(),
            None => {
                let commands = palette::suggestions(prompt.editor.text()).into_iter();
                commands.map(|command| command.name.to_owned()).collect()
            }
        },
        PromptKind::GoTo => go_to(state).into_iter().map(|(name, _)| name).collect(),
        PromptKind::Search => super::history::suggestions(state),
        PromptKind::Theme => {
            let matches = |name: &String| palette::fuzzy(name, prompt.editor.text());
            state.themes.names().into_iter().filter(matches).collect()
        }
        PromptKind::Recall => sent_before(state, prompt.editor.text()),
        PromptKind::Menu(id) => {
            let typed = prompt.editor.text();
            let items = menu(state, &id).into_iter().map(|(words, _)| words);
            let mut found: Vec<String> = items.filter(|words| palette::fuzzy(words, typed)).collect();
            // Words that are typed go before letters that are found here and there.
            found.sort_by_key(|words| !words.to_lowercase().contains(&typed.to_lowercase()));
            found
        }
        PromptKind::Password | PromptKind::Handover(_) => Vec::new(),
    }
}

/// Why a command is of no use now; nothing when it is.
#[must_use]
pub fn why_not(state: &State, command: &Command) -> Option<&'static str> {
    let room = state.room()?;
    let is_silent = room.conversation().is_none_or(|conversation| conversation.log.is_empty());
    match command.name {
        _ if command.host_only && !state.is_host() => Some("only the host"),
        "reply" | "copy" | "info" | "unfold" | "menu" if is_silent => Some("nothing was said yet"),
        "cleartext" if room.cleartext.on.is_none() => Some("no classic peers are let in"),
        "rejoin" if room.link == LinkView::Joined => Some("you are in"),
        "approve" | "refuse" if room.door.applicants.is_empty() => Some("nobody waits at the door"),
        "revoke" if room.door.invites.is_empty() => Some("no invite is open"),
        "unban" if room.door.bans.is_empty() => Some("nobody is banned"),
        "deputy" if room.present().len() < 2 => Some("nobody else is here"),
        "takeover" if room.deputy != Some(room.me) => Some("you are not the deputy"),
        "next" if room.conversations.iter().all(|conversation| conversation.unread == 0) => {
            Some("nothing is unread")
        }
        _ => None,
    }
}

/// What a command may take next, as far as it matches what is typed of it: first what begins so.
fn arguments(state: &State, command: &Command, typed: &str) -> Vec<String> {
    let Some(room) = state.room() else { return Vec::new() };
    let takes = command.takes.trim_start_matches('[');
    let mut all: Vec<String> = match (command.name, takes) {
        ("theme", _) => state.themes.names(),
        ("unban", _) => {
            let bans = room.door.bans.iter();
            bans.filter_map(|ban| match (&ban.alias, ban.addr) {
                (Some(alias), _) => Some(alias.to_string()),
                (None, Some(addr)) => Some(addr.to_string()),
                (None, None) => ban.peer_id.map(|peer| peer.to_string()),
            })
            .collect()
        }
        ("approve" | "refuse", _) => {
            room.door.applicants.iter().map(|applicant| applicant.alias.to_string()).collect()
        }
        ("revoke", _) => {
            room.door.invites.iter().map(|info| info.id.clone()).chain(["all".to_owned()]).collect()
        }
        (_, "on|off") => vec!["on".to_owned(), "off".to_owned()],
        // Another name is nobody's yet.
        ("nick", _) => Vec::new(),
        (_, takes) if takes.starts_with("NAME") => {
            // Whoever has left can still be banned and kicked.
            let with_absent = matches!(command.name, "ban" | "kick");
            let absent = room.peers.values().filter(|view| with_absent && !view.present);
            let others = room.present().into_iter().chain(absent).filter(|view| view.peer.peer_id != room.me);
            others.map(|view| view.peer.alias.to_string()).collect()
        }
        _ => Vec::new(),
    };
    let typed = typed.trim_start_matches('@');
    all.retain(|name| palette::fuzzy(name, typed));
    all.sort_by_key(|name| !name.to_lowercase().starts_with(&typed.to_lowercase()));
    all
}

/// Enter on a command: runs it, unless something of it is still to be typed.
fn submit_command(state: &mut State, text: &str) -> Vec<Effect> {
    let suggestions = suggestions(state);
    let Some(prompt) = state.prompt_mut() else { return Vec::new() };
    let begun = palette::begun(text);
    // A command that is only begun, or only chosen from the list.
    let line = match suggestions.get(prompt.at) {
        Some(name) if begun.is_none() => format!("/{name}"),
        _ => text.to_owned(),
    };
    let is_begun = match begun {
        // What may be left out is completed only if it was chosen.
        Some((command, Some(""))) if command.takes.starts_with('[') && prompt.at == 0 => false,
        // What is chosen below stands in the line before it is done.
        Some((_, first)) => {
            let typed = first.map(|first| first.trim_start_matches('@'));
            !suggestions.is_empty() && !suggestions.iter().any(|name| Some(name.as_str()) == typed)
        }
        None => false,
    };
    if is_begun {
        complete(state);
        return Vec::new();
    }
    let takes = palette::COMMANDS.iter().find(|command| line == format!("/{}", command.name));
    if takes.is_some_and(|command| !command.takes.is_empty() && !command.takes.starts_with('[')) {
        prompt.editor.take();
        prompt.editor.insert(&format!("{line} "));
        prompt.at = 0;
        return Vec::new();
    }
    state.layers.pop();
    command::run(state, &line).unwrap_or_else(|message| {
        let mut prompt = Prompt::new(PromptKind::Palette);
        prompt.editor.take();
        prompt.editor.insert(&line);
        prompt.error = Some(message);
        state.layers.push(Layer::Prompt(prompt));
        Vec::new()
    })
}

/// What can be done with one message.
enum Item {
    /// What a key does.
    Do(Action),
    /// Have the system open a link.
    Open(String),
    /// Copy a link.
    Copy(String),
}

/// What can be done with a message, in words.
fn menu(state: &State, id: &MessageId) -> Vec<(String, Item)> {
    let log = state.room().and_then(|room| room.conversation()).map(|conversation| &conversation.log);
    let entry = log.and_then(|log| log.entry(log.number_of(id)?));
    let Some(Entry::Message(message)) = entry else { return Vec::new() };
    let mut items = Vec::new();
    for link in markup::links(message.text.as_str(), &message.spans) {
        items.push((format!("open {link}"), Item::Open(link.to_owned())));
        items.push((format!("copy {link}"), Item::Copy(link.to_owned())));
    }
    let done = [
        ("reply, with a quote", Action::Reply),
        ("copy the text", Action::Copy),
        ("who has it, and since when", Action::Info),
        ("all its lines, or fold it", Action::Unfold),
    ];
    items.extend(done.map(|(words, action)| (words.to_owned(), Item::Do(action))));
    items
}

/// Does what was chosen from a message's menu.
fn choose(state: &mut State, id: &MessageId, chosen: Option<&str>) -> Vec<Effect> {
    let item = menu(state, id).into_iter().find(|(words, _)| Some(words.as_str()) == chosen);
    let Some((_, item)) = item else {
        if let Some(prompt) = state.prompt_mut() {
            prompt.error = Some("nothing here is called so".to_owned());
        }
        return Vec::new();
    };
    state.layers.pop();
    if let Some(conversation) = state.room_mut().and_then(|room| room.conversation_mut())
        && let Some(entry) = conversation.log.number_of(id)
    {
        conversation.log.point(entry);
    }
    match item {
        Item::Do(action) => super::act_without_key(state, action),
        Item::Open(link) => vec![Effect::OpenLink(link)],
        Item::Copy(link) => {
            toast(state, ToastKind::Info, "copied");
            vec![Effect::Copy(link)]
        }
    }
}

/// What was sent before in this conversation and has what is typed in it, the newest first.
fn sent_before(state: &State, typed: &str) -> Vec<String> {
    let typed = typed.to_lowercase();
    let own =
        state.room().and_then(|room| room.conversation()).map(|conversation| conversation.log.own_texts());
    let found = own.into_iter().flatten().filter(|text| text.to_lowercase().contains(&typed));
    found.take(limits::RECALLED).map(str::to_owned).collect()
}

/// Conversations that match what is typed, unread ones first, with their places.
fn go_to(state: &State) -> Vec<(String, usize)> {
    let (Some(room), Some(Layer::Prompt(prompt))) = (state.room(), state.layers.last()) else {
        return Vec::new();
    };
    let name = |with: Recipient| match with {
        Recipient::Everyone => "Everyone".to_owned(),
        Recipient::Peer(peer) => room.name(&peer),
    };
    let mut found: Vec<(bool, String, usize)> = room
        .conversations
        .iter()
        .enumerate()
        .map(|(at, conversation)| (conversation.unread == 0, name(conversation.with), at))
        .filter(|(_, name, _)| palette::fuzzy(name, prompt.editor.text()))
        .collect();
    found.sort_by_key(|(read, _, at)| (*read, *at));
    found.into_iter().map(|(_, name, at)| (name, at)).collect()
}

fn complete(state: &mut State) {
    let suggestions = suggestions(state);
    let Some(prompt) = state.prompt_mut() else { return };
    match prompt.kind {
        PromptKind::Palette => {
            let Some(chosen) = suggestions.get(prompt.at) else { return };
            let whole = match palette::begun(prompt.editor.text()) {
                Some((command, _)) => format!("/{} {chosen} ", command.name),
                None => format!("/{chosen} "),
            };
            prompt.editor.take();
            prompt.editor.insert(&whole);
            prompt.at = 0;
        }
        PromptKind::GoTo | PromptKind::Theme => {
            if let Some(name) = suggestions.get(prompt.at) {
                prompt.editor.take();
                prompt.editor.insert(name);
                prompt.at = 0;
            }
        }
        PromptKind::Search
        | PromptKind::Recall
        | PromptKind::Menu(_)
        | PromptKind::Password
        | PromptKind::Handover(_) => {}
    }
}

fn submit(state: &mut State) -> Vec<Effect> {
    let suggestions = suggestions(state);
    let places = go_to(state);
    let Some(prompt) = state.prompt_mut() else { return Vec::new() };
    let text = prompt.editor.text().to_owned();
    let chosen = suggestions.get(prompt.at).map(String::as_str);
    match prompt.kind {
        PromptKind::Palette => submit_command(state, &text),
        PromptKind::GoTo => {
            let place = places.get(prompt.at).map(|(_, at)| *at);
            go_to_place(state, place)
        }
        PromptKind::Theme => choose_theme(state, chosen),
        PromptKind::Recall => recall(state, chosen),
        PromptKind::Menu(id) => choose(state, &id, chosen),
        PromptKind::Search => {
            let at = prompt.at;
            super::history::go_to_hit(state, at)
        }
        PromptKind::Handover(peer) => hand_over(state, peer, text.trim()),
        PromptKind::Password => set_password(state, Password::new(text)),
    }
}

/// What is typed or chosen is not taken: the line stays, and says why.
fn refuse(state: &mut State, why: &str) -> Vec<Effect> {
    if let Some(prompt) = state.prompt_mut() {
        prompt.error = Some(why.to_owned());
    }
    Vec::new()
}

fn go_to_place(state: &mut State, place: Option<usize>) -> Vec<Effect> {
    let Some(at) = place else { return refuse(state, "nobody matches") };
    state.layers.pop();
    if let Some(room) = state.room_mut() {
        room.show(at);
        room.shown.focus = Focus::Compose;
    }
    Vec::new()
}

fn choose_theme(state: &mut State, chosen: Option<&str>) -> Vec<Effect> {
    let Some(name) = chosen else { return refuse(state, "there is no such theme") };
    state.layers.pop();
    state.themes.show(name);
    let words = format!("to keep it, write theme = {name:?} into the configuration");
    toast(state, ToastKind::Info, &words);
    Vec::new()
}

fn recall(state: &mut State, chosen: Option<&str>) -> Vec<Effect> {
    let Some(text) = chosen else { return refuse(state, "nothing like it was sent here") };
    state.layers.pop();
    if let Some(room) = state.room_mut() {
        room.put_back(text);
    }
    Vec::new()
}

/// Hands the network over once the name of the next host was typed in full.
fn hand_over(state: &mut State, peer: PeerId, typed: &str) -> Vec<Effect> {
    let name = state.room().map(|room| room.name(&peer)).unwrap_or_default();
    if typed != name {
        return refuse(state, &format!("type {name} to hand the network over, Esc to keep it"));
    }
    state.layers.pop();
    toast(state, ToastKind::Info, &format!("asking {name} to take over"));
    vec![Effect::Node(NodeCommand::Handover { peer: peer.into() })]
}

/// Sets the network's next password; before one that is easy to guess is taken, asks.
fn set_password(state: &mut State, password: Password) -> Vec<Effect> {
    if password.is_empty() || password.as_bytes().len() > limits::PASSWORD_BYTES {
        return refuse(state, &format!("choose one of at most {} bytes", limits::PASSWORD_BYTES));
    }
    state.layers.pop();
    if Strength::of(password.reveal(), &[]) == Strength::Weak {
        let lines = vec!["Whoever guesses it is in. Four words by chance are hard to guess.".to_owned()];
        let title = "Take a password that is easy to guess?".to_owned();
        let dialog = Dialog::new(title, lines, "Take it", Pending::NewPassword(password));
        state.layers.push(Layer::Dialog(dialog));
        return Vec::new();
    }
    toast(state, ToastKind::Info, "setting the password");
    vec![Effect::Node(NodeCommand::SetPassword(password))]
}
