//! What a role, host or member, asks of the rest of the node.

use super::{ConnId, Output, roster::Changes};
use crate::model::{Held, PeerId, Recalled, Timestamp};

/// What a role asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Output(Output),
    /// Host: the roster is to be distributed. How far the words of those who went count, the messaging knows.
    Distribute,
    /// The roster is another.
    RosterChanged(Changes),
    /// The policy of the network is known, or is another.
    PolicyChanged,
    /// What the history knows of the network.
    Recall(Box<Recalled>),
    /// What was missed is to be asked for; a host of which nothing is here yet has missed nothing.
    CatchUp,
    /// Messages may have been missed since then.
    AwaySince(Timestamp),
    /// Member: the host that it came back to may be a restarted one, which counts its rosters anew.
    HostIsBack,
    /// A peer has these messages.
    WantOf(PeerId, Vec<Held>),
    /// A peer's listener is to be tried.
    Reach(PeerId),
    /// Who reaches whom is known anew.
    PathsChanged,
    /// A stranger has said what it has to say first: it is silent no longer.
    Spoke(ConnId),
}

impl From<Output> for Ask {
    fn from(output: Output) -> Self {
        Self::Output(output)
    }
}
