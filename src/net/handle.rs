//! A node from outside: what it begins with, and the queues to it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::{listener::PeerListen, platform::Listener};
use crate::{
    api::{NodeCommand, Target},
    model::{CloseReason, Closed, CommandError, MessageId, Peer, SendError},
};

/// Listeners that are open before the node begins; a member's peer listener is opened when its route is known.
pub struct Opened {
    /// Host: the join address.
    pub join: Option<Box<dyn Listener>>,
    /// Host: where peers talk to this one.
    pub peer: Option<Box<dyn Listener>>,
    /// Host: where classic members open their second link, if they are let in.
    pub distribution: Option<Box<dyn Listener>>,
    /// Member: where its peer listener is to be.
    pub peer_listen: PeerListen,
}

/// What a node is asked.
#[derive(Debug)]
pub enum Request {
    /// A command; errors are told as events.
    Command(NodeCommand),
    /// A text is to be sent.
    Send(Target, String, oneshot::Sender<Result<MessageId, SendError>>),
    /// A command; whoever asks is told what became of it.
    Ask(NodeCommand, oneshot::Sender<Result<(), CommandError>>),
    /// Who is a member?
    Members(oneshot::Sender<Vec<Arc<Peer>>>),
}

impl From<NodeCommand> for Request {
    fn from(command: NodeCommand) -> Self {
        Self::Command(command)
    }
}

/// A running node. It leaves when the last of its handles is dropped.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    /// Takes messages to send; full means that the node is busy, or that recipients are slow.
    pub sends: mpsc::Sender<Request>,
    /// Takes everything else: no slow recipient ever delays a ban.
    pub commands: mpsc::Sender<Request>,
    pub(super) ended: watch::Receiver<Option<Closed>>,
}

impl NodeHandle {
    /// Where a command waits for its turn.
    #[must_use]
    pub fn queue(&self, command: &NodeCommand) -> &mpsc::Sender<Request> {
        if matches!(command, NodeCommand::Send { .. }) { &self.sends } else { &self.commands }
    }

    /// Waits until every socket is closed and everything is kept, and says why the session ended.
    pub async fn ended(&self) -> Closed {
        let mut ended = self.ended.clone();
        let closed = ended.wait_for(Option::is_some).await.ok().and_then(|closed| closed.clone());
        closed.unwrap_or_else(|| CloseReason::Internal.into())
    }
}
