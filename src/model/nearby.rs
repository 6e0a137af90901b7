//! Networks around this machine, as their hosts announce them. Nothing of it is proven before one joins.

use std::{net::SocketAddr, time::Duration};

use super::{invite::Invite, limits, peer::PeerId, text::SafeText};

/// A network that was heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearbyNetwork {
    /// The key that its host is said to have.
    pub peer_id: PeerId,
    /// What it is said to be called: one clean line of at most [`limits::NETWORK_NAME_CHARACTERS`] characters.
    pub name: SafeText,
    /// Where joiners are to connect to, in the order of their numbers: 1 to [`limits::INVITE_ADDRS`].
    pub addrs: Vec<SocketAddr>,
    /// The version of the native wire that it is said to speak.
    pub version: u32,
    /// Whether it can be reached.
    pub answer: Answer,
}

/// What came of trying to reach a network around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nobody has tried yet.
    Awaited,
    /// A connection took so long: a round trip.
    After(Duration),
    /// None.
    Nothing,
}

impl NearbyNetwork {
    /// What is joined when somebody chooses it: the host there, if it has this key.
    #[must_use]
    pub fn invite(&self) -> Invite {
        Invite { addrs: self.addrs.clone(), key: self.peer_id, pass: None }
    }

    /// Its name, cleaned and cut.
    #[must_use]
    pub fn clean_name(name: &str) -> SafeText {
        let short: String =
            SafeText::line(name.trim()).as_str().chars().take(limits::NETWORK_NAME_CHARACTERS).collect();
        // What the cut has left of a letter that shows nothing alone is cleaned again.
        SafeText::line(short.trim())
    }
}

/// Something was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// A network, or something new of it.
    Here(NearbyNetwork),
    /// Its host is not heard any more.
    Gone(PeerId),
}
