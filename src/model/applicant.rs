//! The door: who waits there, and what is told to whoever comes in.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Alias, PeerId, SafeText, Timestamp, limits};

/// Somebody who has proven the password, or shown an invite, and waits until the host says yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applicant {
    /// Whose key.
    pub peer_id: PeerId,
    /// What it wants to be called.
    pub alias: Alias,
    /// From where.
    pub addr: IpAddr,
    /// Until when it waits; then it is a no.
    pub until: Timestamp,
    /// It has shown an invite.
    pub invited: bool,
}

/// What a host tells everybody who comes in: nothing where it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// What the network is for: one line of at most [`limits::TOPIC_CHARACTERS`] characters.
    pub topic: SafeText,
    /// What is asked of its members: at most [`limits::RULES_BYTES`] bytes.
    pub rules: SafeText,
}

impl Notes {
    /// These texts, cleaned and cut.
    #[must_use]
    pub fn new(topic: &str, rules: &str) -> Self {
        let short: String =
            SafeText::line(topic.trim()).as_str().chars().take(limits::TOPIC_CHARACTERS).collect();
        let mut rules = SafeText::clean(rules.trim()).as_str().to_owned();
        while rules.len() > limits::RULES_BYTES {
            rules.pop();
        }
        // What a cut has left of a letter that shows nothing alone is cleaned again.
        Self { topic: SafeText::line(short.trim()), rules: SafeText::clean(rules.trim_end()) }
    }

    /// Nothing is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topic.as_str().is_empty() && self.rules.as_str().is_empty()
    }
}
