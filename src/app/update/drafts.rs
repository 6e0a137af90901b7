//! What is written and not sent is kept a moment after it was written, and comes back with the history.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::State;
use crate::{
    api::StoreCommand,
    app::{
        composer::Composer,
        room::{Conversation, Room, Stash},
    },
    model::{Recipient, SafeText, limits},
};

/// A value that changes when the draft that is shown changes.
pub(super) fn stamp(state: &State) -> Option<u64> {
    let room = state.room()?;
    let conversation = room.conversation()?;
    let mut hasher = DefaultHasher::new();
    (room.current, conversation.draft.text(), room.stash.is_some()).hash(&mut hasher);
    Some(hasher.finish())
}

/// Drafts that are to be kept now: some time after the first that was not kept was written, or at once when `is_last`.
pub(super) fn keep(state: &mut State, is_last: bool) -> Option<StoreCommand> {
    let since = state.unsaved?;
    if !is_last && state.now.since(since) < limits::DRAFT_PAUSE {
        return None;
    }
    let room = state.room_mut()?;
    let written = written(room);
    // What is the same stays, and what is gone goes.
    let mut drafts: Vec<(Recipient, String)> =
        written.iter().filter(|draft| !room.kept.contains(draft)).cloned().collect();
    let is_written = |with: &Recipient| written.iter().any(|(other, _)| other == with);
    let gone = room.kept.iter().filter(|(with, _)| !is_written(with));
    drafts.extend(gone.map(|(with, _)| (*with, String::new())));
    let network = room.network_id;
    room.kept = written;
    state.unsaved = None;
    (!drafts.is_empty()).then_some(StoreCommand::KeepDrafts { network, drafts })
}

/// What was kept is sent: it must not come back after a crash.
pub(super) fn is_sent(state: &State) -> bool {
    let room = state.room();
    let empty = room.and_then(Room::conversation).filter(|conversation| conversation.draft.is_empty());
    let is_kept = |conversation: &Conversation| {
        room.is_some_and(|room| room.kept.iter().any(|(with, _)| *with == conversation.with))
    };
    empty.is_some_and(is_kept)
}

/// What is written and not sent, each for whom it was begun. What was put aside stands above it.
fn written(room: &Room) -> Vec<(Recipient, String)> {
    let mut drafts: Vec<(Recipient, String)> = Vec::new();
    let aside = room.stash.iter().cloned();
    for Stash { text, with } in aside.chain(room.conversations.iter().flat_map(Conversation::unsent)) {
        match drafts.iter_mut().find(|(other, _)| *other == with) {
            _ if text.is_empty() => {}
            Some((_, before)) => *before = format!("{before}\n{text}"),
            None => drafts.push((with, text)),
        }
    }
    drafts.retain(|(_, text)| text.len() <= limits::DRAFT_BYTES);
    drafts.truncate(limits::DRAFTS);
    drafts
}

/// Puts drafts back where they were written. Where something else is written there already, they are put aside.
pub(super) fn put_back(room: &mut Room, drafts: Vec<(Recipient, String)>) {
    room.kept.clone_from(&drafts);
    for (with, text) in drafts {
        let text = SafeText::clean(&text).to_string();
        let at = room.conversation_with(with);
        match room.conversations.get_mut(at) {
            Some(conversation) if conversation.draft.is_empty() => {
                conversation.draft = Composer::with(&text);
            }
            _ => room.put_aside(Stash { text, with }),
        }
    }
}
