//! The room: everything that is known of the network while one is in it, as told by the node's events.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

mod conversation;
mod door;
mod events;
mod history;
mod verifying;

pub use self::conversation::{Conversation, Recalled, as_typed};

use super::{
    composer::Composer,
    log::{Entry, Mark, Message},
};
use crate::{
    api::{Hit, InviteInfo, NodeCommand, Target},
    model::{
        Alias, Applicant, Attempt, Ban, CloseReason, HistoryState, Liveness, NetworkId, Password, Peer,
        PeerId, Penalty, Reached, Recipient, Role, SafeText, Timestamp, Unreachable, Verified, Wire, limits,
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
    /// Which colour its name has.
    pub hue: usize,
    /// Another peer here has a name that differs in one letter, so this one is shown with its key.
    pub is_close: bool,
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
    /// Who carries the link to it.
    pub via: Option<PeerId>,
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Followed {
    /// A message came just now. Of several it is the last that calls this peer, or else the last.
    pub heard: Option<Heard>,
    /// Worth a short notice.
    pub notable: bool,
}

impl Followed {
    /// Somebody named this peer, or wrote to it alone.
    fn is_call(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.is_call)
    }
}

/// What somebody else said just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Who.
    pub from: String,
    /// What.
    pub text: SafeText,
    /// It names this peer, or is for it alone.
    pub is_call: bool,
}

/// A draft that was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stash {
    /// What was written.
    pub text: String,
    /// For whom.
    pub with: Recipient,
}

/// Whom the host keeps out.
#[derive(Debug, Default)]
pub struct Door {
    /// Whom it refuses.
    pub bans: Vec<Ban>,
    /// The line that tells of the ban of a member.
    pub told: Option<ToldBan>,
    /// When the person here was called for them last.
    pub called: Option<Timestamp>,
    /// Who waits at the door.
    pub applicants: Vec<Applicant>,
    /// The invites that let somebody in.
    pub invites: Vec<InviteInfo>,
    /// Wrong passwords by address.
    pub attempts: Vec<Attempt>,
    /// Addresses that it holds back.
    pub penalties: Vec<Penalty>,
}

/// What one line tells of a ban, as more of it becomes known.
#[derive(Debug)]
pub struct ToldBan {
    peer: PeerId,
    addr: Option<IpAddr>,
    reason: Option<SafeText>,
    text: String,
}

/// What the screen shows of the room.
#[derive(Debug, Default)]
pub struct Shown {
    /// The view.
    pub view: View,
    /// Whether letters type or act.
    pub focus: Focus,
    /// The pane that browsing moves in.
    pub pane: Pane,
    /// The least grade that the Log view shows.
    pub filter: Grade,
    /// The selected line of the Admin view.
    pub admin_at: usize,
    /// Lines that the Heartbeat or Log view is scrolled by.
    pub scrolled: usize,
    /// The Heartbeat view shows who reaches whom.
    pub reachability: bool,
}

/// A search in the history.
#[derive(Debug, Default)]
pub struct Search {
    /// What was searched for.
    pub query: String,
    /// Where it was found, the newest first.
    pub hits: Vec<Hit>,
    /// The hit that was gone to last.
    pub at: Option<usize>,
}

/// Whether messages go to classic peers, in clear.
#[derive(Debug, Default)]
pub struct Cleartext {
    /// They do; nothing = classic peers are not let in.
    pub on: Option<bool>,
    /// Somebody has to say so.
    pub asked: bool,
}

/// Who reaches whom.
#[derive(Debug, Default)]
pub struct Reach {
    /// Members that cannot open links to others.
    pub unreachable: Vec<Unreachable>,
    /// Who has reached whom, when that was last asked.
    pub reached: Vec<Reached>,
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
    /// The join address: the host's own, or the one at which this peer joined.
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
    /// Who does not come in.
    pub door: Door,
    /// Who may open the network again when the host is gone.
    pub deputy: Option<PeerId>,
    /// What happened, oldest first.
    pub log: VecDeque<LogLine>,
    /// What the screen shows of it.
    pub shown: Shown,
    /// The network's identity, by which its history is kept.
    pub network_id: NetworkId,
    /// The labels of those who are not here, as the history knows them.
    pub labels: BTreeMap<PeerId, SafeText>,
    /// Where the history is kept.
    pub history: HistoryState,
    /// What was searched for last.
    pub search: Search,
    /// A draft that was put aside.
    pub stash: Option<Stash>,
    /// Whether messages go in clear.
    pub cleartext: Cleartext,
    /// Who reaches whom.
    pub reach: Reach,
    /// Peers that are muted: their messages are folded and give no notice.
    pub muted: BTreeSet<PeerId>,
    /// Keys that the person here has verified.
    pub verified: Vec<Verified>,
    /// Whose other key was told of.
    pub warned: BTreeSet<(PeerId, Alias)>,
    /// Words that somebody else wants compared.
    pub compare: Option<(Arc<Peer>, Vec<String>)>,
    /// Whether somebody looks at the terminal now, where it says so.
    pub in_sight: Option<bool>,
    /// Drafts as they are kept.
    pub kept: Vec<(Recipient, String)>,
    /// The password that was offered and taken, until somebody has come with it.
    pub password: Option<Password>,
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
            conversations: vec![Conversation::new(Recipient::Everyone)],
            current: 0,
            link: LinkView::Joined,
            door: Door::default(),
            deputy: None,
            log: VecDeque::new(),
            shown: Shown::default(),
            network_id,
            labels: BTreeMap::new(),
            history: HistoryState::Saved,
            search: Search::default(),
            stash: None,
            cleartext: Cleartext::default(),
            reach: Reach::default(),
            muted: BTreeSet::new(),
            verified: Vec::new(),
            warned: BTreeSet::new(),
            compare: None,
            in_sight: None,
            kept: Vec::new(),
            password: None,
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

    /// The colour of a peer's name: always the same for a key, unless another peer here has it.
    #[must_use]
    pub fn hue(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or_else(|| hue_of(peer), |view| view.hue)
    }

    /// The colour for the name of a peer that comes: the one it has, or the next that nobody else here has.
    fn free_hue(&self, peer: &PeerId) -> usize {
        let own = self.hue(peer);
        let here = |hue: usize| {
            let is_other = |view: &&PeerView| ![self.me, *peer].contains(&view.peer.peer_id);
            let others = self.peers.values().filter(|view| view.present).filter(is_other);
            others.filter(|view| view.hue == hue).count()
        };
        let all = (0..limits::HUES).map(|step| (own + step) % limits::HUES);
        all.min_by_key(|hue| here(*hue)).unwrap_or(own)
    }

    /// How many others are here.
    #[must_use]
    pub fn others(&self) -> usize {
        self.peers.values().filter(|view| view.present && view.peer.peer_id != self.me).count()
    }

    /// How many of the others here are classic peers.
    #[must_use]
    pub fn classic(&self) -> usize {
        let others = self.peers.values().filter(|view| view.present && view.peer.peer_id != self.me);
        others.filter(|view| view.peer.wire == Wire::Classic).count()
    }

    /// Shows a conversation; what was unread in it is seen.
    pub fn show(&mut self, at: usize) {
        if at < self.conversations.len() {
            if at != self.current
                && let Some(left) = self.conversation_mut()
            {
                left.log.all_read();
            }
            self.current = at;
            self.shown.view = View::Chat;
            if let Some(conversation) = self.conversation_mut() {
                conversation.unread = 0;
                conversation.mentioned = false;
            }
        }
    }

    /// Nobody looks at the messages any more: what was in sight is read.
    pub fn look_away(&mut self) {
        if let Some(conversation) =
            self.conversation_mut().filter(|conversation| conversation.log.is_at_end())
        {
            conversation.log.all_read();
        }
    }

    /// Takes the draft of a conversation, to be sent.
    pub fn send_draft(&mut self, with: Recipient) -> Option<NodeCommand> {
        let conversation = self.conversations.iter_mut().find(|conversation| conversation.with == with)?;
        let text = conversation.take_draft();
        // A slash was doubled to be sent; an empty line at the end came with a paste.
        let text = text.strip_prefix('/').unwrap_or(&text).trim_end_matches('\n').to_owned();
        Some(NodeCommand::Send { to: Target::from(with), text, reference: None })
    }

    /// Puts what was sent before into the draft; what stands there is put aside.
    pub fn put_back(&mut self, text: &str) {
        self.put_draft_aside();
        // What was recalled may have uncovered the draft of before.
        self.put_draft_aside();
        if let Some(conversation) = self.conversation_mut() {
            conversation.draft = Composer::with(&as_typed(text));
        }
        self.shown.focus = Focus::Compose;
    }

    /// Puts aside what is written in the conversation that is shown.
    pub fn put_draft_aside(&mut self) {
        let Some(conversation) = self.conversation_mut() else { return };
        let stash = conversation.shown();
        conversation.take_draft();
        self.put_aside(stash);
    }

    /// Puts a draft aside. Nothing that was put aside before is lost for it.
    pub fn put_aside(&mut self, Stash { text, with }: Stash) {
        if text.is_empty() {
            return;
        }
        self.stash = Some(match self.stash.take() {
            // What was for one person only stays so.
            Some(Stash { text: before, with: other }) => {
                let with = if other == Recipient::Everyone { with } else { other };
                Stash { text: format!("{before}\n{text}"), with }
            }
            None => Stash { text, with },
        });
    }

    /// Brings back what was put aside.
    pub fn bring_back(&mut self) {
        let Some(Stash { text, with }) = self.stash.take() else { return };
        if let Some(conversation) = self.conversation_mut() {
            conversation.draft.insert(&text);
            conversation.begun_for = Some(with).filter(|with| *with != conversation.with);
        }
    }

    /// The place of the conversation with a peer, which is begun when there is none.
    pub fn conversation_with(&mut self, with: Recipient) -> usize {
        if let Some(at) = self.conversations.iter().position(|conversation| conversation.with == with) {
            return at;
        }
        self.conversations.push(Conversation::new(with));
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
            everyone.log.insert(Entry::Notice { at, place, text: SafeText::line(text), passings: 0 });
        }
    }

    /// Tells of somebody who came, went or has another name.
    fn pass(&mut self, at: Timestamp, grade: Grade, text: &str) {
        self.note(at, grade, text);
        if let Some(everyone) = self.conversations.first_mut() {
            let place = at.0.max(everyone.log.last_place());
            everyone.log.pass(at, place, text);
        }
    }

    /// Lines of the Log view that pass its filter.
    #[must_use]
    pub fn log_lines(&self) -> impl DoubleEndedIterator<Item = &LogLine> {
        self.log.iter().filter(|line| line.grade >= self.shown.filter)
    }
}

fn hue_of(peer: &PeerId) -> usize {
    let sum = |sum: usize, byte: &u8| sum.wrapping_mul(31).wrapping_add(usize::from(*byte));
    peer.0.iter().fold(0, sum) % limits::HUES
}

/// What others have to type: an address at which the host is reached, where it listens at all of them.
#[must_use]
pub fn reachable(join_addr: SocketAddr, peer_addr: SocketAddr) -> SocketAddr {
    let ip = if join_addr.ip().is_unspecified() { peer_addr.ip() } else { join_addr.ip() };
    SocketAddr::new(ip, join_addr.port())
}

/// What is shown of a text, and whether it says what its author does.
fn shown_text(text: SafeText, author: &Peer) -> (SafeText, bool) {
    match text.as_str().strip_prefix(limits::ACTION) {
        Some(does) => (SafeText::clean(&format!("{} {does}", author.alias)), true),
        None => (text, false),
    }
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
