//! The application state and the one function that changes it: events in, effects out, as data.
//!
//! Pure: it must never do I/O, read a clock, draw, or panic on anything that a person or a peer does.

pub mod audience;
pub mod composer;
pub mod invite;
pub mod keymap;
pub mod launch;
pub mod layer;
pub mod layout;
pub mod log;
pub mod markup;
pub mod nearby;
pub mod palette;
pub mod room;
pub mod strength;
pub mod wrap;

mod admin;
mod state;
mod update;

pub use self::{
    admin::{AdminColumn, AdminRow, admin_rows},
    state::{Defaults, Noticed, Notices, Screen, State, Toast, ToastKind},
    update::{next_tick, suggestions, update, why_not},
};
use crate::{
    api::{Finding, NodeCommand, NodeEvent, StoreCommand, StoreEvent},
    model::{Alias, Closed, JoinTarget, Password, Recipient, Sighting, Wire},
};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// At the terminal.
    Terminal(crossterm::event::Event),
    /// In the node.
    Node(NodeEvent),
    /// In the store.
    Store(StoreEvent),
    /// The node was too busy to take this.
    Refused(NodeCommand),
    /// A network could not be opened.
    OpenFailed(Closed),
    /// The command line asks for this network.
    Asked(Open),
    /// The host at this target is being examined, and this was found.
    Found(String, Finding),
    /// The draft of this conversation, as it was written in another editor; or why it was not.
    Edited(Recipient, Result<String, String>),
    /// A network around, or that one is not heard any more.
    Nearby(Sighting),
    /// Something on this machine is not as it should be, and the program makes do.
    Remark(String),
    /// Time passed.
    Tick,
}

/// Something to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// By the node.
    Node(NodeCommand),
    /// By the store.
    Store(StoreCommand),
    /// Open a network.
    Open(Open),
    /// See why the host at this target cannot be joined; what is found comes as [`Event::Found`].
    Diagnose(String),
    /// Put a text on the clipboard.
    Copy(String),
    /// Ring the terminal's bell.
    Bell,
    /// Have the terminal show a notice, even while nobody looks at it.
    Notify(String),
    /// Have the draft of a conversation written in an editor of one's own; what it became comes as [`Event::Edited`].
    Edit(Recipient, String),
    /// Have the system open a link.
    OpenLink(String),
    /// Give the terminal back until the shell continues this process.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// End.
    Quit,
}

/// Which network to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// A new one.
    Host {
        /// The join address.
        listen: std::net::SocketAddr,
        /// This peer's label.
        alias: Alias,
        /// The network's name; nothing = the one it had.
        network: Option<String>,
        /// Its password; nothing = the one that is kept.
        password: Option<Password>,
        /// Classic peers are let in.
        classic: bool,
        /// Those around are told of it.
        announce: bool,
        /// The router is asked to let others in from the internet.
        map_port: bool,
    },
    /// An existing one.
    Join {
        /// The host, or an invite.
        target: JoinTarget,
        /// This peer's label.
        alias: Alias,
        /// Its password.
        password: Option<Password>,
        /// How the host speaks.
        wire: Wire,
    },
    /// One with bots.
    Demo,
}
