//! Talking to every other member directly (seed, "Communication"): routes between the links, the messages that go over them,
//! and those of classic peers, which have no links.

use std::time::Instant;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;

use super::{
    ConnId, Connected, Output, RelayedId,
    classic::{self, ClassicMessaging},
    group::Group,
    links::{self, Links},
    messaging::{self, Messaging},
    roster::Changes,
};
use crate::{
    api::HistoryEvent,
    model::{CloseReason, Closed, Held, Moment, PeerId, Recalled, Wire},
    wire::{Frame, Tried, classic::Object},
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
    asked: Vec<Ask>,
}

impl Mesh {
    pub(super) fn new(now: Moment, rng: &mut ChaCha20Rng) -> Self {
        Self {
            links: Links::new(now, rng),
            messaging: Messaging::new(now, rng),
            classic: ClassicMessaging::new(now, rng),
            asked: Vec::new(),
        }
    }

    /// A turn begins.
    pub(super) fn begin_turn(&mut self, now: Moment) {
        self.links.turn.now = now;
        self.messaging.turn.now = now;
        self.classic.turn.now = now;
    }

    /// The turn is over: what was said in it goes, and what was taken on in it is acknowledged.
    pub(super) fn end_turn(&mut self, group: &mut Group) {
        self.messaging.end_turn(group);
        self.settle(group);
    }

    /// What was asked for since the last call, in order.
    pub(super) fn take(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asked)
    }

    /// For tests that let no time pass: the wait before a peer is dialled again is over.
    #[cfg(test)]
    pub(super) fn dial_now(&mut self, group: &mut Group, peer: PeerId) {
        if self.links.waits_to_dial(&peer) {
            self.links.turn.timers.cancel(links::Timer::Dial(peer));
            self.messaging.pump(group, peer);
            self.settle(group);
        }
    }

    /// For tests that connect two of them by hand: leaves out outputs.
    #[cfg(test)]
    pub(super) fn forget_outputs(&mut self, is_left_out: impl Fn(&Output) -> bool) {
        self.asked.retain(|ask| !matches!(ask, Ask::Output(output) if is_left_out(output)));
    }

    /// When a part is wanted again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let next = [
            self.links.turn.timers.next(),
            self.messaging.turn.timers.next(),
            self.classic.turn.timers.next(),
        ];
        next.into_iter().flatten().min()
    }

    /// Lets the next timer that is due do what it is for. False when none is.
    pub(super) fn handle_timeout(&mut self, group: &mut Group) -> bool {
        let now = self.links.turn.now.instant;
        if let Some(timer) = self.links.turn.timers.pop_due(now) {
            self.links.timer(group, &self.messaging, timer);
        } else if let Some(timer) = self.messaging.turn.timers.pop_due(now) {
            self.messaging.timer(group, timer);
        } else if let Some(timer) = self.classic.turn.timers.pop_due(now) {
            self.classic.timer(timer);
        } else {
            return false;
        }
        self.settle(group);
        true
    }

    pub(super) fn connected(&mut self, group: &mut Group, conn: ConnId, connected: &Connected) {
        if connected.secured.peer.wire() == Wire::Classic {
            self.classic.connected(group, conn, connected.remote);
        } else {
            self.links.connected(group, conn, connected);
        }
        self.settle(group);
    }

    pub(super) fn dial_failed(&mut self, group: &mut Group, peer: PeerId, closed: Closed) {
        self.links.dial_failed(peer, closed);
        self.settle(group);
    }

    pub(super) fn frame(&mut self, group: &mut Group, conn: ConnId, frame: Frame) {
        self.links.frame(group, conn, frame);
        self.settle(group);
    }

    pub(super) fn object(&mut self, group: &mut Group, conn: ConnId, object: Object) {
        self.classic.object(group, &mut self.messaging, conn, object);
        self.settle(group);
    }

    /// A message went to a classic peer, which has said that it has it, or has said nothing; or it did not go.
    pub(super) fn classic_sent(&mut self, group: &mut Group, peer: PeerId, result: Result<bool, Closed>) {
        self.classic.sent(group, &mut self.messaging, peer, result);
        self.settle(group);
    }

    /// A connection is gone. False when it is none of the mesh.
    pub(super) fn closed(&mut self, group: &mut Group, conn: ConnId, closed: &Closed) -> bool {
        if self.links.has(conn) {
            self.links.closed(conn);
        } else if self.classic.has(conn) {
            self.classic.closed(group, conn, closed);
        } else {
            return false;
        }
        self.settle(group);
        true
    }

    pub(super) fn relayed_bytes(&mut self, group: &mut Group, relayed: RelayedId, bytes: &Bytes) {
        self.links.relayed_bytes(relayed, bytes);
        self.settle(group);
    }

    pub(super) fn relayed_taken(&mut self, group: &mut Group, relayed: RelayedId, frames: u32) {
        self.links.relayed_taken(relayed, frames);
        self.settle(group);
    }

    pub(super) fn relayed_ended(&mut self, group: &mut Group, relayed: RelayedId) {
        self.links.relayed_ended(relayed);
        self.settle(group);
    }

    pub(super) fn history(&mut self, group: &mut Group, event: HistoryEvent) {
        self.messaging.history(group, event);
        self.settle(group);
    }

    /// Takes up what the history knows of this network. Comes before anything is said in it.
    pub(super) fn recall(&mut self, group: &mut Group, recalled: Recalled) {
        self.messaging.recall(group, recalled);
        self.settle(group);
    }

    /// Asks a few peers which messages they have since this node was here last.
    pub(super) fn catch_up(&mut self, group: &mut Group) {
        self.messaging.catch_up(group);
        self.settle(group);
    }

    /// A peer has these messages: asks it for those that are not here.
    pub(super) fn want_of(&mut self, group: &mut Group, peer: PeerId, held: Vec<Held>) {
        self.messaging.want_of(group, peer, held);
        self.settle(group);
    }

    /// The roster changed: cuts links to those who went, and looks after those who came.
    pub(super) fn roster_changed(&mut self, group: &mut Group, changes: &Changes) {
        self.messaging.close_batches(group);
        self.classic.roster_changed(changes);
        self.links.roster_changed(group, changes);
        self.settle(group);
        self.messaging.roster_changed(group, changes);
        self.settle(group);
    }

    /// A peer's listener is to be tried, or a link is to be opened because the peer asks for one.
    pub(super) fn reach(&mut self, group: &mut Group, peer: PeerId) {
        self.links.reach(group, peer);
        self.settle(group);
    }

    /// Who reaches whom is known anew: peers that wait for a path may have one now.
    pub(super) fn paths_changed(&mut self, group: &mut Group) {
        self.links.paths_changed(group, &self.messaging);
        self.settle(group);
    }

    /// The host came back, or is another: all results of dialling are told again.
    pub(super) fn report_all(&mut self, group: &mut Group) {
        self.links.report_all();
        self.settle(group);
    }

    /// Whether messages may go in clear has changed: what waits goes, or never will.
    pub(super) fn clear_changed(&mut self, group: &mut Group) {
        let classic =
            group.roster.entries().map(|entry| entry.peer_id).filter(|id| id.wire() == Wire::Classic);
        for peer in classic.collect::<Vec<_>>() {
            self.classic_pending(group, peer);
        }
        self.settle(group);
    }

    /// There may be messages for a classic peer.
    fn classic_pending(&mut self, group: &Group, peer: PeerId) {
        if !(group.speaks_clear() && self.links.waits_to_dial(&peer)) {
            self.classic.send(group, &mut self.messaging, peer);
        }
    }

    /// The session ends: of everything that no longer will, it is said that it will not arrive.
    pub(super) fn give_up(&mut self, group: &mut Group, reason: CloseReason) {
        self.messaging.give_up(group, reason);
        self.settle(group);
    }

    /// Does what the parts ask of each other, until none asks for anything.
    pub(super) fn settle(&mut self, group: &mut Group) {
        loop {
            let (links, messaging) = (self.links.turn.take(), self.messaging.turn.take());
            let classic = self.classic.turn.take();
            if links.is_empty() && messaging.is_empty() && classic.is_empty() {
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
        }
    }

    fn links_ask(&mut self, group: &mut Group, ask: links::Ask) {
        let messaging = &mut self.messaging;
        match ask {
            links::Ask::Output(output) => return self.asked.push(Ask::Output(output)),
            links::Ask::Tried(tried) => return self.asked.push(Ask::Tried(tried)),
            links::Ask::Used(peer, link) => messaging.link_used(group, peer, link),
            links::Ask::Gone(peer, conn) => messaging.link_gone(group, peer, conn),
            links::Ask::Lost(peer, closed) => self.links.lost(group, messaging, peer, &closed),
            links::Ask::Again(peer) => messaging.pump(group, peer),
            links::Ask::Unreachable(peer, closed) => messaging.unreachable(group, peer, &closed),
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

    fn classic_asks(&mut self, group: &mut Group, ask: classic::Ask) {
        match ask {
            classic::Ask::Output(output) => return self.asked.push(Ask::Output(output)),
            classic::Ask::Failed(peer, closed) => self.links.dial_failed(peer, closed),
            classic::Ask::Arrived(peer) => self.links.is_of_use(&peer),
        }
        self.settle(group);
    }
}
