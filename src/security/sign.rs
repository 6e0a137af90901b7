//! What is signed, byte for byte. Each kind has a label of its own and names its network, so that a signature can
//! never be taken for another kind's or for another network's.

use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};

use super::identity::{Identity, verify};
use crate::model::{MessageId, NetworkId, PeerId, Recipient, RosterEntry, Timestamp};

const ROSTER_LABEL: &[u8] = b"pyile/1 roster";
const MESSAGE_LABEL: &[u8] = b"pyile/1 message";
const HANDOVER_LABEL: &[u8] = b"pyile/1 handover";

/// Signs a roster as its host: `entries` in the order of their keys.
pub fn roster<'a>(
    host: &Identity,
    network: &NetworkId,
    version: u64,
    entries: impl Iterator<Item = &'a RosterEntry>,
) -> [u8; 64] {
    host.sign(&roster_bytes(network, version, entries))
}

/// True when `signature` is the host's over this roster.
pub fn roster_holds<'a>(
    host: &PeerId,
    network: &NetworkId,
    version: u64,
    entries: impl Iterator<Item = &'a RosterEntry>,
    signature: &[u8; 64],
) -> bool {
    verify(host, &roster_bytes(network, version, entries), signature)
}

/// Signs a message to everyone as its author.
#[must_use]
pub fn message(
    author: &Identity,
    network: &NetworkId,
    id: &MessageId,
    sent_at: Timestamp,
    text: &str,
) -> [u8; 64] {
    author.sign(&message_bytes(network, id, sent_at, text))
}

/// True when `signature` is the author's over this message.
#[must_use]
pub fn message_holds(
    network: &NetworkId,
    id: &MessageId,
    sent_at: Timestamp,
    text: &str,
    signature: &[u8; 64],
) -> bool {
    verify(&id.author, &message_bytes(network, id, sent_at, text), signature)
}

/// Signs who is the host from now on, as the host until now.
#[must_use]
pub fn handover(host: &Identity, network: &NetworkId, to: &PeerId, addrs: &[SocketAddr]) -> [u8; 64] {
    host.sign(&handover_bytes(network, to, addrs))
}

/// True when `signature` is the old host's over this handover.
#[must_use]
pub fn handover_holds(
    host: &PeerId,
    network: &NetworkId,
    to: &PeerId,
    addrs: &[SocketAddr],
    signature: &[u8; 64],
) -> bool {
    verify(host, &handover_bytes(network, to, addrs), signature)
}

fn handover_bytes(network: &NetworkId, to: &PeerId, addrs: &[SocketAddr]) -> Vec<u8> {
    let mut bytes = HANDOVER_LABEL.to_vec();
    bytes.extend(network.0);
    bytes.extend(to.0);
    bytes.extend(postcard::to_stdvec(addrs).unwrap_or_default());
    bytes
}

fn roster_bytes<'a>(
    network: &NetworkId,
    version: u64,
    entries: impl Iterator<Item = &'a RosterEntry>,
) -> Vec<u8> {
    let mut digest = Sha256::new();
    for entry in entries {
        // Self-delimiting, hence no two rosters have the same bytes.
        digest.update(postcard::to_stdvec(entry).unwrap_or_default());
    }
    let mut bytes = ROSTER_LABEL.to_vec();
    bytes.extend(network.0);
    bytes.extend(version.to_be_bytes());
    bytes.extend(digest.finalize());
    bytes
}

fn message_bytes(network: &NetworkId, id: &MessageId, sent_at: Timestamp, text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128 + text.len());
    bytes.extend(MESSAGE_LABEL);
    bytes.extend(network.0);
    bytes.extend(id.author.0);
    bytes.extend(id.epoch.to_be_bytes());
    match id.to {
        Recipient::Everyone => bytes.push(0),
        Recipient::Peer(peer) => {
            bytes.push(1);
            bytes.extend(peer.0);
        }
    }
    bytes.extend(id.sequence.to_be_bytes());
    bytes.extend(sent_at.0.to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_only() {
        let (ann, _) = Identity::generate().unwrap();
        let (bob, _) = Identity::generate().unwrap();
        let network = NetworkId([1; 16]);
        let id = MessageId { author: ann.peer_id(), epoch: 1, to: Recipient::Everyone, sequence: 1 };
        let at = Timestamp(5);
        let signature = message(&ann, &network, &id, at, "hi");
        assert!(message_holds(&network, &id, at, "hi", &signature));
        assert!(!message_holds(&network, &id, at, "ho", &signature));
        assert!(!message_holds(&NetworkId([2; 16]), &id, at, "hi", &signature));
        assert!(!message_holds(&network, &MessageId { sequence: 2, ..id }, at, "hi", &signature));
        assert!(!message_holds(&network, &MessageId { author: bob.peer_id(), ..id }, at, "hi", &signature));
        assert!(!message_holds(&network, &id, Timestamp(6), "hi", &signature));
    }
}
