//! pyile
pub mod api;
pub mod model;
pub mod security;
pub mod wire;
