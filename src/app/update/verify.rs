//! Comparing words with somebody: the question, and what follows from it.

use super::{Effect, State};
use crate::{
    api::NodeCommand,
    app::layer::{Dialog, Item, Layer, Pending},
    model::PeerId,
};

/// Shows the words of a peer, if there are any, in one question, however often they come.
pub(super) fn show(state: &mut State, peer: PeerId) -> bool {
    let Some((other, words)) = state.room().and_then(|room| room.compare.clone()) else { return false };
    if other.peer_id != peer {
        return false;
    }
    // Words that are not the ones of now are shown no longer.
    state.layers.retain(|layer| !is_about(layer, peer));
    let lines = vec![
        words.join("  "),
        String::new(),
        format!("Ask {} by voice or face to face which words are on that screen.", other.alias),
        "The same ones: this key is theirs. Different ones: somebody is between you.".to_owned(),
    ];
    let title = format!("Compare with {} ({})", other.alias, other.peer_id.short());
    let mut dialog = Dialog::new(title, lines, "They are the same", Pending::Compared(peer, words));
    dialog.items.insert(1, Item::Differ);
    state.layers.push(Layer::Dialog(dialog));
    true
}

/// Words that were asked for here are shown as soon as they are here; once it is decided, nothing is asked any more.
pub(super) fn follow(state: &mut State, peer: PeerId, is_done: bool) {
    if is_done {
        state.layers.retain(|layer| !is_about(layer, peer));
        state.verified = state.room().map(|room| room.verified.clone()).unwrap_or_default();
    } else {
        show(state, peer);
    }
}

fn is_about(layer: &Layer, peer: PeerId) -> bool {
    let Layer::Dialog(dialog) = layer else { return false };
    matches!(&dialog.pending, Pending::Compared(asked, _) if *asked == peer)
}

/// The person here says that the words are not the same.
pub(super) fn differ(state: &mut State) -> Vec<Effect> {
    match state.layers.pop() {
        Some(Layer::Dialog(Dialog { pending: Pending::Compared(peer, _), .. })) => {
            vec![Effect::Node(NodeCommand::Compared { peer: peer.into(), words: None })]
        }
        _ => Vec::new(),
    }
}
