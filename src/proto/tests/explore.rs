//! Every order, not only random ones: the messaging of an author and a recipient, over the real machines, through every
//! sequence of sending, committing, delivering, losing a link, crashing before and after a commit, a profile put back
//! from a copy, and a removal.
//!
//! What must hold in each: nothing is called delivered that is not on the recipient's disk, nothing is on it twice,
//! nothing that is called failed arrives, and everything ends.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::*;
use crate::{
    model::{HistoryState, RosterEntry},
    proto::{group::Group, mesh, mesh::Mesh},
    wire::PeerHello,
};

const NETWORK: NetworkId = NetworkId([1; 16]);
const MESSAGES: u8 = 3;
/// Faults of one sequence: enough for each pair of them, in each order.
const FAULTS: u8 = 2;

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    Say,
    /// A disk takes what waits, and says so.
    Commit(usize),
    /// A disk takes what waits, and the machine stops before anybody is told.
    CommitAndCrash(usize),
    Crash(usize),
    /// The next frame to this end.
    Deliver(usize),
    LoseLink,
    /// The author's profile is copied; it is put back later.
    Copy,
    PutBack,
    Remove,
}

/// The author is the first, the recipient the second.
struct End {
    identity: Arc<Identity>,
    group: Group,
    mesh: Mesh,
    store: SimStore,
    waiting: Vec<StoreCommand>,
    /// Everything that is on the way to it.
    inbound: VecDeque<Frame>,
}

struct Pair {
    now: Moment,
    to: Recipient,
    ends: Vec<End>,
    link: Option<ConnId>,
    next: u64,
    said: u8,
    faults: u8,
    copy: Option<Kept>,
    was_put_back: bool,
    removed: bool,
    /// What the author said under which number, as it was told.
    words: BTreeMap<MessageId, String>,
    delivered: BTreeSet<MessageId>,
    failed: BTreeSet<MessageId>,
}

fn other(end: usize) -> usize {
    1 - end
}

impl Pair {
    fn new(to_everyone: bool, identities: &[Arc<Identity>], begin: Instant) -> Self {
        let now = Moment { instant: begin, wall: Timestamp(1_700_000_000_000_000) };
        let to = if to_everyone { Recipient::Everyone } else { Recipient::Peer(identities[1].peer_id()) };
        let end = |identity: &Arc<Identity>| {
            let store = SimStore::new(identity.peer_id(), true);
            let (group, mesh) = Self::started(identity, identities, &store, now);
            let (waiting, inbound) = (Vec::new(), VecDeque::new());
            End { identity: identity.clone(), group, mesh, store, waiting, inbound }
        };
        let ends = identities.iter().map(end).collect();
        Self {
            now,
            to,
            ends,
            link: None,
            next: 0,
            said: 0,
            faults: 0,
            copy: None,
            was_put_back: false,
            removed: false,
            words: BTreeMap::new(),
            delivered: BTreeSet::new(),
            failed: BTreeSet::new(),
        }
    }

    fn started(
        identity: &Arc<Identity>,
        identities: &[Arc<Identity>],
        store: &SimStore,
        now: Moment,
    ) -> (Group, Mesh) {
        let alias = |at: usize| Alias::new(["ann", "bob"][at]).unwrap();
        let me = identities.iter().position(|other| other.peer_id() == identity.peer_id()).unwrap();
        let entry = |at: usize| RosterEntry {
            peer_id: identities[at].peer_id(),
            alias: alias(at),
            role: crate::model::Role::Member,
            wire: Wire::Native,
            addrs: vec!["10.0.0.1:50000".parse().unwrap()],
            since: Timestamp(0),
            status: None,
        };
        let (mut group, changes) = group_of(["ann", "bob"][me], identity.clone(), vec![entry(0), entry(1)]);
        group.policy = Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() };
        let mut mesh = Mesh::new(MemoryLimits::default(), now, &mut ChaCha20Rng::from_seed([7; 32]));
        let recalled = Recalled { state: HistoryState::Saved, ..store.recall() };
        mesh.messaging.recall(&mut group, recalled);
        mesh.roster_changed(&mut group, &changes);
        (group, mesh)
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.said < MESSAGES && !self.removed {
            steps.push(Step::Say);
        }
        for (at, end) in self.ends.iter().enumerate() {
            if !end.waiting.is_empty() {
                steps.push(Step::Commit(at));
            }
            if !end.inbound.is_empty() {
                steps.push(Step::Deliver(at));
            }
        }
        if self.faults < FAULTS {
            for (at, end) in self.ends.iter().enumerate() {
                steps.push(Step::Crash(at));
                if !end.waiting.is_empty() {
                    steps.push(Step::CommitAndCrash(at));
                }
            }
            if self.link.is_some() {
                steps.push(Step::LoseLink);
            }
            if self.copy.is_none() && self.said > 0 {
                steps.push(Step::Copy);
            }
            if self.copy.is_some() {
                steps.push(Step::PutBack);
            }
            if !self.removed {
                steps.push(Step::Remove);
            }
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Say => {
                self.said += 1;
                let text = SafeText::clean(&self.said.to_string());
                let end = &mut self.ends[0];
                end.mesh.messaging.send(&end.group, self.to, text, None).unwrap();
            }
            Step::Commit(at) => self.commit(at),
            Step::CommitAndCrash(at) => {
                for command in std::mem::take(&mut self.ends[at].waiting) {
                    self.ends[at].store.command(command);
                }
                self.crash(at);
            }
            Step::Crash(at) => self.crash(at),
            Step::Deliver(at) => {
                let Some(frame) = self.ends[at].inbound.pop_front() else { return };
                let Some(link) = self.link else { return };
                let end = &mut self.ends[at];
                end.mesh.links.frame(&end.group, link, frame);
            }
            Step::LoseLink => {
                self.faults += 1;
                self.lose_link();
            }
            Step::Copy => {
                self.copy = Some(self.ends[0].store.kept.clone());
            }
            Step::PutBack => {
                if let Some(copy) = self.copy.clone() {
                    self.ends[0].store.kept = copy;
                    self.was_put_back = true;
                    self.crash(0);
                }
            }
            Step::Remove => {
                self.faults += 1;
                self.removed = true;
                let gone = self.ends[1].identity.peer_id();
                let end = &mut self.ends[0];
                let entry = end.group.roster.get(&gone).cloned().unwrap();
                let me = end.group.me();
                end.group.roster = end.group.roster.alone(&me);
                let changes = crate::proto::roster::Changes {
                    removed: vec![(entry, CloseReason::Kicked)],
                    ..Default::default()
                };
                end.group.learn(&changes, true);
                end.mesh.roster_changed(&mut end.group, &changes);
            }
        }
        self.run();
    }

    fn commit(&mut self, at: usize) {
        let end = &mut self.ends[at];
        for command in std::mem::take(&mut end.waiting) {
            for event in end.store.command(command) {
                end.mesh.messaging.history(&end.group, event);
            }
        }
    }

    /// What was not committed is forgotten; it begins again with the rest.
    fn crash(&mut self, at: usize) {
        self.faults += 1;
        self.lose_link();
        self.pass(1);
        let identities: Vec<Arc<Identity>> = self.ends.iter().map(|end| end.identity.clone()).collect();
        let end = &mut self.ends[at];
        end.waiting.clear();
        let (group, mesh) = Self::started(&identities[at], &identities, &end.store, self.now);
        (end.group, end.mesh) = (group, mesh);
        if at == 0 && self.removed {
            // The host's word outlives the crash.
            self.removed = false;
            self.faults -= 1;
            self.take(Step::Remove);
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        for end in &mut self.ends {
            end.mesh.begin_turn(self.now);
        }
    }

    fn lose_link(&mut self) {
        let Some(link) = self.link.take() else { return };
        self.pass(10);
        for end in &mut self.ends {
            end.inbound.clear();
            end.mesh.closed(&end.group, link, &CloseReason::ConnectionLost.into());
        }
    }

    /// Does what the machines say, links included, until they wait for something that is a step of its own.
    fn run(&mut self) {
        loop {
            let mut dial = None;
            let mut closed = false;
            for at in 0..2 {
                let end = &mut self.ends[at];
                end.mesh.messaging.end_turn(&end.group);
                // Waits for another try are over at once.
                let peer = self.ends[other(at)].identity.peer_id();
                let end = &mut self.ends[at];
                end.mesh.dial_now(&mut end.group, peer);
                for ask in end.mesh.take(&mut end.group) {
                    let mesh::Ask::Output(output) = ask else { continue };
                    match output {
                        // Nothing goes over a link after it is closed.
                        Output::Send(_, bytes) if self.link.is_some() && !closed => {
                            self.ends[other(at)].inbound.push_back(Frame::decode(&bytes).unwrap());
                        }
                        Output::Close(..) => closed = true,
                        Output::Dial(..) => dial = Some(at),
                        Output::Store(command) => self.ends[at].waiting.push(command),
                        Output::Event(event) if at == 0 => self.told(event),
                        _ => {}
                    }
                }
            }
            if closed {
                self.part();
            } else if let Some(from) = dial {
                self.connect(from);
            } else {
                return;
            }
        }
    }

    /// One end has closed the link: what it sent before arrives.
    fn part(&mut self) {
        let Some(link) = self.link.take() else { return };
        for at in [1, 0] {
            while let Some(frame) = self.ends[at].inbound.pop_front() {
                let end = &mut self.ends[at];
                if end.mesh.links.has(link) {
                    end.mesh.links.frame(&end.group, link, frame);
                }
            }
            let end = &mut self.ends[at];
            end.mesh.closed(&end.group, link, &CloseReason::ConnectionLost.into());
        }
    }

    fn connect(&mut self, from: usize) {
        if self.link.is_some() || self.removed {
            return;
        }
        self.next += 1;
        let link = ConnId(self.next);
        self.link = Some(link);
        let addr: SocketAddr = "10.0.0.1:1".parse().unwrap();
        let now = self.now;
        for at in 0..2 {
            let kind = if at == from { LinkKind::PeerOut } else { LinkKind::PeerIn };
            let secured = Secured { peer: self.ends[other(at)].identity.peer_id(), binding: [0; 32] };
            let connected = Connected {
                link: kind,
                secured,
                remote: addr,
                local: addr,
                listening: Vec::new(),
                via: None,
            };
            let end = &mut self.ends[at];
            end.mesh.connected(&end.group, link, &connected);
            let hello = Frame::PeerHello(PeerHello { network: NETWORK, now: now.wall });
            end.mesh.links.frame(&end.group, link, hello);
        }
        // Their own greetings are here already.
        for at in 0..2 {
            let end = &mut self.ends[at];
            end.mesh.forget_outputs(&mut end.group, |output| {
                matches!(output, Output::Send(_, bytes) if matches!(Frame::decode(bytes), Ok(Frame::PeerHello(_))))
            });
        }
    }

    fn told(&mut self, event: NodeEvent) {
        let bob = self.ends[1].identity.peer_id();
        for line in event.expand() {
            match line {
                NodeEvent::Message { id, text, own: true, .. } => {
                    self.words.insert(id, text.to_string());
                }
                NodeEvent::Delivery { id, peer, status, .. } if peer.peer_id == bob => match status {
                    DeliveryStatus::Delivered => _ = self.delivered.insert(id),
                    DeliveryStatus::Failed => _ = self.failed.insert(id),
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// What is wrong, if anything is.
    fn wrong(&self) -> Option<String> {
        let mut disk: BTreeMap<MessageId, Vec<String>> = BTreeMap::new();
        for message in self.ends[1].store.messages() {
            disk.entry(message.id).or_default().push(message.text);
        }
        if let Some((id, texts)) = disk.iter().find(|(_, texts)| texts.len() > 1) {
            return Some(format!("{id} is kept twice: {texts:?}"));
        }
        let own: BTreeSet<MessageId> = self.ends[0].store.messages().iter().map(|m| m.id).collect();
        if let Some(id) = disk.keys().find(|id| !self.was_put_back && !own.contains(id)) {
            return Some(format!("{id} has left, and its author does not have it"));
        }
        for id in &self.delivered {
            let kept = disk.get(id).and_then(|texts| texts.first());
            if kept.is_none() || self.words.get(id).is_some_and(|said| Some(said) != kept) {
                return Some(format!("{id} is called delivered, and there is {kept:?}"));
            }
        }
        let arrived = self.failed.iter().find(|id| disk.contains_key(id));
        arrived.map(|id| format!("{id} is called failed, and has arrived"))
    }

    /// Lets everything run to its end. What is missing then?
    fn finish(&mut self) -> Option<String> {
        for _ in 0..200 {
            if let Some(wrong) = self.wrong() {
                return Some(wrong);
            }
            let next = [Step::Commit(0), Step::Deliver(1), Step::Commit(1), Step::Deliver(0)]
                .into_iter()
                .find(|step| self.steps().contains(step));
            match next {
                Some(step) => self.take(step),
                None => break,
            }
        }
        if self.steps().iter().any(|step| matches!(step, Step::Commit(_) | Step::Deliver(_))) {
            return Some("it does not end".to_owned());
        }
        let bob = self.ends[1].identity.peer_id();
        if !self.removed && self.ends[0].mesh.messaging.is_pending(&bob) {
            return Some("something waits for ever".to_owned());
        }
        // What the author's disk has, the recipient has, unless it was removed.
        let here: BTreeSet<MessageId> = self.ends[1].store.messages().iter().map(|m| m.id).collect();
        let own = self.ends[0].store.messages();
        let lost = own.iter().find(|message| {
            message.id.author == self.ends[0].identity.peer_id() && !here.contains(&message.id)
        });
        lost.filter(|_| !self.removed).map(|message| format!("{} never arrives", message.id))
    }

    /// Two states with the same fingerprint go on alike.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        // Connections and questions are counted on, whatever happened.
        let link = self.link.map_or(0, |link| link.0);
        (self.said, self.faults, self.removed, self.copy.is_some(), link).hash(&mut hasher);
        for end in &self.ends {
            format!("{:?}{:?}{:?}", end.inbound, end.waiting, end.mesh.messaging.state_of_streams())
                .hash(&mut hasher);
            format!("{:?}", end.store.kept).hash(&mut hasher);
        }
        format!("{:?}{:?}{:?}", self.delivered, self.failed, self.copy).hash(&mut hasher);
        hasher.finish()
    }
}

fn replay(to_everyone: bool, identities: &[Arc<Identity>], begin: Instant, path: &[Step]) -> Pair {
    let mut pair = Pair::new(to_everyone, identities, begin);
    pair.run();
    for step in path {
        pair.take(*step);
    }
    pair
}

/// Goes through every sequence of so many steps, the shortest first, each then run to its end. Gives how many states
/// there are.
fn explore(to_everyone: bool, depth: usize) -> usize {
    let identities: Vec<Arc<Identity>> = (0..2).map(|_| Arc::new(Identity::generate().unwrap().0)).collect();
    let begin = Sim::host().now.instant;
    let mut seen = BTreeSet::new();
    let mut open: VecDeque<Vec<Step>> = VecDeque::from([Vec::new()]);
    while let Some(path) = open.pop_front() {
        let mut pair = replay(to_everyone, &identities, begin, &path);
        if let Some(wrong) = pair.wrong() {
            panic!("{path:?}: {wrong}");
        }
        if !seen.insert(pair.fingerprint()) {
            continue;
        }
        if path.len() < depth {
            open.extend(pair.steps().into_iter().map(|step| [&path[..], &[step]].concat()));
        }
        if let Some(wrong) = pair.finish() {
            panic!("{path:?}, and then to its end: {wrong}");
        }
    }
    seen.len()
}

#[test]
fn every_order_of_what_is_said_to_one() {
    let states = explore(false, 9);
    assert!(states > 10_000, "{states}");
}

#[test]
fn every_order_of_what_is_said_to_everyone() {
    let states = explore(true, 9);
    assert!(states > 10_000, "{states}");
}

#[test]
#[ignore = "a quarter of an hour; for a change of the log or of what is acknowledged"]
fn every_order_further() {
    for to_everyone in [false, true] {
        assert!(explore(to_everyone, 12) > 100_000);
    }
}
