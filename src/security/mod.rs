//! Keys, TLS and the password proof: everything that decides whom pyile believes.
//!
//! No secret of this layer may reach a log line, `Debug` or `Display`, and nothing here does I/O: keys come and go
//! as bytes, links as TLS configurations, the password proof as a machine of steps.
//!
//! # What is bound to what
//! - A link belongs to a key: TLS 1.3 with RFC 7250 raw public keys on both sides ([`tls`]). There is no resumption
//!   and no early data, so that every link proves both keys anew.
//! - The password proof belongs to one link: its context holds the TLS exporter of the link and the keys at both of
//!   its ends ([`password::join_context`]). A proof that is relayed over another link does not verify.
//! - A roster belongs to the host, a message to everyone belongs to its author: both are signed ([`sign`]) under a
//!   label of their own and with the network's identity, so that no signature can be used for anything else.

pub mod identity;
pub mod pass;
pub mod password;
pub mod sas;
pub mod sign;
pub mod tls;
pub mod words;

pub use identity::{Identity, IdentityError};
pub use password::{HostRecord, JoinProof, PasswordCost};
