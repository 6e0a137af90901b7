use super::*;
use crate::model::{Alias, Network, Policy, Role, Wire};

const AT: Timestamp = Timestamp(1_700_000_000_000_000);
const NETWORK: NetworkId = NetworkId([1; 16]);

fn entry(number: u8) -> RosterEntry {
    RosterEntry {
        peer_id: PeerId([number; 32]),
        alias: Alias::new(&format!("peer{number}")).unwrap(),
        role: Role::Member,
        wire: Wire::Native,
        addrs: vec!["10.0.0.1:50000".parse().unwrap(); 8],
        since: crate::model::Timestamp(0),
        status: None,
    }
}

fn host() -> Identity {
    Identity::generate().unwrap().0
}

fn whole(roster: &Roster, host: &Identity) -> Authenticated {
    Authenticated {
        network: Network { id: NETWORK, name: "lab".into() },
        policy: Policy::default(),
        version: roster.version(),
        entries: u32::try_from(roster.entries().len()).unwrap(),
        departed: u32::try_from(roster.all_departed().len()).unwrap(),
        signature: roster.signature(host, &NETWORK),
    }
}

fn assemble(roster: &Roster, host: &Identity) -> Result<Option<Roster>, RosterError> {
    let mut assembly = Assembly::new(whole(roster, host))?;
    let mut last = Ok(None);
    for page in roster.pages() {
        last = assembly.page(page, &host.peer_id());
    }
    last
}

fn gone(peer: &PeerId) -> Departed {
    Departed { peer: *peer, at: AT, counts: vec![(5, 7)], newest: AT, alias: None, is_out: false }
}

#[test]
fn a_member_follows_the_host_by_deltas() {
    let host = host();
    let mut at_host = Roster::default();
    at_host.update(entry(1));
    at_host.update(entry(2));
    at_host.commit(&host, &NETWORK, AT, gone);
    let mut at_member = assemble(&at_host, &host).unwrap().unwrap();
    at_host.remove(PeerId([2; 32]), CloseReason::Banned);
    at_host.update(entry(3));
    let (delta, _) = at_host.commit(&host, &NETWORK, AT, gone);
    let changes = at_member.apply(&delta, &host.peer_id(), &NETWORK).unwrap();
    assert_eq!(changes.updated, [entry(3)]);
    assert_eq!(changes.removed, [(entry(2), CloseReason::Banned)]);
    assert_eq!(at_member, at_host);
    // What the removed one said before counts, and nothing more.
    let peer = PeerId([2; 32]);
    assert!(at_member.departed(&peer).is_some_and(|departed| departed.is_out && departed.alias.is_some()));
    let said = |epoch, first| Batch {
        stream: crate::model::StreamId { author: peer, epoch, to: crate::model::Recipient::Everyone },
        first,
        sent_at: AT,
        texts: vec![crate::model::SafeText::clean("x")],
        signature: None,
    };
    assert!(
        at_member.counts(&said(5, 7)) && !at_member.counts(&said(5, 8)) && !at_member.counts(&said(6, 1))
    );
    assert_eq!(at_member.apply(&delta, &host.peer_id(), &NETWORK), Err(RosterError::Gap), "a second time");
}

#[test]
fn a_missing_version_and_a_false_signature_change_nothing() {
    let host = host();
    let mut at_host = Roster::default();
    at_host.update(entry(1));
    at_host.commit(&host, &NETWORK, AT, gone);
    let mut at_member = assemble(&at_host, &host).unwrap().unwrap();
    let before = at_member.clone();
    at_host.update(entry(2));
    let (mut second, _) = at_host.commit(&host, &NETWORK, AT, gone);
    at_host.update(entry(3));
    let (third, _) = at_host.commit(&host, &NETWORK, AT, gone);
    assert_eq!(at_member.apply(&third, &host.peer_id(), &NETWORK), Err(RosterError::Gap));
    second.updated.push(entry(9));
    assert_eq!(at_member.apply(&second, &host.peer_id(), &NETWORK), Err(RosterError::NotSigned));
    assert_eq!(at_member.apply(&second, &PeerId([9; 32]), &NETWORK), Err(RosterError::NotSigned));
    assert_eq!(at_member, before);
}

#[test]
fn a_thousand_members_come_in_pages_that_fit_a_frame() {
    let host = host();
    let mut roster = Roster::default();
    for number in 0..1000_u32 {
        let mut entry = entry(1);
        entry.peer_id.0[..4].copy_from_slice(&number.to_be_bytes());
        roster.update(entry);
    }
    roster.commit(&host, &NETWORK, AT, gone);
    let pages = roster.pages();
    assert!(pages.len() > 1);
    for page in pages {
        let frame = crate::wire::Frame::RosterPage(page).encode();
        assert!(frame.len() <= limits::FRAME_AFTER);
    }
    assert_eq!(assemble(&roster, &host), Ok(Some(roster)));
}

#[test]
fn more_entries_than_announced_are_refused() {
    let host = host();
    let mut roster = Roster::default();
    roster.update(entry(1));
    roster.update(entry(2));
    roster.commit(&host, &NETWORK, AT, gone);
    let mut assembly = Assembly::new(Authenticated { entries: 1, ..whole(&roster, &host) }).unwrap();
    let page = roster.pages().remove(0);
    assert_eq!(assembly.page(page, &host.peer_id()), Err(RosterError::TooLarge));
    assert!(Assembly::new(Authenticated { entries: u32::MAX, ..whole(&roster, &host) }).is_err());
}

#[test]
fn coming_and_going_within_one_tick_leaves_no_trace() {
    let mut roster = Roster::default();
    roster.update(entry(1));
    assert_eq!((roster.members_to_be(), roster.will_have(&PeerId([1; 32]))), (1, true));
    roster.remove(PeerId([1; 32]), CloseReason::Left);
    assert!(!roster.is_changed());
    assert_eq!(roster.members_to_be(), 0);
}

#[test]
fn who_is_away_and_is_banned_is_no_member_less() {
    let host = host();
    let mut at_host = Roster::begun(7, vec![gone(&entry(1).peer_id)]);
    for number in 0..limits::MEMBERS_MAX {
        let mut key = [2; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        at_host.update(RosterEntry { peer_id: PeerId(key), addrs: Vec::new(), ..entry(2) });
    }
    at_host.commit(&host, &NETWORK, AT, gone);
    let at_member = assemble(&at_host, &host).unwrap().unwrap();
    at_host.remove(entry(1).peer_id, CloseReason::Banned);
    let (delta, changes) = at_host.clone().commit(&host, &NETWORK, AT, gone);
    assert_eq!(changes.shut_out, [(entry(1).peer_id, CloseReason::Banned)]);
    assert_eq!(delta.departed, [Departed { is_out: true, ..gone(&entry(1).peer_id) }], "what it said counts");
    let changes = at_member.clone().apply(&delta, &host.peer_id(), &NETWORK).unwrap();
    assert_eq!(changes.shut_out, [(entry(1).peer_id, CloseReason::Banned)]);
    // One more comes than may be.
    at_host.update(entry(3));
    let (delta, _) = at_host.commit(&host, &NETWORK, AT, gone);
    let refused = at_member.clone().apply(&delta, &host.peer_id(), &NETWORK);
    assert_eq!(refused, Err(RosterError::TooLarge));
}
