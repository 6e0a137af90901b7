//! Comparing words with somebody: the question, and what follows from it.

use super::State;
use crate::{
    app::layer::{Dialog, Layer, Pending},
    model::PeerId,
};

/// Shows the words of a peer, if there are any. The question has them once, however often they come.
pub(super) fn show(state: &mut State, peer: PeerId) -> bool {
    let Some((other, words)) = state.room().and_then(|room| room.compare.clone()) else { return false };
    if other.peer_id != peer {
        return false;
    }
    let is_shown = |layer: &Layer| matches!(layer, Layer::Dialog(dialog) if matches!(&dialog.pending, Pending::Compared(asked, _) if *asked == peer));
    if state.layers.iter().any(is_shown) {
        return true;
    }
    let lines = vec![
        words.join("  "),
        String::new(),
        format!("Ask {} by voice or face to face which words are on that screen.", other.alias),
        "The same ones: this key is theirs. Different ones: somebody is between you. Press Esc.".to_owned(),
    ];
    let title = format!("Compare with {} ({})", other.alias, other.peer_id.short());
    state.layers.push(Layer::Dialog(Dialog::new(
        title,
        lines,
        "They are the same",
        Pending::Compared(peer, words),
    )));
    true
}

/// Words that were asked for here are shown as soon as they are here; once it is decided, nothing is asked any more.
pub(super) fn follow(state: &mut State, peer: PeerId, is_done: bool) {
    if is_done {
        let is_shown = |layer: &Layer| matches!(layer, Layer::Dialog(dialog) if matches!(&dialog.pending, Pending::Compared(asked, _) if *asked == peer));
        state.layers.retain(|layer| !is_shown(layer));
        state.verified = state.room().map(|room| room.verified.clone()).unwrap_or_default();
    } else {
        show(state, peer);
    }
}
