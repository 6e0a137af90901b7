//! Connections: which of them go on with their handshake, and which part each belongs to.

use std::net::IpAddr;

use super::{Node, Role, Timer};
use crate::proto::mesh::Mesh;
use crate::{
    model::{Alias, CloseReason, Closed, PeerId, Wire, limits},
    proto::{ConnId, Connected, LinkKind, Output, limiter::Entry},
    wire::{Frame, classic::Object},
};

impl Node {
    pub(super) fn incoming(&mut self, conn: ConnId, ip: IpAddr) {
        let host = match &self.role {
            Role::Host(host) => Some(host),
            Role::Member(_) => None,
        };
        let is_kept = |conn| host.is_some_and(|host| host.is_judged(conn));
        match self.limiter.incoming(conn, ip, &mut self.rng, &is_kept) {
            Entry::Taken => {}
            Entry::TakenInsteadOf(other) => {
                self.outputs.push_back(Output::Close(other, CloseReason::Busy));
                // Nothing is to be said to it any more.
                self.closed(other, &CloseReason::Busy.into());
            }
            Entry::Dropped => self.outputs.push_back(Output::Close(conn, CloseReason::Busy)),
        }
    }

    pub(super) fn spoke(&mut self, conn: ConnId) {
        let released = self.limiter.spoke(conn, self.now.instant);
        self.proceed(released);
    }

    pub(super) fn poll_limiter(&mut self) {
        let released = self.limiter.poll(self.now.instant);
        self.proceed(released);
        if let Role::Host(host) = &mut self.role
            && !host.penalties_changed(self.limiter.penalties(self.now.instant))
        {
            self.timers.set(Timer::Limiter, self.now.instant + limits::LIMITER_POLL);
        }
    }

    pub(super) fn proceed(&mut self, released: Vec<ConnId>) {
        self.outputs.extend(released.into_iter().map(Output::Proceed));
        if self.limiter.is_waiting() && !self.timers.is_set(Timer::Limiter) {
            self.timers.set(Timer::Limiter, self.now.instant + limits::LIMITER_POLL);
        }
    }

    pub(super) fn connected(&mut self, conn: ConnId, connected: Connected) {
        let wire = connected.secured.peer.wire();
        self.open.insert(conn, wire);
        match (connected.link, &mut self.role, wire) {
            (LinkKind::PeerIn, role, _) | (LinkKind::PeerOut, role, Wire::Native) => {
                self.mesh.connected(role.group(), conn, &connected);
            }
            (LinkKind::JoinIn, Role::Host(host), Wire::Native) => host.connected(conn, &connected),
            (LinkKind::JoinIn, Role::Member(member), Wire::Native) => {
                member.join_link(conn, &connected.secured.peer);
            }
            (LinkKind::JoinOut, Role::Member(member), Wire::Native) => member.connected(conn, connected),
            (LinkKind::JoinIn | LinkKind::DistributionIn, Role::Host(host), Wire::Classic) => {
                host.classic_connected(conn, &connected);
            }
            (LinkKind::JoinOut | LinkKind::DistributionOut, Role::Member(member), Wire::Classic) => {
                member.classic_connected(conn, &connected);
            }
            _ => self.perform(Output::Close(conn, CloseReason::Internal)),
        }
    }

    /// A classic peer has said what it is called.
    pub(super) fn bind_alias(&mut self, peer: PeerId, label: &Alias) {
        match &mut self.role {
            Role::Host(host) => host.bind_alias(peer, label),
            Role::Member(member) => member.bind_alias(peer, label),
        }
        self.route();
    }

    pub(super) fn object(&mut self, conn: ConnId, object: Object) {
        if self.mesh.classic.has(conn) {
            if let Some((author, label)) = self.mesh.classic.label_in(self.role.group(), conn, &object) {
                self.bind_alias(author, &label);
            }
            let Mesh { classic, messaging, .. } = &mut self.mesh;
            return classic.object(self.role.group(), messaging, conn, object);
        }
        match &mut self.role {
            Role::Host(host) => host.object(conn, object),
            Role::Member(member) => member.object(conn, object),
        }
    }

    pub(super) fn frame(&mut self, conn: ConnId, frame: Frame) {
        if self.mesh.links.has(conn) {
            return self.mesh.links.frame(self.role.group(), conn, frame);
        }
        match &mut self.role {
            Role::Host(host) => host.frame(conn, frame),
            Role::Member(member) => member.frame(conn, frame),
        }
    }

    pub(super) fn closed(&mut self, conn: ConnId, closed: &Closed) {
        self.open.remove(&conn);
        let released = self.limiter.closed(conn, self.now.instant);
        self.proceed(released);
        if closed.reason == CloseReason::ProtocolError {
            let peer = self.mesh.links.peer_of(conn).or_else(|| match &self.role {
                Role::Host(host) => host.peer_of(conn),
                Role::Member(member) => member.peer_of(conn),
            });
            let blame = peer.and_then(|peer| self.role.group().blame(&peer, &closed.detail));
            self.outputs.extend(blame.map(Output::Event));
        }
        if self.mesh.closed(self.role.group(), conn, closed) {
            return;
        }
        match &mut self.role {
            Role::Host(host) => host.closed(conn),
            Role::Member(member) => member.closed(conn, closed),
        }
    }
}
