//! What happens in the network, as the room sees it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{
    Conversation, Door, Followed, Grade, Heard, LinkView, Mark, Message, PeerView, Room, ToldBan, View,
    as_typed, history, hue_of, names, reachable, shown_text,
};
use crate::{
    api::{LinkState, NodeEvent, PeerName, Progress, Target},
    app::{log::Entry, markup},
    model::{
        CloseReason, DeliveryStatus, ErrorKind, FailReason, Liveness, MessageId, Peer, PeerId, Place,
        Recipient, Role, SafeText, Summary, Timestamp, Unreachable, history::conversation_of, limits,
    },
};

impl Room {
    /// The host says anew who cannot reach whom.
    fn unreachable_changed(&mut self, now: Timestamp, unreachable: Vec<Unreachable>) {
        let me = self.me;
        let am_unreachable = |pairs: &[Unreachable]| pairs.iter().any(|pair| pair.to == me);
        if am_unreachable(&unreachable) && !am_unreachable(&self.reach.unreachable) {
            let to_me = unreachable.iter().filter(|pair| pair.to == me);
            let from: Vec<String> = to_me.map(|pair| self.name(&pair.from)).collect();
            let text = format!(
                "{} cannot open links to you; a firewall may block your peer port: `pyile doctor` tells more",
                from.join(", ")
            );
            self.announce(now, Grade::Warning, &text);
        }
        self.reach.unreachable = unreachable;
    }

    /// The link to a peer goes another way.
    fn route_changed(&mut self, now: Timestamp, peer: &Peer, via: Option<&Peer>) {
        let text = match via {
            Some(via) => format!("{} is reached through {}", peer.alias, via.alias),
            None => format!("{} is reached directly", peer.alias),
        };
        self.note(now, Grade::Info, &text);
        if let Some(view) = self.peers.get_mut(&peer.peer_id) {
            view.via = via.map(|via| via.peer_id);
        }
    }

    fn clock_is_off(&mut self, now: Timestamp, peer: &Peer, ahead_ms: i64) {
        let direction = if ahead_ms > 0 { "ahead of" } else { "behind" };
        let time = history::duration(Duration::from_millis(ahead_ms.unsigned_abs()));
        let text = format!("{}'s clock is {time} {direction} this machine's", peer.alias);
        self.note(now, Grade::Warning, &text);
    }

    /// Somebody else is the host.
    fn handed_over(&mut self, now: Timestamp, host: &Peer, join_addr: SocketAddr) {
        let is_me = host.peer_id == self.me;
        // A host sees the heartbeat of all members, a member that of its host alone.
        for view in self.peers.values_mut() {
            view.rtts.clear();
            view.missed = 0;
        }
        self.role = if is_me { Role::Host } else { Role::Member };
        if !is_me {
            self.join_addr = join_addr.to_string();
            self.door = Door::default();
        }
        let who = if is_me { "you are".to_owned() } else { format!("{} is", host.alias) };
        self.announce(now, Grade::Warning, &format!("{who} the host from now on"));
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
                // It has been told.
                self.password = None;
                let text = format!("{} joined", peer.alias);
                self.pass(now, Grade::Info, &text);
            }
            NodeEvent::PeerDown { peer, reason } => {
                if let Some(view) = self.peers.get_mut(&peer.peer_id) {
                    view.present = false;
                    view.gone = Some(reason);
                    view.since = now;
                    view.state = Liveness::Dead;
                }
                if self.role == Role::Host && reason == CloseReason::Banned {
                    self.tell_ban(now, peer.peer_id, |_| {});
                } else {
                    let text = format!("{} is gone: {}", peer.alias, reason.words());
                    self.pass(now, Grade::Warning, &text);
                }
            }
            event @ NodeEvent::Batch(_) => {
                for message in event.expand() {
                    let heard = self.apply(now, message).heard;
                    let is_worth = |heard: &Heard| heard.is_call || !followed.is_call();
                    followed.heard = heard.filter(is_worth).or(followed.heard);
                }
            }
            NodeEvent::Progress(progress) => self.progress(now, &progress),
            NodeEvent::Message { id, from, text, own, missed, late, claims, came_at, place, .. } => {
                let message = Said { id, from, text, own, missed, late, claims, at: came_at, place };
                followed.heard = self.message(message);
            }
            NodeEvent::Delivery { id, peer, status, reason, summary, .. } => {
                self.delivery(&id, &peer, status, reason, summary);
                self.will_not_reach(now, &peer, 1, reason);
            }
            NodeEvent::Heartbeat { peer, state, rtt, missed } => {
                let rtt = rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
                self.heartbeat(now, &peer, state, rtt, missed);
            }
            NodeEvent::NoWays { ways } => self.unreachable_changed(now, ways),
            NodeEvent::Ways { rows } => self.reach.reached = rows,
            NodeEvent::Route { peer, via } => self.route_changed(now, &peer, via.as_deref()),
            NodeEvent::Clock { peer, ahead_ms } => self.clock_is_off(now, &peer, ahead_ms),
            NodeEvent::Attempt { .. }
            | NodeEvent::Admission { .. }
            | NodeEvent::Banned { .. }
            | NodeEvent::Unbanned { .. }
            | NodeEvent::CutOff { .. }
            | NodeEvent::PasswordChanged => followed.notable = self.admission(now, event),
            NodeEvent::Error { kind, message, refused, .. } => {
                self.went_wrong(now, kind, &message, refused);
                followed.notable = true;
            }
            NodeEvent::Listening { role, join_addr, peer_addr, .. } => {
                self.role = role;
                // Whether there are classic peers is told anew.
                self.cleartext.on = None;
                if let Some(addr) = join_addr {
                    self.join_addr = reachable(addr, peer_addr).to_string();
                    self.link = LinkView::Joined;
                }
            }
            NodeEvent::Handover { host, join_addr } => self.handed_over(now, &host, join_addr),
            NodeEvent::Skipped { messages, .. } => {
                let text = format!("this screen was not served in time: {messages} messages are read again");
                self.note(now, Grade::Warning, &text);
            }
            event @ (NodeEvent::Verify { .. }
            | NodeEvent::Verified { .. }
            | NodeEvent::NotVerified { .. }
            | NodeEvent::Applicants { .. }
            | NodeEvent::Deputy { .. }
            | NodeEvent::PortMapping { .. }
            | NodeEvent::Notes(_)
            | NodeEvent::Invites { .. }) => followed.heard = self.who_is_who(now, event),
            NodeEvent::Invite { .. } | NodeEvent::Left { .. } => {}
            NodeEvent::Gap { before, missing, .. } => self.gap(&before, missing),
            NodeEvent::History { state, message } => self.history_is(now, state, &message),
            NodeEvent::Cleartext { allowed, asked } => {
                self.cleartext.asked = asked;
                self.cleartext_is(now, allowed);
            }
            NodeEvent::Suspended { time } => {
                let text = format!("this machine was suspended for {}", history::duration(time));
                self.announce(now, Grade::Warning, &text);
            }
        }
        followed
    }

    fn gap(&mut self, before: &MessageId, missing: u64) {
        let with = conversation_of(&before.stream(), &self.me);
        if let Some(conversation) = self.conversations.iter_mut().find(|c| c.with == with) {
            conversation.log.gap(before, missing);
        }
    }

    /// One recipient has some more of what was said here, or will not have it.
    fn progress(&mut self, now: Timestamp, progress: &Progress) {
        let Progress { stream, peer, status, reason, first, last, .. } = progress;
        for (sequence, summary) in progress.summaries() {
            self.delivery(&stream.message(sequence), peer, *status, *reason, summary);
        }
        self.will_not_reach(now, peer, last - first + 1, *reason);
    }

    fn delivery(
        &mut self,
        id: &MessageId,
        peer: &Arc<Peer>,
        status: DeliveryStatus,
        reason: Option<FailReason>,
        summary: Summary,
    ) {
        let with = conversation_of(&id.stream(), &self.me);
        if let Some(conversation) = self.conversations.iter_mut().find(|c| c.with == with) {
            conversation.log.delivery(id, peer, status, reason, summary);
        }
    }

    fn will_not_reach(&mut self, now: Timestamp, peer: &Peer, count: u64, reason: Option<FailReason>) {
        if let Some(reason) = reason {
            let what = if count == 1 { "a message".to_owned() } else { format!("{count} messages") };
            let text = format!("{what} will not reach {}: {}", peer.alias, reason.words());
            self.note(now, Grade::Error, &text);
        }
    }

    /// Something went wrong, perhaps with what was typed here.
    fn went_wrong(
        &mut self,
        now: Timestamp,
        kind: ErrorKind,
        message: &SafeText,
        refused: Option<Box<(Target, String)>>,
    ) {
        if let Some(refused) = refused {
            self.take_back(*refused);
        }
        let grade = if kind == ErrorKind::Connection { Grade::Warning } else { Grade::Error };
        if kind == ErrorKind::Command {
            // The answer to what somebody asked for here.
            self.announce(now, grade, message.as_str());
        } else {
            self.note(now, grade, message.as_str());
        }
    }

    /// What was typed and not taken stands where it was typed.
    fn take_back(&mut self, (to, text): (Target, String)) {
        let with = match to {
            Target::Peer(PeerName::Id(peer)) => Recipient::Peer(peer),
            _ => Recipient::Everyone,
        };
        let conversation = self.conversations.iter_mut().find(|conversation| conversation.with == with);
        if let Some(conversation) = conversation.filter(|conversation| conversation.draft.is_empty()) {
            conversation.draft.insert(&as_typed(&text));
        }
    }

    /// Whether messages go to classic peers.
    fn cleartext_is(&mut self, now: Timestamp, allowed: bool) {
        let text = if allowed {
            "classic peers are let in here: what they say and are told goes in clear; /cleartext off keeps what you \
             say from them"
        } else {
            "classic peers are let in here; nothing that you say goes to them"
        };
        if self.cleartext.on.replace(allowed) != Some(allowed) {
            self.announce(now, Grade::Warning, text);
        }
    }

    /// What the host decides about who may come in. True when that is worth a short notice.
    fn admission(&mut self, now: Timestamp, event: NodeEvent) -> bool {
        match event {
            NodeEvent::Attempt { addr, left } => {
                let text = format!("wrong password from {addr}; {left} left before it is banned");
                self.note(now, Grade::Warning, &text);
                return true;
            }
            NodeEvent::Admission { bans, attempts, penalties } => {
                (self.door.bans, self.door.attempts, self.door.penalties) = (bans, attempts, penalties);
            }
            NodeEvent::Banned { peer_id: Some(peer), addr, reason } if self.role == Role::Host => {
                self.tell_ban(now, peer, |told| (told.addr, told.reason) = (addr, Some(reason)));
            }
            NodeEvent::Banned { peer_id, addr, reason } => {
                let text = format!("banned {}{}", self.whom(peer_id, addr), because(&reason));
                self.announce(now, Grade::Warning, &text);
            }
            NodeEvent::Unbanned { peer_id, addr, .. } => {
                // Another ban of it is told anew.
                self.door.told = None;
                let text = format!("ban lifted: {}", self.whom(peer_id, addr));
                self.announce(now, Grade::Info, &text);
            }
            NodeEvent::CutOff { peer_id, by, of } => {
                if let Some(view) = self.peers.get_mut(&peer_id) {
                    view.cut_off = Some((by, of));
                }
                let gone = self.peers.get(&peer_id).and_then(|view| view.gone);
                match gone {
                    _ if by < of || of == 0 => {}
                    Some(CloseReason::Kicked) => {
                        let text = format!("{} is cut off by {by} of {of}", self.name(&peer_id));
                        self.note(now, Grade::Info, &text);
                    }
                    _ => self.tell_ban(now, peer_id, |_| {}),
                }
            }
            NodeEvent::PasswordChanged => {
                let text = "the password is changed; members stay in by their keys";
                self.announce(now, Grade::Info, text);
            }
            _ => {}
        }
        false
    }

    /// Tells of a ban, or more of it in the same line.
    fn tell_ban(&mut self, now: Timestamp, peer: PeerId, more: impl FnOnce(&mut ToldBan)) {
        let before = self.door.told.take().filter(|told| told.peer == peer);
        let is_new = before.is_none();
        let mut told = before.unwrap_or(ToldBan { peer, addr: None, reason: None, text: String::new() });
        more(&mut told);
        let reason = told.reason.as_ref().map(because).unwrap_or_default();
        let cut_off = match self.peers.get(&peer).and_then(|view| view.cut_off) {
            Some((by, of)) if by == of && of > 0 => format!("; cut off by {by} of {of}"),
            _ => String::new(),
        };
        let text = format!("banned {}{reason}{cut_off}", self.whom(Some(peer), told.addr));
        let is_said = text == told.text
            || !is_new && self.conversations.first_mut().is_some_and(|all| all.log.amend(&told.text, &text));
        if !is_said {
            self.announce(now, Grade::Warning, &text);
        } else if text != told.text {
            self.note(now, Grade::Warning, &text);
        }
        told.text = text;
        self.door.told = Some(told);
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

    /// Notes who has a name that is one letter away from another one's: left out, added, other, or swapped with the next.
    fn note_close_names(&mut self) {
        // Names that differ in one letter become the same when that letter is left out of both.
        let mut without: HashMap<String, Vec<PeerId>> = HashMap::new();
        for view in self.peers.values().filter(|view| view.present) {
            let name: Vec<char> = view.peer.alias.as_str().to_lowercase().chars().collect();
            // Of the shortest names nearly all are close.
            if name.len() < limits::CLOSE_NAMES_FROM {
                continue;
            }
            let mut forms: Vec<String> = (0..name.len())
                .map(|at| name.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, c)| c).collect())
                .collect();
            forms.push(name.iter().collect());
            forms.sort_unstable();
            forms.dedup();
            for form in forms {
                without.entry(form).or_default().push(view.peer.peer_id);
            }
        }
        let close: HashSet<PeerId> =
            without.into_values().filter(|peers| peers.len() > 1).flatten().collect();
        for (peer, view) in &mut self.peers {
            view.is_close = close.contains(peer);
        }
    }

    fn roster(&mut self, now: Timestamp, peers: &[Arc<Peer>]) {
        for view in self.peers.values_mut() {
            view.present = false;
        }
        let is_gone = |view: &PeerView| view.gone.is_some();
        let is_coming = |peer: &&Arc<Peer>| self.peers.get(&peer.peer_id).is_none_or(is_gone);
        let coming: Vec<PeerId> = peers.iter().filter(is_coming).map(|peer| peer.peer_id).collect();
        let mut told = Vec::new();
        for peer in peers {
            told.extend(self.changes_of(peer));
            self.here(now, peer);
        }
        if let Some(me) = self.peers.get(&self.me).filter(|me| me.present) {
            self.alias = me.peer.alias.to_string();
        }
        for peer in coming {
            let hue = self.free_hue(&peer);
            if let Some(view) = self.peers.get_mut(&peer) {
                view.hue = hue;
            }
        }
        for text in told {
            self.pass(now, Grade::Info, &text);
        }
        for peer in peers {
            self.warn_of_other_key(now, peer.peer_id, &peer.alias);
        }
        self.note_close_names();
        for peer in peers.iter().map(|peer| peer.peer_id).filter(|peer| *peer != self.me) {
            let with = Recipient::Peer(peer);
            if !self.conversations.iter().any(|conversation| conversation.with == with) {
                self.conversations.push(Conversation::new(with));
            }
        }
        self.close_empty_conversations();
    }

    /// What is told of a member that is called otherwise now, or says something else of itself.
    fn changes_of(&self, peer: &Peer) -> Vec<String> {
        let mut changes = Vec::new();
        let before = self.peers.get(&peer.peer_id).map(|view| &view.peer);
        if let Some(before) = before.filter(|before| before.alias != peer.alias) {
            changes.push(format!("{} is called {} now", before.alias, peer.alias));
        }
        if before.is_some_and(|before| before.status != peer.status) && !self.muted.contains(&peer.peer_id) {
            changes.push(match &peer.status {
                // In quotes that it cannot end: it is that peer's word.
                Some(status) => format!("{} says \"{}\"", peer.alias, status.as_str().replace('"', "'")),
                None => format!("{} is here again", peer.alias),
            });
        }
        changes
    }

    /// Brings up to date what is known of a member, after [`Self::changes_of`].
    fn here(&mut self, now: Timestamp, peer: &Arc<Peer>) {
        let new = || PeerView {
            hue: hue_of(&peer.peer_id),
            peer: peer.clone(),
            present: true,
            state: Liveness::Alive,
            since: now,
            missed: 0,
            rtts: VecDeque::new(),
            gone: None,
            cut_off: None,
            via: None,
            is_close: false,
        };
        let view = self.peers.entry(peer.peer_id).or_insert_with(new);
        if view.gone.take().is_some() {
            view.cut_off = None;
            view.state = Liveness::Alive;
            view.since = now;
            view.missed = 0;
        }
        if view.peer.alias != peer.alias {
            for conversation in &mut self.conversations {
                conversation.log.rename(peer);
            }
        }
        view.peer = peer.clone();
        view.present = true;
    }

    /// A conversation with somebody who is gone stays while it is shown, or while there is something in it.
    fn close_empty_conversations(&mut self) {
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

    /// Takes in a message. Gives it where somebody else says it now, and is heard here.
    fn message(&mut self, said: Said) -> Option<Heard> {
        let Said { id, from, text, own, missed, late, claims, at, place } = said;
        let with = conversation_of(&id.stream(), &self.me);
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
        let mark = own.then(|| Box::new(Mark { summary, waiting, ..Mark::default() }));
        let is_muted = self.muted.contains(&from.peer_id);
        let mentions_me = !own && !is_muted && names(text.as_str(), &self.alias);
        let (text, is_action) = shown_text(text, &from);
        let is_in_sight = self.in_sight != Some(false);
        let conversation_at = self.conversation_with(with);
        let is_seen = conversation_at == self.current && self.shown.view == View::Chat;
        let is_call = mentions_me || with != Recipient::Everyone;
        let heard = (!own && !late && !is_muted).then(|| Heard {
            from: from.alias.to_string(),
            text: text.clone(),
            is_call,
        });
        let conversation = self.conversations.get_mut(conversation_at)?;
        conversation.log.insert(Entry::Message(Message {
            id,
            from,
            spans: markup::spans(text.as_str()),
            text,
            at,
            place,
            missed,
            mark,
            claims,
            mentions_me,
            is_action,
        }));
        if own {
            conversation.log.to_bottom();
            conversation.log.all_read();
        } else if !(is_muted || is_seen && is_in_sight) {
            conversation.log.new_from(place);
            conversation.unread = conversation.unread.saturating_add(1);
            conversation.mentioned |= mentions_me;
        }
        heard
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
}

/// A message as an event tells of it.
struct Said {
    id: MessageId,
    from: Arc<Peer>,
    text: SafeText,
    own: bool,
    missed: u64,
    late: bool,
    claims: Option<SafeText>,
    at: Timestamp,
    place: Place,
}

fn because(reason: &SafeText) -> String {
    if reason.as_str().is_empty() { String::new() } else { format!(" ({reason})") }
}
