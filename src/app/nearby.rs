//! Networks around, as they are shown: whether they are known, and how far they are.

use serde::Serialize;

use crate::model::{Answer, KnownHost, NearbyNetwork};

/// What is known here of a network that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Acquaintance {
    /// Its host is known by its key.
    Known,
    /// A network of this name is known, and its host has another key.
    OtherKey,
    /// Nothing.
    New,
}

impl Acquaintance {
    /// What is said of it beside the network.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Known => "  you know it",
            Self::OtherKey => "  NOT the one of this name that you know: another key",
            Self::New => "",
        }
    }
}

/// What is known here of a network that was heard.
#[must_use]
pub fn acquaintance(network: &NearbyNetwork, recents: &[KnownHost]) -> Acquaintance {
    if recents.iter().any(|known| known.peer_id == network.peer_id) {
        return Acquaintance::Known;
    }
    let name = network.name.as_str().to_lowercase();
    if recents.iter().any(|known| known.network.to_lowercase() == name) {
        return Acquaintance::OtherKey;
    }
    Acquaintance::New
}

/// How far a network around is, in words.
#[must_use]
pub fn distance(answer: Answer) -> String {
    match answer {
        Answer::Awaited => String::new(),
        Answer::After(rtt) => format!("{:.1} ms", rtt.as_secs_f64() * 1000.0),
        Answer::Nothing => "does not answer".to_owned(),
    }
}
