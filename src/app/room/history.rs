//! What the history gives the room: conversations of earlier sessions, pages, and what a search found.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use super::{Grade, LinkView, Mark, Message, Room, names, shown_text};
use crate::{
    api::{HistoryCommand, Hit, Part, StoreCommand},
    app::markup,
    model::{
        Alias, CloseReason, DeliveryStatus, HistoryState, Page, Peer, PeerId, Recipient, Role, SafeText,
        StoredMessage, Timestamp,
    },
};

impl Room {
    /// Asks for the newest messages of every conversation.
    pub fn open_history(&mut self) -> StoreCommand {
        for conversation in &mut self.conversations {
            conversation.log.ask();
        }
        StoreCommand::History(HistoryCommand::Open { network: self.network_id })
    }

    /// Asks for a part of a conversation.
    pub fn ask_page(&mut self, conversation: Recipient, part: Part) -> StoreCommand {
        if let Some(asked) = self.conversations.iter_mut().find(|other| other.with == conversation) {
            asked.log.ask();
        }
        StoreCommand::History(HistoryCommand::Page { network: self.network_id, conversation, part })
    }

    /// The newest messages of every conversation are here.
    pub fn opened(&mut self, pages: Vec<(Page, SafeText)>) {
        for (page, label) in pages {
            if let Recipient::Peer(peer) = page.conversation {
                self.labels.insert(peer, label);
            }
            self.conversation_with(page.conversation);
            self.page(Part::Newest, page);
        }
        for conversation in &mut self.conversations {
            conversation.log.stop_waiting();
        }
    }

    /// A part of a conversation is here.
    pub fn page(&mut self, part: Part, page: Page) {
        let Page { conversation, messages, is_first, is_last } = page;
        for message in &messages {
            let author = message.id.author;
            if !self.peers.contains_key(&author) {
                self.labels.insert(author, SafeText::line(message.alias.as_str()));
            }
        }
        let messages: Vec<Message> = messages.into_iter().map(|message| self.recalled(message)).collect();
        if let Some(asked) = self.conversations.iter_mut().find(|other| other.with == conversation) {
            asked.log.page(part, messages, is_first, is_last);
        }
    }

    fn recalled(&self, message: StoredMessage) -> Message {
        let own = message.id.author == self.me;
        let from = self.person(&message.id.author, &message.alias);
        let mark = own.then(|| {
            let of = |status: DeliveryStatus| {
                message.deliveries.iter().filter(move |delivery| delivery.status == status)
            };
            let waiting: Vec<Arc<Peer>> =
                of(DeliveryStatus::Queued).map(|to| self.person(&to.peer, &to.alias)).collect();
            let failed = of(DeliveryStatus::Failed).map(|to| {
                (self.person(&to.peer, &to.alias), to.reason.unwrap_or(CloseReason::Internal.into()))
            });
            let sent = of(DeliveryStatus::Sent).map(|to| self.person(&to.peer, &to.alias)).collect();
            let queued = !waiting.is_empty();
            Box::new(Mark { summary: message.summary, failed: failed.collect(), sent, waiting, queued })
        });
        let mentions_me = !own && names(message.text.as_str(), &self.alias);
        let (text, is_action) = shown_text(message.text, &from);
        Message {
            id: message.id,
            from,
            spans: markup::spans(text.as_str()),
            text,
            is_action,
            at: message.at,
            place: message.place,
            missed: message.missed,
            mark,
            claims: message.claims,
            mentions_me,
        }
    }

    /// A peer as it is known here, or as the history remembers it.
    fn person(&self, peer_id: &PeerId, alias: &Alias) -> Arc<Peer> {
        self.peers.get(peer_id).map_or_else(
            || {
                let (peer_id, alias) = (*peer_id, alias.clone());
                let addr = (Ipv4Addr::UNSPECIFIED, 0).into();
                Arc::new(Peer {
                    peer_id,
                    alias,
                    addr,
                    role: Role::Member,
                    wire: peer_id.wire(),
                    status: None,
                })
            },
            |view| view.peer.clone(),
        )
    }

    /// A peer of whom perhaps only the label is known.
    pub(super) fn somebody(&self, peer: &PeerId) -> Arc<Peer> {
        let label = self.labels.get(peer).and_then(|label| Alias::new(label.as_str()).ok());
        self.person(peer, &label.unwrap_or_else(|| Alias::of_key(peer)))
    }

    /// Somebody who was here and may come back, or with whom there is a conversation: what is said waits for it.
    #[must_use]
    pub fn absent(&self, name: &str) -> Option<Arc<Peer>> {
        let is_meant = |peer: &PeerId| self.name(peer) == name || name.parse() == Ok(*peer);
        let was_here = self
            .peers
            .values()
            .filter(|view| !view.present && !view.gone.is_some_and(CloseReason::is_removal));
        let was_here = was_here.map(|view| view.peer.peer_id).find(is_meant);
        let talked = || {
            self.conversations.iter().find_map(|conversation| match conversation.with {
                Recipient::Peer(peer) if is_meant(&peer) => Some(peer),
                _ => None,
            })
        };
        let said = || self.labels.keys().copied().find(is_meant);
        was_here.or_else(talked).or_else(said).map(|peer| self.somebody(&peer))
    }

    /// Where the history is kept has changed, or is told at the beginning.
    pub(super) fn history_is(&mut self, now: Timestamp, state: HistoryState, message: &SafeText) {
        self.history = state;
        if state == HistoryState::Memory && message.as_str().is_empty() {
            self.announce(
                now,
                Grade::Info,
                "nothing is kept on the disk here: what is said is gone when you leave",
            );
        }
        if !message.as_str().is_empty() {
            let grade = if state == HistoryState::Unsaved { Grade::Error } else { Grade::Warning };
            self.announce(now, grade, message.as_str());
        }
    }

    /// What a search found is here.
    pub fn found(&mut self, text: &str, hits: Vec<Hit>) {
        if text == self.search.query {
            self.search.hits = hits;
            self.search.at = None;
        }
    }

    /// Goes to a hit. Gives what has to be asked for.
    pub fn go_to_hit(&mut self, at: usize) -> Option<StoreCommand> {
        let hit = self.search.hits.get(at)?;
        let (with, place) = (hit.conversation, hit.place);
        self.search.at = Some(at);
        let conversation = self.conversation_with(with);
        self.show(conversation);
        Some(self.ask_page(with, Part::Around(place)))
    }

    /// True when something is wrong and stays so.
    #[must_use]
    pub fn has_banner(&self) -> bool {
        matches!(self.link, LinkView::Lost { .. })
            || self.history == HistoryState::Unsaved
            || self.cleartext.asked
            || !self.door.applicants.is_empty()
    }

    /// What is wrong and stays so, for the line above the room.
    #[must_use]
    pub fn banner(&self, zone: &jiff::tz::TimeZone, width: usize) -> Option<String> {
        let is_narrow = width < 64;
        let mut words = Vec::new();
        if let LinkView::Lost { alone_until, .. } = &self.link {
            words.push(match alone_until {
                Some(until) if is_narrow => {
                    format!("host away, on our own to {}", until.in_zone(zone).strftime("%H:%M"))
                }
                None if self.deputy == Some(self.me) && is_narrow => "host gone: /takeover".to_owned(),
                None if is_narrow && self.deputy.is_some() => {
                    let deputy = self.deputy.map(|deputy| self.name(&deputy)).unwrap_or_default();
                    format!("out until the host or {deputy} is there")
                }
                None if is_narrow => "out until the host is back".to_owned(),
                Some(until) => format!(
                    "the host is away: nobody new can join; you go on without it until {}",
                    until.in_zone(zone).strftime("%H:%M:%S")
                ),
                None => match self.deputy {
                    Some(me) if me == self.me => {
                        "the host is gone, and you are its deputy: /takeover opens the network again"
                            .to_owned()
                    }
                    Some(deputy) => format!(
                        "out of the network until the host is back, or {} opens it again",
                        self.name(&deputy)
                    ),
                    None => "out of the network until the host is back".to_owned(),
                },
            });
        }
        if let Some(applicant) = self.door.applicants.first() {
            let others = match self.door.applicants.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            words.push(if is_narrow {
                format!("{}{others} at the door: F3", applicant.alias)
            } else {
                format!(
                    "{} ({}){others} waits at the door: /approve {}, or F3",
                    applicant.alias,
                    applicant.peer_id.short(),
                    applicant.alias
                )
            });
        }
        if self.history == HistoryState::Unsaved {
            let text = if is_narrow {
                "disk full: not saved"
            } else {
                "the history is not being saved: no room on the disk"
            };
            words.push(text.to_owned());
        }
        if self.cleartext.asked {
            let text = if is_narrow {
                "classic: /cleartext on or off?"
            } else {
                "classic peers are here, and get nothing of yours: /cleartext on, or off?"
            };
            words.push(text.to_owned());
        }
        (!words.is_empty()).then(|| words.join(" · "))
    }
}

/// A time span as people say it.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
