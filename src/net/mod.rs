//! The only sockets: carries out what the node decides, and tells it what happened.
//!
//! One actor drives one [`Node`](crate::proto::Node); every connection is a session of its own with a read loop and
//! a write loop. Awaiting goes up only (session to node to front end, so that TCP pushes back on the sender);
//! what goes down is tried and never waited for, so that no slow peer delays another and nothing can wedge.

mod actor;
mod classic;
mod clock;
mod dialer;
pub mod discovery;
mod events;
mod handle;
mod link;
mod listener;
pub mod platform;
pub mod probe;
mod relay;
#[cfg(feature = "map-port")]
mod router;
mod session;
mod suspend;
mod unread;
mod zone;

#[cfg(feature = "program")]
pub(crate) use self::clock::now;
pub use self::{
    actor::spawn,
    events::Events,
    handle::{NodeHandle, Opened, Request},
    listener::{PeerListen, announced, bind_distribution, bind_join, bind_peer},
    platform::{Platform, SystemPlatform},
    zone::{is_zoned, zoned},
};

/// 32 bytes from the system.
pub(crate) fn seed() -> [u8; 32] {
    use rand_core::RngCore as _;
    let mut seed = [0; 32];
    rand_core::OsRng.fill_bytes(&mut seed);
    seed
}
