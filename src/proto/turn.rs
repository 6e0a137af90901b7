//! A part's side of a turn: what time it is, what the part wants done, and when it wants to be called again.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::{ConnId, Output, timers::Timers};
use crate::{
    api::{NodeEvent, StoreCommand},
    model::{CloseReason, Moment},
    wire::{Frame, Refusal, classic::Object},
};

/// What a part has of a turn. `T` are its timers, `O` is what it asks for: outputs of the node, and what other parts are
/// to do.
#[derive(Debug)]
pub(super) struct Turn<T, O> {
    /// The time of this turn.
    pub(super) now: Moment,
    pub(super) rng: ChaCha20Rng,
    pub(super) timers: Timers<T>,
    asked: VecDeque<O>,
}

impl<T: Ord + Copy, O: From<Output>> Turn<T, O> {
    /// A part begins. Its randomness comes from `rng`.
    pub(super) fn new(now: Moment, rng: &mut ChaCha20Rng) -> Self {
        let rng = ChaCha20Rng::from_rng(rng).unwrap_or_else(|_| ChaCha20Rng::from_seed([0; 32]));
        Self { now, rng, timers: Timers::new(), asked: VecDeque::new() }
    }

    /// Sets a timer: it is due so long after this turn.
    pub(super) fn set(&mut self, timer: T, after: Duration) {
        self.timers.set(timer, self.now.instant + after);
    }

    /// Asks for something.
    pub(super) fn ask(&mut self, what: impl Into<O>) {
        self.asked.push_back(what.into());
    }

    /// What was asked for since the last call, in order.
    pub(super) fn take(&mut self) -> VecDeque<O> {
        std::mem::take(&mut self.asked)
    }

    pub(super) fn event(&mut self, event: NodeEvent) {
        self.ask(Output::Event(event));
    }

    pub(super) fn events(&mut self, events: impl IntoIterator<Item = NodeEvent>) {
        events.into_iter().for_each(|event| self.event(event));
    }

    pub(super) fn store(&mut self, command: StoreCommand) {
        self.ask(Output::Store(command));
    }

    pub(super) fn send(&mut self, conn: ConnId, frame: &Frame) {
        self.send_bytes(conn, frame.encode());
    }

    pub(super) fn send_bytes(&mut self, conn: ConnId, frame: Bytes) {
        self.ask(Output::Send(conn, frame));
    }

    pub(super) fn send_object(&mut self, conn: ConnId, object: &Object) {
        self.ask(Output::SendObject(conn, object.encode()));
    }

    pub(super) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.ask(Output::Close(conn, reason));
    }

    /// Sends the reason, then closes the link.
    pub(super) fn goodbye(&mut self, conn: ConnId, reason: CloseReason, detail: &str) {
        self.send(conn, &Frame::Goodbye(Refusal { reason, detail: detail.to_owned() }));
        self.close(conn, reason);
    }

    /// A link is authenticated: it no longer counts as a stranger's.
    pub(super) fn authenticated(&mut self, conn: ConnId) {
        self.ask(Output::Authenticated(conn));
    }
}
