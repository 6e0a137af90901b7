//! The store's work: carries out commands in their order, and writes to the history in batches.
//!
//! It must never call a message kept before it is on disk.

use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use super::{
    Bundle, Kept, StoreError,
    files::Files,
    history::{Committed, History, Reader, Unread, Write},
};
use crate::{
    api::{HistoryCommand, HistoryEvent, StoreCommand, StoreEvent},
    model::{HistoryState, HostState, KnownHost, NetworkId, Recipient, Verified, limits},
};

type Reply = mpsc::Sender<StoreEvent>;

/// What another peer asks, and where the answer goes.
type Question = (HistoryCommand, Reply);

/// Carries out the commands for a profile. Blocks: the disk sets the pace.
pub struct Worker {
    files: Option<Files>,
    kept: watch::Sender<Kept>,
    history: History,
    /// What the next batch writes.
    batch: Vec<Write>,
    /// Who is to hear of which message once it is kept.
    keeping: Option<(u64, Reply)>,
    /// The same for what waits for room on the disk.
    waiting: Option<(u64, Reply)>,
    /// The node that keeps its history here, for news of the history.
    node: Option<Reply>,
    /// Where other peers are answered beside this.
    reader: Option<mpsc::UnboundedSender<Question>>,
    /// What other peers ask, which waits for what this profile does itself.
    questions: VecDeque<Question>,
    /// The last news of the history.
    notified: (HistoryState, String),
}

impl Worker {
    pub(super) fn new(files: Option<Files>, history: History, kept: watch::Sender<Kept>) -> Self {
        let (state, message) = history.state();
        let notified = (state, message.to_owned());
        Self {
            files,
            kept,
            history,
            batch: Vec::new(),
            keeping: None,
            waiting: None,
            node: None,
            reader: None,
            questions: VecDeque::new(),
            notified,
        }
    }

    /// Answers other peers on a thread of its own from now on, where the history is on disk.
    pub(super) fn read_beside(&mut self) -> std::io::Result<()> {
        let Some(mut reader) = self.history.reader() else { return Ok(()) };
        let (questions, mut asked) = mpsc::unbounded_channel::<Question>();
        let read = move || {
            while let Some((question, reply)) = asked.blocking_recv() {
                if let Some(answer) = reader.ask(&question) {
                    let _ = reply.blocking_send(StoreEvent::History(answer));
                }
            }
        };
        std::thread::Builder::new().name("reader".to_owned()).spawn(read)?;
        self.reader = Some(questions);
        Ok(())
    }

    /// Works until the last asker is gone.
    pub(super) fn run(mut self, inbox: &Receiver<Bundle>) {
        loop {
            let index_in = self.history.index_in();
            let retry_in = self.history.retry_in();
            let wait = index_in.into_iter().chain(retry_in).min().unwrap_or(Duration::MAX);
            let first = if self.questions.is_empty() {
                inbox.recv_timeout(wait)
            } else {
                inbox.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            };
            match first {
                Ok(first) => {
                    // All that has come meanwhile makes one batch.
                    let bundles: Vec<Bundle> = std::iter::once(first).chain(inbox.try_iter()).collect();
                    self.carry_out(bundles);
                }
                Err(RecvTimeoutError::Timeout) if index_in == Some(wait) && self.questions.is_empty() => {
                    self.history.index();
                }
                Err(RecvTimeoutError::Timeout) if self.questions.is_empty() => {
                    let outcome = self.history.write_waiting();
                    self.committed(outcome);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.hand_to_reader();
            self.answer_one();
        }
        self.close();
    }

    /// Nothing more comes: writes what is left. A worker that is dropped without it has crashed.
    pub fn close(mut self) {
        self.commit();
        self.history.close();
    }

    /// Carries out what has gathered, and answers.
    pub fn take(&mut self, bundles: Vec<Bundle>) {
        self.carry_out(bundles);
        while self.answer_one() {}
    }

    /// Answers a question of another peer. Own work is never behind more than one of them, however many ask.
    fn answer_one(&mut self) -> bool {
        let Some((question, reply)) = self.questions.pop_front() else { return false };
        let answer = self.ask(question, &reply);
        let _ = reply.blocking_send(StoreEvent::History(answer));
        true
    }

    /// Hands questions of other peers to the reader, where there is one and the file can be read by it.
    fn hand_to_reader(&mut self) {
        if let Some(reader) = self.reader.as_ref().filter(|_| self.history.is_shared()) {
            for question in self.questions.drain(..) {
                let _ = reader.send(question);
            }
        }
    }

    fn carry_out(&mut self, bundles: Vec<Bundle>) {
        let commands: Vec<(StoreCommand, Reply)> = bundles
            .into_iter()
            .flat_map(|(commands, reply)| commands.into_iter().map(move |command| (command, reply.clone())))
            .collect();
        let last_save =
            commands.iter().rposition(|(command, _)| matches!(command, StoreCommand::SaveHost { .. }));
        let is_given = |command: &StoreCommand| matches!(command, StoreCommand::KeepDeputyship(_));
        let last_given = commands.iter().rposition(|(command, _)| is_given(command));
        let is_search =
            |command: &StoreCommand| matches!(command, StoreCommand::History(HistoryCommand::Search { .. }));
        let last_search = commands.iter().rposition(|(command, _)| is_search(command));
        for (at, (command, reply)) in commands.into_iter().enumerate() {
            // Of host states that wait only the last one is written: it holds all that the others do.
            let is_old_save = matches!(command, StoreCommand::SaveHost { .. }) && Some(at) < last_save;
            // The same of what a deputy is given.
            let is_old_given = is_given(&command) && Some(at) < last_given;
            // Of searches only the last one is still wanted.
            let is_old_search = is_search(&command) && Some(at) < last_search;
            if !is_old_save && !is_old_given && !is_old_search {
                self.command(command, reply);
            }
        }
        self.commit();
    }

    fn command(&mut self, command: StoreCommand, reply: Reply) {
        match command {
            StoreCommand::Keep { token, network, batch, spans } => {
                // Every asker is told of what it has given.
                if self.keeping.as_ref().is_some_and(|(_, other)| !other.same_channel(&reply)) {
                    self.commit();
                }
                self.node = Some(reply.clone());
                self.batch.push(Write::Keep { network, batch, spans });
                self.keeping = Some((token, reply));
            }
            StoreCommand::Audience(audience) => self.batch.push(Write::Audience(audience)),
            StoreCommand::KeepDrafts { network, drafts } => {
                self.batch.push(Write::Drafts { network, drafts });
            }
            StoreCommand::KeepMuted { peer, is_muted } => self.batch.push(Write::Muted(peer, is_muted)),
            StoreCommand::Receipt(receipt) => self.batch.push(Write::Receipt(receipt)),
            StoreCommand::Forget { network, conversation } => self.forget(network, conversation, &reply),
            StoreCommand::History(question) if Reader::answers(&question) => {
                self.questions.push_back((question, reply));
            }
            StoreCommand::History(command) => {
                // A question is answered after everything before it is written.
                self.commit();
                let event = self.ask(command, &reply);
                let _ = reply.blocking_send(StoreEvent::History(event));
                // Reading may have found damage.
                if let Some(node) = self.node.clone() {
                    self.tell_state(&node);
                }
            }
            StoreCommand::SaveHost { token, state } => {
                let saved = self.save_host(*state);
                tell_saved(&reply, token, saved);
            }
            StoreCommand::RetireHost => self.retire_host(&reply),
            StoreCommand::KeepPackage { token, state } => {
                let saved = self.files.as_ref().map_or(Ok(()), |files| files.keep_package(&state));
                tell_saved(&reply, token, saved);
            }
            StoreCommand::DropPackage => {
                if let Some(files) = &self.files {
                    files.drop_package();
                }
            }
            StoreCommand::RememberHost(known) => {
                self.change_recents(&reply, |recents| remember(recents, *known));
            }
            StoreCommand::ForgetHost { target } => {
                self.change_recents(&reply, |recents| recents.retain(|other| other.target != target));
            }
            StoreCommand::KeepDeputyship(given) => {
                let kept = self.files.as_ref().map(|files| files.keep_deputyship(given.as_deref()));
                self.kept.send_modify(|kept| kept.deputyship = given.map(|given| *given));
                tell_failed(&reply, kept);
            }
            StoreCommand::KeepVerified(verified) => self.keep_verified(&reply, *verified),
            StoreCommand::Recents => {
                let _ = reply.blocking_send(StoreEvent::Recents(self.kept.borrow().recents.clone()));
            }
        }
    }

    /// Deletes a conversation.
    fn forget(&mut self, network: NetworkId, conversation: Recipient, reply: &Reply) {
        self.commit();
        let outcome = self.history.forget(network, conversation);
        let event = match outcome {
            Committed::ForGood => StoreEvent::History(HistoryEvent::Forgotten(conversation)),
            Committed::NotYet => {
                let message = "it cannot be deleted now; it is as soon as the disk takes anything".to_owned();
                StoreEvent::Failed { token: None, message }
            }
        };
        self.committed(outcome);
        let _ = reply.blocking_send(event);
    }

    /// A network that this profile hosted before is set aside, not overwritten.
    fn save_host(&mut self, state: HostState) -> Result<(), StoreError> {
        let is_another = |kept: &HostState| kept.network.id != state.network.id;
        let is_other = self.kept.borrow().host.as_ref().is_some_and(is_another);
        let saved = self.files.as_ref().map_or(Ok(()), |files| {
            if is_other {
                files.retire_host()?;
            }
            files.save_host(&state)
        });
        self.kept.send_modify(|kept| kept.host = Some(state));
        saved
    }

    fn retire_host(&mut self, reply: &Reply) {
        let retired = self.files.as_ref().map_or(Ok(()), Files::retire_host);
        self.kept.send_modify(|kept| {
            kept.retired = kept.host.take().map(|state| state.network);
        });
        let event = match retired {
            Ok(()) => StoreEvent::Retired,
            Err(error) => StoreEvent::Failed { token: None, message: error.to_string() },
        };
        let _ = reply.blocking_send(event);
    }

    fn commit(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let outcome = self.history.commit(std::mem::take(&mut self.batch));
        self.committed(outcome);
    }

    fn committed(&mut self, outcome: Committed) {
        let now = self.keeping.take();
        let before = self.waiting.take();
        let kept = |asker: &Option<(u64, Reply)>, for_good| {
            if let Some((token, reply)) = asker {
                let event = HistoryEvent::Kept { token: *token, for_good };
                let _ = reply.blocking_send(StoreEvent::History(event));
            }
        };
        match outcome {
            Committed::ForGood => {
                if before
                    .as_ref()
                    .is_some_and(|(_, old)| now.as_ref().is_none_or(|(_, new)| !old.same_channel(new)))
                {
                    kept(&before, true);
                }
                kept(&now, true);
            }
            Committed::NotYet => {
                kept(&now, false);
                self.waiting = now.or(before);
            }
        }
        if let Some(node) = self.node.clone() {
            self.tell_state(&node);
        }
    }

    fn tell_state(&mut self, reply: &Reply) {
        let (state, message) = self.history.state();
        if (state, message) != (self.notified.0, self.notified.1.as_str()) {
            self.notified = (state, message.to_owned());
            let event = HistoryEvent::State { state, message: message.to_owned() };
            let _ = reply.blocking_send(StoreEvent::History(event));
        }
    }

    fn ask(&mut self, command: HistoryCommand, reply: &Reply) -> HistoryEvent {
        let history = &mut self.history;
        match command {
            HistoryCommand::Recall(network) => {
                self.node = Some(reply.clone());
                let id = network.id;
                let outcome = history.commit(vec![Write::Name(network)]);
                let recalled = history.recall(&id);
                self.committed(outcome);
                HistoryEvent::Recalled(Box::new(recalled))
            }
            HistoryCommand::Held { token, network, since } => match history.held(&network, since) {
                Ok(held) => HistoryEvent::Held { token, held },
                Err(Unread) => HistoryEvent::NotRead { token },
            },
            HistoryCommand::Range { token, network, conversation, wanted, since } => {
                match history.range(&network, &conversation, &wanted, since) {
                    Ok((batches, next)) => HistoryEvent::Range { token, batches, next },
                    Err(Unread) => HistoryEvent::NotRead { token },
                }
            }
            HistoryCommand::Compare { token, network, batch } => match history.compare(&network, &batch) {
                Ok(compared) => HistoryEvent::Compared { token, compared },
                Err(Unread) => HistoryEvent::NotRead { token },
            },
            HistoryCommand::Open { network } => HistoryEvent::Opened(Box::new(history.open_all(&network))),
            HistoryCommand::Page { network, conversation, part } => {
                HistoryEvent::Page { part, page: history.page(&network, &conversation, part) }
            }
            HistoryCommand::Search { network, text } => {
                let hits = history.search(&network, &text);
                HistoryEvent::Found { text, hits }
            }
            HistoryCommand::Info { network, conversation, place } => {
                HistoryEvent::Info { place, deliveries: history.info(&network, &conversation, place) }
            }
        }
    }

    fn keep_verified(&self, reply: &Reply, verified: Verified) {
        self.kept.send_modify(|kept| {
            kept.verified.retain(|other| other.peer_id != verified.peer_id);
            kept.verified.push(verified);
            let over = kept.verified.len().saturating_sub(limits::VERIFIED);
            kept.verified.drain(..over);
        });
        let verified = self.kept.borrow().verified.clone();
        tell_failed(reply, self.files.as_ref().map(|files| files.save_verified(&verified)));
    }

    fn change_recents(&self, reply: &Reply, change: impl FnOnce(&mut Vec<KnownHost>)) {
        self.kept.send_modify(|kept| change(&mut kept.recents));
        let recents = self.kept.borrow().recents.clone();
        let event = match self.files.as_ref().map_or(Ok(()), |files| files.save_recents(&recents)) {
            Ok(()) => StoreEvent::Recents(recents),
            Err(error) => StoreEvent::Failed { token: None, message: error.to_string() },
        };
        let _ = reply.blocking_send(event);
    }
}

/// Something is on disk, or is not.
fn tell_saved(reply: &Reply, token: u64, saved: Result<(), StoreError>) {
    let event = match saved {
        Ok(()) => StoreEvent::Saved(token),
        Err(error) => StoreEvent::Failed { token: Some(token), message: error.to_string() },
    };
    let _ = reply.blocking_send(event);
}

/// Of what is answered only when it fails.
fn tell_failed(reply: &Reply, kept: Option<Result<(), StoreError>>) {
    if let Some(Err(error)) = kept {
        let _ = reply.blocking_send(StoreEvent::Failed { token: None, message: error.to_string() });
    }
}

/// Puts a host first among those that are known. What an earlier host has signed takes no place of what a person has typed:
/// a host that is not honest could name the address of another one.
fn remember(hosts: &mut Vec<KnownHost>, mut host: KnownHost) {
    if host.handed_over
        && let Some(typed) = hosts.iter().find(|other| other.target == host.target && !other.handed_over)
    {
        if typed.peer_id != host.peer_id {
            return;
        }
        host.handed_over = false;
    }
    let is_older_place =
        |other: &KnownHost| host.handed_over && other.handed_over && other.network_id == host.network_id;
    hosts.retain(|other| other.target != host.target && !is_older_place(other));
    hosts.insert(0, host);
}
