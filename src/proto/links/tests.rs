//! The links alone: no message, no history, no other node.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand_core::SeedableRng as _;

use super::*;
use crate::{
    model::{Alias, Role, RosterEntry, Timestamp},
    proto::{roster::Roster, tests::group_of},
    security::{Identity, tls::Secured},
    wire::{Addressed, Beat},
};

const NETWORK: NetworkId = NetworkId([1; 16]);

/// To whom something is to go, and who owes an answer.
#[derive(Default)]
struct Wants {
    links: BTreeSet<PeerId>,
    answers: BTreeSet<PeerId>,
}

impl Demand for Wants {
    fn wants_link(&self, peer: &PeerId) -> bool {
        self.links.contains(peer)
    }

    fn awaits_answer(&self, peer: &PeerId) -> bool {
        self.answers.contains(peer)
    }
}

struct Bench {
    links: Links,
    group: Group,
    wants: Wants,
}

fn peer(number: u8) -> PeerId {
    PeerId([number; 32])
}

fn entry(peer_id: PeerId, role: Role) -> RosterEntry {
    let alias = Alias::new(&format!("peer-{}", peer_id.0[0])).unwrap();
    let addrs = vec!["10.0.0.9:50000".parse().unwrap()];
    RosterEntry {
        peer_id,
        alias,
        role,
        wire: crate::model::Wire::Native,
        addrs,
        since: Timestamp(0),
        status: None,
    }
}

impl Bench {
    /// A member of a network with these others; 1 is the host.
    fn with(others: &[u8]) -> Self {
        let identity = Arc::new(Identity::generate().unwrap().0);
        let role = |number| if number == 1 { Role::Host } else { Role::Member };
        let others = others.iter().map(|number| entry(peer(*number), role(*number)));
        let entries = others.chain([entry(identity.peer_id(), Role::Member)]).collect();
        let (group, _) = group_of("me", identity, entries);
        let now = Moment { instant: Instant::now(), wall: Timestamp(1_700_000_000_000_000) };
        let links = Links::new(now, &mut ChaCha20Rng::from_seed([7; 32]));
        Self { links, group, wants: Wants::default() }
    }

    /// Lets time pass. Gives what is asked for meanwhile.
    fn wait(&mut self, time: Duration) -> Vec<Ask> {
        let until = self.links.turn.now.plus(time);
        let mut asked = self.asked();
        while let Some(at) = self.links.turn.timers.next().filter(|at| *at <= until.instant) {
            self.links.turn.now = self.links.turn.now.plus(at - self.links.turn.now.instant);
            while let Some(timer) = self.links.turn.timers.pop_due(at) {
                self.links.timer(&self.group, &self.wants, timer);
            }
            asked.extend(self.asked());
        }
        self.links.turn.now = until;
        asked
    }

    /// What is asked for now. Whether a lost link is wanted is answered at once.
    fn asked(&mut self) -> Vec<Ask> {
        let mut all = Vec::new();
        loop {
            let asked = self.links.turn.take();
            if asked.is_empty() {
                return all;
            }
            for ask in asked {
                match &ask {
                    Ask::Lost(peer, closed) => self.links.lost(&self.group, &self.wants, *peer, closed),
                    Ask::Again(peer) if self.wants.wants_link(peer) => self.links.want(&self.group, *peer),
                    _ => {}
                }
                all.push(ask);
            }
        }
    }

    /// A link that was dialled, up to its greeting.
    fn connect(&mut self, conn: u64, number: u8) -> Vec<Ask> {
        self.handshake(conn, number, LinkKind::PeerOut);
        let now = self.links.turn.now.wall;
        self.links.frame(&self.group, ConnId(conn), Frame::PeerHello(PeerHello { network: NETWORK, now }));
        self.asked()
    }

    fn handshake(&mut self, conn: u64, number: u8, link: LinkKind) {
        let addr = "10.0.0.9:50000".parse().unwrap();
        let secured = Secured { peer: peer(number), binding: [0; 32] };
        let connected =
            Connected { link, secured, remote: addr, local: addr, listening: Vec::new(), via: None };
        self.links.connected(&self.group, ConnId(conn), &connected);
    }
}

/// How often the second peer is dialled.
fn dials(asked: &[Ask]) -> usize {
    asked.iter().filter(|ask| matches!(ask, Ask::Output(Output::Dial(whom, _)) if *whom == peer(2))).count()
}

fn closes(asked: &[Ask]) -> Vec<CloseReason> {
    let close = |ask: &Ask| match ask {
        Ask::Output(Output::Close(_, reason)) => Some(*reason),
        _ => None,
    };
    asked.iter().filter_map(close).collect()
}

fn frames(asked: &[Ask]) -> Vec<Frame> {
    let frame = |ask: &Ask| match ask {
        Ask::Output(Output::Send(_, bytes)) => Frame::decode(bytes).ok(),
        _ => None,
    };
    asked.iter().filter_map(frame).collect()
}

fn unreachable() -> Closed {
    CloseReason::NoAnswer.into()
}

#[test]
fn a_peer_is_dialled_once_and_again_with_growing_waits_as_long_as_it_is_wanted() {
    let mut bench = Bench::with(&[1, 2]);
    bench.wants.links.insert(peer(2));
    bench.links.want(&bench.group, peer(2));
    bench.links.want(&bench.group, peer(2));
    assert_eq!(dials(&bench.asked()), 1);
    for _ in 0..3 {
        bench.links.dial_failed(peer(2), unreachable());
        assert_eq!(dials(&bench.wait(limits::BACKOFF_FIRST / 2)), 0, "not at once");
        assert_eq!(dials(&bench.wait(limits::BACKOFF_LAST * 2)), 1);
    }
    bench.wants.links.clear();
    bench.links.dial_failed(peer(2), unreachable());
    assert_eq!(dials(&bench.wait(limits::BACKOFF_LAST * 2)), 0, "nobody wants it now");
}

#[test]
fn a_peer_that_is_ever_somewhere_else_is_not_dialled_ever_again() {
    let mut bench = Bench::with(&[1, 2]);
    bench.wants.links.insert(peer(2));
    let mut dialled = 0;
    for second in 0..60_u16 {
        for number in 0..10 {
            let mut moved = entry(peer(2), Role::Member);
            moved.addrs = vec![([10, 9, 9, 9], 1000 + second * 10 + number).into()];
            let version = 2 + u64::from(second * 10 + number);
            let entries: Vec<RosterEntry> = bench.group.roster.entries().cloned().collect();
            let others = entries.into_iter().filter(|entry| entry.peer_id != peer(2)).chain([moved]);
            let changes = bench.group.roster.replace(Roster::unsigned(version, others.collect()));
            bench.links.roster_changed(&bench.group, &changes);
            bench.links.want(&bench.group, peer(2));
            dialled += dials(&bench.asked());
            bench.links.dial_failed(peer(2), unreachable());
        }
        dialled += dials(&bench.wait(Duration::from_secs(1)));
    }
    assert!(dialled <= 6 + 60 / 5 + 1, "{dialled}");
}

#[test]
fn a_key_that_the_roster_does_not_name_has_a_while_for_it_and_is_told_nothing() {
    let mut bench = Bench::with(&[1]);
    bench.handshake(1, 9, LinkKind::PeerIn);
    assert_eq!(frames(&bench.asked()), []);
    let asked = bench.wait(limits::ROSTER_PATIENCE);
    assert_eq!(closes(&asked), [CloseReason::NotAMember]);
    // Another one, that the roster names in time.
    bench.handshake(2, 9, LinkKind::PeerIn);
    let mut entries: Vec<RosterEntry> = bench.group.roster.entries().cloned().collect();
    entries.push(entry(peer(9), Role::Member));
    let changes = bench.group.roster.replace(Roster::unsigned(2, entries));
    bench.group.learn(&changes, true);
    bench.links.roster_changed(&bench.group, &changes);
    assert!(matches!(frames(&bench.asked())[..], [Frame::PeerHello(_)]));
    let now = Timestamp(0);
    bench.links.frame(&bench.group, ConnId(2), Frame::PeerHello(PeerHello { network: NETWORK, now }));
    assert_eq!(closes(&bench.wait(limits::ROSTER_PATIENCE * 2)), []);
}

#[test]
fn messages_are_passed_on_only_over_a_link_that_both_ends_have_greeted() {
    let mut bench = Bench::with(&[1, 2]);
    let batch = || {
        let stream =
            crate::model::StreamId { author: peer(2), epoch: 1, to: crate::model::Recipient::Everyone };
        let batch = crate::model::Batch {
            stream,
            first: 1,
            sent_at: Timestamp(0),
            texts: Vec::new(),
            signature: None,
        };
        Frame::Batch(Addressed { roster: 1, batch })
    };
    let passed = |asked: &[Ask]| asked.iter().filter(|ask| matches!(ask, Ask::Frame(..))).count();
    bench.handshake(1, 2, LinkKind::PeerOut);
    bench.links.frame(&bench.group, ConnId(1), batch());
    let asked = bench.asked();
    assert_eq!((passed(&asked), closes(&asked)), (0, vec![CloseReason::ProtocolError]));
    bench.connect(2, 2);
    bench.links.frame(&bench.group, ConnId(2), batch());
    assert_eq!(passed(&bench.asked()), 1);
    // A link of another network carries none.
    bench.handshake(3, 2, LinkKind::PeerOut);
    let (network, now) = (NetworkId([2; 16]), Timestamp(0));
    bench.links.frame(&bench.group, ConnId(3), Frame::PeerHello(PeerHello { network, now }));
    assert_eq!(closes(&bench.asked()), [CloseReason::NotAMember]);
}

#[test]
fn whoever_used_a_link_hears_first_that_it_is_gone_then_which_is_used_now() {
    let mut bench = Bench::with(&[1, 2]);
    assert!(bench.connect(1, 2).iter().any(|ask| matches!(ask, Ask::Used(_, Some(ConnId(1))))));
    assert!(!bench.connect(2, 2).iter().any(|ask| matches!(ask, Ask::Used(..))), "the first stays in use");
    bench.links.closed(ConnId(1));
    let asked = bench.asked();
    assert!(matches!(asked[..], [Ask::Gone(_, ConnId(1)), Ask::Used(_, Some(ConnId(2)))]), "{asked:?}");
    bench.links.closed(ConnId(2));
    let asked = bench.asked();
    assert!(matches!(asked[..], [Ask::Gone(..), Ask::Used(_, None), Ask::Lost(..)]), "{asked:?}");
}

#[test]
fn a_link_over_which_nothing_is_said_is_closed_and_one_that_is_wanted_is_not() {
    let mut bench = Bench::with(&[1, 2]);
    bench.connect(1, 2);
    bench.wants.links.insert(peer(2));
    assert_eq!(closes(&bench.wait(limits::PEER_LINK_IDLE * 3)), []);
    bench.wants.links.clear();
    assert_eq!(closes(&bench.wait(limits::PEER_LINK_IDLE * 2)), [CloseReason::Idle]);
}

#[test]
fn a_link_that_owes_an_answer_is_asked_and_then_given_up() {
    let mut bench = Bench::with(&[1, 2]);
    bench.connect(1, 2);
    bench.wants.answers.insert(peer(2));
    bench.links.sent(ConnId(1));
    let asked = bench.wait(limits::SUSPECT_AFTER + limits::BEAT_EVERY);
    assert_eq!(frames(&asked), [Frame::Beat(Beat::default())]);
    // It answers, and is silent again.
    bench.links.frame(&bench.group, ConnId(1), Frame::BeatReply(0));
    assert_eq!(closes(&bench.wait(limits::DEAD_AFTER / 2)), []);
    assert_eq!(closes(&bench.wait(limits::DEAD_AFTER * 2)), [CloseReason::HeartbeatTimeout]);
}

#[test]
fn a_peer_without_a_path_is_reached_through_the_host() {
    let mut bench = Bench::with(&[1, 2]);
    bench.connect(1, 1);
    bench.wants.links.insert(peer(2));
    bench.links.want(&bench.group, peer(2));
    bench.links.dial_failed(peer(2), unreachable());
    let asked = bench.wait(limits::CALL_PATIENCE * 2);
    let opened = frames(&asked).into_iter().find_map(|frame| match frame {
        Frame::RelayOpen(link) => Some(link.peer),
        _ => None,
    });
    assert_eq!(opened, Some(peer(2)));
}

#[test]
fn somebody_who_is_removed_has_no_link_and_is_not_dialled() {
    let mut bench = Bench::with(&[1, 2]);
    bench.connect(1, 2);
    bench.wants.links.insert(peer(2));
    let entries = bench.group.roster.entries().filter(|entry| entry.peer_id != peer(2)).cloned().collect();
    let changes = bench.group.roster.replace(Roster::unsigned(2, entries));
    bench.group.learn(&changes, true);
    bench.links.roster_changed(&bench.group, &changes);
    let asked = bench.wait(Duration::from_secs(60));
    assert_eq!((closes(&asked), dials(&asked)), (vec![CloseReason::NotAMember], 0));
}
