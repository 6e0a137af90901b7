//! What keys do in the admin pane, and what is asked before anything is done to anybody.

use std::net::IpAddr;

use super::{Effect, State, ToastKind, toast};
use crate::{
    api::NodeCommand,
    app::{
        AdminRow, admin_rows,
        layer::{Dialog, Item, Layer, Pending},
        room::{LinkView, Room},
    },
    model::{Applicant, Attempt, Ban, Peer, Penalty, Wire},
};

fn selected(state: &State) -> Option<AdminRow> {
    let room = state.room()?;
    admin_rows(room).into_iter().nth(room.shown.admin_at)
}

fn only_host(state: &mut State) -> bool {
    if !state.is_host() {
        toast(state, ToastKind::Error, "only the host can do that");
    }
    state.is_host()
}

pub(super) fn ban_selected(state: &mut State) {
    if !only_host(state) {
        return;
    }
    match selected(state) {
        Some(AdminRow::Member(peer)) => ask_ban(state, &peer, String::new()),
        Some(AdminRow::Attempt(attempt)) => {
            let lines = vec![format!("Nobody can join from {} until you lift the ban.", attempt.addr)];
            let pending =
                Pending::Ban { peer: None, addr: Some(attempt.addr), reason: "wrong passwords".to_owned() };
            let title = format!("Ban the address {}?", attempt.addr);
            state.layers.push(Layer::Dialog(Dialog::new(title, lines, "Ban", pending)));
        }
        _ => toast(state, ToastKind::Info, "choose a member to ban with ↑ and ↓"),
    }
}

/// Asks how a member is to be banned.
pub(super) fn ask_ban(state: &mut State, peer: &Peer, reason: String) {
    let addr = peer.addr.ip();
    if peer.wire == Wire::Classic {
        return ask_ban_classic(state, peer, reason);
    }
    let what = if is_here(state, peer) { "is cut off from everyone at once" } else { "is away now" };
    let mut lines = vec![
        format!("{} ({}) {what}", peer.alias, peer.peer_id.short()),
        "and cannot come back with this key until you lift the ban.".to_owned(),
        "It knows the password, and could make a new key: set a new password too.".to_owned(),
    ];
    if !reason.is_empty() {
        lines.push(format!("It is told: {reason}"));
    }
    if addr.is_loopback() {
        lines.push(format!("Its address {addr} is this machine: banning it bans all here."));
    }
    // Of whoever went before this host began, the address is not known.
    let addr = Some(addr).filter(|addr| !addr.is_unspecified());
    let mut items = vec![Item::ByKey(true), Item::ByAddress(false), Item::NewPassword(true)];
    if addr.is_none() {
        items.retain(|item| matches!(item, Item::NewPassword(_)));
    }
    let pending = Pending::Ban { peer: Some(peer.peer_id), addr, reason };
    let title = format!("Ban {}?", peer.alias);
    state.layers.push(Layer::Dialog(Dialog::with_options((title, lines), items, "Ban", pending)));
}

/// A classic peer has no key: it is its address that is banned.
fn ask_ban_classic(state: &mut State, peer: &Peer, reason: String) {
    let addr = peer.addr.ip();
    let mut lines = vec![format!(
        "{} is a classic peer and has no key: its address {addr} is banned, and with it everybody who comes from there.",
        peer.alias
    )];
    if addr.is_loopback() {
        lines.push(format!("The address {addr} is this machine."));
    }
    let items = vec![Item::NewPassword(true)];
    let pending = Pending::Ban { peer: None, addr: Some(addr), reason };
    let title = format!("Ban {}?", peer.alias);
    state.layers.push(Layer::Dialog(Dialog::with_options((title, lines), items, "Ban", pending)));
}

/// Lets in who is selected of those who wait at the door, or the only one.
pub(super) fn approve_selected(state: &mut State) -> Vec<Effect> {
    if !only_host(state) {
        return Vec::new();
    }
    let waiting = state.room().map(|room| room.door.applicants.as_slice()).unwrap_or_default();
    let peer = match (selected(state), waiting) {
        (Some(AdminRow::Applicant(applicant)), _) => applicant.peer_id,
        (_, [only]) => only.peer_id,
        (_, []) => {
            toast(state, ToastKind::Info, "nobody waits at the door");
            return Vec::new();
        }
        _ => {
            toast(state, ToastKind::Info, "choose who comes in with ↑ and ↓");
            return Vec::new();
        }
    };
    vec![Effect::Node(NodeCommand::Approve { peer: peer.into() })]
}

/// Asks whether somebody who waits at the door is to be turned away.
pub(super) fn ask_refuse(state: &mut State, applicant: &Applicant, reason: String) {
    let lines = vec![
        format!("{} ({}) from {}", applicant.alias, applicant.peer_id.short(), applicant.addr),
        "is told that you did not let it in, and may ask again.".to_owned(),
    ];
    let pending = Pending::Refuse { peer: applicant.peer_id, reason };
    let title = format!("Turn {} away?", applicant.alias);
    state.layers.push(Layer::Dialog(Dialog::new(title, lines, "Turn away", pending)));
}

fn is_here(state: &State, peer: &Peer) -> bool {
    state.room().and_then(|room| room.peers.get(&peer.peer_id)).is_some_and(|view| view.present)
}

pub(super) fn kick_selected(state: &mut State) {
    if !only_host(state) {
        return;
    }
    match selected(state) {
        Some(AdminRow::Member(peer)) => ask_kick(state, &peer, String::new()),
        Some(AdminRow::Applicant(applicant)) => ask_refuse(state, &applicant, String::new()),
        _ => toast(state, ToastKind::Info, "choose a member to kick with ↑ and ↓"),
    }
}

/// Asks whether a member, or a former one, is to be removed.
pub(super) fn ask_kick(state: &mut State, peer: &Peer, reason: String) {
    let (what, then) = match peer.wire {
        Wire::Classic => ("is removed:", "it may join again, with the password."),
        Wire::Native if is_here(state, peer) => {
            ("is removed and its key forgotten:", "it may join again, with the password.")
        }
        Wire::Native => (
            "is away; its key is forgotten.",
            "Its name is free then, and it may join again with the password.",
        ),
    };
    let lines = vec![format!("{} ({}) {what}", peer.alias, peer.peer_id.short()), then.to_owned()];
    let pending = Pending::Kick { peer: peer.peer_id, reason };
    state.layers.push(Layer::Dialog(Dialog::new(format!("Kick {}?", peer.alias), lines, "Kick", pending)));
}

pub(super) fn hand_over_selected(state: &mut State) {
    if !only_host(state) {
        return;
    }
    match selected(state) {
        Some(AdminRow::Member(peer)) if peer.wire == Wire::Classic => {
            toast(
                state,
                ToastKind::Error,
                &format!("{} is a classic peer, and those cannot host", peer.alias),
            );
        }
        Some(AdminRow::Member(peer)) => ask_handover(state, &peer),
        _ => toast(state, ToastKind::Info, "choose the next host with ↑ and ↓"),
    }
}

/// Asks whether a member is to be the host.
pub(super) fn ask_handover(state: &mut State, peer: &Peer) {
    let mut lines = vec![format!(
        "{} ({}) becomes the host, with the bans, the members' keys and the password. Its word is final then; \
             you stay as a member.",
        peer.alias,
        peer.peer_id.short()
    )];
    let classic = state.room().map_or(0, Room::classic);
    if classic > 0 {
        lines.push(format!("Classic peers know no other host than you: {classic} will be gone."));
    }
    let title = format!("Hand the network over to {}?", peer.alias);
    let pending = Pending::Handover(peer.peer_id);
    state.layers.push(Layer::Dialog(Dialog::new(title, lines, "Hand over", pending)));
}

/// Asks whether a member is to be the deputy.
pub(super) fn ask_deputy(state: &mut State, peer: &Peer) {
    if peer.wire == Wire::Classic {
        let text = format!("{} is a classic peer, and those cannot host", peer.alias);
        return toast(state, ToastKind::Error, &text);
    }
    let lines = vec![
        format!(
            "When you are gone for longer than the time of grace, {} ({}) may open the network again: with its name, the \
             bans and the password. All follow; you are a member when you are back.",
            peer.alias,
            peer.peer_id.short()
        ),
        "It is given what a host needs: now, and again after each change.".to_owned(),
    ];
    let title = format!("Make {} your deputy?", peer.alias);
    let pending = Pending::Deputy(peer.peer_id);
    state.layers.push(Layer::Dialog(Dialog::new(title, lines, "Make it so", pending)));
}

/// Asks whether the deputy opens the network again.
pub(super) fn ask_take_over(state: &mut State) {
    let Some(room) = state.room() else { return };
    if room.deputy != Some(room.me) {
        let text = "you are not the deputy of this network: only whom the host has named opens it again";
        return toast(state, ToastKind::Error, text);
    }
    let text = match &room.link {
        LinkView::Lost { alone_until: None, .. } => return offer_take_over(state),
        LinkView::Lost { .. } => "the host may come back: wait until its time of grace is over",
        LinkView::Joined => "the host is here: you may take over only once it is gone",
    };
    toast(state, ToastKind::Info, text);
}

/// Asks the deputy of a host that is gone.
pub(super) fn offer_take_over(state: &mut State) {
    let lines = vec![
        "The host is gone, and you are its deputy.".to_owned(),
        "You are the host from then on, with the bans and the password of before.".to_owned(),
        "The others follow by themselves. Who was the host is a member when it is back.".to_owned(),
    ];
    let title = "Open the network again?".to_owned();
    state.layers.push(Layer::Dialog(Dialog::new(title, lines, "Open", Pending::TakeOver)));
}

pub(super) fn unban_selected(state: &mut State) {
    if !only_host(state) {
        return;
    }
    match selected(state) {
        Some(AdminRow::Banned(ban)) => ask_unban(state, *ban),
        Some(AdminRow::Invite(info)) => super::invite::ask_revoke(state, &info),
        Some(AdminRow::Attempt(Attempt { addr, .. }) | AdminRow::Penalty(Penalty { addr, .. })) => {
            ask_forgive(state, addr);
        }
        _ => toast(
            state,
            ToastKind::Info,
            "choose a ban, an attempt, a penalty or an invite to lift with ↑ and ↓",
        ),
    }
}

/// Asks whether an address may begin anew.
fn ask_forgive(state: &mut State, addr: IpAddr) {
    let lines = vec!["Its wrong passwords and wasted handshakes are forgotten.".to_owned()];
    let dialog = Dialog::new(format!("Let {addr} begin anew?"), lines, "Forgive", Pending::Forgive(addr));
    state.layers.push(Layer::Dialog(dialog));
}

/// Asks whether a ban is to be lifted.
pub(super) fn ask_unban(state: &mut State, ban: Ban) {
    let whom = ban_words(&ban);
    let lines = vec!["It may join again, with the password.".to_owned()];
    let dialog =
        Dialog::new(format!("Lift the ban on {whom}?"), lines, "Lift", Pending::Unban(Box::new(ban)));
    state.layers.push(Layer::Dialog(dialog));
}

/// Whom a ban refuses, in words.
fn ban_words(ban: &Ban) -> String {
    let key = ban.peer_id.map(|peer| {
        ban.alias.as_ref().map_or_else(|| peer.short(), |alias| format!("{alias} ({})", peer.short()))
    });
    match (key, ban.addr) {
        (Some(key), Some(addr)) => format!("{key} and {addr}"),
        (Some(key), None) => key,
        (None, Some(addr)) => addr.to_string(),
        (None, None) => "nobody".to_owned(),
    }
}
