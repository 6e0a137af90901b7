//! Talking to every other member directly (seed, "Communication"): routes between the links, the messages that go over them,
//! and those of classic peers, which have no links.

use std::time::Instant;

use rand_chacha::ChaCha20Rng;

use super::{
    ConnId, Connected, MemoryLimits, Output,
    classic::{self, ClassicMessaging},
    group::Group,
    links::{self, Demand, Links},
    messaging::{self, Messaging},
    roster::Changes,
    verifying::{self, Verifying},
};
use crate::{
    model::{Closed, Held, Moment, PeerId, Wire},
    wire::{Frame, Tried},
};

/// What the mesh asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Output(Output),
    /// This node has tried to reach a peer.
    Tried(Tried),
    /// Host: messages that are addressed by an earlier roster, and the version of that roster.
    Late(Vec<(u64, Held)>),
}

/// Links and messages.
#[derive(Debug)]
pub(super) struct Mesh {
    pub(super) links: Links,
    pub(super) messaging: Messaging,
    pub(super) classic: ClassicMessaging,
    pub(super) verifying: Verifying,
    asked: Vec<Ask>,
}

/// Who wants links: messages, and words to compare.
struct Demands<'a>(&'a Messaging, &'a Verifying);

impl Demand for Demands<'_> {
    fn wants_link(&self, peer: &PeerId) -> bool {
        self.0.wants_link(peer) || self.1.wants_link(peer)
    }

    fn awaits_answer(&self, peer: &PeerId) -> bool {
        self.0.awaits_answer(peer)
    }
}

impl Mesh {
    pub(super) fn new(limits: MemoryLimits, now: Moment, rng: &mut ChaCha20Rng) -> Self {
        Self {
            links: Links::new(now, rng),
            messaging: Messaging::new(limits, now, rng),
            classic: ClassicMessaging::new(now, rng),
            verifying: Verifying::new(now, rng),
            asked: Vec::new(),
        }
    }

    /// A turn begins.
    pub(super) fn begin_turn(&mut self, now: Moment) {
        self.links.turn.now = now;
        self.messaging.turn.now = now;
        self.classic.turn.now = now;
        self.verifying.turn.now = now;
    }

    /// Does what the parts ask of each other, until none asks for anything. Gives what they ask of the node, in order.
    pub(super) fn take(&mut self, group: &mut Group) -> Vec<Ask> {
        self.settle(group);
        std::mem::take(&mut self.asked)
    }

    /// For tests that let no time pass: the wait before a peer is dialled again is over.
    #[cfg(test)]
    pub(super) fn dial_now(&mut self, group: &mut Group, peer: PeerId) {
        self.settle(group);
        if self.links.waits_to_dial(&peer) {
            self.links.turn.timers.cancel(links::Timer::Dial(peer));
            self.messaging.pump(group, peer);
        }
    }

    /// For tests that connect two of them by hand: leaves out outputs.
    #[cfg(test)]
    pub(super) fn forget_outputs(&mut self, group: &mut Group, is_left_out: impl Fn(&Output) -> bool) {
        self.settle(group);
        self.asked.retain(|ask| !matches!(ask, Ask::Output(output) if is_left_out(output)));
    }

    /// When a part is wanted again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let next = [
            self.links.turn.timers.next(),
            self.messaging.turn.timers.next(),
            self.classic.turn.timers.next(),
            self.verifying.turn.timers.next(),
        ];
        next.into_iter().flatten().min()
    }

    /// Lets the next timer that is due do what it is for. False when none is.
    pub(super) fn handle_timeout(&mut self, group: &Group) -> bool {
        let now = self.links.turn.now.instant;
        if let Some(timer) = self.links.turn.timers.pop_due(now) {
            let demand = Demands(&self.messaging, &self.verifying);
            self.links.timer(group, &demand, timer);
        } else if let Some(timer) = self.messaging.turn.timers.pop_due(now) {
            self.messaging.timer(group, timer);
        } else if let Some(timer) = self.classic.turn.timers.pop_due(now) {
            self.classic.timer(timer);
        } else if let Some(timer) = self.verifying.turn.timers.pop_due(now) {
            self.verifying.timer(group, timer);
        } else {
            return false;
        }
        true
    }

    pub(super) fn connected(&mut self, group: &Group, conn: ConnId, connected: &Connected) {
        if connected.secured.peer.wire() == Wire::Classic {
            self.classic.connected(group, conn, connected.remote);
        } else {
            self.links.connected(group, conn, connected);
        }
    }

    /// A connection is gone. False when it is none of the mesh.
    pub(super) fn closed(&mut self, group: &Group, conn: ConnId, closed: &Closed) -> bool {
        if self.links.has(conn) {
            self.links.closed(conn);
        } else if self.classic.has(conn) {
            self.classic.closed(group, conn, closed);
        } else {
            return false;
        }
        true
    }

    /// The roster changed: cuts links to those who went, and looks after those who came.
    pub(super) fn roster_changed(&mut self, group: &mut Group, changes: &Changes) {
        self.messaging.close_batches(group);
        self.classic.roster_changed(changes);
        self.links.roster_changed(group, changes);
        self.settle(group);
        self.messaging.roster_changed(group, changes);
        self.verifying.roster_changed(group);
    }

    /// Whether messages may go in clear has changed: what waits goes, or never will.
    pub(super) fn clear_changed(&mut self, group: &Group) {
        let classic =
            group.roster.entries().map(|entry| entry.peer_id).filter(|id| id.wire() == Wire::Classic);
        for peer in classic.collect::<Vec<_>>() {
            self.classic_pending(group, peer);
        }
    }

    /// There may be messages for a classic peer.
    fn classic_pending(&mut self, group: &Group, peer: PeerId) {
        if !(group.speaks_clear() && self.links.waits_to_dial(&peer)) {
            self.classic.send(group, &mut self.messaging, peer);
        }
    }

    fn settle(&mut self, group: &mut Group) {
        loop {
            let (links, messaging) = (self.links.turn.take(), self.messaging.turn.take());
            let (classic, verifying) = (self.classic.turn.take(), self.verifying.turn.take());
            if links.is_empty() && messaging.is_empty() && classic.is_empty() && verifying.is_empty() {
                return;
            }
            for ask in links {
                self.links_ask(group, ask);
            }
            for ask in messaging {
                self.messaging_asks(group, ask);
            }
            for ask in classic {
                self.classic_asks(group, ask);
            }
            for ask in verifying {
                self.verifying_asks(group, ask);
            }
        }
    }

    fn links_ask(&mut self, group: &mut Group, ask: links::Ask) {
        let messaging = &mut self.messaging;
        match ask {
            links::Ask::Output(output) => return self.asked.push(Ask::Output(output)),
            links::Ask::Tried(tried) => return self.asked.push(Ask::Tried(tried)),
            links::Ask::Used(peer, link) => {
                self.verifying.link_used(peer, link);
                messaging.link_used(group, peer, link);
            }
            links::Ask::Gone(peer, conn) => messaging.link_gone(group, peer, conn),
            links::Ask::Lost(peer, closed) => {
                self.links.lost(group, &Demands(messaging, &self.verifying), peer, &closed);
            }
            links::Ask::Again(peer) => {
                messaging.pump(group, peer);
                if self.verifying.wants_link(&peer) {
                    self.links.want(group, peer);
                }
            }
            links::Ask::Unreachable(peer, closed) => messaging.unreachable(group, peer, &closed),
            links::Ask::Frame(
                peer,
                _,
                frame @ (Frame::VerifyCommit(_)
                | Frame::VerifyNonce(_)
                | Frame::VerifyReveal(_)
                | Frame::VerifyAnswer(_)),
            ) => self.verifying.frame(group, peer, frame),
            links::Ask::Frame(peer, conn, frame) => messaging.frame(group, peer, conn, frame),
            links::Ask::Behind(peer, behind) => messaging.clock_behind(group, peer, behind),
        }
        self.settle(group);
    }

    fn messaging_asks(&mut self, group: &mut Group, ask: messaging::Ask) {
        match ask {
            messaging::Ask::Output(output) => return self.asked.push(Ask::Output(output)),
            messaging::Ask::Late(late) => return self.asked.push(Ask::Late(late)),
            messaging::Ask::Link(peer) => self.links.want(group, peer),
            messaging::Ask::Sent(conn) => self.links.sent(conn),
            messaging::Ask::Drop(conn, reason) => self.links.drop_link(group, conn, reason),
            messaging::Ask::Arrived(peer) => self.links.is_of_use(&peer),
            messaging::Ask::Classic(peer) => self.classic_pending(group, peer),
            messaging::Ask::Kept(id) => self.classic.kept(group, &id),
        }
        self.settle(group);
    }

    fn verifying_asks(&mut self, group: &mut Group, ask: verifying::Ask) {
        match ask {
            verifying::Ask::Output(output) => return self.asked.push(Ask::Output(output)),
            verifying::Ask::Link(peer) => self.links.want(group, peer),
        }
        self.settle(group);
    }

    fn classic_asks(&mut self, group: &mut Group, ask: classic::Ask) {
        match ask {
            classic::Ask::Output(output) => return self.asked.push(Ask::Output(output)),
            classic::Ask::Failed(peer, closed) => self.links.dial_failed(peer, closed),
            classic::Ask::Arrived(peer) => self.links.is_of_use(&peer),
        }
        self.settle(group);
    }
}
