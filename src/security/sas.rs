//! A short authentication string: words that two people compare, made of both of their keys.
//!
//! Whoever stands between two keys shows each of them another one, and the words differ. It could look for keys that make
//! them alike only if it knew both random parts before it had to choose its own: the first is committed to (RFC 6189, 4.4.1.1).

use ring::digest::{Context, SHA256};

use super::words::WORDS;
use crate::model::{NetworkId, PeerId, limits};

/// The random part of one side.
pub type Nonce = [u8; 16];

/// Who has begun, and who answers, as seen at one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Where they are members.
    pub network: NetworkId,
    /// Who has begun.
    pub first: PeerId,
    /// Who answers.
    pub second: PeerId,
}

fn digest(label: &[u8], pair: &Pair, nonces: &[&Nonce]) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    digest.update(label);
    digest.update(&pair.network.0);
    digest.update(&pair.first.0);
    digest.update(&pair.second.0);
    for nonce in nonces {
        digest.update(*nonce);
    }
    *digest.finish().as_ref().first_chunk().unwrap_or(&[0; 32])
}

/// What whoever begins says first: it binds its random part, and shows nothing of it.
#[must_use]
pub fn commitment(pair: &Pair, first: &Nonce) -> [u8; 32] {
    digest(b"pyile verify commitment 1", pair, &[first])
}

/// The words to compare: six of 2048, 66 bits.
#[must_use]
pub fn words(pair: &Pair, first: &Nonce, second: &Nonce) -> Vec<&'static str> {
    let bits = digest(b"pyile verify words 1", pair, &[first, second]);
    let all: Vec<&str> = WORDS.lines().collect();
    let bit = |at: usize| bits.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let number = |word: usize| (0..11).fold(0, |number, at| number << 1 | usize::from(bit(11 * word + at)));
    (0..limits::VERIFY_WORDS).filter_map(|word| all.get(number(word)).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Pair = Pair { network: NetworkId([1; 16]), first: PeerId([2; 32]), second: PeerId([3; 32]) };

    #[test]
    fn six_words_of_both_keys_both_random_parts_and_the_network() {
        let base = words(&PAIR, &[4; 16], &[5; 16]);
        assert_eq!(base.len(), limits::VERIFY_WORDS);
        assert_eq!(base, words(&PAIR, &[4; 16], &[5; 16]));
        assert_eq!(WORDS.lines().count(), 2048);
        for other in [
            words(&Pair { network: NetworkId([9; 16]), ..PAIR }, &[4; 16], &[5; 16]),
            words(&Pair { first: PeerId([9; 32]), ..PAIR }, &[4; 16], &[5; 16]),
            words(&Pair { second: PeerId([9; 32]), ..PAIR }, &[4; 16], &[5; 16]),
            words(&Pair { first: PAIR.second, second: PAIR.first, ..PAIR }, &[4; 16], &[5; 16]),
            words(&PAIR, &[9; 16], &[5; 16]),
            words(&PAIR, &[4; 16], &[9; 16]),
        ] {
            assert_ne!(other, base);
        }
        assert_ne!(commitment(&PAIR, &[4; 16]), commitment(&PAIR, &[9; 16]));
        assert_ne!(
            commitment(&PAIR, &[4; 16]),
            commitment(&Pair { second: PeerId([9; 32]), ..PAIR }, &[4; 16])
        );
    }
}
