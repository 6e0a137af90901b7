//! What the command asks for.

use super::ConfigError;
use crate::{
    cli::{Cli, Command},
    model::{InviteError, JoinTarget, Timestamp, Wire},
};

/// The variable that holds an invite.
const INVITE: &str = "PYILE_INVITE";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Ask on the launch screen.
    Launch,
    /// Open a network.
    Host,
    /// Join the network of the host at this target that speaks so.
    Join(JoinTarget, Wire),
    /// Open a network with bots.
    Demo,
    /// Print the networks around.
    Networks,
    /// Say why the host at this target cannot be joined.
    Doctor {
        /// The host.
        host: Option<JoinTarget>,
        /// The router of this machine is asked for a port.
        map_port: bool,
    },
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
pub(super) fn mode(cli: &Cli, environment: &dyn Fn(&str) -> Option<String>) -> Result<Mode, ConfigError> {
    Ok(match &cli.command {
        None => Mode::Launch,
        Some(Command::Host { .. }) => Mode::Host,
        Some(Command::Join { host, classic }) => {
            let wire = if *classic { Wire::Classic } else { Wire::Native };
            Mode::Join(target(host.as_deref(), environment, wire)?, wire)
        }
        Some(Command::Demo) => Mode::Demo,
        Some(Command::Networks) => Mode::Networks,
        Some(Command::Doctor { host, map_port }) => {
            let host = host.as_ref().map(|host| target(Some(host), environment, Wire::Native)).transpose()?;
            Mode::Doctor { host, map_port: *map_port }
        }
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

/// Where to join: as typed, or by the invite in the environment.
fn target(
    typed: Option<&str>,
    environment: &dyn Fn(&str) -> Option<String>,
    wire: Wire,
) -> Result<JoinTarget, ConfigError> {
    let invite = environment(INVITE).filter(|value| !value.is_empty());
    let (place, key, value) = match (typed, invite) {
        (Some(typed), _) => ("command line", "HOST[:PORT]|INVITE", typed.to_owned()),
        (None, Some(invite)) => ("environment", INVITE, invite),
        (None, None) => ("command line", "HOST[:PORT]|INVITE", String::new()),
    };
    // What was found may be a pass in part, and is not said again.
    let wrong = |found: &str, allowed: String| ConfigError::Value {
        place: place.to_owned(),
        key: key.to_owned(),
        found: found.to_owned(),
        allowed,
    };
    if value.trim().is_empty() {
        return Err(wrong("missing", "say which host to join, or give an invite".to_owned()));
    }
    let target: JoinTarget =
        value.parse().map_err(|error: InviteError| wrong("no invite", error.to_string()))?;
    match &target {
        JoinTarget::Host(_) if key == INVITE => Err(wrong("no invite", InviteError::Form.to_string())),
        JoinTarget::Invite(_) if wire == Wire::Classic => Err(wrong(
            "an invite, with --classic",
            "a classic host has no key and makes no invites; join it by its address".to_owned(),
        )),
        _ => Ok(target),
    }
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
