//! The lines around the room: what and where it is above, what keys do below.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{Theme, paint};
use crate::{
    app::{
        State, ToastKind,
        keymap::{Action, Context},
        layer::{Layer, PromptKind},
        layout,
        room::{Focus, LinkView, Pane, Room, View},
        wrap,
    },
    model::{Role, Timestamp, Wire},
};

/// Network and peers at the left, who one is and where at the right, the link last. What does not fit goes, the least needed
/// first.
pub(super) fn title(state: &State, room: &Room, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let count = room.others() + 1;
    let peers = if count == 1 { "1 peer".to_owned() } else { format!("{count} peers") };
    let unread = room.conversations.iter().map(|conversation| conversation.unread).sum::<u32>();
    // Where the conversations are not to be seen.
    let is_hidden = room.shown.view != View::Chat || layout::areas(state.size, room).peers.is_empty();
    let (link, link_style) = link(room, state.now, theme);
    let mut left = vec![(room.network.to_string(), Theme::strong())];
    if unread > 0 && is_hidden {
        left.push((format!("{unread} unread"), theme.warning()));
    }
    if room.cleartext.on.is_some() {
        left.push(("~classic".to_owned(), theme.warning()));
    }
    let width =
        |parts: &[(String, Style)]| parts.iter().map(|(text, _)| wrap::width(text) + 3).sum::<usize>();
    let free = usize::from(area.width).saturating_sub(wrap::width(&link) + 2);
    if width(&left) + wrap::width(&peers) + 3 <= free {
        left.insert(1, (peers, Theme::plain()));
    }
    while width(&left) > free && left.len() > 1 {
        left.pop();
    }
    let mut x = area.x + u16::from(area.width > 20);
    for (at, (text, style)) in left.iter().enumerate() {
        if at > 0 {
            x = paint::put(buffer, area, x, area.y, " · ", theme.dim());
        }
        let most = if at == 0 { free } else { usize::MAX };
        x = paint::put(buffer, area, x, area.y, &wrap::fit(text, most), *style);
    }
    let within = Rect { width: area.width.saturating_sub(u16::from(area.width > 20)), ..area };
    paint::put_right(buffer, within, x, area.y, &link, link_style);
    let before = within.width.saturating_sub(u16::try_from(wrap::width(&link) + 3).unwrap_or(u16::MAX));
    let within = Rect { width: before, ..within };
    let fits = |text: &&String| usize::from(x) + 2 + wrap::width(text) <= usize::from(within.right());
    if let Some(me) = about_me(room).iter().find(fits) {
        paint::put_right(buffer, within, x, area.y, me, theme.dim());
    }
}

/// Who one is here, in ever fewer words.
fn about_me(room: &Room) -> Vec<String> {
    let addr = &room.join_addr;
    let says = room.peers.get(&room.me).and_then(|me| me.peer.status.as_ref());
    let alias = match says {
        Some(status) => format!("{} ({})", room.alias, status.as_str()),
        None => room.alias.clone(),
    };
    let (role, article) = match room.role {
        Role::Host => ("host", "the host"),
        Role::Member if room.deputy == Some(room.me) => ("deputy", "the deputy"),
        Role::Member => ("member", "a member"),
    };
    let mut all = vec![
        format!("you are {alias}, {article} · {addr}"),
        format!("{alias}, {role} · {addr}"),
        format!("{alias}, {role}"),
        role.to_owned(),
    ];
    // The host's key: to be compared.
    let host = room.peers.values().find(|view| view.present && view.peer.role == Role::Host);
    if let Some(key) = host.map(|view| view.peer.peer_id).filter(|key| key.wire() == Wire::Native) {
        let whose = if room.role == Role::Host { "key" } else { "host" };
        all.insert(0, format!("you are {alias}, {article} · {addr} · {whose} {}", key.short()));
    }
    all
}

fn link(room: &Room, now: Timestamp, theme: Theme) -> (String, Style) {
    match (&room.link, room.role) {
        (LinkView::Joined, Role::Host) => ("● open".to_owned(), theme.good()),
        (LinkView::Joined, Role::Member) => ("● joined".to_owned(), theme.good()),
        // Why it was lost stands in the log.
        (LinkView::Lost { retry_at, .. }, _) => {
            let text = match retry_at.map(|at| at.since(now).as_secs()) {
                Some(seconds) if seconds > 0 => format!("◌ host lost, retry {seconds} s"),
                _ => "◌ host lost, retry now".to_owned(),
            };
            (text, theme.warning())
        }
    }
}

/// What is wrong and stays so.
pub(super) fn banner(state: &State, room: &Room, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    if let Some(words) = room.banner(&state.defaults.zone, usize::from(area.width)) {
        let text = wrap::fit(&format!(" ! {words}"), usize::from(area.width));
        paint::put(buffer, area, area.x, area.y, &text, theme.warning());
    }
}

/// A short notice, or the keys that matter here.
pub(super) fn hint(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    // A question needs its keys.
    let is_asking = matches!(state.layers.last(), Some(Layer::Dialog(_)));
    if let Some(toast) = state.toast.as_ref().filter(|_| !is_asking) {
        let (sign, style) = match toast.kind {
            ToastKind::Info => ("›", theme.accent()),
            ToastKind::Error => ("!", theme.bad()),
        };
        let text = format!(" {sign} {}", toast.text);
        paint::put(buffer, area, area.x, area.y, &wrap::fit(&text, usize::from(area.width)), style);
        return;
    }
    // Help is what a newcomer needs: it always has its place, at the right.
    let key = state.keymap.key(&[Context::Everywhere], Action::Help);
    let help = key.map(|key| format!("{key} help")).unwrap_or_default();
    let reserved = if area.width > 30 { u16::try_from(help.len() + 1).unwrap_or(0) } else { 0 };
    if reserved > 0 {
        let within = Rect { width: area.width.saturating_sub(1), ..area };
        paint::put_right(buffer, within, area.x, area.y, &help, theme.dim());
    }
    let mut x = area.x + 1;
    let on_messages = state.room().is_none_or(|room| {
        room.shown.view == View::Chat
            && (room.shown.focus == Focus::Compose || room.shown.pane == Pane::Messages)
    });
    // Only what has a list of its own to choose from is completed.
    let completes = !matches!(
        state.layers.last(),
        Some(Layer::Prompt(prompt)) if !matches!(prompt.kind, PromptKind::Palette | PromptKind::GoTo | PromptKind::Theme)
    );
    let hides = match state.layers.last() {
        Some(Layer::Prompt(prompt)) => prompt.kind == PromptKind::Password,
        _ => true,
    };
    let has_options = !matches!(state.layers.last(), Some(Layer::Dialog(dialog)) if dialog.items.len() <= 2);
    let is_told = |word: &str| match word {
        "help" => false,
        "complete" => completes,
        "on/off" => has_options,
        "show password" => hides,
        _ => true,
    };
    let hints = state.keymap.hints(&state.contexts(), on_messages);
    for (key, word) in hints.into_iter().filter(|(_, word)| is_told(word)) {
        let width = u16::try_from(wrap::width(&key) + wrap::width(word) + 1).unwrap_or(u16::MAX);
        // A shorter one may have room.
        if x.saturating_add(width) >= area.right().saturating_sub(reserved + 1) {
            continue;
        }
        x = paint::put(buffer, area, x, area.y, &key, Theme::strong());
        x = paint::put(buffer, area, x + 1, area.y, word, theme.dim()) + 2;
    }
}
