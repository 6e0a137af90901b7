//! pyile
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod headless;
pub mod model;
pub mod net;
pub mod network;
pub mod proto;
pub mod run;
pub mod security;
pub mod store;
pub mod telemetry;
pub mod terminal;
pub mod ui;
pub mod wire;
pub use self::{
    network::{HostOptions, JoinOptions, Network},
    store::Profile,
};
