//! The protocol without I/O: everything that decides, for host and member alike.
//!
//! A [`Node`] is told what happened ([`Input`]) and what time it is, and says what is to be done ([`Output`]). It
//! must never open a socket, read a clock, draw randomness that it was not seeded with, or wait: all of it can
//! therefore be tested by plain calls and simulated by the thousand.
//!
//! `poll_timeout` says when `handle_timeout` is wanted next; calling it earlier is harmless.

pub mod admission;
pub mod backoff;
pub mod config;
pub mod detector;
pub mod inbox;
pub mod limiter;
pub mod log;
pub mod rate;
pub mod roster;
pub mod window;

mod classic;
mod group;
mod host;
mod io;
mod links;
mod member;
mod mesh;
mod messaging;
mod node;
mod reachability;
mod role;
mod timers;
mod turn;
mod verifying;

pub use self::config::{
    EarlierRun, HostConfig, KeptState, Limits, MemberConfig, MemoryLimits, NodeConfig, RoleConfig,
    StrangerLimits,
};
pub use self::io::{ConnId, Connected, Input, JoinPort, LinkKind, Output, RelayedId};
pub use self::node::Node;

#[cfg(test)]
mod tests;
