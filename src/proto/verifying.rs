//! Verifying a member: both ends work out the same words, two people compare them, and both say yes.
//!
//! It must never take a yes for words that were not shown, or words of a random part that was not committed to before.

use std::{collections::BTreeMap, time::Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::RngCore as _;

use super::{ConnId, Output, group::Group, turn::Turn};
use crate::{
    api::{NodeEvent, StoreCommand},
    model::{Alias, CommandError, Moment, PeerId, SafeText, Verified, Wire, limits},
    security::sas::{self, Nonce, Pair},
    wire::Frame,
};

/// When this part is wanted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The words of this peer were not compared in time.
    Session(PeerId),
}

/// What this part asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Output(Output),
    /// A link to a peer.
    Link(PeerId),
}

impl From<Output> for Ask {
    fn from(output: Output) -> Self {
        Self::Output(output)
    }
}

#[derive(Debug)]
enum Step {
    /// The commitment is sent; the other random part is missing.
    Committed(Nonce),
    /// The other end has committed itself, and was given the random part of this one.
    Answered { commitment: [u8; 32], nonce: Nonce },
    /// Both ends have the words.
    Words(Vec<String>),
}

#[derive(Debug)]
struct Session {
    step: Step,
    /// It was begun here.
    is_own: bool,
    /// The person here has said yes, and the one there.
    yes: (bool, bool),
    /// What the peer was called when the words were shown: it is verified under that name or not at all.
    alias: Option<Alias>,
}

/// Who is being verified.
#[derive(Debug)]
pub(super) struct Verifying {
    pub(super) turn: Turn<Timer, Ask>,
    sessions: BTreeMap<PeerId, Session>,
    links: BTreeMap<PeerId, ConnId>,
    /// What goes once there is a link.
    waiting: BTreeMap<PeerId, Vec<Frame>>,
    /// When each peer last began.
    begun: BTreeMap<PeerId, Instant>,
}

impl Verifying {
    pub(super) fn new(now: Moment, rng: &mut ChaCha20Rng) -> Self {
        Self {
            turn: Turn::new(now, rng),
            sessions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            links: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    /// The person here wants to compare words with a member. Where they are there already, they are told again.
    pub(super) fn start(&mut self, group: &Group, peer: PeerId) -> Result<(), CommandError> {
        if peer == group.me() {
            return Err(CommandError::Yourself("compare words with somebody else"));
        }
        if peer.wire() == Wire::Classic {
            return Err(CommandError::ClassicHasNoKey(group.alias_of(&peer).to_string()));
        }
        match self.sessions.get(&peer).map(|session| &session.step) {
            Some(Step::Words(words)) => {
                let words = words.clone();
                self.tell(group, peer, words, true);
                return Ok(());
            }
            // They are on their way already.
            Some(Step::Committed(_)) => return Ok(()),
            Some(Step::Answered { .. }) => {
                if let Some(session) = self.sessions.get_mut(&peer) {
                    session.is_own = true;
                }
                return Ok(());
            }
            None => {}
        }
        let Some(pair) = pair(group, group.me(), peer) else { return Err(CommandError::Ended) };
        let nonce = self.nonce();
        let session =
            Session { step: Step::Committed(nonce), is_own: true, yes: (false, false), alias: None };
        self.sessions.insert(peer, session);
        self.turn.set(Timer::Session(peer), limits::VERIFY_ANSWER);
        self.send(peer, Frame::VerifyCommit(sas::commitment(&pair, &nonce)));
        Ok(())
    }

    /// The person here says that these words are the same, or that they are not. Words that are not the ones of now, since the
    /// other end has begun anew, are nobody's.
    pub(super) fn answer(
        &mut self,
        group: &Group,
        peer: PeerId,
        compared: Option<&[String]>,
    ) -> Result<(), CommandError> {
        let nothing = || CommandError::NothingToCompare(group.alias_of(&peer).to_string());
        let session = self.sessions.get_mut(&peer).ok_or_else(nothing)?;
        let Step::Words(words) = &session.step else { return Err(nothing()) };
        let Some(compared) = compared else {
            self.send(peer, Frame::VerifyAnswer(false));
            self.fail(group, peer, "you said that the words differ: somebody may be between you");
            // Who is told so may begin again at once.
            self.begun.remove(&peer);
            return Ok(());
        };
        if compared != words {
            return Err(nothing());
        }
        session.yes.0 = true;
        self.send(peer, Frame::VerifyAnswer(true));
        self.both(group, peer);
        Ok(())
    }

    pub(super) fn frame(&mut self, group: &Group, peer: PeerId, frame: Frame) {
        let step = self.sessions.get_mut(&peer).map(|session| &mut session.step);
        match (frame, step) {
            (Frame::VerifyCommit(commitment), step) => {
                // Of two who begin at once the one with the smaller key does.
                if matches!(step, Some(Step::Committed(_))) && group.me() < peer {
                    return;
                }
                self.answer_commitment(group, peer, commitment);
            }
            (Frame::VerifyNonce(theirs), Some(step)) if matches!(step, Step::Committed(_)) => {
                let (Step::Committed(own), Some(pair)) = (&*step, pair(group, group.me(), peer)) else {
                    return;
                };
                let own = *own;
                let words = words(&pair, &own, &theirs);
                *step = Step::Words(words.clone());
                self.send(peer, Frame::VerifyReveal(own));
                self.turn.set(Timer::Session(peer), limits::VERIFY_FOR);
                self.tell(group, peer, words, true);
            }
            (Frame::VerifyReveal(theirs), Some(step)) if matches!(step, Step::Answered { .. }) => {
                let (Step::Answered { commitment, nonce }, Some(pair)) =
                    (&*step, pair(group, peer, group.me()))
                else {
                    return;
                };
                if sas::commitment(&pair, &theirs) != *commitment {
                    self.send(peer, Frame::VerifyAnswer(false));
                    let why = "what came does not fit what was promised before: somebody may be between you";
                    return self.fail(group, peer, why);
                }
                let words = words(&pair, &theirs, nonce);
                *step = Step::Words(words.clone());
                self.turn.set(Timer::Session(peer), limits::VERIFY_FOR);
                let is_own = self.sessions.get(&peer).is_some_and(|session| session.is_own);
                self.tell(group, peer, words, is_own);
            }
            (Frame::VerifyAnswer(true), Some(Step::Words(_))) => {
                if let Some(session) = self.sessions.get_mut(&peer) {
                    session.yes.1 = true;
                }
                self.both(group, peer);
            }
            (Frame::VerifyAnswer(false), Some(_)) => {
                self.fail(group, peer, "the other side did not say that the words are the same");
            }
            // What crosses the end of a comparison is late, not wrong.
            _ => {}
        }
    }

    /// Somebody else begins: not more often than people do.
    fn answer_commitment(&mut self, group: &Group, peer: PeerId, commitment: [u8; 32]) {
        let now = self.turn.now.instant;
        let is_soon = |at: &Instant| now.saturating_duration_since(*at) < limits::VERIFY_EVERY;
        // Both have begun at once: the person here wants it too.
        let is_own =
            self.sessions.get(&peer).is_some_and(|session| matches!(session.step, Step::Committed(_)));
        if !is_own && self.begun.get(&peer).is_some_and(is_soon) {
            return;
        }
        self.begun.insert(peer, now);
        if !is_own && self.sessions.contains_key(&peer) {
            self.fail(group, peer, "the other side has begun anew");
        }
        let nonce = self.nonce();
        let step = Step::Answered { commitment, nonce };
        let session = Session { step, is_own, yes: (false, false), alias: None };
        self.sessions.insert(peer, session);
        self.turn.set(Timer::Session(peer), limits::VERIFY_ANSWER);
        self.send(peer, Frame::VerifyNonce(nonce));
    }

    /// Both have said yes: the key is verified, under the name that was shown.
    fn both(&mut self, group: &Group, peer: PeerId) {
        let Some(session) = self.sessions.get(&peer).filter(|session| session.yes == (true, true)) else {
            return;
        };
        let (shown, person) = (session.alias.clone(), group.person(&peer));
        let Some((alias, person)) = shown.zip(person).filter(|(alias, person)| *alias == person.alias) else {
            return self.fail(
                group,
                peer,
                "the name is another one than when the words were shown; begin again",
            );
        };
        self.forget(&peer);
        self.begun.remove(&peer);
        let verified = Verified { peer_id: peer, alias, at: self.turn.now.wall };
        self.turn.store(StoreCommand::KeepVerified(Box::new(verified)));
        self.turn.event(NodeEvent::Verified { peer: person });
    }

    fn fail(&mut self, group: &Group, peer: PeerId, why: &str) {
        self.forget(&peer);
        if let Some(peer) = group.person(&peer) {
            self.turn.event(NodeEvent::NotVerified { peer, message: SafeText::line(why) });
        }
    }

    fn forget(&mut self, peer: &PeerId) {
        self.sessions.remove(peer);
        self.turn.timers.cancel(Timer::Session(*peer));
    }

    fn tell(&mut self, group: &Group, peer: PeerId, words: Vec<String>, own: bool) {
        let Some(person) = group.person(&peer) else { return };
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.alias = Some(person.alias.clone());
        }
        self.turn.event(NodeEvent::Verify { peer: person, words, own });
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 16];
        self.turn.rng.fill_bytes(&mut nonce);
        nonce
    }

    fn send(&mut self, peer: PeerId, frame: Frame) {
        if let Some(conn) = self.links.get(&peer) {
            return self.turn.send(*conn, &frame);
        }
        let waiting = self.waiting.entry(peer).or_default();
        if waiting.len() < limits::VERIFY_WAITING {
            waiting.push(frame);
        }
        self.turn.ask(Ask::Link(peer));
    }

    /// Something is to go to a peer.
    pub(super) fn wants_link(&self, peer: &PeerId) -> bool {
        self.waiting.contains_key(peer)
    }

    /// The link that is used to a peer is another one, or there is none any more.
    pub(super) fn link_used(&mut self, peer: PeerId, link: Option<ConnId>) {
        let Some(conn) = link else {
            self.links.remove(&peer);
            return;
        };
        self.links.insert(peer, conn);
        for frame in self.waiting.remove(&peer).unwrap_or_default() {
            self.turn.send(conn, &frame);
        }
    }

    /// Who is no member any more is not verified.
    pub(super) fn roster_changed(&mut self, group: &Group) {
        let is_gone = |peer: &PeerId| !group.is_member(peer);
        let gone: Vec<PeerId> = self.sessions.keys().filter(|peer| is_gone(peer)).copied().collect();
        for peer in gone {
            self.fail(group, peer, "it is no member any more");
        }
        self.begun.retain(|peer, _| group.is_member(peer));
        self.waiting.retain(|peer, _| group.is_member(peer));
    }

    pub(super) fn timer(&mut self, group: &Group, timer: Timer) {
        let Timer::Session(peer) = timer;
        self.fail(group, peer, "the words were not compared in time; begin again when both are there");
        self.waiting.remove(&peer);
    }
}

fn pair(group: &Group, first: PeerId, second: PeerId) -> Option<Pair> {
    group.network.as_ref().map(|network| Pair { network: network.id, first, second })
}

fn words(pair: &Pair, first: &Nonce, second: &Nonce) -> Vec<String> {
    sas::words(pair, first, second).into_iter().map(str::to_owned).collect()
}
