//! The host is away: the members go on without it for a while, then they are out, and come back by themselves.

use std::time::Duration;

use super::{Member, Timer};
use crate::{
    api::{LinkState, NodeEvent},
    model::{CloseReason, Closed, ErrorKind, Liveness, Timestamp, limits},
    proto::role::Ask,
};

impl Member {
    /// The link to the host is gone. The member tries to come back for as long as it may.
    pub(super) fn lost(&mut self, closed: &Closed) {
        let Some(link) = self.link.take() else { return };
        self.group.join_links.clear();
        self.turn.timers.cancel(Timer::Beat(link.conn));
        self.turn.close(link.conn, closed.reason);
        self.close_distribution();
        if let Some(host) = self.host.key {
            let missed = link.detector.missed_by(self.turn.now.instant);
            self.turn.events(self.group.heartbeat(&host, Liveness::Dead, link.detector.rtt(), missed));
            let event = self.group.take_for_gone(&host, closed.reason);
            self.turn.events(event);
        }
        self.turn.event(NodeEvent::error(ErrorKind::Connection, &format!("the host is lost: {closed}")));
        self.handover_in_doubt();
        self.rejoining.last_failure = Some(closed.clone());
        if self.rejoining.rejoin_for.is_zero() {
            let message = format!("the host was lost ({closed}) and rejoining is switched off");
            return self.finish(Closed::new(CloseReason::HostLost, message));
        }
        self.wait_for_host();
        if self.joining.is_none() && !self.dialling {
            let wait = self.rejoining.backoff.next(&mut self.turn.rng);
            self.turn.set(Timer::Rejoin, wait);
            self.tell_link(LinkState::Waiting, &format!("{closed}; trying again"), Some(wait));
        }
    }

    /// The members go on under the last roster for a while.
    pub(super) fn wait_for_host(&mut self) {
        self.turn.ask(Ask::AwaySince(self.turn.now.wall));
        self.turn.set(Timer::HostLost, self.rejoining.rejoin_for);
        let grace = Duration::from_secs(self.group.policy.grace.into());
        self.turn.set(Timer::Grace, grace);
        self.rejoining.alone_until = Some(self.turn.now.wall.plus(grace)).filter(|_| !grace.is_zero());
    }

    /// The host has been away for too long: without it nobody knows who is a member.
    pub(super) fn part(&mut self) {
        self.rejoining.alone_until = None;
        self.group.is_out = true;
        let alone = self.group.roster.alone(&self.group.me());
        let changes = self.group.roster.replace(alone);
        self.roster_changed(changes);
        let message = match self.group.policy.grace {
            0 => "without the host nobody is a member here",
            _ => "the host has been away for too long",
        };
        let message = format!("{message}: {}", self.choices());
        self.turn.event(NodeEvent::error(ErrorKind::Connection, &message));
        self.may_open();
        // Whoever follows the deputy need not wait long.
        self.rejoining.backoff.reset();
    }

    /// This machine slept: the host has long removed this member.
    pub(in crate::proto) fn suspended(&mut self, time: Duration) {
        let slept = i64::try_from(time.as_micros()).unwrap_or(0);
        self.turn.ask(Ask::AwaySince(Timestamp(self.turn.now.wall.0.saturating_sub(slept))));
        if self.link.is_some() && time >= limits::DEAD_AFTER && !self.rejoining.rejoin_for.is_zero() {
            self.rejoining.backoff.reset();
            self.turn.timers.set(Timer::Rejoin, self.turn.now.instant);
        }
    }
}
