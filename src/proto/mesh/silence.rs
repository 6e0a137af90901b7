//! A peer link that says nothing although an answer is due: its other end is gone without a word, or the way there is.
//!
//! The heartbeat of the host cannot tell: it may still see both ends. Nobody is removed for such a silence; only the
//! link is given up, and what was on its way goes over the next one. An idle link is left alone.

use super::Mesh;
use crate::{
    model::{CloseReason, limits},
    proto::{
        ConnId,
        core::{Core, Timer},
    },
    wire::{Beat, Frame},
};

impl Mesh {
    /// Something was sent that is to be answered: from now on silence counts.
    pub(super) fn expect_answer(&mut self, core: &mut Core, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        if core.timers.is_set(Timer::Silence(conn)) {
            return;
        }
        (link.heard, link.looked) = (core.now.instant, core.now.instant);
        link.is_asked = false;
        core.timers.set(Timer::Silence(conn), core.now.instant + limits::BEAT_EVERY);
    }

    /// Looks at how long a link has been silent: asks whether it still carries anything, and then gives it up.
    pub(in crate::proto) fn silence(&mut self, core: &mut Core, conn: ConnId) {
        let Some(link) = self.links.get(&conn) else { return };
        let Some(state) = self.peers.get(&link.peer) else { return };
        let is_used = state.links.first() == Some(&conn);
        let is_due = !state.window.is_empty() || state.question.as_ref().is_some_and(|open| open.is_asked);
        if !(is_used && is_due || self.is_carrying(conn)) {
            return;
        }
        let Some(link) = self.links.get_mut(&conn) else { return };
        let now = core.now.instant;
        let since = now.saturating_duration_since(link.looked);
        if since > limits::BEAT_EVERY + limits::STALL {
            // A look that comes late: this process was not awake to listen.
            link.heard = now.min(link.heard + since);
        }
        link.looked = now;
        let silence = now.saturating_duration_since(link.heard);
        if link.is_asked && silence >= limits::DEAD_AFTER {
            return self.drop_link(core, conn, CloseReason::HeartbeatTimeout);
        }
        if !link.is_asked && silence >= limits::SUSPECT_AFTER {
            link.is_asked = true;
            core.send(conn, &Frame::Beat(Beat::default()));
        }
        core.timers.set(Timer::Silence(conn), now + limits::BEAT_EVERY);
    }
}
