//! What a frame costs whoever reads it: each kind at its largest, and lists that claim to be longer than they may be.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

use std::net::{Ipv6Addr, SocketAddr};

use peak_alloc::PeakAlloc;
use pyile::{
    model::{
        Alias, Batch, CloseReason, Departed, Held, NetworkId, PeerId, Role, RosterEntry, SafeText, Signature,
        StreamId, Timestamp, Unreachable, Wire, limits,
    },
    wire::{
        ByteBuf, Frame, HandedOn, HandoverProbe, HandoverStatement, Hello, ReachabilityPart, Removal,
        RosterDelta, RosterPage, Tried, Wanted,
    },
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most bytes that are in use while something is done, beyond those that were before.
fn most_bytes<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = work();
    (result, MEMORY.peak_usage().saturating_sub(before))
}

/// What one frame of 64 KiB may take while it is read.
const MOST_BYTES: usize = 2 * 1024 * 1024;

fn addrs(count: u16) -> Vec<SocketAddr> {
    (0..count).map(|port| (Ipv6Addr::LOCALHOST, port).into()).collect()
}

fn alias() -> Alias {
    Alias::new(&"a".repeat(limits::ALIAS_CHARACTERS)).unwrap()
}

fn entry(addrs: Vec<SocketAddr>) -> RosterEntry {
    let (peer_id, since) = (PeerId([1; 32]), Timestamp(1));
    RosterEntry {
        peer_id,
        alias: alias(),
        role: Role::Member,
        wire: Wire::Native,
        addrs,
        since,
        status: None,
    }
}

fn departed(epochs: usize) -> Departed {
    Departed {
        peer: PeerId([2; 32]),
        at: Timestamp(1),
        counts: vec![(u64::MAX, 1); epochs],
        newest: Timestamp(1),
        alias: Some(alias()),
        is_out: true,
    }
}

fn held() -> Held {
    Held { author: PeerId([1; 32]), epoch: 1, from: 1, to: 2 }
}

fn page(entries: Vec<RosterEntry>, departed: Vec<Departed>) -> Frame {
    Frame::RosterPage(RosterPage { version: 1, entries, departed })
}

fn delta(removed: usize) -> Frame {
    let removal = Removal { peer: PeerId([1; 32]), reason: CloseReason::Left };
    let (removed, signature) = (vec![removal; removed], Signature([1; 64]));
    let (updated, departed) = (Vec::new(), Vec::new());
    Frame::RosterDelta(RosterDelta { from: 1, to: 2, removed, updated, departed, signature })
}

fn batch(texts: usize) -> Batch {
    let stream = StreamId { author: PeerId([1; 32]), epoch: 1, to: pyile::model::Recipient::Everyone };
    let texts = vec![SafeText::line("x"); texts];
    Batch { stream, first: 1, sent_at: Timestamp(1), texts, signature: None }
}

fn handed_on(batches: usize, texts: usize) -> Frame {
    let wanted = Wanted { direct: true, range: held() };
    let label = String::new();
    Frame::HandedOn(HandedOn { wanted, label, batches: vec![batch(texts); batches], next: None })
}

fn ways(count: usize) -> Frame {
    let way = Unreachable { from: PeerId([1; 32]), to: PeerId([2; 32]), reason: CloseReason::Left };
    Frame::Unreachable(vec![way; count].into())
}

/// Each kind of frame with a list in it: at its largest, and with one more.
fn lists() -> Vec<(Frame, Frame)> {
    let most = u16::try_from(limits::CANDIDATES).unwrap();
    let ready = |count| Frame::HandoverReady(addrs(count).into());
    let hello = |count| Frame::Hello(Hello { alias: "a".into(), addrs: addrs(count), ke1: vec![1; 600] });
    let probe = |count| Frame::HandoverProbe(HandoverProbe { peer: PeerId([1; 32]), addrs: addrs(count) });
    let statement = |count| {
        let (network, to, signature) = (NetworkId([1; 16]), PeerId([1; 32]), Signature([1; 64]));
        Frame::Handover(HandoverStatement { network, version: 1, to, addrs: addrs(count), signature })
    };
    let peers = |count| Frame::TryPeers(vec![PeerId([1; 32]); count].into());
    let tried = |count| Frame::Tried(vec![Tried { peer: PeerId([1; 32]), why_not: None }; count].into());
    let rows = |count| {
        let rows = vec![(1, ByteBuf(vec![1; 40])); count];
        Frame::ReachabilityPart(ReachabilityPart { version: 1, rows, is_last: true })
    };
    vec![
        (hello(most), hello(most + 1)),
        (hello(most), hello(10_000)),
        (ready(most), ready(most + 1)),
        (ready(most), ready(10_000)),
        (probe(most), probe(most + 1)),
        (statement(most), statement(most + 1)),
        (page(vec![entry(addrs(most)); 300], Vec::new()), page(vec![entry(addrs(most + 1))], Vec::new())),
        (page(Vec::new(), vec![departed(16); 200]), page(Vec::new(), vec![departed(17)])),
        (delta(limits::ROSTER_PAGE - 100), delta(limits::ROSTER_PAGE + 1)),
        (Frame::Held(vec![held(); limits::HELD].into()), Frame::Held(vec![held(); limits::HELD + 1].into())),
        (handed_on(limits::RANGE_MESSAGES, 100), handed_on(limits::RANGE_MESSAGES + 1, 1)),
        (
            Frame::Batch(batch(limits::BATCH_MESSAGES).into()),
            Frame::Batch(batch(limits::BATCH_MESSAGES + 1).into()),
        ),
        (peers(limits::TRIED_AT_ONCE), peers(limits::TRIED_AT_ONCE + 1)),
        (tried(limits::MEMBERS_MAX), tried(limits::MEMBERS_MAX + 1)),
        (ways(limits::UNREACHABLE), ways(limits::UNREACHABLE + 1)),
        (rows(limits::MEMBERS_MAX), rows(limits::MEMBERS_MAX + 1)),
    ]
}

fn lists_end_where_they_must() {
    for (legal, too_long) in lists() {
        let (legal, too_long) = (legal.encode(), too_long.encode());
        let (read, bytes) = most_bytes(|| Frame::decode(&legal));
        assert!(read.is_ok(), "tag {}", legal[0]);
        assert!(bytes <= MOST_BYTES, "tag {}: {bytes} bytes for {}", legal[0], legal.len());
        let (read, bytes) = most_bytes(|| Frame::decode(&too_long));
        assert!(read.is_err(), "tag {} with {} bytes", too_long[0], too_long.len());
        assert!(bytes <= MOST_BYTES, "tag {}: {bytes} bytes", too_long[0]);
    }
}

/// Every kind, filled with whatever claims most.
fn no_frame_costs_more_than_a_few_times_its_length() {
    for tag in Frame::TAGS {
        for fill in [vec![0_u8], vec![1], vec![0xff], vec![0xff, 0xff, 0x03], vec![0x10, 0x27], vec![0x7f]] {
            let mut frame = vec![*tag];
            frame.extend(fill.iter().cycle().take(limits::FRAME_AFTER - 1));
            let (_, bytes) = most_bytes(|| Frame::decode(&frame));
            assert!(bytes <= MOST_BYTES, "tag {tag}, {fill:?}: {bytes} bytes");
        }
    }
}

/// One test: the memory of the whole process is looked at.
#[test]
fn no_frame_is_more_than_it_may_be() {
    lists_end_where_they_must();
    no_frame_costs_more_than_a_few_times_its_length();
}
