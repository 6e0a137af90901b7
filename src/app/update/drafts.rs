//! What is written and not sent is kept a moment after it was written, and comes back with the history.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::State;
use crate::{
    api::StoreCommand,
    app::{
        composer::Composer,
        room::{Room, Stash},
    },
    model::{Recipient, SafeText, limits},
};

/// Something that is another one once the draft that is shown is another one.
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
    let room = state.room()?;
    let (network, drafts) = (room.network_id, written(room));
    (state.unsaved, state.has_kept_drafts) = (None, !drafts.is_empty());
    Some(StoreCommand::KeepDrafts { network, drafts })
}

/// What was kept is sent: it must not come back after a crash.
pub(super) fn is_sent(state: &State) -> bool {
    let draft = state.room().and_then(Room::conversation).map(|conversation| &conversation.draft);
    state.has_kept_drafts && draft.is_some_and(Composer::is_empty)
}

/// What is written and not sent. What was put aside belongs to whom it was for.
fn written(room: &Room) -> Vec<(Recipient, String)> {
    let with_draft = room.conversations.iter().filter(|conversation| !conversation.draft.is_empty());
    let mut drafts: Vec<(Recipient, String)> =
        with_draft.map(|conversation| (conversation.with, conversation.draft.text().to_owned())).collect();
    if let Some(Stash { text, with }) = &room.stash
        && !drafts.iter().any(|(other, _)| other == with)
    {
        drafts.push((*with, text.clone()));
    }
    drafts.retain(|(_, text)| text.len() <= limits::TEXT_BYTES);
    drafts.truncate(limits::DRAFTS);
    drafts
}

/// Puts drafts back where they were written, unless something else is written there already.
pub(super) fn put_back(room: &mut Room, drafts: Vec<(Recipient, String)>) {
    for (with, text) in drafts {
        let at = room.conversation_with(with);
        if let Some(conversation) = room.conversations.get_mut(at)
            && conversation.draft.is_empty()
        {
            conversation.draft = Composer::with(SafeText::clean(&text).as_str());
        }
    }
}
