//! The password proof: OPAQUE (RFC 9807) as a machine of steps, bound to the link it runs over.
//!
//! The password never crosses the wire and is not kept: the host holds a record from which it cannot be read.
//! Nothing here may be replayed over another link, guessed from without one attempt a guess, or logged.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use opaque_ke::{
    CipherSuite, ClientLogin, ClientLoginFinishParameters, ClientRegistration,
    ClientRegistrationFinishParameters, CredentialFinalization, CredentialRequest, CredentialResponse,
    Identifiers, Ristretto255, ServerLogin, ServerLoginParameters, ServerRegistration, ServerSetup, TripleDh,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, RngCore, SeedableRng as _};
use sha2::Sha512;

use crate::model::{Password, PeerId};

struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, Sha512>;
    type Ksf = Argon2<'static>;
}

/// All joiners share the network's one password, hence one identity. The keys at both ends of the link are in the
/// context, so that the identities need not name them and a record can move to another host.
const JOINER: &[u8] = b"pyile joiner";
const HOST: &[u8] = b"pyile host";
const CREDENTIAL: &[u8] = b"pyile network";
const CONTEXT_LABEL: &[u8] = b"pyile/1 join";

fn identifiers() -> Identifiers<'static> {
    Identifiers { client: Some(JOINER), server: Some(HOST) }
}

/// What the proof is bound to: the TLS exporter of the link, the host's key and the joiner's.
#[must_use]
pub fn join_context(binding: &[u8; 32], host: &PeerId, joiner: &PeerId) -> Vec<u8> {
    [CONTEXT_LABEL, binding, &host.0, &joiner.0].concat()
}

/// A step of the proof failed. Which one is not told: a wrong password and a relay look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password was not proven")]
pub struct ProofFailed;

/// How costly one guess is on the joiner. Host and joiner must use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory: u32,
    /// Passes over it.
    pub passes: u32,
}

impl PasswordCost {
    /// The cost of version 1 of the wire: 64 MiB, three passes.
    pub const WIRE_1: Self = Self { memory: 64 * 1024, passes: 3 };
    /// For tests of everything but the cost itself.
    pub const TEST: Self = Self { memory: 8, passes: 1 };

    fn argon2(self) -> Result<Argon2<'static>, ProofFailed> {
        let params = Params::new(self.memory, self.passes, 1, None).map_err(|_| ProofFailed)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// What a host keeps instead of the password. The record alone cannot play host: joiners also check its key.
pub struct HostRecord {
    setup: ServerSetup<Suite>,
    registration: ServerRegistration<Suite>,
}

impl HostRecord {
    /// Makes the record of a password. Takes as long as one guess costs: not for an async thread.
    pub fn register(password: &Password, cost: PasswordCost, seed: [u8; 32]) -> Result<Self, ProofFailed> {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let setup = ServerSetup::<Suite>::new(&mut rng);
        let client = ClientRegistration::<Suite>::start(&mut rng, password.as_bytes()).map_err(hide)?;
        let server = ServerRegistration::start(&setup, client.message, CREDENTIAL).map_err(hide)?;
        let ksf = cost.argon2()?;
        let parameters = ClientRegistrationFinishParameters::new(identifiers(), Some(&ksf));
        let upload =
            client.state.finish(&mut rng, password.as_bytes(), server.message, parameters).map_err(hide)?;
        Ok(Self { setup, registration: ServerRegistration::finish(upload.message) })
    }

    /// Reads a record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofFailed> {
        let length = ServerSetup::<Suite>::new(&mut ChaCha20Rng::from_seed([0; 32])).serialize().len();
        let (setup, registration) = bytes.split_at_checked(length).ok_or(ProofFailed)?;
        Ok(Self {
            setup: ServerSetup::deserialize(setup).map_err(hide)?,
            registration: ServerRegistration::deserialize(registration).map_err(hide)?,
        })
    }

    /// The record's form on disk.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.setup.serialize().to_vec();
        bytes.extend_from_slice(&self.registration.serialize());
        bytes
    }

    /// Answers a joiner's first message with the challenge. Costs no password hash.
    pub fn challenge(
        &self,
        rng: &mut (impl RngCore + CryptoRng),
        context: Vec<u8>,
        ke1: &[u8],
    ) -> Result<(Vec<u8>, Challenged), ProofFailed> {
        let request = CredentialRequest::deserialize(ke1).map_err(hide)?;
        let started = ServerLogin::start(
            rng,
            &self.setup,
            Some(self.registration.clone()),
            request,
            CREDENTIAL,
            ServerLoginParameters { context: Some(&context), identifiers: identifiers() },
        )
        .map_err(hide)?;
        Ok((started.message.serialize().to_vec(), Challenged { login: started.state, context }))
    }
}

impl fmt::Debug for HostRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostRecord(…)")
    }
}

/// A host that waits for the proof to its challenge.
#[must_use]
pub struct Challenged {
    login: ServerLogin<Suite>,
    context: Vec<u8>,
}

impl Challenged {
    /// True when the joiner knows the password and speaks over this very link.
    #[must_use]
    pub fn is_proven_by(self, ke3: &[u8]) -> bool {
        let parameters = ServerLoginParameters { context: Some(&self.context), identifiers: identifiers() };
        CredentialFinalization::deserialize(ke3)
            .and_then(|message| self.login.finish(message, parameters))
            .is_ok()
    }
}

impl fmt::Debug for Challenged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenged(…)")
    }
}

/// A joiner that waits for the host's challenge.
#[must_use]
pub struct JoinProof {
    login: ClientLogin<Suite>,
    password: Password,
    context: Vec<u8>,
    cost: PasswordCost,
    seed: [u8; 32],
}

impl JoinProof {
    /// The joiner's first message, and what it needs to answer the challenge.
    pub fn start(
        rng: &mut (impl RngCore + CryptoRng),
        password: Password,
        context: Vec<u8>,
        cost: PasswordCost,
    ) -> Result<(Vec<u8>, Self), ProofFailed> {
        let started = ClientLogin::<Suite>::start(rng, password.as_bytes()).map_err(hide)?;
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let ke1 = started.message.serialize().to_vec();
        Ok((ke1, Self { login: started.state, password, context, cost, seed }))
    }

    /// Opens the host's challenge and answers it. Takes 64 MiB and a good part of a second: not for an async
    /// thread. An error means that the password is wrong or that somebody is between the two.
    pub fn answer(self, ke2: &[u8]) -> Result<Vec<u8>, ProofFailed> {
        let ksf = self.cost.argon2()?;
        let parameters = ClientLoginFinishParameters::new(Some(&self.context), identifiers(), Some(&ksf));
        let challenge = CredentialResponse::deserialize(ke2).map_err(hide)?;
        let mut rng = ChaCha20Rng::from_seed(self.seed);
        let finished =
            self.login.finish(&mut rng, self.password.as_bytes(), challenge, parameters).map_err(hide)?;
        Ok(finished.message.serialize().to_vec())
    }
}

impl fmt::Debug for JoinProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinProof(…)")
    }
}

fn hide<T>(_: T) -> ProofFailed {
    ProofFailed
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: PasswordCost = PasswordCost::TEST;

    fn rng(seed: u8) -> ChaCha20Rng {
        ChaCha20Rng::from_seed([seed; 32])
    }

    fn password(text: &str) -> Password {
        Password::new(text.into())
    }

    fn record() -> HostRecord {
        HostRecord::register(&password("open sesame"), COST, [1; 32]).unwrap()
    }

    fn run(guess: &str, joiner_context: Vec<u8>, host_context: Vec<u8>) -> bool {
        let record = HostRecord::from_bytes(&record().to_bytes()).unwrap();
        let (ke1, proof) = JoinProof::start(&mut rng(2), password(guess), joiner_context, COST).unwrap();
        let (ke2, challenged) = record.challenge(&mut rng(3), host_context, &ke1).unwrap();
        let Ok(ke3) = proof.answer(&ke2) else { return false };
        challenged.is_proven_by(&ke3)
    }

    #[test]
    fn only_the_password_opens() {
        let context = join_context(&[9; 32], &PeerId([1; 32]), &PeerId([2; 32]));
        assert!(run("open sesame", context.clone(), context.clone()));
        assert!(!run("open sesam", context.clone(), context.clone()));
        assert!(!run("", context.clone(), context));
    }

    /// The relay ends one TLS link of the joiner and one to the host, and hands the messages on unchanged.
    #[test]
    fn a_relay_wins_without_the_binding_and_loses_with_it() {
        let (host, joiner, relay) = (PeerId([1; 32]), PeerId([2; 32]), PeerId([3; 32]));
        let unbound = join_context(&[0; 32], &PeerId([0; 32]), &PeerId([0; 32]));
        assert!(run("open sesame", unbound.clone(), unbound), "control: nothing bound, the relay gets in");
        assert!(
            !run(
                "open sesame",
                join_context(&[7; 32], &relay, &joiner),
                join_context(&[8; 32], &host, &relay)
            ),
            "keys and links differ on the two sides of the relay"
        );
        assert!(
            !run(
                "open sesame",
                join_context(&[7; 32], &host, &joiner),
                join_context(&[8; 32], &host, &joiner)
            ),
            "even with the same keys the links differ"
        );
    }

    #[test]
    fn garbage_is_refused() {
        let context = vec![1];
        assert!(record().challenge(&mut rng(3), context.clone(), b"garbage").is_err());
        let (_, proof) = JoinProof::start(&mut rng(2), password("x"), context, COST).unwrap();
        assert_eq!(proof.answer(&[0; 320]), Err(ProofFailed));
        assert!(HostRecord::from_bytes(&[1, 2, 3]).is_err());
    }

    #[test]
    fn first_and_second_message_fit_a_frame_before_admission() {
        let (ke1, _proof) = JoinProof::start(&mut rng(2), password("x"), vec![], COST).unwrap();
        let (ke2, _challenged) = record().challenge(&mut rng(3), vec![], &ke1).unwrap();
        assert!(ke1.len() < 200 && ke2.len() < 500, "{} {}", ke1.len(), ke2.len());
    }
}
