use std::net::{Ipv4Addr, SocketAddr};

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::model::{Alias, Recipient, Role, SafeText, Status, StreamId, Wire, limits};

fn entry() -> RosterEntry {
    RosterEntry {
        peer_id: PeerId([0xAA; 32]),
        alias: Alias::new("bob").unwrap(),
        role: Role::Member,
        wire: Wire::Native,
        addrs: vec![SocketAddr::from((Ipv4Addr::new(10, 0, 0, 2), 50_000))],
        since: Timestamp(2),
        status: None,
    }
}

fn batch(to: Recipient, sent_at: i64, texts: &[&str], signature: Option<Signature>) -> Batch {
    let stream = StreamId { author: PeerId([1; 32]), epoch: 300, to };
    let texts = texts.iter().map(|text| SafeText::clean(text)).collect();
    Batch { stream, first: 7, sent_at: Timestamp(sent_at), texts, signature }
}

fn departed() -> Departed {
    Departed {
        peer: PeerId([1; 32]),
        at: Timestamp(2),
        counts: vec![(300, 9)],
        newest: Timestamp(1),
        alias: Some(Alias::new("bob").unwrap()),
        is_out: true,
    }
}

fn held() -> Held {
    Held { author: PeerId([1; 32]), epoch: 300, from: 7, to: 9 }
}

fn deputy() -> DeputyStatement {
    DeputyStatement {
        network: NetworkId([9; 16]),
        to: PeerId([0xAA; 32]),
        addrs: entry().addrs,
        signature: Signature([5; 64]),
    }
}

fn authenticated() -> Authenticated {
    Authenticated {
        network: Network { id: NetworkId([9; 16]), name: "lab".into() },
        policy: Policy {
            rate: 100,
            burst: 1000,
            rate_bytes: 0,
            grace: 600,
            read_back: 0,
            classic: true,
            members_invite: true,
        },
        version: 3,
        entries: 2,
        departed: 1,
        signature: Signature([5; 64]),
    }
}

fn h(byte: &str, times: usize) -> String {
    byte.repeat(times)
}

#[allow(clippy::too_many_lines, reason = "a table")]
/// Every frame with its bytes, each field commented. A change here is another version of the wire.
fn golden() -> Vec<(Frame, String)> {
    let ann = h("01", 32);
    let bob = h("aa", 32);
    // key, alias length and letters, role, wire, count of addresses, IPv4, address, port 50000 as a varint, since, no status
    let entry_hex = format!("{bob}03626f62 01 00 01 00 0a000002 d08603 04 00");
    // key, time 2 in zigzag, count of epochs, epoch 300 and its last number
    // then the place of its newest message, its alias, and that the host removed it
    let departed_hex = format!("{ann} 04 01 ac02 09 02 01 03626f62 01");
    let roster_hex = format!("{} 036c6162 64 e807 00 d804 00 01 01 03 02 01 {}", h("09", 16), h("05", 64));
    vec![
        (
            Frame::BannedStatus(BannedStatus::Banned { reason: "no".into() }),
            "01 00 026e6f".into(), // variant 0, reason
        ),
        (Frame::BannedStatus(BannedStatus::Known), "01 01".into()),
        (Frame::BannedStatus(BannedStatus::Password { left: 3 }), "01 02 03".into()),
        (Frame::Echo(ByteBuf(vec![1, 2])), "07 02 0102".into()), // length, bytes
        (
            Frame::Hello(Hello { alias: "bob".into(), addrs: entry().addrs, ke1: vec![1, 2] }),
            "02 03626f62 01 00 0a000002 d08603 02 0102".into(), // alias, addresses, Ke1
        ),
        (
            Frame::Invited(Invited {
                hello: Hello { alias: "bob".into(), addrs: Vec::new(), ke1: Vec::new() },
                pass: Pass::new([6; 16]),
            }),
            format!("08 03626f62 00 00 {}", h("06", 16)), // alias, no addresses, no Ke1, pass
        ),
        (Frame::AwaitApproval(300), "09 ac02".into()),
        (Frame::Challenge(ByteBuf(vec![7; 3])), "03 03 070707".into()),
        (Frame::Proof(ByteBuf(vec![8; 2])), "04 02 0808".into()),
        // network id and name, rate, burst, bytes, grace, read back, classic, members invite, version, entries, members of the past, signature
        (Frame::Authenticated(Box::new(authenticated())), format!("05 {roster_hex}")),
        (
            Frame::Refused(Refusal { reason: CloseReason::AliasTaken, detail: "x".into() }),
            "06 10 01 78".into(), // reason 16, words
        ),
        (Frame::Beat(Beat { number: 300, rtt: None }), "0a ac02 00".into()),
        (Frame::Beat(Beat { number: 1, rtt: Some(300) }), "0a 01 01 ac02".into()), // number, last round trip
        (Frame::BeatReply(1), "0b 01".into()),
        (
            Frame::RosterPage(RosterPage { version: 3, entries: vec![entry()], departed: vec![departed()] }),
            format!("0c 03 01 {entry_hex} 01 {departed_hex}"),
        ),
        (
            Frame::RosterDelta(RosterDelta {
                from: 3,
                to: 4,
                removed: vec![Removal { peer: PeerId([1; 32]), reason: CloseReason::Banned }],
                updated: vec![entry()],
                departed: vec![departed()],
                signature: Signature([5; 64]),
            }),
            format!("0d 03 04 01 {ann} 04 01 {entry_hex} 01 {departed_hex} {}", h("05", 64)),
        ),
        (Frame::RosterRequest, "0e".into()),
        (Frame::RosterWhole(Box::new(authenticated())), format!("0f {roster_hex}")),
        (Frame::RosterApplied(4), "10 04".into()),
        (
            Frame::Presence(Presence { alias: "bob".into(), status: Status::new("tea") }),
            "11 03626f62 01 03746561".into(), // alias, status
        ),
        (
            Frame::PresenceRefused(Refusal { reason: CloseReason::AliasTaken, detail: "x".into() }),
            "12 10 01 78".into(), // reason 16, words
        ),
        (
            Frame::PeerHello(PeerHello { network: NetworkId([9; 16]), now: Timestamp(1) }),
            format!("14 {} 02", h("09", 16)),
        ),
        (
            Frame::Batch(Addressed {
                roster: 5,
                batch: batch(Recipient::Everyone, 1, &["hi", "ho"], Some(Signature([5; 64]))),
            }),
            // roster, author, epoch 300, everyone, first number, time 1 in zigzag, count of texts, texts, signature
            format!("15 05 {ann} ac02 00 07 02 02 026869 02686f 01 {}", h("05", 64)),
        ),
        (
            Frame::Batch(batch(Recipient::Peer(PeerId([0xAA; 32])), -1, &["hi"], None).into()),
            format!("15 00 {ann} ac02 01 {bob} 07 01 01 026869 00"),
        ),
        (
            Frame::Ack(Ack { everyone: true, epoch: 300, received: 9, kept: 8 }),
            "16 01 ac02 09 08".into(), // to everyone, epoch, received up to, kept up to
        ),
        (Frame::CatchUp(Timestamp(1)), "17 02".into()),
        (Frame::Held(vec![held()].into()), format!("18 01 {ann} ac02 07 09")), // count, author, epoch, from, to
        (Frame::Wanted(Wanted { direct: true, range: held() }), format!("19 01 {ann} ac02 07 09")),
        (
            Frame::HandedOn(HandedOn {
                wanted: Wanted { direct: false, range: held() },
                label: "ann".into(),
                batches: vec![batch(Recipient::Everyone, 1, &["hi"], Some(Signature([5; 64])))],
                next: Some(8),
            }),
            // what was wanted, label, one batch as above, where the next part begins
            format!(
                "1a 00 {ann} ac02 07 09 03616e6e 01 {ann} ac02 00 07 02 01 026869 01 {} 01 08",
                h("05", 64)
            ),
        ),
        (
            Frame::Conflict(Conflict {
                everyone: true,
                epoch: 300,
                proof: Some(Box::new(batch(Recipient::Everyone, 1, &["hi"], Some(Signature([5; 64]))))),
            }),
            // to everyone, epoch, what is kept there, as above
            format!("1b 01 ac02 01 {ann} ac02 00 07 02 01 026869 01 {}", h("05", 64)),
        ),
        (Frame::Goodbye(Refusal { reason: CloseReason::Left, detail: String::new() }), "1e 01 00".into()),
        (Frame::InviteRequest(InviteRequest { uses: 5, hours: 300 }), "1f 05 ac02".into()),
        (
            Frame::InviteMade(InviteMade {
                pass: Pass::new([6; 16]),
                uses: 5,
                until: Timestamp(1),
                addrs: entry().addrs,
            }),
            format!("20 {} 05 02 01 00 0a000002 d08603", h("06", 16)), // pass, uses, until, addresses
        ),
        (
            Frame::InviteNotMade(Refusal { reason: CloseReason::InviteRefused, detail: "x".into() }),
            "21 22 01 78".into(), // reason 34, words
        ),
        (Frame::Notes(Box::new(crate::model::Notes::new("t", "r"))), "22 01 74 01 72".into()), // topic, rules
        (Frame::StillHost(entry().addrs.into()), "1d 01 00 0a000002 d08603".into()),
        (Frame::FormerBans(ByteBuf(b"[]".to_vec())), "23 02 5b5d".into()),
        (Frame::VerifyCommit([7; 32]), format!("46 {}", h("07", 32))),
        (Frame::VerifyNonce([8; 16]), format!("47 {}", h("08", 16))),
        (Frame::VerifyReveal([9; 16]), format!("48 {}", h("09", 16))),
        (Frame::VerifyAnswer(true), "49 01".into()),
        (Frame::HandoverOffer(4702), "28 de24".into()),
        (Frame::HandoverReady(entry().addrs.into()), "29 01 00 0a000002 d08603".into()),
        (
            Frame::HandoverProbe(HandoverProbe { peer: PeerId([0xAA; 32]), addrs: entry().addrs }),
            format!("2a {bob} 01 00 0a000002 d08603"),
        ),
        (
            Frame::HandoverProbed(HandoverProbed { peer: PeerId([0xAA; 32]), why_not: Some("no".into()) }),
            format!("2b {bob} 01 026e6f"),
        ),
        (Frame::HandoverPart(HandoverPart { bytes: vec![1, 2], is_last: true }), "2c 02 0102 01".into()),
        (Frame::HandoverTaken, "2d".into()),
        (
            Frame::Handover(HandoverStatement {
                network: NetworkId([9; 16]),
                version: 300,
                to: PeerId([0xAA; 32]),
                addrs: entry().addrs,
                signature: Signature([5; 64]),
            }),
            format!("2e {} ac02 {bob} 01 00 0a000002 d08603 {}", h("09", 16), h("05", 64)),
        ),
        (
            Frame::HandoverRefused(Refusal { reason: CloseReason::Unreachable, detail: "x".into() }),
            format!("2f {:02x} 01 78", CloseReason::Unreachable as u8),
        ),
        (Frame::Deputy(None), "30 00".into()),
        (
            Frame::Deputy(Some(Box::new(deputy()))),
            // network, key, addresses, signature
            format!("30 01 {} {bob} 01 00 0a000002 d08603 {}", h("09", 16), h("05", 64)),
        ),
        (Frame::DeputyPart(HandoverPart { bytes: vec![1, 2], is_last: true }), "31 02 0102 01".into()),
        (
            Frame::OpenedAgain(Box::new(deputy())),
            format!("13 {} {bob} 01 00 0a000002 d08603 {}", h("09", 16), h("05", 64)),
        ),
        (Frame::Call(PeerId([0xAA; 32])), format!("32 {bob}")),
        (Frame::TryPeers(vec![PeerId([1; 32])].into()), format!("33 01 {ann}")),
        (
            Frame::Tried(
                vec![
                    Tried { peer: PeerId([0xAA; 32]), why_not: None },
                    Tried { peer: PeerId([1; 32]), why_not: Some(CloseReason::NoAnswer) },
                ]
                .into(),
            ),
            format!("34 02 {bob} 00 {ann} 01 1f"),
        ),
        (
            Frame::Unreachable(
                vec![Unreachable {
                    from: PeerId([1; 32]),
                    to: PeerId([0xAA; 32]),
                    reason: CloseReason::NothingListens,
                }]
                .into(),
            ),
            format!("35 01 {ann} {bob} 1e"),
        ),
        (Frame::ReachabilityRequest, "36".into()),
        (
            // version, rows: place, bits; last
            Frame::ReachabilityPart(ReachabilityPart {
                version: 3,
                rows: vec![(300, ByteBuf(vec![5]))],
                is_last: true,
            }),
            "37 03 01 ac02 01 05 01".into(),
        ),
        (Frame::RelayOpen(RelayedLink { number: 2, peer: PeerId([0xAA; 32]) }), format!("3c 02 {bob}")),
        (Frame::RelayOpened(RelayedLink { number: 3, peer: PeerId([1; 32]) }), format!("3d 03 {ann}")),
        (Frame::RelayBytes(RelayBytes { number: 2, bytes: vec![7, 8] }), "3e 02 02 0708".into()),
        (Frame::RelayTaken(RelayTaken { number: 2, frames: 1 }), "3f 02 01".into()),
        (Frame::RelayClosed(RelayClosed { number: 2, reason: CloseReason::Left }), "40 02 01".into()),
    ]
}

#[test]
fn golden_bytes() {
    for (frame, hex) in golden() {
        let hex: String = hex.split_whitespace().collect();
        assert_eq!(HEXLOWER.encode(&frame.encode()), hex, "{frame:?}");
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
}

/// `docs/vectors.txt` has the same for those who implement the wire elsewhere. `PYILE_VECTORS=write` writes it anew.
#[test]
fn the_vectors_are_those_of_the_page() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vectors.txt");
    let name = |frame: &Frame| {
        let text = format!("{frame:?}");
        text.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
    };
    let line = |(frame, hex): (Frame, String)| {
        let hex: String = hex.split_whitespace().collect();
        format!("{} {hex}\n", name(&frame))
    };
    let vectors: String = golden().into_iter().map(line).collect();
    if std::env::var_os("PYILE_VECTORS").is_some_and(|value| value == "write") {
        std::fs::write(&path, &vectors).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), vectors);
}

#[test]
fn every_tag_has_golden_bytes() {
    let tags: std::collections::BTreeSet<u8> = golden().iter().map(|(frame, _)| frame.encode()[0]).collect();
    assert_eq!(tags.into_iter().collect::<Vec<_>>(), Frame::TAGS);
}

#[test]
fn trailing_bytes_unknown_tags_and_nothing_are_refused() {
    for (frame, _) in golden() {
        let mut bytes = frame.encode().to_vec();
        let tag = bytes[0];
        bytes.push(0);
        assert_eq!(Frame::decode(&bytes), Err(RecvError::TrailingBytes { tag, bytes: 1 }));
        bytes.truncate(bytes.len() - 2);
        if bytes.len() > 1 {
            assert_eq!(Frame::decode(&bytes), Err(RecvError::Malformed(tag)));
        }
    }
    assert_eq!(Frame::decode(&[]), Err(RecvError::Empty));
    assert_eq!(Frame::decode(&[200, 1]), Err(RecvError::UnknownTag(200)));
}

#[test]
fn texts_are_clean_and_counted_as_soon_as_they_are_read() {
    let texts = vec!["x"; limits::BATCH_MESSAGES];
    let most = Frame::Batch(batch(Recipient::Everyone, 1, &texts, None).into());
    assert_eq!(Frame::decode(&most.encode()), Ok(most));
    let texts = vec!["x"; limits::BATCH_MESSAGES + 1];
    let more = Frame::Batch(batch(Recipient::Everyone, 1, &texts, None).into());
    assert_eq!(Frame::decode(&more.encode()), Err(RecvError::Malformed(BATCH)));
    let bytes = Frame::Batch(batch(Recipient::Everyone, 1, &["o"], None).into()).encode();
    let hostile: Vec<u8> = bytes.iter().map(|byte| if *byte == b'o' { 0x1B } else { *byte }).collect();
    let Ok(Frame::Batch(read)) = Frame::decode(&hostile) else { panic!("{hostile:?}") };
    assert_eq!(read.batch.texts[0].as_str(), "\u{241B}");
}

#[test]
fn an_alias_that_breaks_the_rules_is_no_roster_entry() {
    let frame = Frame::RosterPage(RosterPage { version: 3, entries: vec![entry()], departed: Vec::new() });
    let bytes = frame.encode();
    let hostile: Vec<u8> = bytes.iter().map(|byte| if *byte == b'o' { 0x1B } else { *byte }).collect();
    assert_eq!(Frame::decode(&hostile), Err(RecvError::Malformed(12)));
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Frame::decode(&bytes);
    }

    #[test]
    fn perturbed_frames_never_panic(which in 0_usize..32, at in 0_usize..200, value in any::<u8>()) {
        let frames = golden();
        let mut bytes = frames[which % frames.len()].0.encode().to_vec();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = Frame::decode(&bytes);
    }

    #[test]
    fn batches_round_trip(text in ".*", sequence in any::<u64>(), time in any::<i64>()) {
        let said = Batch { first: sequence, ..batch(Recipient::Everyone, time, &[&text], None) };
        let frame = Frame::Batch(said.into());
        prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
}
