//! What the person at the host may do to others: ban, unban, kick, set another password.

use std::net::IpAddr;

use super::Host;
use crate::{
    api::{NodeCommand, NodeEvent, PeerName},
    model::{Ban, CloseReason, CommandError, PeerId, SafeText, ban::address_block, limits},
    proto::{Output, limiter::Limiter},
    wire::{BannedStatus, Frame},
};

pub(super) fn run(host: &mut Host, limiter: &mut Limiter, command: NodeCommand) -> Result<(), CommandError> {
    match command {
        _ if host.is_retiring() => Err(CommandError::HandingOver),
        NodeCommand::Ban { peer, addr, reason } => ban(host, peer.as_ref(), addr, &clean(reason.as_deref())),
        NodeCommand::Unban { peer, addr, .. } => unban(host, limiter, peer.as_ref(), addr),
        NodeCommand::Kick { peer, addr, reason } => {
            kick(host, peer.as_ref(), addr, &clean(reason.as_deref()))
        }
        NodeCommand::Handover { peer } => host.hand_over(&peer),
        NodeCommand::Deputy { peer } => host.name_deputy(peer.as_ref()),
        NodeCommand::SetPassword(password) => {
            host.set_password(password);
            Ok(())
        }
        NodeCommand::Invite { uses, hours, pass, addrs } => host.invite(uses, hours, pass, addrs),
        NodeCommand::Approve { peer } => host.approve(&peer),
        NodeCommand::Refuse { peer, reason } => host.refuse_entry(&peer, &clean(reason.as_deref())),
        NodeCommand::Revoke { invite } => host.revoke(invite.as_deref()),
        _ => Ok(()),
    }
}

/// A reason is one line of bounded length.
pub(super) fn clean(reason: Option<&str>) -> String {
    let line = SafeText::line(reason.unwrap_or_default());
    let mut text = line.as_str().to_owned();
    while text.len() > limits::REASON_BYTES {
        text.pop();
    }
    text
}

fn ban(
    host: &mut Host,
    peer: Option<&PeerName>,
    addr: Option<IpAddr>,
    reason: &str,
) -> Result<(), CommandError> {
    let named = peer.map(|name| key_named(host, name)).transpose()?;
    let (key, addr) = whom(host, peer, addr)?;
    if key.is_none() && addr.is_none() {
        return Err(CommandError::NobodyNamed("a ban"));
    }
    if key == Some(host.group.me()) {
        return Err(CommandError::Yourself("the host cannot ban itself"));
    }
    let alias = named.as_ref().and_then(|key| {
        let present = host.group.roster.get(key).map(|entry| entry.alias.clone());
        present.or_else(|| host.admission.alias_of(key).cloned())
    });
    let addr = addr.map(|addr| addr.to_canonical());
    let since = host.turn.now.wall;
    let ban =
        Ban { peer_id: key, alias, addr, reason: reason.to_owned(), since, prefix: None, automatic: false };
    impose(host, ban);
    Ok(())
}

/// Refuses from now on whom a ban is about, and cuts off all whom it covers.
pub(super) fn impose(host: &mut Host, ban: Ban) {
    let (key, addr, reason) = (ban.peer_id, ban.addr, ban.reason.clone());
    let reason = reason.as_str();
    host.admission.ban(ban);
    if let Some(key) = &key {
        host.admission.forget(key);
        // Also those of one that is not here.
        host.revoke_invites_of(key);
        host.withdraw_deputy(key);
    }
    let banned = NodeEvent::Banned { peer_id: key, addr, reason: SafeText::line(reason) };
    host.save(vec![banned]);
    host.clear_the_door();
    host.tell_admission();
    let out: Vec<PeerId> = host
        .members
        .iter()
        .filter(|(peer, link)| host.admission.ban_of(peer, link.ip).is_some())
        .map(|(peer, _)| *peer)
        .collect();
    // One that is expected back, or away, has no link.
    let roster = &host.group.roster;
    let is_waited_for = |key: &PeerId| host.group.is_member(key) || roster.is_expected(key);
    let expected = key.filter(|key| is_waited_for(key) && !out.contains(key));
    let classic = addr.map(|addr| host.classic.from(addr)).unwrap_or_default();
    for peer in out.into_iter().chain(expected).chain(classic) {
        host.tell_banned(&peer);
        if let Some(link) = host.members.get(&peer) {
            let status = BannedStatus::Banned { reason: reason.to_owned() };
            host.turn.send(link.conn, &Frame::BannedStatus(status));
            host.turn.close(link.conn, CloseReason::Banned);
        }
        host.admission.forget(&peer);
        host.remove(peer, CloseReason::Banned);
    }
}

fn unban(
    host: &mut Host,
    limiter: &mut Limiter,
    peer: Option<&PeerName>,
    addr: Option<IpAddr>,
) -> Result<(), CommandError> {
    if peer.is_none() && addr.is_none() {
        return Err(CommandError::NobodyNamed("an unban"));
    }
    // A classic peer has no key to remember it by, but its ban has its label.
    let labelled = peer.and_then(|name| host.admission.address_banned_as(&name.to_string()));
    let (key, addr) = match labelled {
        Some(labelled) => (None, Some(labelled)),
        None => whom(host, peer, addr)?,
    };
    let counted = host.admission.attempts().len();
    let lifted = host.admission.unban(key.as_ref(), addr);
    // An address is forgiven all: its wrong passwords, and the handshakes that it wasted.
    let is_forgiven = addr.is_some_and(|addr| forgive(host, limiter, addr));
    host.penalties.known.retain(|penalty| addr.is_none_or(|addr| address_block(addr) != penalty.addr));
    if lifted.is_empty() && !is_forgiven && host.admission.attempts().len() == counted {
        return Err(CommandError::NoSuchBan);
    }
    let events = lifted
        .into_iter()
        .map(|ban| NodeEvent::Unbanned {
            peer_id: ban.peer_id,
            addr: ban.addr,
            reason: SafeText::line(&ban.reason),
        })
        .collect();
    host.save(events);
    host.tell_admission();
    Ok(())
}

/// Lifts what holds an address back. False when nothing did.
fn forgive(host: &mut Host, limiter: &mut Limiter, addr: IpAddr) -> bool {
    let Some(released) = limiter.forgive(addr, host.turn.now.instant) else { return false };
    for conn in released {
        host.turn.ask(Output::Proceed(conn));
    }
    true
}

fn kick(
    host: &mut Host,
    peer: Option<&PeerName>,
    addr: Option<IpAddr>,
    reason: &str,
) -> Result<(), CommandError> {
    let key = peer.map(|name| key_named(host, name)).transpose()?;
    let out: Vec<PeerId> = host
        .members
        .iter()
        .filter(|(peer, link)| Some(**peer) == key || Some(link.ip.to_canonical()) == addr)
        .map(|(peer, _)| *peer)
        .collect();
    if key == Some(host.group.me()) {
        return Err(CommandError::Yourself("to close the network, leave it"));
    }
    // One that is expected back, or away, has no link.
    let is_known = |key: &PeerId| host.group.is_member(key) || host.admission.is_admitted(key);
    let expected = key.filter(|key| is_known(key) && !out.contains(key));
    let mut classic = addr.map(|addr| host.classic.from(addr)).unwrap_or_default();
    classic.retain(|peer| Some(*peer) != expected);
    if out.is_empty() && expected.is_none() && classic.is_empty() {
        return Err(CommandError::NobodyToKick);
    }
    for peer in out.into_iter().chain(expected).chain(classic) {
        if let Some(link) = host.members.get(&peer) {
            host.turn.goodbye(link.conn, CloseReason::Kicked, reason);
        }
        host.admission.forget(&peer);
        host.remove(peer, CloseReason::Kicked);
    }
    host.save(Vec::new());
    Ok(())
}

/// Whom a ban is about: a key, an address, or both. A classic peer has no key; its address is all that there is.
fn whom(
    host: &Host,
    peer: Option<&PeerName>,
    addr: Option<IpAddr>,
) -> Result<(Option<PeerId>, Option<IpAddr>), CommandError> {
    let key = peer.map(|name| key_named(host, name)).transpose()?;
    Ok(match key.and_then(|key| key.address()) {
        Some(classic) => (None, Some(IpAddr::V4(*classic.ip()))),
        None => (key, addr),
    })
}

/// The key that somebody means, present or not.
fn key_named(host: &Host, name: &PeerName) -> Result<PeerId, CommandError> {
    let key = match name {
        PeerName::Id(key) => Some(*key),
        PeerName::Alias(alias) => host.group.member_named(name).or_else(|| host.admission.key_of(alias)),
    };
    key.ok_or_else(|| CommandError::Unknown(name.to_string()))
}
