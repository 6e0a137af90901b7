//! The door, as the room sees it: who waits there, and what whoever came in is told.

use super::{Grade, Heard, Room};
use crate::{
    api::NodeEvent,
    model::{Applicant, Notes, Peer, Role, SafeText, Timestamp, limits},
};

impl Room {
    /// Who wants to come in, who may, and who is who.
    pub(super) fn who_is_who(&mut self, now: Timestamp, event: NodeEvent) -> Option<Heard> {
        match event {
            NodeEvent::Verify { peer, words, own } => self.words_came(now, &peer, words, own),
            NodeEvent::Verified { peer } => self.verified(now, &peer),
            NodeEvent::NotVerified { peer, message } => {
                self.compare.take_if(|(other, _)| other.peer_id == peer.peer_id);
                self.announce(now, Grade::Warning, &format!("{} is not verified: {message}", peer.alias));
            }
            NodeEvent::Applicants { applicants } => return self.applied(now, applicants),
            NodeEvent::Deputy { peer } => self.deputy_is(now, peer.as_deref()),
            NodeEvent::PortMapping { addr, message, .. } => {
                let grade = if addr.is_some() { Grade::Info } else { Grade::Warning };
                self.announce(now, grade, message.as_str());
            }
            NodeEvent::Notes(notes) => self.told(now, &notes),
            NodeEvent::Invites { invites } => self.door.invites = invites,
            _ => {}
        }
        None
    }

    /// Who may open the network again when the host is gone.
    fn deputy_is(&mut self, now: Timestamp, peer: Option<&Peer>) {
        let was = std::mem::replace(&mut self.deputy, peer.map(|peer| peer.peer_id));
        let whose = if self.role == Role::Host { "your" } else { "the host's" };
        match peer {
            Some(peer) if was == Some(peer.peer_id) => {}
            Some(peer) => {
                let who = if peer.peer_id == self.me { "you are" } else { &format!("{} is", peer.alias) };
                let gone = if self.role == Role::Host { "you are gone" } else { "the host is gone" };
                let text =
                    format!("{who} {whose} deputy, and may open the network again when {gone} for too long");
                self.announce(now, Grade::Info, &text);
            }
            None if was.is_some() => {
                self.announce(now, Grade::Info, &format!("nobody is {whose} deputy any more"));
            }
            None => {}
        }
    }

    /// Somebody new waits at the door: the person here is called.
    fn applied(&mut self, now: Timestamp, applicants: Vec<Applicant>) -> Option<Heard> {
        let is_new = |applicant: &&Applicant| {
            self.door.applicants.iter().all(|other| other.peer_id != applicant.peer_id)
        };
        let new = applicants.iter().rev().find(is_new).cloned();
        self.door.applicants = applicants;
        let applicant = new?;
        self.warn_of_other_key(now, applicant.peer_id, &applicant.alias);
        // However many come: the line on top counts them.
        if self.door.called.is_some_and(|at| now.since(at) < limits::APPLICANTS_CALL_EVERY) {
            return None;
        }
        self.door.called = Some(now);
        let text = format!("{} ({}) waits at the door", applicant.alias, applicant.peer_id.short());
        self.announce(now, Grade::Warning, &text);
        Some(Heard {
            from: applicant.alias.to_string(),
            text: SafeText::line("waits at the door"),
            is_call: true,
        })
    }

    /// What the host tells everybody who comes in.
    fn told(&mut self, now: Timestamp, notes: &Notes) {
        for (what, text) in [("topic", &notes.topic), ("rules", &notes.rules)] {
            for line in text.as_str().lines().take(limits::RULES_LINES) {
                self.announce(now, Grade::Info, &format!("{what}: {line}"));
            }
        }
    }
}
