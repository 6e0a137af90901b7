//! screen
use crate::config::Config;
pub(super) async fn run(_config: Config) -> color_eyre::Result<u8> {
    Ok(1)
}
