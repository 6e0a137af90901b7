use std::time::Duration;

use super::*;
use crate::model::AliasError;

const ADDR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
const PEER: PeerId = PeerId([2; 32]);
const WALL: Timestamp = Timestamp(0);

fn admission() -> Admission {
    Admission::new(StrangerLimits::default(), 3, 250, Vec::new(), Vec::new())
}

fn at(instant: Instant) -> Moment {
    Moment { instant, wall: WALL }
}

fn admit(admission: &mut Admission, alias: &str) -> bool {
    admission.admit(PEER, Alias::new(alias).unwrap(), ADDR, at(Instant::now())).unwrap()
}

fn left(admission: &Admission) -> u32 {
    match admission.status(&PEER, ADDR) {
        BannedStatus::Password { left } => left,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_third_wrong_password_bans_the_address() {
    let now = Instant::now();
    let mut admission = admission();
    for expected in [2, 1] {
        assert_eq!(admission.charge(ConnId(1), ADDR, at(now)), Charge::Challenge);
        let settled = admission.settle(ADDR, false, now, WALL);
        assert_eq!(settled.wrong.map(|attempt| attempt.left), Some(expected));
        assert_eq!(left(&admission), expected);
    }
    admission.charge(ConnId(1), ADDR, at(now));
    let settled = admission.settle(ADDR, false, now, WALL);
    assert_eq!(settled.ban.unwrap().reason, "3 wrong passwords");
    assert!(matches!(admission.status(&PEER, ADDR), BannedStatus::Banned { .. }));
    assert_eq!(admission.unban(None, Some(ADDR)).len(), 1);
    assert_eq!(left(&admission), 3);
}

#[test]
fn a_success_or_ten_quiet_minutes_clear_the_count() {
    let now = Instant::now();
    let mut admission = admission();
    admission.charge(ConnId(1), ADDR, at(now));
    admission.settle(ADDR, false, now, WALL);
    assert_eq!(left(&admission), 2);
    admission.charge(ConnId(1), ADDR, at(now));
    admission.settle(ADDR, true, now, WALL);
    assert_eq!(left(&admission), 3);
    admission.charge(ConnId(1), ADDR, at(now));
    admission.settle(ADDR, false, now, WALL);
    assert!(!admission.tidy(at(now + Duration::from_secs(599))));
    assert!(admission.tidy(at(now + Duration::from_secs(600))));
    assert_eq!(left(&admission), 3);
}

#[test]
fn guesses_in_parallel_gain_nothing() {
    let now = Instant::now();
    let mut admission = admission();
    let challenged =
        (0..10).filter(|conn| admission.charge(ConnId(*conn), ADDR, at(now)) == Charge::Challenge).count();
    assert_eq!(challenged, 3);
    let settled = admission.settle(ADDR, true, now, WALL);
    assert_eq!(settled.challenge, [ConnId(3)], "an honest success lets the next one try");
    admission.stop_waiting(ConnId(4), ADDR);
    assert!(admission.settle(ADDR, false, now, WALL).challenge.is_empty());
    assert!(admission.settle(ADDR, false, now, WALL).challenge.is_empty());
    let settled = admission.settle(ADDR, false, now, WALL);
    assert!(settled.ban.is_some());
    assert_eq!(settled.refuse.len(), 5, "those that still waited are refused unheard");
}

#[test]
fn an_admitted_key_needs_no_password_until_it_is_forgotten_or_banned() {
    let mut admission = admission();
    assert!(admit(&mut admission, "bob"));
    assert!(!admit(&mut admission, "bob"), "nothing new to keep");
    assert_eq!(admission.status(&PEER, ADDR), BannedStatus::Known);
    let by_key = Ban {
        peer_id: Some(PEER),
        alias: None,
        addr: None,
        reason: "spam".into(),
        since: WALL,
        prefix: None,
        automatic: false,
    };
    admission.ban(by_key);
    assert_eq!(admission.status(&PEER, ADDR), BannedStatus::Banned { reason: "spam".into() });
    admission.unban(Some(&PEER), None);
    assert_eq!(admission.status(&PEER, ADDR), BannedStatus::Known);
    admission.forget(&PEER);
    assert_eq!(left(&admission), 3);
}

#[test]
fn one_alias_one_key_and_no_look_alikes() {
    let mut admission = admission();
    let host = Alias::new("ann").unwrap();
    admit(&mut admission, "bob");
    let other = PeerId([3; 32]);
    let check =
        |peer: &PeerId, alias: &str| admission.check_alias(peer, alias, Some(&host), std::iter::empty());
    assert!(check(&PEER, "bob").is_ok(), "its own");
    assert!(check(&PEER, "robert").is_ok(), "another");
    assert_eq!(check(&other, "bob"), Err(AuthenticationError::AliasTaken("bob".into())));
    assert_eq!(check(&other, "ann"), Err(AuthenticationError::AliasTaken("ann".into())));
    assert!(matches!(check(&other, "b0b"), Err(AuthenticationError::AliasLooksLike { .. })));
    assert!(matches!(check(&other, "Ann"), Err(AuthenticationError::AliasLooksLike { .. })));
    assert_eq!(check(&other, ""), Err(AuthenticationError::AliasNotAllowed(AliasError::Empty)));
}

#[test]
fn a_full_network_says_so() {
    let admission = Admission::new(StrangerLimits::default(), 3, 2, Vec::new(), Vec::new());
    assert!(admission.check_room(1).is_ok());
    assert_eq!(admission.check_room(2), Err(AuthenticationError::NetworkFull(2)));
}
