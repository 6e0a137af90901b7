//! The rows of the table.

use std::borrow::Cow;

use crossterm::event::{KeyCode, KeyModifiers};

use super::{Action, Action as A, Binding, Context, Context as C, Edit, Key};
use KeyCode::{BackTab, Backspace, Delete, End, Enter, Esc, F, Home, PageDown, PageUp, Tab};

const fn plain(code: KeyCode) -> Key {
    Key { code, modifiers: KeyModifiers::NONE }
}

pub(super) const fn letter(c: char) -> Key {
    plain(KeyCode::Char(c))
}

pub(super) const fn ctrl(c: char) -> Key {
    Key { code: KeyCode::Char(c), modifiers: KeyModifiers::CONTROL }
}

const fn alt(c: char) -> Key {
    Key { code: KeyCode::Char(c), modifiers: KeyModifiers::ALT }
}

const fn with(code: KeyCode, modifiers: KeyModifiers) -> Key {
    Key { code, modifiers }
}

const fn bind(
    contexts: &'static [Context],
    keys: &'static [Key],
    action: Action,
    help: &'static str,
    hint: &'static str,
) -> Binding {
    Binding { contexts, keys: Cow::Borrowed(keys), action, help, hint }
}

pub(super) const EDITORS: &[Context] = &[C::Compose, C::Form, C::Prompt];

/// All keys. Within a context the first row that binds a key wins.
pub static TABLE: &[Binding] = &[
    // Composing.
    bind(&[C::Compose], &[plain(Enter)], A::Submit, "send", "send"),
    bind(
        &[C::Compose],
        &[with(Enter, KeyModifiers::ALT), ctrl('j'), with(Enter, KeyModifiers::SHIFT)],
        A::Edit(Edit::Newline),
        "new line",
        "new line",
    ),
    bind(
        &[C::Compose],
        &[plain(Tab)],
        A::Next,
        "complete a name or an emoji such as :smile; on an empty line, next pane",
        "",
    ),
    bind(&[C::Compose], &[plain(BackTab)], A::Previous, "on an empty line, previous pane", ""),
    bind(
        &[C::Compose],
        &[letter('/')],
        A::Palette,
        "on an empty line: commands (// sends a slash)",
        "commands",
    ),
    bind(
        &[C::Compose],
        &[plain(KeyCode::Up)],
        A::Up,
        "line up; on the first, the stashed draft, or what was sent before",
        "",
    ),
    bind(
        &[C::Compose],
        &[plain(KeyCode::Down)],
        A::Down,
        "line down; on the last, what was sent after it",
        "",
    ),
    bind(&[C::Compose], &[ctrl('r')], A::Recall, "look for what was sent before", ""),
    bind(&[C::Compose], &[ctrl('x')], A::Editor, "write it in $EDITOR", ""),
    bind(&[C::Compose], &[plain(Esc)], A::Close, "browse: letters act", "browse"),
    // Browsing.
    bind(&[C::Admin], &[letter('a')], A::Approve, "let in who waits at the door", ""),
    bind(&[C::Admin], &[letter('b')], A::Ban, "ban the selected member", "ban"),
    bind(&[C::Admin], &[letter('x')], A::Kick, "kick the selected member, or turn away who waits", "kick"),
    bind(&[C::Admin], &[letter('u')], A::Unban, "lift the selected ban", "unban"),
    bind(
        &[C::Admin],
        &[letter('h')],
        A::Handover,
        "hand the network over to the selected member",
        "hand over",
    ),
    bind(&[C::Log], &[letter('f')], A::Filter, "filter: all, warnings, errors", "filter"),
    bind(
        &[C::Heartbeat],
        &[letter('w')],
        A::Ways,
        "who reaches whom; again: the heartbeat",
        "who reaches whom",
    ),
    bind(&[C::Browse], &[letter('i'), plain(Enter)], A::Compose, "write", "write"),
    bind(&[C::Browse], &[letter('k'), plain(KeyCode::Up)], A::Up, "up", "move"),
    bind(&[C::Browse], &[letter('j'), plain(KeyCode::Down)], A::Down, "down", ""),
    bind(&[C::Browse], &[ctrl('u')], A::HalfUp, "half a page up", ""),
    bind(&[C::Browse], &[ctrl('d')], A::HalfDown, "half a page down", ""),
    bind(&[C::Browse], &[plain(Home), letter('g')], A::Top, "to the first", ""),
    bind(&[C::Browse], &[plain(End), letter('G')], A::Bottom, "to the last", ""),
    bind(&[C::Browse], &[letter('y')], A::Copy, "copy the message at the mark", "copy"),
    bind(
        &[C::Browse],
        &[letter('r')],
        A::Reply,
        "answer the message at the mark, with a quote of it",
        "reply",
    ),
    bind(&[C::Browse], &[letter('m')], A::Menu, "what can be done with the message at the mark", "menu"),
    bind(&[C::Browse], &[letter('I')], A::Info, "who has the message at the mark, and since when", "info"),
    bind(&[C::Browse], &[letter('o')], A::Unfold, "all lines of the message at the mark, or fold it", ""),
    bind(&[C::Browse], &[letter('u')], A::NextUnread, "next unread conversation", ""),
    bind(&[C::Browse], &[letter('/')], A::Search, "search", "search"),
    bind(&[C::Browse], &[letter('n')], A::FindOlder, "next match, older", ""),
    bind(&[C::Browse], &[letter('N')], A::FindNewer, "next match, newer", ""),
    bind(&[C::Browse], &[letter(':')], A::Palette, "commands", "commands"),
    bind(&[C::Browse], &[letter('?')], A::Help, "this help", "help"),
    bind(&[C::Browse], &[plain(Tab)], A::Next, "next pane", "pane"),
    bind(&[C::Browse], &[plain(BackTab)], A::Previous, "previous pane", ""),
    bind(&[C::Browse], &[plain(Esc)], A::Close, "to the newest; there, back to writing", "back"),
    // Anywhere in a room.
    bind(&[C::Room], &[plain(F(2))], A::ViewChat, "chat", ""),
    bind(&[C::Room], &[plain(F(3))], A::ViewAdmin, "admin: members, attempts, bans", ""),
    bind(&[C::Room], &[plain(F(4))], A::ViewHeartbeat, "heartbeat", ""),
    bind(&[C::Room], &[plain(F(5))], A::ViewLog, "log", ""),
    bind(&[C::Room], &[ctrl('n')], A::NextConversation, "next conversation", "next chat"),
    bind(&[C::Room], &[ctrl('p')], A::PreviousConversation, "previous conversation", ""),
    bind(&[C::Room], &[ctrl('o')], A::GoTo, "go to a conversation by name", "go to"),
    bind(
        &[C::Room],
        &[alt('1'), alt('2'), alt('3'), alt('4'), alt('5'), alt('6'), alt('7'), alt('8'), alt('9')],
        A::Jump,
        "jump to a conversation",
        "",
    ),
    bind(&[C::Room], &[alt('a')], A::NextUnread, "next unread conversation", ""),
    bind(&[C::Room], &[plain(PageUp)], A::PageUp, "page up", ""),
    bind(&[C::Room], &[plain(PageDown)], A::PageDown, "page down", ""),
    bind(&[C::Room], &[with(End, KeyModifiers::CONTROL)], A::Bottom, "to the newest message", ""),
    bind(&[C::Room], &[ctrl('f')], A::Search, "search everything that was said", ""),
    // The launch screen.
    bind(&[C::Launch], &[plain(Enter)], A::Submit, "choose", "choose"),
    bind(&[C::Launch], &[plain(KeyCode::Up), plain(BackTab)], A::Up, "up", "move"),
    bind(&[C::Launch], &[plain(KeyCode::Down), plain(Tab)], A::Down, "down", ""),
    bind(&[C::Launch], &[letter('h')], A::Host, "open a network", "host"),
    bind(&[C::Launch], &[letter('j')], A::Join, "join a network", "join"),
    bind(&[C::Launch], &[letter('d')], A::Demo, "try it out with bots on this machine", "demo"),
    bind(&[C::Launch], &[plain(Delete)], A::Forget, "forget this recent network and its key", ""),
    bind(&[C::Launch], &[letter('?')], A::Help, "this help", "help"),
    bind(&[C::Form], &[plain(Enter)], A::Submit, "next field; on the last one, go", "go on"),
    bind(&[C::Form], &[plain(Tab), plain(KeyCode::Down)], A::Next, "next field", "next field"),
    bind(&[C::Form], &[plain(BackTab), plain(KeyCode::Up)], A::Previous, "previous field", ""),
    bind(&[C::Form, C::Prompt], &[ctrl('r')], A::Reveal, "show or hide the password", "show password"),
    bind(&[C::Form], &[plain(Esc)], A::Close, "back", "back"),
    // Questions, prompts, help.
    bind(&[C::Dialog], &[plain(Enter)], A::Submit, "do what is chosen", "choose"),
    bind(&[C::Dialog], &[letter(' ')], A::Toggle, "turn the option on or off", "on/off"),
    bind(&[C::Dialog], &[plain(KeyCode::Left), plain(BackTab), plain(KeyCode::Up)], A::Left, "before", ""),
    bind(&[C::Dialog], &[plain(KeyCode::Right), plain(Tab), plain(KeyCode::Down)], A::Right, "next", "move"),
    bind(&[C::Dialog], &[plain(Esc)], A::Close, "cancel", "cancel"),
    bind(&[C::Prompt], &[plain(Enter)], A::Submit, "do it", "do it"),
    bind(&[C::Prompt], &[plain(Tab)], A::Next, "complete", "complete"),
    bind(&[C::Prompt], &[plain(KeyCode::Up)], A::Up, "up", ""),
    bind(&[C::Prompt], &[plain(KeyCode::Down)], A::Down, "down", ""),
    bind(&[C::Prompt], &[plain(Esc)], A::Close, "close", "close"),
    bind(&[C::Invite], &[letter('c'), letter('y')], A::Copy, "copy the invite", "copy"),
    bind(&[C::Invite], &[plain(Esc), letter('q'), plain(Enter)], A::Close, "close", "close"),
    bind(&[C::Help], &[plain(Esc), letter('q'), plain(Enter), letter('?')], A::Close, "close", "close"),
    bind(&[C::Help], &[plain(KeyCode::Up), letter('k')], A::Up, "up", "move"),
    bind(&[C::Help], &[plain(KeyCode::Down), letter('j')], A::Down, "down", ""),
    bind(&[C::Help], &[plain(PageUp)], A::PageUp, "page up", ""),
    bind(&[C::Help], &[plain(PageDown)], A::PageDown, "page down", ""),
    // Editing, in every editor.
    bind(EDITORS, &[ctrl('a'), plain(Home)], A::Edit(Edit::LineStart), "to the start of the line", ""),
    bind(EDITORS, &[ctrl('e'), plain(End)], A::Edit(Edit::LineEnd), "to the end of the line", ""),
    bind(EDITORS, &[ctrl('k')], A::Edit(Edit::CutToEnd), "cut to the end of the line", ""),
    bind(EDITORS, &[ctrl('u')], A::Edit(Edit::CutToStart), "cut to the start of the line", ""),
    bind(
        EDITORS,
        &[ctrl('w'), with(Backspace, KeyModifiers::CONTROL), with(Backspace, KeyModifiers::ALT)],
        A::Edit(Edit::CutWord),
        "cut a word",
        "",
    ),
    bind(
        EDITORS,
        &[with(Delete, KeyModifiers::CONTROL), with(Delete, KeyModifiers::ALT), alt('d')],
        A::Edit(Edit::CutWordRight),
        "cut the next word",
        "",
    ),
    bind(EDITORS, &[ctrl('y')], A::Edit(Edit::PutBack), "put back what was cut", ""),
    bind(
        EDITORS,
        &[alt('b'), with(KeyCode::Left, KeyModifiers::CONTROL), with(KeyCode::Left, KeyModifiers::ALT)],
        A::Edit(Edit::WordLeft),
        "a word back",
        "",
    ),
    bind(
        EDITORS,
        &[alt('f'), with(KeyCode::Right, KeyModifiers::CONTROL), with(KeyCode::Right, KeyModifiers::ALT)],
        A::Edit(Edit::WordRight),
        "a word on",
        "",
    ),
    bind(EDITORS, &[plain(KeyCode::Left)], A::Edit(Edit::Left), "left", ""),
    bind(EDITORS, &[plain(KeyCode::Right)], A::Edit(Edit::Right), "right", ""),
    bind(EDITORS, &[plain(Backspace)], A::Edit(Edit::Backspace), "remove the character before", ""),
    bind(EDITORS, &[plain(Delete)], A::Edit(Edit::Delete), "remove the character after", ""),
    // Everywhere.
    bind(&[C::Everywhere], &[plain(F(1))], A::Help, "help for where you are", "help"),
    bind(
        &[C::Everywhere],
        &[ctrl('c')],
        A::Interrupt,
        "stash a draft; with none, quit (it asks first in a room; again: leaves)",
        "quit",
    ),
    bind(&[C::Everywhere], &[ctrl('l')], A::Redraw, "draw the screen anew", ""),
    bind(&[C::Everywhere], &[ctrl('z')], A::Suspend, "suspend", ""),
];
