//! The network's password: its record, which joiners are challenged with, and how another one takes its place.

use std::net::IpAddr;

use super::{Host, Joiner, Step, Timer, classic};
use crate::{
    api::NodeEvent,
    model::{CloseReason, Password},
    proto::{ConnId, Output},
    security::HostRecord,
};

/// What joiners prove that they know.
#[derive(Debug)]
pub(super) struct PasswordRecord {
    pub(super) record: HostRecord,
    /// Those who wait, since the record is an old one; nothing when it is the right one.
    pub(super) held: Option<Vec<ConnId>>,
    /// The record of a new password is being worked out.
    is_registering: bool,
    /// A password whose record is to be worked out after that.
    next: Option<Password>,
}

impl PasswordRecord {
    /// The record, and the password that is to take its place.
    pub(super) fn new(record: HostRecord, password: Option<Password>) -> Self {
        Self { record, held: password.is_some().then(Vec::new), is_registering: false, next: password }
    }
}

impl Host {
    /// Another password, or the one that was given at the start. Of several the last one counts.
    pub(in crate::proto) fn set_password(&mut self, password: Password) {
        self.password.next = Some(password);
        self.register_next();
    }

    pub(super) fn register_next(&mut self) {
        if self.password.is_registering {
            return;
        }
        if let Some(password) = self.password.next.take() {
            self.password.is_registering = true;
            self.turn.ask(Output::Register(password));
        }
    }

    pub(in crate::proto) fn registered(&mut self, record: HostRecord) {
        self.password.record = record;
        self.password.is_registering = false;
        self.register_next();
        if let Some(held) = self.password.held.take() {
            self.save(Vec::new());
            for conn in held {
                if let Some(joiner) = self.joiners.get(&conn) {
                    self.charge(conn, joiner.remote.ip());
                }
            }
            return;
        }
        // A challenge from the old password must not be answered any more; nobody is charged for it.
        let challenged = |(conn, joiner): (&ConnId, &Joiner)| {
            let is_challenged =
                matches!(joiner.step, Step::Challenged(..) | Step::Classic(classic::Step::Checking(_)));
            is_challenged.then_some((*conn, joiner.remote.ip()))
        };
        let old: Vec<(ConnId, IpAddr)> = self.joiners.iter().filter_map(challenged).collect();
        for (conn, ip) in old {
            self.joiners.remove(&conn);
            self.turn.timers.cancel(Timer::Admission(conn));
            self.turn.goodbye(conn, CloseReason::Busy, "");
            for next in self.admission.withdraw(ip) {
                self.challenge(next);
            }
        }
        self.save(vec![NodeEvent::PasswordChanged]);
    }
}
