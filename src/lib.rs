//! pyile
pub mod api;
pub mod model;
pub mod proto;
pub mod security;
pub mod wire;
