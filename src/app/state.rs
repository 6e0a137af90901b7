//! The whole state of the screen.

use std::net::SocketAddr;

use super::{
    keymap::{Context, Keymap},
    launch::{Launch, form::Form},
    layer::{Layer, Prompt, PromptKind},
    room::{Focus, Room, View},
};
use crate::{
    model::{Alias, KnownHost, NetworkId, Password, Role, SafeText, Timestamp, Verified},
    theme::{Palette, Themes},
};

/// What forms start with, from the configuration.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Defaults {
    /// This peer's label.
    pub alias: Alias,
    /// The join address.
    pub listen: SocketAddr,
    /// The network's name.
    pub network: String,
    /// The network that the profile hosts has a password.
    pub has_kept_password: bool,
    /// A password that is offered to whoever hosts for the first time.
    pub offered: Option<Password>,
    /// Classic peers are to be let in.
    pub classic: bool,
    /// Those around are told of a new network.
    pub announce: bool,
    /// The router is to be asked to let others in from the internet.
    pub map_port: bool,
    /// The person here has been told before what that means.
    pub knows_classic: bool,
    /// The zone that times are shown in.
    pub zone: jiff::tz::TimeZone,
    /// Colours may be used.
    pub color: bool,
}

/// Which messages the terminal is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noticed {
    /// None.
    Nothing,
    /// Those that name this peer, or are for it alone.
    Calls,
    /// All.
    Everything,
}

/// What the terminal is told of that wants attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notices {
    /// Of which messages.
    pub of: Noticed,
    /// With what was said, not only by whom.
    pub has_text: bool,
    /// The bell rings.
    pub bell: bool,
}

impl Default for Notices {
    fn default() -> Self {
        Self { of: Noticed::Calls, has_text: true, bell: true }
    }
}

/// What the screen shows underneath its layers.
#[derive(Debug)]
pub enum Screen {
    /// What to do?
    Launch(Launch),
    /// In a network.
    Room(Box<Room>),
}

/// How a short notice is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToastKind {
    /// Good to know.
    Info,
    /// Something is wrong.
    Error,
}

/// A short notice that goes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toast {
    /// How it is meant.
    pub kind: ToastKind,
    /// What it says.
    pub text: SafeText,
    /// When it goes.
    pub until: Timestamp,
}

/// Everything.
#[derive(Debug)]
pub struct State {
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// The time of the last event.
    pub now: Timestamp,
    /// What forms start with.
    pub defaults: Defaults,
    /// What is shown.
    pub screen: Screen,
    /// What lies on top, the topmost last.
    pub layers: Vec<Layer>,
    /// A short notice.
    pub toast: Option<Toast>,
    /// Recent networks, for the next launch screen.
    pub recents: Vec<KnownHost>,
    /// The session was told to leave.
    pub leaving: bool,
    /// The program ends with the session.
    pub quitting: bool,
    /// Why the last session ended.
    pub ended: Option<crate::model::Closed>,
    /// How it looks.
    pub themes: Themes,
    /// The terminal shows nothing but ASCII.
    pub only_ascii: bool,
    /// Keys that the person here has verified.
    pub verified: Vec<Verified>,
    /// What keys do.
    pub keymap: Keymap,
    /// What the terminal is told of.
    pub notices: Notices,
    /// When it was told of something last.
    pub noticed: Option<Timestamp>,
    /// When the oldest change of a draft was made that is not kept yet.
    pub unsaved: Option<Timestamp>,
    /// The draft that is being written in another editor, as it was, and in which network.
    pub editing: Option<(NetworkId, String)>,
    /// Whether somebody looks at the terminal, where it says so.
    pub in_sight: Option<bool>,
}

impl State {
    /// The launch screen.
    #[must_use]
    pub fn new(defaults: Defaults, recents: Vec<KnownHost>, size: (u16, u16), now: Timestamp) -> Self {
        let launch = Launch { recents: recents.clone(), ..Launch::default() };
        let themes = Themes::default();
        Self {
            size,
            now,
            defaults,
            screen: Screen::Launch(launch),
            layers: Vec::new(),
            toast: None,
            recents,
            leaving: false,
            quitting: false,
            ended: None,
            themes,
            only_ascii: false,
            verified: Vec::new(),
            keymap: Keymap::default(),
            notices: Notices::default(),
            noticed: None,
            unsaved: None,
            editing: None,
            in_sight: None,
        }
    }

    /// The colours now: those of the theme that is being looked at, else of the one that was chosen; none where there
    /// are to be none.
    #[must_use]
    pub fn palette(&self) -> Palette {
        let tried = match self.layers.last() {
            Some(Layer::Prompt(prompt)) if prompt.kind == PromptKind::Theme => {
                super::suggestions(self).get(prompt.at).and_then(|name| self.themes.named(name))
            }
            _ => None,
        };
        let palette = tried.unwrap_or_else(|| self.themes.shown.clone());
        let only_ascii = palette.only_ascii || self.only_ascii;
        if self.defaults.color {
            Palette { only_ascii, ..palette }
        } else {
            Palette { only_ascii, ..Palette::mono(&palette.name) }
        }
    }

    /// The title of the terminal's window: what is unread stands in it, for whoever looks at another one.
    #[must_use]
    pub fn title(&self) -> String {
        self.room().map_or_else(
            || "pyile".to_owned(),
            |room| {
                let unread = room.conversations.iter().map(|conversation| conversation.unread).sum::<u32>();
                let unread = if unread > 0 { format!("({unread}) ") } else { String::new() };
                format!("{unread}{} - pyile", room.network)
            },
        )
    }

    /// The room, when one is in it.
    #[must_use]
    pub fn room(&self) -> Option<&Room> {
        match &self.screen {
            Screen::Room(room) => Some(room),
            Screen::Launch(_) => None,
        }
    }

    /// The room, when one is in it.
    pub fn room_mut(&mut self) -> Option<&mut Room> {
        match &mut self.screen {
            Screen::Room(room) => Some(room),
            Screen::Launch(_) => None,
        }
    }

    /// The launch screen, when it is shown.
    pub fn launch_mut(&mut self) -> Option<&mut Launch> {
        match &mut self.screen {
            Screen::Launch(launch) => Some(launch),
            Screen::Room(_) => None,
        }
    }

    /// The open form, when there is one.
    pub fn form_mut(&mut self) -> Option<&mut Form> {
        self.launch_mut().and_then(|launch| launch.form.as_mut())
    }

    /// The line that is typed on top of everything.
    pub fn prompt_mut(&mut self) -> Option<&mut Prompt> {
        match self.layers.last_mut() {
            Some(Layer::Prompt(prompt)) => Some(prompt),
            _ => None,
        }
    }

    /// True for the host of a network.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.room().is_some_and(|room| room.role == Role::Host)
    }

    /// Where keys are pressed now, the closest first.
    #[must_use]
    pub fn contexts(&self) -> Vec<Context> {
        let top = match self.layers.last() {
            Some(Layer::Help { .. } | Layer::Note { .. }) => {
                return vec![Context::Help, Context::Everywhere];
            }
            layer => layer,
        };
        self.contexts_under(top)
    }

    /// Where keys are pressed when help is not on top: what help is about.
    #[must_use]
    pub fn contexts_below_help(&self) -> Vec<Context> {
        let top = self.layers.iter().rev().find(|layer| !matches!(layer, Layer::Help { .. }));
        self.contexts_under(top)
    }

    fn contexts_under(&self, top: Option<&Layer>) -> Vec<Context> {
        match (top, &self.screen) {
            (Some(Layer::Dialog(_)), _) => vec![Context::Dialog, Context::Everywhere],
            (Some(Layer::Invite(_)), _) => vec![Context::Invite, Context::Everywhere],
            (Some(_), _) => vec![Context::Prompt, Context::Everywhere],
            (None, Screen::Launch(launch)) if launch.form.is_some() => {
                vec![Context::Form, Context::Everywhere]
            }
            (None, Screen::Launch(_)) => vec![Context::Launch, Context::Everywhere],
            (None, Screen::Room(room)) => {
                let mut contexts = match (room.shown.view, room.shown.focus) {
                    (View::Chat, Focus::Compose) => vec![Context::Compose],
                    (View::Admin, _) if room.role == Role::Host => vec![Context::Admin, Context::Browse],
                    (View::Log, _) => vec![Context::Log, Context::Browse],
                    (View::Heartbeat, _) => vec![Context::Heartbeat, Context::Browse],
                    _ => vec![Context::Browse],
                };
                contexts.extend([Context::Room, Context::Everywhere]);
                contexts
            }
        }
    }
}
