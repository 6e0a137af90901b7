//! A peer link that says nothing although an answer is due: its other end is gone without a word, or the way there is.
//!
//! The heartbeat of the host cannot tell: it may still see both ends. Nobody is removed for such a silence; only the
//! link is given up, and what was on its way goes over the next one. An idle link is left alone.

use super::{Demand, Links, Timer};
use crate::{
    model::{CloseReason, limits},
    proto::{ConnId, group::Group},
    wire::{Beat, Frame},
};

impl Links {
    /// Something was sent that is to be answered: from now on silence counts.
    pub(super) fn expect_answer(&mut self, conn: ConnId) {
        let Some(link) = self.by_conn.get_mut(&conn) else { return };
        if self.turn.timers.is_set(Timer::Silence(conn)) {
            return;
        }
        (link.heard, link.looked) = (self.turn.now.instant, self.turn.now.instant);
        link.is_asked = false;
        self.turn.set(Timer::Silence(conn), limits::BEAT_EVERY);
    }

    /// Looks at how long a link has been silent: asks whether it still carries anything, and then gives it up.
    pub(super) fn silence(&mut self, group: &Group, demand: &impl Demand, conn: ConnId) {
        let Some(peer) = self.peer_of(conn) else { return };
        let is_used = self.used(&peer) == Some(conn);
        if !(is_used && demand.awaits_answer(&peer) || self.is_carrying(conn)) {
            return;
        }
        let Some(link) = self.by_conn.get_mut(&conn) else { return };
        let now = self.turn.now.instant;
        let since = now.saturating_duration_since(link.looked);
        if since > limits::BEAT_EVERY + limits::STALL {
            // A look that comes late: this process was not awake to listen.
            link.heard = now.min(link.heard + since);
        }
        link.looked = now;
        let silence = now.saturating_duration_since(link.heard);
        if link.is_asked && silence >= limits::DEAD_AFTER {
            return self.drop_link(group, conn, CloseReason::HeartbeatTimeout);
        }
        if !link.is_asked && silence >= limits::SUSPECT_AFTER {
            link.is_asked = true;
            self.turn.send(conn, &Frame::Beat(Beat::default()));
        }
        self.turn.set(Timer::Silence(conn), limits::BEAT_EVERY);
    }
}
