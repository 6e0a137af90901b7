//! Events that wait for the front end. It takes them when it likes, and the node never waits for it.
//!
//! A front end that does not read gets the newest state of what changes, and how many messages it has to look up in the
//! history. Its events stay in order.

use std::{
    collections::{BTreeSet, VecDeque},
    task::Waker,
};

use crate::{
    api::NodeEvent,
    model::{PeerId, limits},
};

/// Events that the front end has not taken.
#[derive(Debug, Default)]
pub(super) struct Unread {
    events: VecDeque<NodeEvent>,
    bytes: usize,
    /// Messages, and deliveries, that were left out.
    skipped: (u64, u64),
    /// No more will come.
    pub(super) is_over: bool,
    /// Nobody will take any.
    pub(super) is_abandoned: bool,
    /// Who waits for the next.
    pub(super) waker: Option<Waker>,
}

/// What an event is the newest state of.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Roster,
    Heartbeat(PeerId),
    NoWays,
    Ways,
    Route(PeerId),
    Admission,
    Invites,
    Applicants,
    CutOff(PeerId),
    Link,
    History,
}

fn state(event: &NodeEvent) -> Option<State> {
    Some(match event {
        NodeEvent::Roster { .. } => State::Roster,
        NodeEvent::Heartbeat { peer, .. } => State::Heartbeat(peer.peer_id),
        NodeEvent::NoWays { .. } => State::NoWays,
        NodeEvent::Ways { .. } => State::Ways,
        NodeEvent::Route { peer, .. } => State::Route(peer.peer_id),
        NodeEvent::Admission { .. } => State::Admission,
        NodeEvent::Invites { .. } => State::Invites,
        NodeEvent::Applicants { .. } => State::Applicants,
        NodeEvent::CutOff { peer_id, .. } => State::CutOff(*peer_id),
        NodeEvent::Link { .. } => State::Link,
        NodeEvent::History { .. } => State::History,
        _ => return None,
    })
}

fn size(event: &NodeEvent) -> usize {
    limits::EVENT_BYTES
        + match event {
            NodeEvent::Batch(said) => {
                let batch = &said.batch.batch;
                batch.bytes() + limits::MESSAGE_BESIDE * batch.texts.len()
            }
            NodeEvent::Progress(progress) => {
                limits::MESSAGE_BESIDE * (progress.summaries.len() + progress.references.len())
            }
            NodeEvent::Roster { peers, .. } => peers.len() * size_of::<usize>(),
            NodeEvent::Invites { invites } => invites.len() * limits::INVITE_BYTES,
            NodeEvent::Applicants { applicants } => applicants.len() * limits::EVENT_BYTES,
            NodeEvent::Notes(notes) => notes.rules.as_str().len(),
            NodeEvent::Error { message, .. } => message.as_str().len(),
            _ => 0,
        }
}

impl Unread {
    /// Takes an event.
    pub(super) fn push(&mut self, event: NodeEvent) {
        self.bytes += size(&event);
        self.events.push_back(event);
        if self.bytes > limits::UNREAD_BYTES {
            self.thin_out();
        }
    }

    /// The next event.
    pub(super) fn pop(&mut self) -> Option<NodeEvent> {
        if let (messages, deliveries @ 1..) | (messages @ 1.., deliveries) = std::mem::take(&mut self.skipped)
        {
            return Some(NodeEvent::Skipped { messages, deliveries });
        }
        let event = self.events.pop_front()?;
        self.bytes -= size(&event);
        Some(event)
    }

    /// Leaves out what is not the newest state, messages and deliveries, and then the oldest of the rest.
    fn thin_out(&mut self) {
        let mut newest = BTreeSet::new();
        let mut kept = VecDeque::new();
        let mut bytes = 0;
        for event in std::mem::take(&mut self.events).into_iter().rev() {
            match &event {
                NodeEvent::Batch(said) => self.skipped.0 += said.last - said.first + 1,
                NodeEvent::Progress(progress) => self.skipped.1 += progress.last - progress.first + 1,
                _ if bytes > limits::UNREAD_BYTES / 2 => {}
                _ if state(&event).is_some_and(|state| !newest.insert(state)) => {}
                _ => {
                    bytes += size(&event);
                    kept.push_front(event);
                }
            }
        }
        (self.events, self.bytes) = (kept, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        api::Said,
        model::{
            Alias, Batch, CloseReason, ErrorKind, Liveness, Peer, Recipient, Role, SafeText, StoredBatch,
            StreamId, Timestamp, Wire,
        },
    };

    fn peer(number: u8) -> Arc<Peer> {
        let (peer_id, alias) = (PeerId([number; 32]), Alias::new(&format!("peer-{number}")).unwrap());
        let addr = ([127, 0, 0, 1], 1).into();
        Arc::new(Peer { peer_id, alias, addr, role: Role::Member, wire: Wire::Native, status: None })
    }

    fn message(size: usize) -> NodeEvent {
        let from = peer(1);
        let stream = StreamId { author: from.peer_id, epoch: 1, to: Recipient::Everyone };
        let texts = vec![SafeText::clean(&"x".repeat(size)); 2];
        let batch = Batch { stream, first: 1, sent_at: Timestamp(0), texts, signature: None };
        let (alias, references) = (from.alias.clone(), Vec::new());
        let batch =
            Arc::new(StoredBatch { batch, alias, at: Timestamp(0), place: 0, references, claims: None });
        NodeEvent::Batch(Box::new(Said {
            from,
            batch,
            first: 1,
            last: 2,
            own: false,
            late: false,
            missed: 0,
        }))
    }

    fn beat(number: u8, missed: u32) -> NodeEvent {
        NodeEvent::Heartbeat { peer: peer(number), state: Liveness::Alive, rtt: None, missed }
    }

    #[test]
    fn whoever_reads_gets_everything_in_order() {
        let mut unread = Unread::default();
        let events = [message(10), beat(1, 1), beat(1, 2), message(20)];
        events.iter().cloned().for_each(|event| unread.push(event));
        assert_eq!(std::iter::from_fn(|| unread.pop()).collect::<Vec<_>>(), events);
    }

    #[test]
    fn whoever_does_not_read_gets_the_newest_state_and_how_much_it_has_missed() {
        let mut unread = Unread::default();
        let left = NodeEvent::PeerDown { peer: peer(3), reason: CloseReason::Left };
        unread.push(left.clone());
        let mut said = 0;
        while unread.skipped == (0, 0) {
            unread.push(beat(1, said));
            unread.push(beat(2, said));
            unread.push(message(16 * 1024));
            said += 1;
        }
        let events: Vec<_> = std::iter::from_fn(|| unread.pop()).collect();
        let messages = u64::from(said) * 2;
        let skipped = NodeEvent::Skipped { messages, deliveries: 0 };
        assert_eq!(events, [skipped, left, beat(1, said - 1), beat(2, said - 1)]);
    }

    #[test]
    fn what_is_no_state_is_bounded_too() {
        let mut unread = Unread::default();
        for number in 0..100_000 {
            unread.push(NodeEvent::error(ErrorKind::Recv, &format!("{number} {}", "x".repeat(1000))));
        }
        assert!(unread.bytes <= limits::UNREAD_BYTES);
        let last = std::iter::from_fn(|| unread.pop()).last().unwrap();
        assert!(matches!(last, NodeEvent::Error { message, .. } if message.as_str().starts_with("99999 ")));
    }
}
