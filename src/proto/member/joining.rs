//! A member's way in: from the first word of the host to the signed roster.
//!
//! It must never show the password to anybody, or say more to a host whose key is not the pinned one.

use std::{collections::BTreeMap, time::Duration};

use super::{Ask, HostLink, Joining, Member, Step, Timer};
use crate::{
    api::{HistoryCommand, LinkState, NodeEvent, StoreCommand},
    model::{
        AuthenticationError, CloseReason, Closed, ErrorKind, KnownHost, Liveness, Network, Notes, Recalled,
        Role, SafeText, StatusError, Wire, limits,
    },
    proto::{
        ConnId, Connected, Output,
        detector::Detector,
        roster::{Assembly, Roster, RosterError},
    },
    security::{JoinProof, password::join_context},
    wire::{Authenticated, BannedStatus, ByteBuf, Frame, Hello, Invited, Refusal},
};

impl Member {
    pub(in crate::proto) fn connected(&mut self, conn: ConnId, connected: Connected) {
        self.dialling = false;
        self.turn.timers.cancel(Timer::Slow);
        let host = connected.secured.peer;
        let is_deputy = self.is_deputy(&host) && self.host.key != Some(host);
        let is_other = is_deputy || self.is_host_before(&host);
        if self.asks_another() && !is_other {
            self.deputy.is_none_of_it(connected.remote);
            self.turn.close(conn, CloseReason::KeyChanged);
            return self.not_this_network();
        }
        if let Some(known) = self.host.key.filter(|known| *known != host && !is_other) {
            self.turn.close(conn, CloseReason::KeyChanged);
            if self.joined_before || self.deputy.waits {
                let message = format!(
                    "the host is still away; a stranger with the key {} answers at {}",
                    host.short(),
                    self.host.target
                );
                return self.retry(Closed::new(CloseReason::KeyChanged, message));
            }
            let was = known.short();
            if self.host.is_invited {
                let before = self.host.addrs.len();
                self.host.addrs.retain(|addr| *addr != connected.remote);
                if (1..before).contains(&self.host.addrs.len()) {
                    // Another machine may have one of its addresses here; nothing was sent.
                    return self.join();
                }
                let message = format!(
                    "{} shows the key {}, and the invite is of the host with the key {was}: it is another host, or \
                     somebody pretends to be yours; nothing was sent. Ask for a new invite",
                    connected.remote,
                    host.short(),
                );
                return self.finish(Closed::new(CloseReason::KeyChanged, message));
            }
            self.finish(Closed::new(
                CloseReason::KeyChanged,
                format!(
                    "{} shows the key {}, not {} as before: either the host was set up anew or somebody \
                     pretends to be it; nothing was sent. Ask the host for its key; if it is the new one, forget \
                     the old one (Delete on the recent network in the launch screen) and join again",
                    self.host.target,
                    host.short(),
                    was,
                ),
            ));
            return;
        }
        let step = if is_deputy { Step::Word } else { Step::Status };
        self.joining = Some(Joining { conn, host, step, left: 0, known: false, connected });
        // The host may have many to admit, and hangs up by itself on whoever takes too long.
        let patience = if self.joined_before { limits::ADMISSION_TIMEOUT } else { limits::JOIN_FOR };
        self.turn.set(Timer::Admission(conn), patience);
        self.turn.set(Timer::Slow, limits::HOST_SLOW);
    }

    /// Somebody does not want to wait for the next try.
    pub(in crate::proto) fn rejoin_now(&mut self) {
        if self.turn.timers.is_set(Timer::Rejoin) {
            self.join();
        }
    }

    /// The host could not be reached, or hung up before it was known.
    pub(in crate::proto) fn join_failed(&mut self, closed: Closed) {
        self.dialling = false;
        self.turn.timers.cancel(Timer::Slow);
        if self.wire() == Wire::Classic && self.link.is_none() {
            self.give_up_asking();
        }
        let is_silent = matches!(
            closed.reason,
            CloseReason::NothingListens | CloseReason::NoAnswer | CloseReason::NoRoute
        );
        if self.host.is_invited && is_silent {
            let addrs: Vec<String> = self.host.addrs.iter().map(ToString::to_string).collect();
            let message = format!(
                "no host answers at {} ({}); is it running, and is this machine on its network?",
                addrs.join(" or "),
                closed.reason.words()
            );
            return self.retry(Closed::new(CloseReason::Unreachable, message));
        }
        self.retry(closed);
    }

    /// Another try, if the failure is one that time may mend.
    pub(super) fn retry(&mut self, closed: Closed) {
        if let Some(link) = &self.link {
            // The old link may still recover; a suspect host is asked again.
            if link.detector.state() == Liveness::Suspect {
                let wait = self.rejoining.backoff.next(&mut self.turn.rng);
                self.turn.set(Timer::Rejoin, wait);
            }
            return;
        }
        if self.goes_on_opening(&closed) {
            return;
        }
        if !self.joined_before && !self.deputy.waits {
            return self.retry_first(closed);
        }
        // Whoever is there: the host may be back.
        let message = format!("{closed}; trying again");
        self.rejoining.last_failure = Some(closed);
        self.wait_to_join(&message);
    }

    /// Another try to come in for the first time. A host that is slow, or turns joiners away because there are too many, is
    /// no reason to give up soon: only an answer is one.
    fn retry_first(&mut self, closed: Closed) {
        if self.host_is_elsewhere(&closed) || self.deputy_at_first(&closed) {
            return;
        }
        let is_slow = closed.reason == CloseReason::TimedOut;
        if !is_slow && !matches!(closed.reason, CloseReason::Busy | CloseReason::ConnectionLost) {
            return self.finish(closed);
        }
        let now = self.turn.now.instant;
        let began = *self.rejoining.began.get_or_insert(now);
        if now.saturating_duration_since(began) < limits::JOIN_FOR {
            let how = if is_slow { "slow" } else { "busy" };
            return self.wait_to_join(&format!("the host is {how}; trying again"));
        }
        let (target, time) = (&self.host.target, limits::JOIN_FOR.as_secs());
        let (reason, what) = if is_slow {
            (CloseReason::TimedOut, "takes connections and says nothing: it is no pyile host, or is stuck")
        } else {
            (CloseReason::NotPyile, "hangs up before it says anything: it is no pyile host, or has no room")
        };
        let message = format!("for {time} s {target} {what}; check the address, or try again later");
        self.finish(Closed::new(reason, message));
    }

    fn wait_to_join(&mut self, message: &str) {
        let wait = self.rejoining.backoff.next(&mut self.turn.rng);
        self.turn.set(Timer::Rejoin, wait);
        self.tell_link(LinkState::Waiting, message, Some(wait));
    }

    pub(in crate::proto) fn finish(&mut self, closed: Closed) {
        self.end.verdict.get_or_insert(closed);
    }

    /// The host's word on this joiner is final.
    pub(in crate::proto) fn refused(&mut self, closed: Closed) {
        self.turn.event(NodeEvent::error(ErrorKind::Authentication, &closed));
        self.end.is_notified = true;
        self.finish(closed);
    }

    pub(in crate::proto) fn frame(&mut self, conn: ConnId, frame: Frame) {
        if self.link.as_ref().is_some_and(|link| link.conn == conn) {
            self.host_frame(frame);
        } else if self.joining.as_ref().is_some_and(|joining| joining.conn == conn) {
            self.asking_frame(frame);
        }
    }

    pub(super) fn asking_frame(&mut self, frame: Frame) {
        let Some(joining) = &mut self.joining else { return };
        let conn = joining.conn;
        match (frame, &mut joining.step) {
            (Frame::OpenedAgain(statement), Step::Word) => {
                let by = joining.host;
                self.opened_again(by, *statement);
            }
            (_, Step::Word) => self.not_this_network(),
            // Whoever knows its key already needs no word for it.
            (Frame::OpenedAgain(_), Step::Status) => {}
            (Frame::BannedStatus(status), step) => {
                let is_first = matches!(step, Step::Status);
                self.status(status, is_first);
            }
            (Frame::Challenge(ByteBuf(ke2)), step @ Step::Challenge(_)) => {
                if let Step::Challenge(proof) = std::mem::replace(step, Step::Working) {
                    self.turn.ask(Output::Prove(conn, proof, ke2));
                }
            }
            (Frame::AwaitApproval(seconds), Step::Decision) => {
                self.turn.timers.cancel(Timer::Slow);
                let patience = Duration::from_secs(seconds.into()).min(limits::APPROVAL_WAIT);
                self.turn.set(Timer::Admission(conn), patience + limits::ADMISSION_TIMEOUT);
                let words = "waiting for the person at the host to let you in";
                self.tell_link(LinkState::Authenticating, words, None);
            }
            (Frame::Authenticated(header), step @ Step::Decision) => match Assembly::new(*header) {
                Ok(assembly) => *step = Step::Roster(Box::new(assembly)),
                Err(error) => self.bad_roster(conn, error),
            },
            (Frame::RosterPage(page), Step::Roster(assembly)) => {
                let host = joining.host;
                match assembly.page(page, &host) {
                    Ok(None) => {}
                    Ok(Some(roster)) => {
                        let header = assembly.header().clone();
                        self.recall(roster, header);
                    }
                    Err(error) => self.bad_roster(conn, error),
                }
            }
            (frame, Step::Recalling(_, waiting)) if waiting.len() < limits::FRAMES_TO_NODE => {
                waiting.push(frame);
            }
            (Frame::Handover(statement), Step::Status) => {
                let by = joining.host;
                self.handed_over(&by, statement);
            }
            (Frame::Refused(refusal) | Frame::Goodbye(refusal), _) => self.refusal(&refusal),
            _ => {
                self.turn.goodbye(conn, CloseReason::ProtocolError, "");
                self.joining = None;
                let message = format!("{} does not keep to the protocol", self.host.target);
                self.finish(Closed::new(CloseReason::NotPyile, message));
            }
        }
    }

    fn bad_roster(&mut self, conn: ConnId, error: RosterError) {
        self.turn.goodbye(conn, CloseReason::ProtocolError, "");
        self.finish(Closed::new(CloseReason::ProtocolError, format!("from {}: {error}", self.host.target)));
    }

    /// The host's first word: banned, known, or please prove the password.
    fn status(&mut self, status: BannedStatus, is_first: bool) {
        let me = self.group.me();
        let Some(joining) = &mut self.joining else { return };
        let hello = |ke1| {
            let addrs = joining.connected.listening.clone();
            Frame::Hello(Hello { alias: self.group.alias.to_string(), addrs, ke1 })
        };
        match status {
            BannedStatus::Banned { reason } => self.banned(&reason),
            BannedStatus::Known if is_first => {
                let frame = hello(Vec::new());
                joining.known = true;
                joining.step = Step::Decision;
                self.turn.send(joining.conn, &frame);
                self.tell_link(LinkState::Authenticating, "known to the host", None);
            }
            BannedStatus::Password { .. } if is_first && self.pass.is_some() => self.show_pass(),
            BannedStatus::Password { left } if is_first => {
                joining.left = left;
                let Some(password) = self.password.clone() else {
                    return self.password_wanted();
                };
                let context = join_context(&joining.connected.secured.binding, &joining.host, &me);
                match JoinProof::start(&mut self.turn.rng, password, context, self.group.cost) {
                    Ok((ke1, proof)) => {
                        let addrs = joining.connected.listening.clone();
                        let alias = self.group.alias.to_string();
                        joining.step = Step::Challenge(Box::new(proof));
                        self.turn.send(joining.conn, &Frame::Hello(Hello { alias, addrs, ke1 }));
                        self.tell_link(LinkState::Authenticating, "proving the password", None);
                    }
                    Err(_) => self.finish(CloseReason::Internal.into()),
                }
            }
            _ => self
                .finish(Closed::new(CloseReason::NotPyile, format!("{} repeats itself", self.host.target))),
        }
    }

    /// Shows the pass of the invite. The key of the host is the one that stands beside it, or this link would not be.
    fn show_pass(&mut self) {
        let (Some(joining), Some(pass)) = (&mut self.joining, self.pass.clone()) else { return };
        if self.host.key != Some(joining.host) {
            return self.finish(CloseReason::KeyChanged.into());
        }
        let (alias, addrs) = (self.group.alias.to_string(), joining.connected.listening.clone());
        let hello = Hello { alias, addrs, ke1: Vec::new() };
        joining.step = Step::Decision;
        self.turn.send(joining.conn, &Frame::Invited(Invited { hello, pass }));
        self.tell_link(LinkState::Authenticating, "showing the invite", None);
    }

    fn password_wanted(&mut self) {
        if self.joined_before {
            let message = "the host was lost and now asks for the password again; join anew";
            self.refused(Closed::new(CloseReason::HostLost, message));
        } else {
            let message = "this host does not know your key yet: the network's password is needed";
            self.refused(Closed::new(CloseReason::WrongPassword, message));
        }
    }

    pub(in crate::proto) fn banned(&mut self, reason: &str) {
        let reason = SafeText::line(reason);
        let closed = Closed::new(CloseReason::Banned, StatusError::Banned(reason.to_string()).to_string());
        // Whom the host does not want does not stand in for it.
        self.deputy_named(None);
        self.turn.event(NodeEvent::Banned { peer_id: Some(self.group.me()), addr: None, reason });
        self.turn.event(NodeEvent::error(ErrorKind::Status, &closed));
        self.end.is_notified = true;
        self.finish(closed);
    }

    /// The answer to the challenge is worked out; none means a wrong password, or a relay.
    pub(in crate::proto) fn proven(&mut self, conn: ConnId, answer: Option<Vec<u8>>) {
        let Some(joining) = self.joining.as_mut().filter(|joining| joining.conn == conn) else { return };
        if let Some(ke3) = answer {
            joining.step = Step::Decision;
            self.turn.send(conn, &Frame::Proof(ByteBuf(ke3)));
        } else {
            let error = AuthenticationError::WrongPassword { left: joining.left.saturating_sub(1) };
            self.turn.close(conn, CloseReason::WrongPassword);
            self.refused(Closed::new(CloseReason::WrongPassword, error.to_string()));
        }
    }

    fn refusal(&mut self, refusal: &Refusal) {
        let detail = SafeText::line(&refusal.detail).to_string();
        let closed = Closed::new(refusal.reason, detail);
        if let Some(joining) = self.joining.take() {
            self.turn.timers.cancel(Timer::Admission(joining.conn));
            self.turn.close(joining.conn, refusal.reason);
        }
        match refusal.reason {
            // The password is at hand, and no attempt was spent.
            CloseReason::InviteRefused if self.password.is_some() && self.pass.take().is_some() => {
                self.join();
            }
            CloseReason::Busy | CloseReason::HostLeft | CloseReason::Internal => {
                self.retry(closed);
            }
            CloseReason::TimedOut => {
                let message = "the admission took too long; try again";
                self.retry(Closed::new(CloseReason::TimedOut, message));
            }
            _ => self.refused(closed),
        }
    }

    /// The host says goodbye.
    pub(super) fn goodbye(&mut self, refusal: &Refusal) {
        let detail = SafeText::line(&refusal.detail).to_string();
        match refusal.reason {
            CloseReason::Kicked => {
                let closed = Closed::new(CloseReason::Kicked, StatusError::Kicked(detail).to_string());
                self.deputy_named(None);
                self.turn.event(NodeEvent::error(ErrorKind::Status, &closed));
                self.end.is_notified = true;
                self.finish(closed);
            }
            // A new link of ours has taken over: not the end.
            CloseReason::Superseded if self.joining.is_none() => {
                let message = "another pyile with the same key has joined and taken your place";
                self.finish(Closed::new(CloseReason::Superseded, message));
            }
            reason => self.lost(&reason.into()),
        }
    }

    /// Admitted: the roster is here and signed by the host. First comes what the history knows of this network.
    pub(in crate::proto) fn recall(&mut self, roster: Roster, header: Authenticated) {
        if self.recalled == Some(header.network.id) {
            return self.joined(roster, header, None);
        }
        if self.joined_before {
            let message = "the host came back with another network; join anew";
            return self.finish(Closed::new(CloseReason::HostLost, message));
        }
        let network = Network { name: SafeText::line(&header.network.name).to_string(), ..header.network };
        if let Some(joining) = &mut self.joining {
            joining.step = Step::Recalling(Box::new((roster, header)), Vec::new());
        }
        self.turn.store(StoreCommand::History(HistoryCommand::Recall(network)));
    }

    /// The history has told what it knows.
    pub(in crate::proto) fn recalled(&mut self, recalled: Recalled) {
        if self.recalled_to_open(&recalled) {
            return;
        }
        let Some(Joining { step, conn, .. }) = &mut self.joining else { return };
        let conn = *conn;
        let Step::Recalling(joining, waiting) = step else { return };
        let waiting = std::mem::take(waiting);
        let (roster, header) = (**joining).clone();
        self.joined(roster, header, Some(recalled));
        for frame in waiting {
            self.frame(conn, frame);
        }
    }

    /// Becomes a member: the roster and the history are here.
    fn joined(&mut self, roster: Roster, header: Authenticated, recalled: Option<Recalled>) {
        let Some(joining) = self.joining.take() else { return };
        self.turn.timers.cancel(Timer::Admission(joining.conn));
        self.turn.timers.cancel(Timer::Slow);
        self.recalled = Some(header.network.id);
        let host = joining.host;
        self.take_host(&joining);
        self.end_absence();
        let is_first = !std::mem::replace(&mut self.joined_before, true);
        let name = SafeText::line(&header.network.name);
        let network_id = header.network.id;
        self.group.host_addr = Some(joining.connected.remote);
        self.group.network = Some(header.network);
        self.group.policy = header.policy;
        self.turn.ask(Ask::PolicyChanged);
        if is_first && let Some(peer_addr) = joining.connected.listening.first().copied() {
            self.turn.event(NodeEvent::Listening {
                role: Role::Member,
                join_addr: None,
                peer_addr,
                peer_id: self.group.me(),
                alias: self.group.alias.clone(),
                network: name.clone(),
                network_id,
            });
        }
        let changes = self.group.roster.replace(roster);
        let mut events = self.group.learn(&changes, !is_first);
        events.extend(self.group.take_for_present());
        if let Some(host) = self.group.person(&host) {
            let event = NodeEvent::Authenticated { host, network: name.clone() };
            self.turn.event(event);
        }
        self.turn.events(events);
        self.decide_cleartext();
        if let Some(recalled) = recalled {
            self.turn.ask(Ask::Recall(Box::new(recalled)));
        }
        self.turn.ask(Ask::RosterChanged(changes));
        self.turn.ask(Ask::HostIsBack);
        // A newcomer that may not read back has missed nothing.
        if joining.known || header.policy.read_back > 0 {
            self.turn.ask(Ask::CatchUp);
        }
        self.turn.send(joining.conn, &Frame::RosterApplied(self.group.roster.version()));
        self.tell_bans();
        self.present_again();
        self.host.known = Some(KnownHost {
            target: self.host.target.clone(),
            peer_id: host,
            network: name.to_string(),
            alias: self.group.alias.clone(),
            joined: self.turn.now.wall,
            classic: false,
            network_id: Some(network_id),
            handed_over: self.host.is_handed_over,
            version: self.group.roster.version(),
            deputy: self.deputy.statement.clone(),
        });
        self.remember();
    }

    /// The link over which it was admitted is the one to its host. What it was admitted by has done its work.
    fn take_host(&mut self, joining: &Joining) {
        if let Some(before) = self.link.take() {
            self.turn.timers.cancel(Timer::Beat(before.conn));
            self.turn.close(before.conn, CloseReason::Superseded);
        }
        self.host.key = Some(joining.host);
        self.went_back(&joining.host, joining.connected.remote);
        self.group.join_links = BTreeMap::from([(joining.host, joining.conn)]);
        let detector = Detector::new(self.turn.now.instant);
        self.turn.timers.set(Timer::Beat(joining.conn), detector.deadline());
        self.link =
            Some(HostLink { conn: joining.conn, detector, assembly: None, asked: false, has_told: false });
        // A classic host knows a member by the password alone.
        if self.wire() == Wire::Native {
            self.password = None;
        }
        self.pass = None;
        self.invites_asked = 0;
        if std::mem::take(&mut self.host.is_invited) {
            // Of its addresses the one that answers is the best, and is where it is looked for next time.
            self.host.target = joining.connected.remote.to_string();
        }
    }

    /// The host is here, the old one or another: looking for it, and taking over, are at an end.
    fn end_absence(&mut self) {
        self.rejoining.began = None;
        self.deputy.host_is_here();
        self.called_off();
        self.rejoining.alone_until = None;
        self.group.is_out = false;
        self.rejoining.backoff.reset();
        for timer in [Timer::Grace, Timer::Rejoin, Timer::HostLost] {
            self.turn.timers.cancel(timer);
        }
    }

    /// What the host tells everybody who comes in, once.
    pub(super) fn notes(&mut self, notes: &Notes) {
        let Some(link) = self.link.as_mut().filter(|link| !link.has_told) else { return };
        link.has_told = true;
        let notes = Notes::new(notes.topic.as_str(), notes.rules.as_str());
        // Whoever comes back knows it.
        if self.notes.replace(notes.clone()).as_ref() != Some(&notes) {
            self.turn.event(NodeEvent::Notes(notes));
        }
    }

    /// Keeps what is known of the network.
    pub(in crate::proto) fn remember(&mut self) {
        let Some(known) = &mut self.host.known else { return };
        known.classic = self.consent.was_classic == Some(true);
        self.turn.store(StoreCommand::RememberHost(Box::new(known.clone())));
    }
}
