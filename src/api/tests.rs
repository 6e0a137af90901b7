//! The `--json` contract, field by field: a change here breaks programs.

use serde_json::json;

use super::*;

fn peer() -> Arc<Peer> {
    Arc::new(Peer {
        peer_id: PeerId([0; 32]),
        alias: Alias::new("bob").unwrap(),
        addr: "127.0.0.1:50000".parse().unwrap(),
        role: Role::Member,
        wire: crate::model::Wire::Native,
        status: None,
    })
}

const ZERO: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn peer_json() -> serde_json::Value {
    json!({"peer_id": ZERO, "alias": "bob", "addr": "127.0.0.1:50000", "role": "member", "wire": "native"})
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn events_have_their_fields() {
    let id = MessageId { author: PeerId([0; 32]), epoch: 5, to: Recipient::Everyone, sequence: 7 };
    let id_text = format!("{ZERO}/5/everyone/7");
    let cases = [
        (
            NodeEvent::Cleartext { allowed: false, asked: true },
            json!({"event": "cleartext", "allowed": false, "asked": true}),
        ),
        (
            NodeEvent::Listening {
                role: Role::Host,
                join_addr: Some("0.0.0.0:4702".parse().unwrap()),
                peer_addr: "10.0.0.1:50000".parse().unwrap(),
                peer_id: PeerId([0; 32]),
                alias: Alias::new("ann").unwrap(),
                network: SafeText::line("lab"),
                network_id: NetworkId([1; 16]),
            },
            json!({"event": "listening", "role": "host", "join_addr": "0.0.0.0:4702",
                   "peer_addr": "10.0.0.1:50000", "peer_id": ZERO, "alias": "ann", "network": "lab",
                   "network_id": "01010101010101010101010101010101"}),
        ),
        (
            NodeEvent::Authenticated { host: peer(), network: SafeText::line("lab") },
            json!({"event": "authenticated", "host": peer_json(), "network": "lab"}),
        ),
        (
            NodeEvent::Roster { version: 3, peers: vec![peer()] },
            json!({"event": "roster", "version": 3, "peers": [peer_json()]}),
        ),
        (NodeEvent::PeerUp { peer: peer() }, json!({"event": "peer_up", "peer": peer_json()})),
        (
            NodeEvent::PeerDown { peer: peer(), reason: CloseReason::HeartbeatTimeout },
            json!({"event": "peer_down", "peer": peer_json(), "reason": "heartbeat_timeout"}),
        ),
        (
            NodeEvent::Message {
                id,
                from: peer(),
                to: Recipient::Everyone,
                text: SafeText::clean("hi"),
                sent_at: Timestamp(0),
                own: false,
                missed: 0,
                late: false,
                claims: None,
                reference: None,
                came_at: Timestamp(9),
                place: 9,
            },
            json!({"event": "message", "id": id_text, "from": peer_json(), "to": "everyone", "text": "hi",
                   "sent_at": "1970-01-01T00:00:00.000000Z", "own": false}),
        ),
        (
            NodeEvent::Gap { before: id, from: peer(), missing: 2 },
            json!({"event": "gap", "before": id_text, "from": peer_json(), "missing": 2}),
        ),
        (
            NodeEvent::History { state: HistoryState::Unsaved, message: SafeText::line("full") },
            json!({"event": "history", "state": "unsaved", "message": "full"}),
        ),
        (
            NodeEvent::Suspended { time: Duration::from_secs(240) },
            json!({"event": "suspended", "for_ms": 240_000}),
        ),
        (
            NodeEvent::Delivery {
                id,
                reference: Some("r1".into()),
                peer: peer(),
                status: DeliveryStatus::Delivered,
                reason: None,
                summary: Summary { delivered: 3, total: 4 },
            },
            json!({"event": "delivery", "id": id_text, "ref": "r1", "peer": peer_json(),
                   "status": "delivered", "summary": "3/4"}),
        ),
        (
            NodeEvent::Heartbeat {
                peer: peer(),
                state: Liveness::Suspect,
                rtt: Some(Duration::from_micros(12)),
                missed: 2,
            },
            json!({"event": "heartbeat", "peer": peer_json(), "state": "suspect", "rtt_us": 12, "missed": 2}),
        ),
        (
            NodeEvent::Attempt { addr: "10.0.0.2".parse().unwrap(), left: 2 },
            json!({"event": "attempt", "addr": "10.0.0.2", "left": 2}),
        ),
        (
            NodeEvent::Banned { peer_id: Some(PeerId([0; 32])), addr: None, reason: SafeText::line("spam") },
            json!({"event": "banned", "peer_id": ZERO, "reason": "spam"}),
        ),
        (
            NodeEvent::error(ErrorKind::Command, "what"),
            json!({"event": "error", "kind": "command", "message": "what"}),
        ),
        (
            NodeEvent::Left { reason: CloseReason::Left, message: SafeText::line(""), undelivered: 0 },
            json!({"event": "left", "reason": "left", "message": ""}),
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(serde_json::to_value(event).unwrap(), expected);
    }
}

#[test]
fn commands_are_read() {
    let send = |to, reference| NodeCommand::Send { to, text: "hi".into(), reference };
    let bob = || Some(PeerName::Alias("bob".into()));
    let cases = [
        (json!({"cmd": "send", "to": "everyone", "text": "hi"}), send(Target::Everyone, None)),
        (
            json!({"cmd": "send", "to": "bob", "text": "hi", "ref": "x"}),
            send(Target::Peer(PeerName::Alias("bob".into())), Some("x".into())),
        ),
        (
            json!({"cmd": "send", "to": ZERO, "text": "hi"}),
            send(Target::Peer(PeerName::Id(PeerId([0; 32]))), None),
        ),
        (
            json!({"cmd": "ban", "peer": "bob", "addr": "10.0.0.2:50000", "reason": "spam"}),
            NodeCommand::Ban {
                peer: bob(),
                addr: Some("10.0.0.2".parse().unwrap()),
                reason: Some("spam".into()),
            },
        ),
        (
            json!({"cmd": "unban", "addr": "::1"}),
            NodeCommand::Unban { peer: None, addr: Some("::1".parse().unwrap()), reason: None },
        ),
        (json!({"cmd": "kick", "peer": "bob"}), NodeCommand::Kick { peer: bob(), addr: None, reason: None }),
        (json!({"cmd": "peers"}), NodeCommand::Peers),
        (json!({"cmd": "leave"}), NodeCommand::Leave),
    ];
    for (line, expected) in cases {
        assert_eq!(serde_json::from_value::<NodeCommand>(line).unwrap(), expected);
    }
    for bad in [
        json!({"cmd": "fly"}),
        json!({"cmd": "send", "to": "bob"}),
        json!({"cmd": "ban", "addr": "nowhere"}),
        json!({"cmd": "set_password"}),
        json!({"cmd": "send", "to": "bob", "text": "hi", "color": "red"}),
    ] {
        assert!(serde_json::from_value::<NodeCommand>(bad.clone()).is_err(), "{bad}");
    }
}
