//! Who reads what is being written.

use super::room::Room;
use crate::model::{PeerId, Recipient, Wire, limits};

/// Columns from which the audience stands before the text; in less it stands above it.
const BESIDE: u16 = 60;

/// What stands before and above what is being written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// Before it.
    pub before: String,
    /// Above it; empty where it stands before.
    pub above: String,
    /// One person only reads it.
    pub is_direct: bool,
}

/// The prompt at a width in columns.
#[must_use]
pub fn prompt(room: &Room, width: u16) -> Prompt {
    let Some(conversation) = room.conversation() else { return Prompt::default() };
    let bytes = conversation.draft.text().len();
    let words = match conversation.with {
        Recipient::Everyone => everyone(room, bytes, width),
        Recipient::Peer(peer) => one(room, &peer, bytes),
    };
    let is_direct = conversation.with != Recipient::Everyone;
    let fits = crate::width::width(&words) + 4 <= usize::from(width) / 2;
    if width >= BESIDE && fits {
        Prompt { before: format!("{words} › "), above: String::new(), is_direct }
    } else {
        Prompt { before: "› ".to_owned(), above: words, is_direct }
    }
}

/// Who reads what is said to everyone, how many of them in clear, and whether they can.
fn everyone(room: &Room, bytes: usize, width: u16) -> String {
    let (others, classic) = (room.others(), room.classic());
    let (read, get) = if classic == 1 { ("reads", "gets") } else { ("read", "get") };
    match (classic, room.cleartext.on) {
        (0, _) => format!("to everyone ({others})"),
        (_, Some(false)) => format!("to everyone, {classic} of {others} {get} nothing"),
        _ if bytes > limits::CLASSIC_TEXT => {
            format!("to everyone, maybe too long for {classic} of {others}")
        }
        _ if width < 50 => format!("to everyone, {classic} of {others} in clear"),
        _ => format!("to everyone ({others}), {classic} of {others} {read} this in clear"),
    }
}

/// Whether one person only can read it, and how it gets there.
fn one(room: &Room, peer: &PeerId, bytes: usize) -> String {
    let view = room.peers.get(peer);
    let says;
    let where_it_is = match view.and_then(|view| view.gone) {
        Some(reason) if reason.is_removal() => ", who was removed",
        _ if peer.wire() == Wire::Classic && !view.is_some_and(|view| view.present) => {
            ", who is gone: nothing can wait for it"
        }
        _ if peer.wire() == Wire::Classic && room.cleartext.on == Some(false) => {
            ", who gets nothing in clear"
        }
        _ if peer.wire() == Wire::Classic => {
            if bytes > limits::CLASSIC_TEXT {
                ", in clear, maybe too long"
            } else {
                ", in clear"
            }
        }
        _ if view.is_some_and(|view| view.present) => {
            says = view
                .and_then(|view| view.peer.status.as_ref())
                .map(|status| format!(", who says: {}", status.as_str()));
            says.as_deref().unwrap_or_default()
        }
        _ => ", who is away: it waits",
    };
    let via = view.filter(|view| view.present).and_then(|view| view.via);
    let through = via.map(|via| format!(", through {}", room.name(&via))).unwrap_or_default();
    let key = view.filter(|view| view.is_close).map(|_| format!(" ({})", peer.short()));
    format!("to {}{} only{where_it_is}{through}", room.name(peer), key.unwrap_or_default())
}
