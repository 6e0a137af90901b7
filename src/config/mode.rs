//! What the command asks for.

use super::ConfigError;
use crate::{
    cli::{Cli, Command},
    model::{Timestamp, Wire},
};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Ask on the launch screen.
    Launch,
    /// Open a network.
    Host,
    /// Join the network of the host at this target, as typed, that speaks so.
    Join(String, Wire),
    /// Open a network with bots.
    Demo,
    /// Say why the host at this target cannot be joined.
    Doctor(String),
    /// Print what was said.
    History {
        /// By or for this peer alone.
        peer: Option<String>,
        /// Not before.
        since: Option<Timestamp>,
        /// With these words.
        search: Option<String>,
    },
}

/// What to do, as the command says.
pub(super) fn mode(cli: &Cli) -> Result<Mode, ConfigError> {
    Ok(match &cli.command {
        None => Mode::Launch,
        Some(Command::Host { .. }) => Mode::Host,
        Some(Command::Join { host, classic }) => {
            let wire = if *classic { Wire::Classic } else { Wire::Native };
            Mode::Join(host.clone(), wire)
        }
        Some(Command::Demo) => Mode::Demo,
        Some(Command::Doctor { host }) => Mode::Doctor(host.clone()),
        Some(Command::History { peer, since, search }) => {
            let since = since.as_deref().map(|text| {
                moment(text).ok_or_else(|| ConfigError::Value {
                    place: "command line".to_owned(),
                    key: "--since".to_owned(),
                    found: format!("{text:?}"),
                    allowed:
                        "a time such as 2026-11-20T14:00Z, a date such as 2026-11-20, or how long ago such \
                              as 90min or \"3 days\" is allowed"
                            .to_owned(),
                })
            });
            let (peer, search) = (peer.clone(), search.clone());
            Mode::History { peer, since: since.transpose()?, search }
        }
    })
}

/// A point in time as people write it: a time, a date in this machine's zone, or how long ago.
fn moment(text: &str) -> Option<Timestamp> {
    let zone = jiff::tz::TimeZone::system();
    let text = text.trim();
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().or_else(|_| {
            text.parse::<jiff::civil::Date>().map(|date| date.to_datetime(jiff::civil::Time::midnight()))
        });
        if let Ok(civil) = civil {
            return civil.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
        }
        let ago: jiff::Span = text.parse().ok()?;
        jiff::Zoned::now().checked_sub(ago.abs()).ok().map(|zoned| zoned.timestamp())
    });
    time.map(|time| Timestamp(time.as_microsecond()))
}
