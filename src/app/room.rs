//! The room: everything that is known of the network while one is in it, as told by the node's events.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

mod history;

use super::{
    composer::Composer,
    log::{Entry, Mark, Message, MessageLog},
};
use crate::{
    api::{Hit, LinkState, NodeEvent},
    model::{
        Attempt, Ban, CloseReason, ErrorKind, HistoryState, Liveness, MessageId, NetworkId, Peer, PeerId,
        Place, Recipient, Role, SafeText, Summary, Timestamp, history::conversation_of, limits,
    },
};

/// Which of the full views is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// Conversations.
    #[default]
    Chat,
    /// Members, attempts, bans.
    Admin,
    /// Liveness in full.
    Heartbeat,
    /// What happened.
    Log,
}

/// Whether letters type or act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Focus {
    /// Letters type.
    #[default]
    Compose,
    /// Letters act.
    Browse,
}

/// A pane of the chat view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pane {
    /// The conversations.
    Peers,
    /// What was said.
    #[default]
    Messages,
    /// Liveness.
    Heartbeat,
    /// Whom the host refuses.
    Banned,
}

/// A peer, present or not.
#[derive(Debug, Clone)]
pub struct PeerView {
    /// Who.
    pub peer: Arc<Peer>,
    /// In the roster now.
    pub present: bool,
    /// What the heartbeat says.
    pub state: Liveness,
    /// Since when it says so.
    pub since: Timestamp,
    /// Beats without an answer.
    pub missed: u32,
    /// Round trips in microseconds, oldest first.
    pub rtts: VecDeque<u64>,
    /// Why it is gone.
    pub gone: Option<CloseReason>,
    /// After a removal: how many cut it off, of how many.
    pub cut_off: Option<(u32, u32)>,
}

/// One conversation.
#[derive(Debug)]
pub struct Conversation {
    /// With everyone or with one.
    pub with: Recipient,
    /// What was said.
    pub log: MessageLog,
    /// What is being written.
    pub draft: Composer,
    /// Messages not seen.
    pub unread: u32,
    /// One of them names this peer.
    pub mentioned: bool,
}

/// How grave a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Grade {
    /// Good to know.
    #[default]
    Info,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
}

/// A line of the Log view.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// How grave.
    pub grade: Grade,
    /// What.
    pub text: SafeText,
}

/// The way into the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkView {
    /// In it.
    Joined,
    /// Not in it now.
    Lost {
        /// What is being done about it.
        message: String,
        /// When the next try is.
        retry_at: Option<Timestamp>,
        /// Until when the members go on without the host; nothing = this peer is out.
        alone_until: Option<Timestamp>,
    },
}

/// What followed from an event, for the frame around the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Followed {
    /// Somebody named this peer, or wrote to it alone.
    pub called: bool,
    /// Worth a short notice.
    pub notable: bool,
}

/// The room.
#[derive(Debug)]
pub struct Room {
    /// This peer.
    pub me: PeerId,
    /// Host or member.
    pub role: Role,
    /// The network's name.
    pub network: SafeText,
    /// Where joiners knock: the host's own, or the one this peer joined at.
    pub join_addr: String,
    /// This peer's label.
    pub alias: String,
    /// Everybody who is or was here.
    pub peers: BTreeMap<PeerId, PeerView>,
    /// Everyone first, then each peer.
    pub conversations: Vec<Conversation>,
    /// The conversation that is shown.
    pub current: usize,
    /// The way into the network.
    pub link: LinkView,
    /// Whom the host refuses.
    pub bans: Vec<Ban>,
    /// Wrong passwords by address.
    pub attempts: Vec<Attempt>,
    /// What happened, oldest first.
    pub log: VecDeque<LogLine>,
    /// The least grade that the Log view shows.
    pub filter: Grade,
    /// What is shown.
    pub view: View,
    /// Whether letters type or act.
    pub focus: Focus,
    /// The pane that browsing moves in.
    pub pane: Pane,
    /// The selected line of the Admin view.
    pub admin_at: usize,
    /// Lines that the Heartbeat or Log view is scrolled by.
    pub scrolled: usize,
    /// The network's identity, by which its history is kept.
    pub network_id: NetworkId,
    /// The labels of those who are not here, as the history knows them.
    pub labels: BTreeMap<PeerId, SafeText>,
    /// Where the history is kept.
    pub history: HistoryState,
    /// What was searched for last.
    pub query: String,
    /// Where it was found, the newest first.
    pub hits: Vec<Hit>,
    /// The hit that was gone to last.
    pub hit_at: Option<usize>,
    /// A draft that was put aside.
    pub stash: Option<String>,
}

impl Room {
    /// A room that nothing is known of yet.
    #[must_use]
    pub fn new(
        me: PeerId,
        role: Role,
        alias: String,
        network: SafeText,
        network_id: NetworkId,
        join_addr: String,
    ) -> Self {
        Self {
            me,
            role,
            network,
            join_addr,
            alias,
            peers: BTreeMap::new(),
            conversations: vec![conversation(Recipient::Everyone)],
            current: 0,
            link: LinkView::Joined,
            bans: Vec::new(),
            attempts: Vec::new(),
            log: VecDeque::new(),
            filter: Grade::Info,
            view: View::Chat,
            focus: Focus::Compose,
            pane: Pane::Messages,
            admin_at: 0,
            scrolled: 0,
            network_id,
            labels: BTreeMap::new(),
            history: HistoryState::Saved,
            query: String::new(),
            hits: Vec::new(),
            hit_at: None,
            stash: None,
        }
    }

    /// The conversation that is shown.
    #[must_use]
    pub fn conversation(&self) -> Option<&Conversation> {
        self.conversations.get(self.current)
    }

    /// The conversation that is shown.
    pub fn conversation_mut(&mut self) -> Option<&mut Conversation> {
        self.conversations.get_mut(self.current)
    }

    /// The label of a peer, or the start of its key.
    #[must_use]
    pub fn name(&self, peer: &PeerId) -> String {
        let label = || self.labels.get(peer).map_or_else(|| peer.short(), ToString::to_string);
        self.peers.get(peer).map_or_else(label, |view| view.peer.alias.to_string())
    }

    /// Everybody who is here, this peer included: the host first, then by label.
    #[must_use]
    pub fn present(&self) -> Vec<&PeerView> {
        let mut present: Vec<&PeerView> = self.peers.values().filter(|view| view.present).collect();
        present.sort_by(|a, b| (a.peer.role, &a.peer.alias).cmp(&(b.peer.role, &b.peer.alias)));
        present
    }

    /// How many others are here.
    #[must_use]
    pub fn others(&self) -> usize {
        self.peers.values().filter(|view| view.present && view.peer.peer_id != self.me).count()
    }

    /// Shows a conversation; what was unread in it is seen.
    pub fn show(&mut self, at: usize) {
        if at < self.conversations.len() {
            self.current = at;
            self.view = View::Chat;
            if let Some(conversation) = self.conversation_mut() {
                conversation.unread = 0;
                conversation.mentioned = false;
            }
        }
    }

    /// The place of the conversation with a peer, which is begun when there is none.
    pub fn conversation_with(&mut self, with: Recipient) -> usize {
        if let Some(at) = self.conversations.iter().position(|conversation| conversation.with == with) {
            return at;
        }
        self.conversations.push(conversation(with));
        self.sort_conversations();
        self.conversations.iter().position(|conversation| conversation.with == with).unwrap_or(0)
    }

    fn sort_conversations(&mut self) {
        let current = self.conversation().map(|conversation| conversation.with);
        let key = |recipient: &Recipient| match recipient {
            Recipient::Everyone => (false, Role::Host, String::new()),
            Recipient::Peer(peer) => {
                let role = self.peers.get(peer).map_or(Role::Member, |view| view.peer.role);
                (true, role, self.name(peer))
            }
        };
        let mut order: Vec<_> =
            self.conversations.iter().map(|conversation| key(&conversation.with)).collect();
        let mut conversations: Vec<_> = std::mem::take(&mut self.conversations);
        let mut pairs: Vec<_> = order.drain(..).zip(conversations.drain(..)).collect();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.conversations = pairs.into_iter().map(|(_, conversation)| conversation).collect();
        self.current = self
            .conversations
            .iter()
            .position(|conversation| Some(conversation.with) == current)
            .unwrap_or(0);
    }

    /// Adds a line to the Log view.
    pub fn note(&mut self, at: Timestamp, grade: Grade, text: &str) {
        if self.log.len() == limits::LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(LogLine { at, grade, text: SafeText::line(text) });
    }

    /// Adds a notice to everyone's conversation and to the log.
    fn announce(&mut self, at: Timestamp, grade: Grade, text: &str) {
        self.note(at, grade, text);
        if let Some(everyone) = self.conversations.first_mut() {
            let place = at.0.max(everyone.log.last_place());
            everyone.log.insert(Entry::Notice { at, place, text: SafeText::line(text) });
        }
    }

    /// Takes in what the node says.
    pub fn apply(&mut self, now: Timestamp, event: NodeEvent) -> Followed {
        let mut followed = Followed::default();
        match event {
            NodeEvent::Roster { peers, .. } => self.roster(now, &peers),
            NodeEvent::Authenticated { host, network } => {
                self.network = network;
                self.announce(now, Grade::Info, &format!("joined; the host is {}", host.alias));
                self.link = LinkView::Joined;
            }
            NodeEvent::Link { state, message, retry_in, alone_until } => {
                self.link_changed(now, state, &message, retry_in, alone_until);
            }
            NodeEvent::PeerUp { peer } => {
                let text = format!("{} joined", peer.alias);
                self.announce(now, Grade::Info, &text);
            }
            NodeEvent::PeerDown { peer, reason } => {
                if let Some(view) = self.peers.get_mut(&peer.peer_id) {
                    view.present = false;
                    view.gone = Some(reason);
                    view.since = now;
                    view.state = Liveness::Dead;
                }
                let text = format!("{} is gone: {}", peer.alias, reason.words());
                self.announce(now, Grade::Warning, &text);
            }
            NodeEvent::Message { id, from, text, own, missed, late, came_at, place, .. } => {
                let message = Said { id, from, text, own, missed, late, at: came_at, place };
                followed.called = self.message(message);
            }
            NodeEvent::Delivery { id, peer, status, reason, summary, .. } => {
                let with = conversation_of(&id, &self.me);
                if let Some(conversation) = self.conversations.iter_mut().find(|c| c.with == with) {
                    conversation.log.delivery(&id, &peer, status, reason, summary);
                }
                if let Some(reason) = reason {
                    let text = format!("a message will not reach {}: {}", peer.alias, reason.words());
                    self.note(now, Grade::Error, &text);
                }
            }
            NodeEvent::Heartbeat { peer, state, rtt, missed } => {
                let rtt = rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
                self.heartbeat(now, &peer, state, rtt, missed);
            }
            NodeEvent::Attempt { addr, left } => {
                let text = format!("wrong password from {addr}; {left} left before it is banned");
                self.note(now, Grade::Warning, &text);
                followed.notable = true;
            }
            NodeEvent::Admission { bans, attempts } => (self.bans, self.attempts) = (bans, attempts),
            NodeEvent::Banned { peer_id, addr, reason } => {
                let text = format!("banned {}{}", self.whom(peer_id, addr), because(&reason));
                self.announce(now, Grade::Warning, &text);
            }
            NodeEvent::Unbanned { peer_id, addr, .. } => {
                let text = format!("ban lifted: {}", self.whom(peer_id, addr));
                self.announce(now, Grade::Info, &text);
            }
            NodeEvent::CutOff { peer_id, by, of } => {
                if let Some(view) = self.peers.get_mut(&peer_id) {
                    view.cut_off = Some((by, of));
                }
                if by == of {
                    let text = format!("{} is cut off by {by} of {of}", self.name(&peer_id));
                    self.announce(now, Grade::Info, &text);
                }
            }
            NodeEvent::PasswordChanged => {
                let text = "the password is changed; members stay in by their keys";
                self.announce(now, Grade::Info, text);
            }
            NodeEvent::Error { kind, message, .. } => {
                let grade = if kind == ErrorKind::Connection { Grade::Warning } else { Grade::Error };
                self.note(now, grade, message.as_str());
                followed.notable = true;
            }
            NodeEvent::Listening { role, join_addr, peer_addr, .. } => {
                self.role = role;
                if let Some(addr) = join_addr {
                    self.join_addr = reachable(addr, peer_addr).to_string();
                    self.link = LinkView::Joined;
                }
            }
            NodeEvent::Handover { host, join_addr } => {
                let is_me = host.peer_id == self.me;
                self.role = if is_me { Role::Host } else { Role::Member };
                if !is_me {
                    self.join_addr = join_addr.to_string();
                    (self.bans, self.attempts) = (Vec::new(), Vec::new());
                }
                let who = if is_me { "you are".to_owned() } else { format!("{} is", host.alias) };
                self.announce(now, Grade::Warning, &format!("{who} the host from now on"));
            }
            NodeEvent::Left { .. } => {}
            NodeEvent::Gap { before, missing, .. } => {
                let with = conversation_of(&before, &self.me);
                if let Some(conversation) = self.conversations.iter_mut().find(|c| c.with == with) {
                    conversation.log.gap(&before, missing);
                }
            }
            NodeEvent::History { state, message } => self.history_is(now, state, &message),
            NodeEvent::Suspended { time } => {
                let text = format!("this machine was suspended for {}", history::duration(time));
                self.announce(now, Grade::Warning, &text);
            }
        }
        followed
    }

    fn whom(&self, peer: Option<PeerId>, addr: Option<IpAddr>) -> String {
        match (peer, addr) {
            (Some(peer), Some(addr)) => format!("{} and the address {addr}", self.name(&peer)),
            (Some(peer), None) => self.name(&peer),
            (None, Some(addr)) => format!("the address {addr}"),
            (None, None) => "nobody".to_owned(),
        }
    }

    fn link_changed(
        &mut self,
        now: Timestamp,
        state: LinkState,
        message: &SafeText,
        retry_in: Option<std::time::Duration>,
        alone_until: Option<Timestamp>,
    ) {
        if state == LinkState::Waiting {
            self.note(now, Grade::Warning, message.as_str());
        }
        let retry_at = retry_in.map(|wait| now.plus(wait));
        self.link = LinkView::Lost { message: message.to_string(), retry_at, alone_until };
    }

    fn roster(&mut self, now: Timestamp, peers: &[Arc<Peer>]) {
        for view in self.peers.values_mut() {
            view.present = false;
        }
        for peer in peers {
            let view = self.peers.entry(peer.peer_id).or_insert_with(|| PeerView {
                peer: peer.clone(),
                present: true,
                state: Liveness::Alive,
                since: now,
                missed: 0,
                rtts: VecDeque::new(),
                gone: None,
                cut_off: None,
            });
            if view.gone.take().is_some() {
                view.state = Liveness::Alive;
                view.since = now;
                view.missed = 0;
            }
            view.peer = peer.clone();
            view.present = true;
        }
        let others: Vec<PeerId> =
            peers.iter().map(|peer| peer.peer_id).filter(|peer| *peer != self.me).collect();
        for peer in others {
            let with = Recipient::Peer(peer);
            if !self.conversations.iter().any(|conversation| conversation.with == with) {
                self.conversations.push(conversation(with));
            }
        }
        // A conversation with somebody who is gone stays while there is something in it.
        let current = self.current;
        let peers = &self.peers;
        let mut at = 0;
        let mut removed_before = 0;
        self.conversations.retain(|conversation| {
            let keep = match conversation.with {
                Recipient::Everyone => true,
                Recipient::Peer(peer) => {
                    peers.get(&peer).is_some_and(|view| view.present)
                        || !conversation.log.is_empty()
                        || !conversation.draft.is_empty()
                        || at == current
                }
            };
            removed_before += usize::from(!keep && at < current);
            at += 1;
            keep
        });
        self.current = current.saturating_sub(removed_before);
        self.sort_conversations();
    }

    /// Takes in a message. True when it calls this peer.
    fn message(&mut self, said: Said) -> bool {
        let Said { id, from, text, own, missed, late, at, place } = said;
        let with = conversation_of(&id, &self.me);
        let is_recipient = |view: &&PeerView| match id.to {
            Recipient::Peer(peer) => view.peer.peer_id == peer,
            Recipient::Everyone => view.present && view.peer.peer_id != self.me,
        };
        let recipients = self.peers.values().filter(|_| own).filter(is_recipient);
        let mut waiting: Vec<Arc<Peer>> = recipients.map(|view| view.peer.clone()).collect();
        if let (Recipient::Peer(peer), true, true) = (id.to, own, waiting.is_empty()) {
            waiting.push(self.somebody(&peer));
        }
        let total = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        let summary = Summary { delivered: 0, total };
        let mark = own.then(|| Box::new(Mark { summary, waiting, failed: Vec::new(), queued: false }));
        let mentions_me = !own && names(text.as_str(), &self.alias);
        let conversation_at = self.conversation_with(with);
        let is_seen = conversation_at == self.current && self.view == View::Chat;
        let Some(conversation) = self.conversations.get_mut(conversation_at) else { return false };
        conversation.log.insert(Entry::Message(Message {
            id,
            from,
            text,
            at,
            place,
            missed,
            mark,
            mentions_me,
        }));
        if own {
            conversation.log.to_bottom();
        } else if !is_seen {
            conversation.unread = conversation.unread.saturating_add(1);
            conversation.mentioned |= mentions_me;
        }
        !own && !late && (mentions_me || with != Recipient::Everyone)
    }

    fn heartbeat(
        &mut self,
        now: Timestamp,
        peer: &Arc<Peer>,
        state: Liveness,
        rtt: Option<u64>,
        missed: u32,
    ) {
        let Some(view) = self.peers.get_mut(&peer.peer_id) else { return };
        let was = view.state;
        if was != state {
            view.state = state;
            view.since = now;
        }
        view.missed = missed;
        if let (Some(rtt), Liveness::Alive) = (rtt, state) {
            if view.rtts.len() == limits::RTT_SAMPLES {
                view.rtts.pop_front();
            }
            view.rtts.push_back(rtt);
        }
        match (was, state) {
            (Liveness::Alive, Liveness::Suspect) => {
                self.note(now, Grade::Warning, &format!("{} is unstable: no heartbeat", peer.alias));
            }
            (Liveness::Suspect, Liveness::Alive) => {
                self.note(now, Grade::Info, &format!("{} is back", peer.alias));
            }
            _ => {}
        }
    }

    /// Lines of the Log view that pass its filter.
    #[must_use]
    pub fn log_lines(&self) -> impl DoubleEndedIterator<Item = &LogLine> {
        self.log.iter().filter(|line| line.grade >= self.filter)
    }
}

/// A message as an event tells of it.
struct Said {
    id: MessageId,
    from: Arc<Peer>,
    text: SafeText,
    own: bool,
    missed: u64,
    late: bool,
    at: Timestamp,
    place: Place,
}

fn conversation(with: Recipient) -> Conversation {
    Conversation { with, log: MessageLog::default(), draft: Composer::default(), unread: 0, mentioned: false }
}

/// What others have to type: not that the host listens everywhere, but where.
#[must_use]
pub fn reachable(join_addr: SocketAddr, peer_addr: SocketAddr) -> SocketAddr {
    let ip = if join_addr.ip().is_unspecified() { peer_addr.ip() } else { join_addr.ip() };
    SocketAddr::new(ip, join_addr.port())
}

fn because(reason: &SafeText) -> String {
    if reason.as_str().is_empty() { String::new() } else { format!(" ({reason})") }
}

/// True when `text` names `alias` as a word.
fn names(text: &str, alias: &str) -> bool {
    let (text, alias) = (text.to_lowercase(), alias.to_lowercase());
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&alias).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + alias.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}
