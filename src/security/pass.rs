//! The passes of invites: a host keeps of each only its hash.

use ring::digest::{Context, SHA256};

use crate::model::Pass;

/// Under which a pass is hashed, so that the hash is of use for nothing else.
const LABEL: &[u8] = b"pyile pass 1";

/// What a host keeps of a pass. A pass has 128 random bits: its hash needs no salt, and nobody finds it by trying.
#[must_use]
pub fn hash(pass: &Pass) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    digest.update(LABEL);
    digest.update(pass.bits());
    *digest.finish().as_ref().first_chunk().unwrap_or(&[0; 32])
}
