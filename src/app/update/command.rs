//! Typed commands, and what follows a yes.

use std::sync::Arc;

use super::{Effect, State, ToastKind, admin, toast, verify};
use crate::{
    api::{NodeCommand, PeerName, StoreCommand, Target},
    app::{
        keymap::Action,
        layer::{Dialog, Item, Layer, Pending, Prompt, PromptKind},
        palette::{self, Typed, Whom},
        room::{Focus, PeerView},
        wrap,
    },
    model::{Applicant, Ban, Peer, Recipient, Role, limits},
};

/// Does what a typed command says, or says what is wrong with it.
pub(super) fn run(state: &mut State, line: &str) -> Result<Vec<Effect>, String> {
    let typed = palette::parse(line)?;
    let is_host = state.is_host();
    let host_only = || if is_host { Ok(()) } else { Err("only the host can do that".to_owned()) };
    match typed {
        Typed::Message(name, text) => {
            let peer = correspondent(state, &name)?;
            let to = Target::Peer(PeerName::Id(peer.peer_id));
            show_conversation(state, &peer);
            return Ok(vec![Effect::Node(NodeCommand::Send { to, text, reference: None })]);
        }
        Typed::Chat(name) => {
            let peer = correspondent(state, &name)?;
            show_conversation(state, &peer);
        }
        Typed::Forget => super::history::ask_forget(state),
        Typed::Peers => peers(state),
        Typed::Ban(Whom::Name(name), reason) => {
            host_only()?;
            let peer = anybody(state, &name)?;
            admin::ask_ban(state, &peer, reason);
        }
        Typed::Ban(Whom::Address(addr), reason) => {
            host_only()?;
            let lines = vec!["Everyone who comes from it is cut off at once.".to_owned()];
            let pending = Pending::Ban { peer: None, addr: Some(addr), reason };
            let dialog = Dialog::new(format!("Ban the address {addr}?"), lines, "Ban", pending);
            state.layers.push(Layer::Dialog(dialog));
        }
        Typed::Kick(name, reason) => {
            host_only()?;
            let peer = anybody(state, &name)?;
            admin::ask_kick(state, &peer, reason);
        }
        Typed::Unban(whom) => {
            host_only()?;
            let ban = banned(state, &whom).ok_or("there is no such ban; F3 shows all")?;
            admin::ask_unban(state, ban);
        }
        Typed::Handover(name) => {
            host_only()?;
            let peer = member(state, &name)?;
            admin::ask_handover(state, &peer);
        }
        Typed::Deputy(name) => {
            host_only()?;
            return deputy(state, &name);
        }
        Typed::TakeOver => admin::ask_take_over(state),
        typed @ (Typed::Invite { .. }
        | Typed::Revoke(_)
        | Typed::Approve(_)
        | Typed::Refuse(..)
        | Typed::Verify(_)) => return at_door(state, typed),
        Typed::Password => {
            host_only()?;
            state.layers.push(Layer::Prompt(Prompt::new(PromptKind::Password)));
        }
        Typed::Theme(name) if name.is_empty() => {
            state.layers.push(Layer::Prompt(Prompt::new(PromptKind::Theme)));
        }
        Typed::Theme(name) => {
            if !state.themes.show(&name) {
                let names = state.themes.names().join(", ");
                return Err(format!("there is no theme {name}; there are {names}"));
            }
        }
        Typed::Mute(name) => {
            let peer = correspondent(state, &name)?;
            return Ok(mute(state, &peer));
        }
        Typed::Search(text) => {
            let effects = super::act_without_key(state, Action::Search);
            if let Some(prompt) = state.prompt_mut() {
                prompt.editor.insert(&text);
            }
            return Ok(effects);
        }
        Typed::Nick(alias) => return Ok(vec![Effect::Node(NodeCommand::Nick { alias })]),
        Typed::Away(text) => return Ok(away(state, &text)),
        Typed::Action(action) => return Ok(super::act_without_key(state, action)),
        Typed::Does(text) => {
            let to =
                state.room().and_then(|room| room.conversation()).map_or(Target::Everyone, |c| c.with.into());
            let text = format!("{}{text}", limits::ACTION);
            return Ok(vec![Effect::Node(NodeCommand::Send { to, text, reference: None })]);
        }
        Typed::Cleartext(allow) => return Ok(vec![Effect::Node(NodeCommand::Cleartext { allow })]),
        Typed::Rejoin => return Ok(vec![Effect::Node(NodeCommand::Rejoin)]),
        Typed::Quit => super::ask_leave(state, is_host),
    }
    Ok(Vec::new())
}

/// Names the deputy, after a question, or nobody.
fn deputy(state: &mut State, name: &str) -> Result<Vec<Effect>, String> {
    if !name.is_empty() {
        let peer = member(state, name)?;
        admin::ask_deputy(state, &peer);
        return Ok(Vec::new());
    }
    if state.room().is_none_or(|room| room.deputy.is_none()) {
        return Err("nobody is your deputy; /deputy NAME names one".to_owned());
    }
    Ok(vec![Effect::Node(NodeCommand::Deputy { peer: None })])
}

/// Who comes in, and who is who.
fn at_door(state: &mut State, typed: Typed) -> Result<Vec<Effect>, String> {
    let is_host = state.is_host();
    let host_only = || if is_host { Ok(()) } else { Err("only the host can do that".to_owned()) };
    match typed {
        Typed::Invite { uses, hours, pass } => {
            return Ok(vec![Effect::Node(NodeCommand::Invite { uses, hours, pass, addrs: Vec::new() })]);
        }
        Typed::Verify(name) => {
            let peer = member(state, &name)?.peer_id;
            // The words may be here already: the peer has asked for them.
            if !verify::show(state, peer) {
                toast(state, ToastKind::Info, "asking for the words");
            }
            return Ok(vec![Effect::Node(NodeCommand::Verify { peer: peer.into() })]);
        }
        Typed::Approve(name) => {
            host_only()?;
            let peer = at_the_door(state, &name)?.peer_id.into();
            return Ok(vec![Effect::Node(NodeCommand::Approve { peer })]);
        }
        Typed::Refuse(name, reason) => {
            host_only()?;
            let applicant = at_the_door(state, &name)?;
            admin::ask_refuse(state, &applicant, reason);
        }
        Typed::Revoke(id) => {
            host_only()?;
            return super::invite::revoke(state, &id);
        }
        _ => {}
    }
    Ok(Vec::new())
}

/// Who waits at the door under this name, or with this key.
fn at_the_door(state: &State, name: &str) -> Result<Applicant, String> {
    let Ok(wanted) = name.trim_start_matches('@').parse::<PeerName>();
    let applicants = state.room().map(|room| room.door.applicants.as_slice()).unwrap_or_default();
    let mut meant = applicants.iter().filter(|applicant| match &wanted {
        PeerName::Id(key) => applicant.peer_id == *key,
        PeerName::Alias(alias) => applicant.alias.as_str() == alias || applicant.peer_id.short() == *alias,
    });
    match (meant.next(), meant.next()) {
        (Some(applicant), None) => Ok(applicant.clone()),
        (Some(_), Some(_)) => Err(format!("several want to be called {name}: F3 shows their keys")),
        (None, _) => Err(format!("nobody called {name} waits at the door; F3 shows all")),
    }
}

fn member(state: &State, name: &str) -> Result<Arc<Peer>, String> {
    let room = state.room().ok_or("not in a network")?;
    let Ok(wanted) = name.trim_start_matches('@').trim_end_matches(':').parse::<PeerName>();
    let found = room.present().into_iter().find(|view| match &wanted {
        PeerName::Id(peer) => view.peer.peer_id == *peer,
        PeerName::Alias(alias) => view.peer.alias.as_str() == alias,
    });
    match found {
        Some(view) if view.peer.peer_id == room.me => Err("that is you".to_owned()),
        Some(view) => Ok(view.peer.clone()),
        None if room.absent(name).is_some() => Err(format!("{wanted} is away now")),
        None => Err(format!("nobody called {wanted} is here")),
    }
}

/// Somebody who is here, or with whom there is a conversation.
fn correspondent(state: &State, name: &str) -> Result<Arc<Peer>, String> {
    member(state, name).or_else(|error| state.room().and_then(|room| room.absent(name)).ok_or(error))
}

/// Somebody who is or was here, whatever has become of them.
fn anybody(state: &State, name: &str) -> Result<Arc<Peer>, String> {
    correspondent(state, name).or_else(|error| {
        let peers = state.room().map(|room| &room.peers);
        let mut views = peers.into_iter().flat_map(|peers| peers.values());
        let was_here = views.find(|view| view.peer.alias.as_str() == name.trim_start_matches('@'));
        was_here.map(|view| view.peer.clone()).ok_or(error)
    })
}

fn banned(state: &State, whom: &Whom) -> Option<Ban> {
    let bans = &state.room()?.door.bans;
    let matches = |ban: &&Ban| match whom {
        Whom::Address(addr) => ban.addr == Some(*addr),
        Whom::Name(name) => {
            ban.alias.as_ref().is_some_and(|alias| alias.as_str() == name)
                || ban.peer_id.is_some_and(|peer| name.parse() == Ok(peer))
        }
    };
    bans.iter().find(matches).cloned()
}

fn show_conversation(state: &mut State, peer: &Peer) {
    if let Some(room) = state.room_mut() {
        let at = room.conversation_with(Recipient::Peer(peer.peer_id));
        room.show(at);
        room.shown.focus = Focus::Compose;
    }
}

/// Tells the others what one says of oneself. Without words it is over, or begins with the usual one.
fn away(state: &mut State, text: &str) -> Vec<Effect> {
    let own = state.room().and_then(|room| room.peers.get(&room.me));
    let is_away = own.is_some_and(|view| view.peer.status.is_some());
    let text = match text {
        "" if is_away => None,
        "" => Some("away".to_owned()),
        text => Some(text.to_owned()),
    };
    let words = if text.is_some() { "the others see it; /away ends it" } else { "you are here again" };
    toast(state, ToastKind::Info, words);
    vec![Effect::Node(NodeCommand::Away { text })]
}

/// What a muted peer says is folded, and calls nobody; a second time ends that.
fn mute(state: &mut State, peer: &Peer) -> Vec<Effect> {
    let Some(room) = state.room_mut() else { return Vec::new() };
    let is_muted = !room.muted.contains(&peer.peer_id);
    let text = if room.muted.remove(&peer.peer_id) {
        format!("{} is not muted any more", peer.alias)
    } else {
        room.muted.insert(peer.peer_id);
        format!("{} is muted: folded from now on, only here; /mute {} ends it", peer.alias, peer.alias)
    };
    toast(state, ToastKind::Info, &text);
    vec![Effect::Store(StoreCommand::KeepMuted { peer: peer.peer_id, is_muted })]
}

/// Shows who is here, with keys to be compared.
fn peers(state: &mut State) {
    let Some(room) = state.room() else { return };
    let line = |view: &&PeerView| {
        let Peer { alias, peer_id, addr, role, status, .. } = &*view.peer;
        let name = wrap::fit_name(alias.as_str(), limits::NAME_CELLS);
        let gap = " ".repeat(limits::NAME_CELLS.saturating_sub(wrap::width(&name)));
        let role = match role {
            Role::Host => "host",
            Role::Member if room.deputy == Some(*peer_id) => "deputy",
            Role::Member => "",
        };
        let sure = match room.verified_as(peer_id) {
            Some(as_alias) if as_alias == alias => "  verified".to_owned(),
            Some(as_alias) => format!("  verified as {as_alias}"),
            None => String::new(),
        };
        // A key has a row of its own: it is compared as a whole.
        let says = status.as_ref().map(|status| format!("  {}", status.as_str())).unwrap_or_default();
        [format!("{name}{gap}  {role:<6}  {addr}{sure}{says}"), format!("  {}", peer_id.fingerprint())]
    };
    let lines = room.present().iter().flat_map(line).collect();
    state.layers.push(Layer::Note { title: "Peers and their keys".to_owned(), lines, scroll: 0 });
}

/// The answer was yes.
pub(super) fn confirmed(state: &mut State) -> Vec<Effect> {
    let Some(Layer::Dialog(dialog)) = state.layers.pop() else { return Vec::new() };
    let has_options = dialog.items.iter().any(|item| matches!(item, Item::ByKey(_)));
    let (by_key, by_address) = (dialog.is_on(Item::ByKey), dialog.is_on(Item::ByAddress));
    let new_password = dialog.is_on(Item::NewPassword);
    match dialog.pending {
        Pending::Ban { peer, addr, reason } => {
            let peer = peer.filter(|_| !has_options || by_key).map(PeerName::Id);
            let addr = addr.filter(|_| !has_options || by_address);
            if peer.is_none() && addr.is_none() {
                toast(state, ToastKind::Error, "nobody was banned: choose by key, by address, or both");
                return Vec::new();
            }
            if new_password {
                state.layers.push(Layer::Prompt(Prompt::new(PromptKind::Password)));
            }
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            vec![Effect::Node(NodeCommand::Ban { peer, addr, reason })]
        }
        Pending::Kick { peer, reason } => {
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            vec![Effect::Node(NodeCommand::Kick { peer: Some(peer.into()), addr: None, reason })]
        }
        Pending::Forgive(addr) => {
            vec![Effect::Node(NodeCommand::Unban { peer: None, addr: Some(addr), reason: None })]
        }
        Pending::Unban(ban) => {
            let peer = ban.peer_id.map(PeerName::Id);
            vec![Effect::Node(NodeCommand::Unban { peer, addr: ban.addr, reason: None })]
        }
        Pending::Refuse { peer, reason } => {
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            vec![Effect::Node(NodeCommand::Refuse { peer: peer.into(), reason })]
        }
        Pending::Compared(peer, words) => {
            toast(state, ToastKind::Info, "verified once the other side says so too");
            vec![Effect::Node(NodeCommand::Compared { peer: peer.into(), words: Some(words) })]
        }
        Pending::Revoke(id) => vec![Effect::Node(NodeCommand::Revoke { invite: Some(id) })],
        Pending::Handover(peer) => {
            state.layers.push(Layer::Prompt(Prompt::new(PromptKind::Handover(peer))));
            Vec::new()
        }
        Pending::Deputy(peer) => vec![Effect::Node(NodeCommand::Deputy { peer: Some(peer.into()) })],
        Pending::TakeOver => vec![Effect::Node(NodeCommand::TakeOver)],
        Pending::Open(open) => {
            state.defaults.knows_classic = true;
            super::open_now(state, *open)
        }
        Pending::WeakPassword(open) => super::open(state, *open),
        Pending::NewPassword(password) => {
            toast(state, ToastKind::Info, "setting the password");
            vec![Effect::Node(NodeCommand::SetPassword(password))]
        }
        Pending::Forget(conversation) => super::history::forget(state, conversation),
        Pending::Send(with) => {
            let sent = state.room_mut().and_then(|room| room.send_draft(with));
            sent.map(Effect::Node).into_iter().collect()
        }
        Pending::Leave => {
            state.leaving = true;
            state.quitting = true;
            vec![Effect::Node(NodeCommand::Leave)]
        }
        Pending::Suspend => vec![Effect::Suspend],
    }
}
