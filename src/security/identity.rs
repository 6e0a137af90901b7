//! A profile's Ed25519 key: who this peer is. The private half never leaves this module but as PKCS#8 for its file.

use std::{fmt, sync::Arc};

use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use rustls::{
    crypto::ring::sign::any_eddsa_type,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use crate::model::{PeerId, Signature};

/// What stands before the 32 bytes of an Ed25519 key in its 44-byte `SubjectPublicKeyInfo` (RFC 8410).
pub(super) const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A private key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are no Ed25519 key in PKCS#8.
    #[error("this is no Ed25519 key in PKCS#8 form")]
    NotAKey,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// A key pair: signs rosters and messages, and proves this peer in TLS.
pub struct Identity {
    pair: Ed25519KeyPair,
    certified: Arc<CertifiedKey>,
    peer_id: PeerId,
}

impl Identity {
    /// Draws a new key. The bytes are its PKCS#8 form, wiped when dropped.
    pub fn generate() -> Result<(Self, Zeroizing<Vec<u8>>), IdentityError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| IdentityError::NoRandomness)?;
        let bytes = Zeroizing::new(document.as_ref().to_vec());
        Ok((Self::from_pkcs8(&bytes)?, bytes))
    }

    /// Reads a key in PKCS#8 form.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, IdentityError> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| IdentityError::NotAKey)?;
        let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(bytes)).map_err(|_| IdentityError::NotAKey)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| IdentityError::NotAKey)?;
        let peer_id = PeerId(public);
        let certificate = CertificateDer::from(spki(&peer_id).to_vec());
        let certified = Arc::new(CertifiedKey::new(vec![certificate], signer));
        Ok(Self { pair, certified, peer_id })
    }

    /// The public half.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Signature {
        let mut signature = [0; 64];
        // An Ed25519 signature has 64 bytes; a verifier would refuse zeros.
        if let Some((bytes, _)) = self.pair.sign(message).as_ref().split_first_chunk::<64>() {
            signature = *bytes;
        }
        Signature(signature)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id.short())
    }
}

/// A peer's key as a `SubjectPublicKeyInfo` (RFC 8410), which stands for a certificate in TLS (RFC 7250).
pub(super) fn spki(peer: &PeerId) -> [u8; 44] {
    let mut bytes = [0; 44];
    let (prefix, key) = bytes.split_at_mut(SPKI_PREFIX.len());
    prefix.copy_from_slice(&SPKI_PREFIX);
    key.copy_from_slice(&peer.0);
    bytes
}

pub(super) fn verify(peer: &PeerId, message: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, peer.0).verify(message, &signature.0).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file() {
        let (identity, bytes) = Identity::generate().unwrap();
        let again = Identity::from_pkcs8(&bytes).unwrap();
        assert_eq!(identity.peer_id(), again.peer_id());
        assert!(verify(&identity.peer_id(), b"x", &again.sign(b"x")));
        assert!(!verify(&identity.peer_id(), b"y", &again.sign(b"x")));
        assert_eq!(Identity::from_pkcs8(&bytes[1..]).unwrap_err(), IdentityError::NotAKey);
        assert!(!format!("{identity:?}").contains("pair"), "Debug shows the public key only");
    }
}
