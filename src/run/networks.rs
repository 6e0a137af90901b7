//! `pyile networks`: what can be joined around here.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Write},
};

use serde::Serialize;
use tokio::{sync::mpsc, task::JoinSet, time};

use super::{cannot_write, keeping, wall_clock};
use crate::{
    app::nearby::{Acquaintance, acquaintance, distance},
    config::Config,
    model::{Answer, KnownHost, NearbyNetwork, PeerId, Sighting, Timestamp, limits},
    net::{SystemPlatform, discovery, probe},
    store::Profile,
};

/// A line for programs.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    event: &'static str,
    network: &'a str,
    peer_id: PeerId,
    addrs: &'a [std::net::SocketAddr],
    version: u32,
    rtt_us: Option<u128>,
    known: Acquaintance,
}

/// Passes on what is heard until the receiver is gone. The round trip comes a moment after the rest.
pub(super) async fn listen(heard: mpsc::Sender<Sighting>) {
    let Some(mut browser) = discovery::Browser::start() else { return };
    let (mut tries, mut asked) = (JoinSet::new(), HashSet::new());
    loop {
        let sighting = tokio::select! {
            sighting = browser.next() => sighting,
            Some(Ok(network)) = tries.join_next() => Some(Sighting::Here(network)),
        };
        let Some(sighting) = sighting else { return };
        // Once for each, however often it is announced.
        if let Sighting::Here(network @ NearbyNetwork { answer: Answer::Awaited, .. }) = &sighting
            && asked.len() < limits::NEARBY
            && asked.insert((network.peer_id, network.addrs.clone()))
        {
            tries.spawn(answered(network.clone()));
        }
        if heard.send(sighting).await.is_err() {
            return;
        }
    }
}

async fn answered(network: NearbyNetwork) -> NearbyNetwork {
    let answer = probe::answer(&SystemPlatform, &network.addrs).await;
    NearbyNetwork { answer, ..network }
}

/// Listens for a while and prints what was heard. Gives the exit code.
pub(super) async fn run(config: &Config) -> u8 {
    let recents = Profile::open(&config.profile_dir, keeping(config)).map(|profile| profile.recents());
    let recents = recents.unwrap_or_default();
    let mut heard: BTreeMap<PeerId, NearbyNetwork> = BTreeMap::new();
    if let Some(mut browser) = discovery::Browser::start() {
        let listening = async {
            while let Some(sighting) = browser.next().await {
                match sighting {
                    Sighting::Here(network)
                        if heard.len() >= limits::NEARBY && !heard.contains_key(&network.peer_id) => {}
                    Sighting::Here(network) => _ = heard.insert(network.peer_id, network),
                    Sighting::Gone(key) => _ = heard.remove(&key),
                }
            }
        };
        let _ = time::timeout(limits::NEARBY_LISTEN, listening).await;
    }
    let mut heard = futures_util::future::join_all(heard.into_values().map(answered)).await;
    heard.sort_by(|one, other| (one.name.as_str(), one.peer_id).cmp(&(other.name.as_str(), other.peer_id)));
    match print(&heard, &recents, config.json) {
        Err(error) => cannot_write(&error),
        Ok(()) => 0,
    }
}

fn print(heard: &[NearbyNetwork], recents: &[KnownHost], json: bool) -> io::Result<()> {
    let mut output = io::stdout().lock();
    if heard.is_empty() && !json {
        super::tell(
            "no network around tells of itself; its host may have turned that off, or be elsewhere: join it by address",
        );
    }
    for network in heard {
        let known = acquaintance(network, recents);
        if json {
            let line = Line {
                at: wall_clock(),
                event: "network",
                network: network.name.as_str(),
                peer_id: network.peer_id,
                addrs: &network.addrs,
                version: network.version,
                rtt_us: match network.answer {
                    Answer::After(rtt) => Some(rtt.as_micros()),
                    Answer::Awaited | Answer::Nothing => None,
                },
                known,
            };
            serde_json::to_writer(&mut output, &line).map_err(io::Error::from)?;
            output.write_all(b"\n")?;
            continue;
        }
        let addr = network.addrs.first().map(ToString::to_string).unwrap_or_default();
        let rtt = distance(network.answer);
        let name = &network.name;
        writeln!(output, "{name}  {}  {addr}  {rtt}{}", network.peer_id.short(), known.words())?;
    }
    output.flush()
}
