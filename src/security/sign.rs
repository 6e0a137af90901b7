//! What is signed, byte for byte. Each kind has a label of its own and names its network, so that a signature can
//! never be taken for another kind's or for another network's.

use ring::digest::{Context, SHA256};

use super::identity::{Identity, verify};
use crate::model::{Batch, Departed, DeputyStatement, NetworkId, PeerId, Recipient, RosterEntry, Signature};

const DELTA_LABEL: &[u8] = b"pyile/1 roster delta";
const ROSTER_LABEL: &[u8] = b"pyile/1 roster";
const BATCH_LABEL: &[u8] = b"pyile/1 message";
const HANDOVER_LABEL: &[u8] = b"pyile/1 handover";
const DEPUTY_LABEL: &[u8] = b"pyile/1 deputy";

/// Signs a roster as its host: `entries` and `departed` in the order of their keys.
pub fn roster<'a>(
    host: &Identity,
    network: &NetworkId,
    version: u64,
    entries: impl Iterator<Item = &'a RosterEntry>,
    departed: impl Iterator<Item = &'a Departed>,
) -> Signature {
    host.sign(&roster_bytes(network, version, entries, departed))
}

/// True when `signature` is the host's over this roster.
pub fn roster_holds<'a>(
    host: &PeerId,
    network: &NetworkId,
    version: u64,
    entries: impl Iterator<Item = &'a RosterEntry>,
    departed: impl Iterator<Item = &'a Departed>,
    signature: &Signature,
) -> bool {
    verify(host, &roster_bytes(network, version, entries, departed), signature)
}

/// Signs what changed in a roster, as it travels, as its host.
#[must_use]
pub fn roster_delta(host: &Identity, network: &NetworkId, delta: &[u8]) -> Signature {
    host.sign(&delta_bytes(network, delta))
}

/// True when `signature` is the host's over what changed in a roster.
#[must_use]
pub fn roster_delta_holds(host: &PeerId, network: &NetworkId, delta: &[u8], signature: &Signature) -> bool {
    verify(host, &delta_bytes(network, delta), signature)
}

fn delta_bytes(network: &NetworkId, delta: &[u8]) -> Vec<u8> {
    [DELTA_LABEL, &network.0, delta].concat()
}

/// Signs a batch to everyone as its author; what it has of a signature does not matter.
#[must_use]
pub fn batch(author: &Identity, network: &NetworkId, batch: &Batch) -> Signature {
    author.sign(&batch_bytes(network, batch))
}

/// True when a batch has its author's signature over all that it says.
#[must_use]
pub fn batch_holds(network: &NetworkId, batch: &Batch) -> bool {
    let holds = |signature| verify(&batch.stream.author, &batch_bytes(network, batch), signature);
    batch.signature.as_ref().is_some_and(holds)
}

/// Signs who is the host from now on, as it travels, as the host until now.
#[must_use]
pub fn handover(host: &Identity, network: &NetworkId, statement: &[u8]) -> Signature {
    host.sign(&handover_bytes(network, statement))
}

/// True when `signature` is the old host's over this handover.
#[must_use]
pub fn handover_holds(host: &PeerId, network: &NetworkId, statement: &[u8], signature: &Signature) -> bool {
    verify(host, &handover_bytes(network, statement), signature)
}

fn handover_bytes(network: &NetworkId, statement: &[u8]) -> Vec<u8> {
    [HANDOVER_LABEL, &network.0, statement].concat()
}

/// Signs who may open the network again, as its host; what the statement has of a signature does not matter.
#[must_use]
pub fn deputy(host: &Identity, statement: &DeputyStatement) -> Signature {
    host.sign(&deputy_bytes(statement))
}

/// True when a statement on the deputy has this host's signature.
#[must_use]
pub fn deputy_holds(host: &PeerId, statement: &DeputyStatement) -> bool {
    verify(host, &deputy_bytes(statement), &statement.signature)
}

fn deputy_bytes(statement: &DeputyStatement) -> Vec<u8> {
    let DeputyStatement { network, to, addrs, .. } = statement;
    let said = postcard::to_stdvec(&(to, addrs)).unwrap_or_default();
    [DEPUTY_LABEL, &network.0, &said].concat()
}

fn roster_bytes<'a>(
    network: &NetworkId,
    version: u64,
    entries: impl Iterator<Item = &'a RosterEntry>,
    departed: impl Iterator<Item = &'a Departed>,
) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    // Self-delimiting, hence no two rosters have the same bytes.
    for entry in entries {
        digest.update(&[0]);
        digest.update(&postcard::to_stdvec(entry).unwrap_or_default());
    }
    for departed in departed {
        digest.update(&[1]);
        digest.update(&postcard::to_stdvec(departed).unwrap_or_default());
    }
    let mut bytes = ROSTER_LABEL.to_vec();
    bytes.extend(network.0);
    bytes.extend(version.to_be_bytes());
    bytes.extend(digest.finish().as_ref());
    bytes
}

/// No text has this byte: it is none of UTF-8.
const BETWEEN_TEXTS: u8 = 0xFF;

fn batch_bytes(network: &NetworkId, batch: &Batch) -> Vec<u8> {
    let Batch { stream, first, sent_at, texts, .. } = batch;
    let mut bytes = Vec::with_capacity(160 + batch.bytes() + texts.len());
    bytes.extend(BATCH_LABEL);
    bytes.extend(network.0);
    bytes.extend(stream.author.0);
    bytes.extend(stream.epoch.to_be_bytes());
    match stream.to {
        Recipient::Everyone => bytes.push(0),
        Recipient::Peer(peer) => {
            bytes.push(1);
            bytes.extend(peer.0);
        }
    }
    bytes.extend(first.to_be_bytes());
    bytes.extend(sent_at.0.to_be_bytes());
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            bytes.push(BETWEEN_TEXTS);
        }
        bytes.extend(text.as_str().as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SafeText, StreamId, Timestamp};

    #[test]
    fn a_signature_holds_for_its_batch_only() {
        let (ann, _) = Identity::generate().unwrap();
        let (bob, _) = Identity::generate().unwrap();
        let network = NetworkId([1; 16]);
        let stream = StreamId { author: ann.peer_id(), epoch: 1, to: Recipient::Everyone };
        let texts = |texts: &[&str]| texts.iter().map(|text| SafeText::clean(text)).collect::<Vec<_>>();
        let mut said =
            Batch { stream, first: 1, sent_at: Timestamp(5), texts: texts(&["hi", "ho"]), signature: None };
        said.signature = Some(batch(&ann, &network, &said));
        let changed = |change: fn(&mut Batch)| {
            let mut changed = said.clone();
            change(&mut changed);
            changed
        };
        assert!(batch_holds(&network, &said));
        assert!(!batch_holds(&NetworkId([2; 16]), &said));
        for change in [
            (|batch| batch.texts.reverse()) as fn(&mut Batch),
            |batch| batch.texts = vec![SafeText::clean("hiho")],
            |batch| batch.texts.push(SafeText::clean("")),
            |batch| batch.first = 2,
            |batch| batch.sent_at = Timestamp(6),
            |batch| batch.stream.epoch = 2,
            |batch| batch.stream.to = Recipient::Peer(batch.stream.author),
            |batch| batch.signature = None,
        ] {
            assert!(!batch_holds(&network, &changed(change)));
        }
        let other = Batch { stream: StreamId { author: bob.peer_id(), ..stream }, ..said.clone() };
        assert!(!batch_holds(&network, &other));
    }
}
