//! A node from outside: what it begins with, and the queues to and from it.

use tokio::{sync::mpsc, task::JoinHandle};

use super::{listener::PeerListen, platform::Listener};
use crate::{
    api::{NodeCommand, NodeEvent},
    model::{CloseReason, Closed},
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

/// A running node. Dropping it makes the node leave.
#[derive(Debug)]
pub struct NodeHandle {
    /// Takes messages to send; full means that the node is busy, or that recipients are slow.
    pub sends: mpsc::Sender<NodeCommand>,
    /// Takes every other command: no slow recipient ever delays a ban.
    pub commands: mpsc::Sender<NodeCommand>,
    /// Gives events; ends after `left`.
    pub events: mpsc::Receiver<NodeEvent>,
    pub(super) task: JoinHandle<Closed>,
}

impl NodeHandle {
    /// Where a command waits for its turn.
    #[must_use]
    pub fn queue(&self, command: &NodeCommand) -> &mpsc::Sender<NodeCommand> {
        if matches!(command, NodeCommand::Send { .. }) { &self.sends } else { &self.commands }
    }

    /// Waits until every socket is closed, and says why the session ended.
    pub async fn ended(self) -> Closed {
        drop((self.sends, self.commands, self.events));
        self.task.await.unwrap_or_else(|error| Closed::new(CloseReason::Internal, error.to_string()))
    }
}
