//! What everybody saw, and the laws that it must keep to at every step.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    path::PathBuf,
    time::Duration,
};

use pyile::{
    api::NodeEvent,
    model::{CloseReason, DeliveryStatus, ErrorKind, FailReason, MessageId, PeerId, Recipient, Role},
    store::{Filter, export},
};

/// The host stands first in the book.
pub(crate) const HOST: usize = 0;

/// What one person saw.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) id: Option<PeerId>,
    /// In the network, as far as this person can tell.
    pub(crate) is_in: bool,
    /// It was in this session.
    pub(crate) was_in: bool,
    /// Its roster says that it is the host.
    pub(crate) is_host: bool,
    pub(crate) end: Option<CloseReason>,
    /// What it may lack, since its profile was put back.
    pub(crate) lost: BTreeSet<MessageId>,
    pub(crate) roster: (u64, Vec<PeerId>),
    /// Every message that was shown.
    pub(crate) seen: BTreeMap<MessageId, String>,
    /// Those of this session.
    pub(crate) seen_now: BTreeSet<MessageId>,
    /// The last number of each stream in this session, what came late left out.
    pub(crate) last: BTreeMap<(PeerId, u64, Recipient), u64>,
    pub(crate) said: BTreeMap<MessageId, String>,
    /// When it was first in the host's roster.
    pub(crate) member_since: Option<Duration>,
    /// What became of own messages for good, as told in this session.
    pub(crate) settled: BTreeSet<(MessageId, PeerId)>,
    pub(crate) deliveries: BTreeMap<(MessageId, PeerId), (DeliveryStatus, Option<FailReason>)>,
}

/// A joiner did not get through, for a reason that time may mend.
pub(crate) fn may_try_again(reason: CloseReason) -> bool {
    use CloseReason::{Busy, ConnectionLost, NotPyile, TimedOut, Unreachable};
    matches!(reason, Unreachable | TimedOut | ConnectionLost | Busy | NotPyile)
}

/// Everybody's records.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) people: Vec<Record>,
    /// Every roster that the host has distributed.
    distributed: BTreeSet<(u64, Vec<PeerId>)>,
    /// Whom the host has removed: they need the password again.
    kicked: BTreeSet<PeerId>,
    /// A digest of everything that everybody was shown.
    digest: DefaultHasher,
    /// The same in full, when it is wanted.
    pub(crate) trace: Option<File>,
    /// Whom the host has banned, and told so.
    pub(crate) banned: BTreeSet<PeerId>,
    banned_once: BTreeSet<PeerId>,
    /// When messages to everyone were taken for sending.
    said_at: BTreeMap<MessageId, Duration>,
    pub(crate) violations: Vec<String>,
    /// For the sake of the report: how much happened.
    pub(crate) delivered: usize,
    pub(crate) carried: usize,
}

impl Book {
    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub(crate) fn begin(&mut self, who: usize, id: PeerId) {
        let record = &mut self.people[who];
        record.id = Some(id);
        (record.was_in, record.is_host, record.end) = (false, false, None);
        record.seen_now.clear();
        record.last.clear();
        // A crash may forget that something was acknowledged: it goes again, and is acknowledged again.
        record.settled.clear();
    }

    /// Somebody has lost what it kept since its profile was copied: it need not have what was delivered before, and what
    /// it has said since then it may have forgotten.
    pub(crate) fn put_back(&mut self, who: usize) {
        let Some(id) = self.people[who].id else { return };
        let record = &mut self.people[who];
        record.deliveries.retain(|_, (status, _)| *status == DeliveryStatus::Delivered);
        // Its acknowledgements may be on their way.
        record.lost.extend(record.seen.keys().copied());
        for record in &mut self.people {
            record
                .deliveries
                .retain(|(_, peer), (status, _)| *peer != id || *status != DeliveryStatus::Delivered);
        }
    }

    pub(crate) fn person(&self, id: &PeerId) -> Option<usize> {
        self.people.iter().position(|record| record.id == Some(*id))
    }

    fn name(&self, id: &PeerId) -> String {
        self.person(id).map_or_else(|| id.short(), |who| self.people[who].name.clone())
    }

    /// Somebody was shown something.
    pub(crate) fn note(&mut self, who: usize, event: &NodeEvent) {
        let line = format!("{:.3} {} {event:?}", turmoil::elapsed().as_secs_f64(), self.people[who].name);
        line.hash(&mut self.digest);
        if let Some(trace) = &mut self.trace {
            writeln!(trace, "{line}").unwrap();
        }
        match event {
            NodeEvent::Listening { role: Role::Host, .. } => {
                let record = &mut self.people[who];
                (record.is_in, record.is_host) = (true, true);
            }
            NodeEvent::Authenticated { .. } => {
                let record = &mut self.people[who];
                (record.is_in, record.was_in) = (true, true);
            }
            NodeEvent::PeerDown { peer, reason: CloseReason::Kicked } if who == HOST => {
                self.kicked.insert(peer.peer_id);
            }
            NodeEvent::Roster { version, peers } => {
                let me = self.people[who].id;
                let own = peers.iter().find(|peer| Some(peer.peer_id) == me);
                self.people[who].is_host = own.is_some_and(|own| own.role == Role::Host);
                let ids: Vec<PeerId> = peers.iter().map(|peer| peer.peer_id).collect();
                self.roster(who, *version, ids, peers.iter().map(|peer| peer.alias.as_str()));
            }
            NodeEvent::Message { id, from, to, text, own, late, .. } => {
                if id.author != from.peer_id {
                    self.broken(who, &format!("{id} is shown as {}'s", from.alias));
                }
                self.message(who, *id, *to, text.as_str(), *own, *late);
            }
            NodeEvent::Delivery { id, peer, status, reason, .. } => {
                self.delivery(who, *id, peer.peer_id, *status, *reason);
            }
            NodeEvent::Route { via: Some(_), .. } => self.carried += 1,
            NodeEvent::Banned { peer_id: Some(peer), .. } if who == HOST => {
                self.banned.insert(*peer);
                self.banned_once.insert(*peer);
            }
            NodeEvent::Unbanned { peer_id: Some(peer), .. } if who == HOST => _ = self.banned.remove(peer),
            NodeEvent::Error { kind: ErrorKind::Recv | ErrorKind::Storage, message, .. } => {
                self.broken(who, &format!("error: {message}"));
            }
            NodeEvent::Left { reason, message, .. } => {
                let record = &mut self.people[who];
                (record.end, record.is_in) = (Some(*reason), false);
                // Whoever cannot get in tries again by itself once it was in, and not before.
                let is_kicked = self.kicked.contains(&record.id.unwrap());
                let is_lawful = match reason {
                    CloseReason::Left
                    | CloseReason::Kicked
                    | CloseReason::Banned
                    | CloseReason::WrongPassword => true,
                    CloseReason::HostLost => is_kicked,
                    reason => !record.was_in && may_try_again(*reason),
                };
                if !is_lawful {
                    self.broken(who, &format!("ended with {reason:?}: {message}"));
                }
            }
            _ => {}
        }
    }

    fn roster<'a>(
        &mut self,
        who: usize,
        version: u64,
        mut ids: Vec<PeerId>,
        aliases: impl Iterator<Item = &'a str>,
    ) {
        let mut unique = BTreeSet::new();
        for alias in aliases {
            if !unique.insert(alias) {
                self.broken(who, &format!("{alias:?} is twice in roster {version}"));
            }
        }
        ids.sort_unstable();
        if self.people[who].is_host {
            if let Some(banned) = ids.iter().find(|id| self.banned.contains(id)) {
                self.broken(who, &format!("{} is banned and in roster {version}", self.name(banned)));
            }
            for record in &mut self.people {
                if record.id.is_some_and(|id| ids.contains(&id)) {
                    record.member_since.get_or_insert_with(turmoil::elapsed);
                }
            }
            self.distributed.insert((version, ids.clone()));
        } else if ids.len() > 1 && !self.distributed.contains(&(version, ids.clone())) {
            self.broken(who, &format!("has a roster {version} that the host has not distributed"));
        }
        self.people[who].roster = (version, ids);
    }

    fn message(&mut self, who: usize, id: MessageId, to: Recipient, text: &str, own: bool, late: bool) {
        let me = self.people[who].id;
        if let Recipient::Peer(peer) = to
            && !own
            && Some(peer) != me
        {
            self.broken(who, &format!("{id} was for somebody else"));
        }
        if own {
            if to == Recipient::Everyone {
                self.said_at.insert(id, turmoil::elapsed());
            }
            if self.people[who].said.insert(id, text.to_owned()).is_some() {
                self.broken(who, &format!("{id} is used twice"));
            }
            return;
        }
        let author = self.person(&id.author);
        // Its author may have been shown that it was taken only after it had arrived, or not at all.
        let said = author.and_then(|author| self.people[author].said.get(&id));
        if let Some(said) = said.filter(|said| *said != text) {
            self.broken(who, &format!("{id} says {text:?} and not {said:?}"));
        }
        let record = &mut self.people[who];
        if !record.seen_now.insert(id) {
            return self.broken(who, &format!("{id} is shown twice"));
        }
        record.seen.insert(id, text.to_owned());
        let last = record.last.entry((id.author, id.epoch, to)).or_default();
        if !late {
            if id.sequence <= *last {
                let last = *last;
                return self.broken(who, &format!("{id} comes after {last}"));
            }
            *last = id.sequence;
        }
    }

    fn delivery(
        &mut self,
        who: usize,
        id: MessageId,
        peer: PeerId,
        status: DeliveryStatus,
        reason: Option<FailReason>,
    ) {
        if status == DeliveryStatus::Delivered {
            self.delivered += 1;
            let has_it = self.person(&peer).is_some_and(|peer| self.people[peer].seen.contains_key(&id));
            if !has_it {
                self.broken(who, &format!("{id} is said to be delivered to {}", self.name(&peer)));
            }
        }
        let record = &mut self.people[who];
        record.deliveries.insert((id, peer), (status, reason));
        if record.settled.contains(&(id, peer)) {
            return self.broken(who, &format!("{id} to {} was settled, now {status:?}", self.name(&peer)));
        }
        if status != DeliveryStatus::Queued {
            record.settled.insert((id, peer));
        }
    }

    pub(crate) fn broken(&mut self, who: usize, what: &str) {
        let name = &self.people[who].name;
        self.violations.push(format!("{name}: {what}"));
    }

    /// What is still to come before all is as it should be, once nothing stands in the way any more.
    pub(crate) fn unfinished(&self, members: &BTreeSet<usize>) -> Option<String> {
        let mut expected: Vec<PeerId> =
            members.iter().map(|who| self.people[*who].id.expect("everybody has begun")).collect();
        expected.sort_unstable();
        for who in members {
            let record = &self.people[*who];
            if !record.is_in {
                return Some(format!("{} is not in ({:?})", record.name, record.end));
            }
            if record.roster.1 != expected {
                let (version, ids) = &record.roster;
                let names: Vec<String> = ids.iter().map(|id| self.name(id)).collect();
                return Some(format!("{} has roster {version}: {names:?}", record.name));
            }
            let host = members.iter().map(|who| &self.people[*who]).find(|record| record.is_host);
            if host.is_none_or(|host| record.roster.0 != host.roster.0) {
                return Some(format!("{} has another version of the roster than the host", record.name));
            }
        }
        for record in &self.people {
            let is_here = record.id.is_some_and(|id| expected.contains(&id));
            for ((id, peer), (status, reason)) in &record.deliveries {
                let is_final = match status {
                    DeliveryStatus::Delivered => true,
                    DeliveryStatus::Failed => {
                        matches!(reason, Some(FailReason::Closed(CloseReason::Kicked | CloseReason::Banned)))
                    }
                    // It went, and was not acknowledged when one of them was removed, who may be back by now.
                    DeliveryStatus::Sent
                        if [*peer, id.author]
                            .iter()
                            .any(|id| self.kicked.contains(id) || self.banned_once.contains(id)) =>
                    {
                        true
                    }
                    _ => !is_here || !expected.contains(peer),
                };
                if !is_final {
                    return Some(format!(
                        "{id} of {} to {} is {status:?} {reason:?}",
                        record.name,
                        self.name(peer)
                    ));
                }
            }
        }
        None
    }

    /// What somebody has not got yet that was said to everyone after it came in: the host has it, or its author, who is
    /// here. Of those who were removed at some time nobody can say so simply what they may say and read.
    pub(crate) fn missed(&self, members: &BTreeSet<usize>) -> Option<String> {
        let was_removed = |id: &PeerId| self.kicked.contains(id) || self.banned_once.contains(id);
        let ids = |who: &usize| -> BTreeSet<MessageId> {
            let mut ids = BTreeSet::new();
            export(&self.people[*who].dir, &Filter::default(), |exported| {
                ids.insert(exported.message.id);
                true
            })
            .unwrap();
            ids
        };
        let disks: BTreeMap<usize, BTreeSet<MessageId>> =
            members.iter().map(|who| (*who, ids(who))).collect();
        let is_here =
            |(who, id): (&usize, &MessageId)| *who == HOST || self.people[*who].id == Some(id.author);
        let said = |who| {
            let of_all =
                disks[who].iter().filter(|id| id.to == Recipient::Everyone && !was_removed(&id.author));
            of_all.filter(move |id| is_here((who, id)))
        };
        let said: BTreeSet<MessageId> = disks.keys().flat_map(said).copied().collect();
        for who in members {
            let record = &self.people[*who];
            let (Some(me), Some(since)) = (record.id, record.member_since) else { continue };
            if was_removed(&me) {
                continue;
            }
            // What somebody has said itself, and forgotten with its copy, it does not read again.
            let is_for_me = |id: &&MessageId| {
                id.author != me && self.said_at.get(id).is_some_and(|at| *at > since + Duration::from_secs(1))
            };
            let missing: Vec<_> =
                said.iter().filter(is_for_me).filter(|id| !disks[who].contains(id)).collect();
            if let Some(first) = missing.first() {
                return Some(format!("{} has missed {}, {first} the first", record.name, missing.len()));
            }
        }
        None
    }

    /// What is on the disks: every message that was delivered is on its recipient's exactly once, and none that has
    /// failed; what one author says to one audience stands in order.
    pub(crate) fn check_disks(&mut self) {
        let mut violations = Vec::new();
        let mut disks: BTreeMap<PeerId, BTreeMap<MessageId, (usize, String)>> = BTreeMap::new();
        for record in &self.people {
            let Some(id) = record.id else { continue };
            let disk = disks.entry(id).or_default();
            let mut last = BTreeMap::new();
            export(&record.dir, &Filter::default(), |exported| {
                let id = exported.message.id;
                let text = exported.message.text.as_str().to_owned();
                disk.entry(id).or_insert((0, text)).0 += 1;
                let before = last
                    .insert((id.author, id.to), id)
                    .filter(|before| (before.epoch, before.sequence) > (id.epoch, id.sequence));
                if let Some(before) = before {
                    violations.push(format!("{} has {before} before {id}", record.name));
                }
                true
            })
            .unwrap();
        }
        for record in &self.people {
            for ((id, peer), (status, _)) in &record.deliveries {
                let found = disks.get(peer).and_then(|disk| disk.get(id));
                // What was said to everyone may be handed on to somebody who is let in again.
                let is_direct = id.to != Recipient::Everyone;
                if *status == DeliveryStatus::Failed && is_direct && found.is_some() {
                    violations
                        .push(format!("{id} to {} has failed, and is on disk: {found:?}", self.name(peer)));
                }
                if *status != DeliveryStatus::Delivered {
                    continue;
                }
                let text = record.said.get(id);
                let is_lost = self.person(peer).is_some_and(|who| self.people[who].lost.contains(id));
                match found {
                    None if is_lost => {}
                    Some((1, found)) if text.is_none_or(|text| text == found) => {}
                    found => violations.push(format!("{id} to {} is on disk: {found:?}", self.name(peer))),
                }
            }
        }
        self.violations.extend(violations);
    }
}
