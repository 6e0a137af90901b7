//! Asking the router of this machine for ports: by PCP (RFC 6887), by NAT-PMP (RFC 6886), or by UPnP, whichever it knows first.
//!
//! It must ask nobody but the default gateway for a port, and give back what it got. What a router says is a stranger's word.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    num::NonZeroU16,
    time::Duration,
};

use crab_nat::{InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp};
use igd_next::{
    AddPortError, GetExternalIpError, PortMappingProtocol, RequestError, SearchError, SearchOptions,
    aio::{
        Gateway,
        tokio::{Tokio, search_gateway},
    },
};

use super::{
    platform::{BoxFuture, Router},
    probe,
};
use crate::model::{HostPorts, MappingProtocol, PortMapping, limits};

/// What the port is for, as the router's own pages show it.
const DESCRIPTION: &str = "pyile";

/// The default gateway, and this machine's address on the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    gateway: Ipv4Addr,
    own: Ipv4Addr,
}

/// A port that is open.
enum Grant {
    /// By PCP or NAT-PMP.
    Asked(Box<crab_nat::PortMapping>),
    /// By UPnP: by which device, and the port outside.
    Upnp(Box<Gateway<Tokio>>, u16),
}

/// Where something is reached from outside, and for how long.
type Opened = (SocketAddrV4, MappingProtocol, Duration);

/// The router of this machine.
#[derive(Default)]
pub(super) struct SystemRouter {
    way: Option<Way>,
    /// It speaks UPnP.
    device: Option<Gateway<Tokio>>,
    join: Option<Grant>,
    peer: Option<Grant>,
}

impl Router for SystemRouter {
    fn map(&mut self, ports: HostPorts) -> BoxFuture<'_, Result<PortMapping, String>> {
        Box::pin(async move {
            let way = way(ports.join.ip()).await?;
            if self.way != Some(way) {
                // Another network than before: what was open there ends by itself.
                *self = Self { way: Some(way), ..Self::default() };
            }
            let (join, protocol, lifetime) = self.open(way, ports.join.port(), false).await?;
            if lifetime.is_zero() {
                return Err(format!("the router {} opens the port for no time at all", way.gateway));
            }
            let peer = self.open(way, ports.peer.port(), true).await.ok().map(|(peer, ..)| peer.into());
            Ok(PortMapping { join: join.into(), peer, protocol, lifetime })
        })
    }

    fn release(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for grant in [self.join.take(), self.peer.take()].into_iter().flatten() {
                match grant {
                    // It ends by itself where this fails.
                    Grant::Asked(mapping) => drop(mapping.try_drop().await),
                    Grant::Upnp(device, port) => {
                        let _ = device.remove_port(PortMappingProtocol::TCP, port).await;
                    }
                }
            }
        })
    }
}

impl SystemRouter {
    /// Opens a port, or keeps it open.
    async fn open(&mut self, way: Way, port: u16, is_peer: bool) -> Result<Opened, String> {
        let before = if is_peer { &mut self.peer } else { &mut self.join };
        if let Some(Grant::Asked(mapping)) = before
            && mapping.renew().await.is_ok()
            && let Ok(opened) = outside(way, mapping).await
        {
            return Ok(opened);
        }
        let (grant, opened) = if self.device.is_some() {
            self.by_upnp(way, port, is_peer).await?
        } else {
            match ask(way, port).await {
                Ok(asked) => asked,
                Err(why) => match self.by_upnp(way, port, is_peer).await {
                    Ok(mapped) => mapped,
                    Err(other) => {
                        return Err(format!(
                            "the router {} opens no port: by PCP and NAT-PMP {why}, by UPnP {other}",
                            way.gateway
                        ));
                    }
                },
            }
        };
        *(if is_peer { &mut self.peer } else { &mut self.join }) = Some(grant);
        Ok(opened)
    }

    async fn by_upnp(&mut self, way: Way, port: u16, is_peer: bool) -> Result<(Grant, Opened), String> {
        let device = match &self.device {
            Some(device) => device.clone(),
            None => find(way).await?,
        };
        let ip = match device.get_external_ip().await {
            Ok(IpAddr::V4(ip)) => ip,
            Ok(IpAddr::V6(ip)) => return Err(format!("it has the address {ip} alone")),
            // That is all that it says when it has no address, or a private one.
            Err(GetExternalIpError::RequestError(RequestError::InvalidResponse(_))) => {
                return Err("it has no address on the internet itself".to_owned());
            }
            Err(GetExternalIpError::RequestError(error)) => return Err(failed(&error)),
            Err(GetExternalIpError::ActionNotAuthorized) => return Err("it does not allow that".to_owned()),
        };
        let own = SocketAddr::from((way.own, port));
        let (tcp, seconds) = (PortMappingProtocol::TCP, limits::MAPPING_LIFETIME.as_secs());
        let lease = u32::try_from(seconds).unwrap_or(u32::MAX);
        let slot = if is_peer { &mut self.peer } else { &mut self.join };
        // The port of last time, which is in invites.
        let wanted = if let Some(Grant::Upnp(_, outside)) = slot { *outside } else { port };
        let before = slot.replace(Grant::Upnp(Box::new(device.clone()), wanted));
        let mut asked = device.add_port(tcp, wanted, own, lease, DESCRIPTION).await;
        if matches!(asked, Err(AddPortError::OnlyPermanentLeasesSupported)) {
            // Then it has to be given back.
            asked = device.add_port(tcp, wanted, own, 0, DESCRIPTION).await;
        }
        let outside = match asked {
            Ok(()) => wanted,
            Err(error) => {
                // What somebody else has is not for this host to give back.
                *slot = before;
                if !matches!(error, AddPortError::PortInUse) {
                    return Err(refused(&error));
                }
                let any = device.add_any_port(tcp, own, lease, DESCRIPTION).await;
                any.map_err(|_| "the port is taken there, and so is every other".to_owned())?
            }
        };
        self.device = Some(device.clone());
        let opened = (SocketAddrV4::new(ip, outside), MappingProtocol::Upnp, limits::MAPPING_LIFETIME);
        Ok((Grant::Upnp(Box::new(device), outside), opened))
    }
}

/// Why it does not open a port by UPnP.
fn refused(error: &AddPortError) -> String {
    match error {
        AddPortError::ActionNotAuthorized => "it does not allow that".to_owned(),
        AddPortError::PortInUse => "the port is taken there".to_owned(),
        AddPortError::RequestError(error) => failed(error),
        AddPortError::OnlyPermanentLeasesSupported
        | AddPortError::SamePortValuesRequired
        | AddPortError::InternalPortZeroInvalid
        | AddPortError::ExternalPortZeroInvalid
        | AddPortError::DescriptionTooLong => "its answer makes no sense".to_owned(),
    }
}

/// Why nothing came of a question by UPnP.
fn failed(error: &RequestError) -> String {
    match error {
        RequestError::IoError(_) | RequestError::HyperError(_) | RequestError::HyperClientError(_) => {
            "it does not answer".to_owned()
        }
        RequestError::ErrorCode(code, text) => said(&format!("{text} ({code})")),
        _ => "its answer makes no sense".to_owned(),
    }
}

/// Why it has opened nothing by NAT-PMP.
fn why(error: &natpmp::Failure) -> String {
    match error {
        natpmp::Failure::Socket(_) | natpmp::Failure::Timeout => "it does not answer".to_owned(),
        natpmp::Failure::NotAuthorized => "it is switched off".to_owned(),
        natpmp::Failure::NetworkFailure => "it has no address on the internet itself".to_owned(),
        error => said(error),
    }
}

/// What a router, or a library, says went wrong: one line, not too long.
fn said(error: &impl std::fmt::Display) -> String {
    let text: String = error.to_string().chars().take(limits::REASON_BYTES).collect();
    format!("it says: {}", crate::model::SafeText::line(&text))
}

/// The way out of this machine, for a host that listens at this address.
async fn way(listens: IpAddr) -> Result<Way, String> {
    if listens.is_loopback() {
        return Err("the network listens on this machine alone".to_owned());
    }
    let found = tokio::task::spawn_blocking(netdev::get_default_gateway).await;
    let gateway = found.ok().and_then(Result::ok).and_then(|gateway| gateway.ipv4.first().copied());
    let gateway = gateway.ok_or("this machine has no router that it could ask, no IPv4 one at least")?;
    let to = SocketAddrV4::new(gateway, crab_nat::GATEWAY_PORT);
    let Ok(IpAddr::V4(own)) = probe::route(to.into()) else {
        return Err(format!("there is no way to the router {gateway}"));
    };
    match listens {
        IpAddr::V4(ip) if !ip.is_unspecified() && ip != own => Err(format!(
            "the network listens at {ip} alone, and the router {gateway} reaches this machine at {own}"
        )),
        IpAddr::V6(ip) if !ip.is_unspecified() => Err(format!(
            "the network listens at {ip} alone, and IPv6 is not translated: a firewall lets it in, or not"
        )),
        _ => Ok(Way { gateway, own }),
    }
}

const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: limits::ROUTER_ANSWER,
    max_retries: limits::ROUTER_RETRIES,
    max_retry_timeout: Some(limits::ROUTER_ANSWER_MOST),
};

/// Asks by PCP, or by NAT-PMP where the router knows no better.
async fn ask(way: Way, port: u16) -> Result<(Grant, Opened), String> {
    let port = NonZeroU16::new(port).ok_or("there is no port 0")?;
    let seconds = u32::try_from(limits::MAPPING_LIFETIME.as_secs()).unwrap_or(u32::MAX);
    let options = PortMappingOptions {
        external_port: Some(port),
        lifetime_seconds: Some(seconds),
        timeout_config: Some(PATIENCE),
    };
    let (gateway, tcp) = (way.gateway.into(), InternetProtocol::Tcp);
    let mapping = match crab_nat::PortMapping::new(gateway, way.own.into(), tcp, port, options).await {
        Ok(mapping) => mapping,
        // Some answer nothing at all to what they do not know.
        Err(_) => natpmp::port_mapping(gateway, tcp, port, options).await.map_err(|error| why(&error))?,
    };
    let opened = outside(way, &mapping).await?;
    Ok((Grant::Asked(Box::new(mapping)), opened))
}

/// Where an open port is reached from outside.
async fn outside(way: Way, mapping: &crab_nat::PortMapping) -> Result<Opened, String> {
    let (ip, protocol) = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => (external_ip.to_canonical(), MappingProtocol::Pcp),
        PortMappingType::NatPmp => {
            let ip = natpmp::external_address(way.gateway.into(), Some(PATIENCE)).await;
            (ip.map_err(|error| why(&error))?.into(), MappingProtocol::NatPmp)
        }
    };
    let IpAddr::V4(ip) = ip else { return Err(format!("it has the address {ip} alone")) };
    let lifetime = Duration::from_secs(mapping.lifetime().into());
    Ok((SocketAddrV4::new(ip, mapping.external_port().get()), protocol, lifetime))
}

/// The router's own UPnP device. Others on this network could answer as well.
async fn find(way: Way) -> Result<Gateway<Tokio>, String> {
    let everybody = search(way, SearchOptions::default().broadcast_address).await;
    if matches!(&everybody, Ok(device) if device.addr.ip() != way.gateway) {
        // Somebody else was faster.
        if let Ok(device) = search(way, (way.gateway, limits::SSDP_PORT).into()).await
            && device.addr.ip() == way.gateway
        {
            return Ok(device);
        }
    }
    match everybody {
        Ok(device) if device.addr.ip() == way.gateway => Ok(device),
        Ok(device) => Err(format!("{} answers in its place", device.addr.ip())),
        Err(SearchError::NoResponseWithinTimeout) => Err("it does not answer".to_owned()),
        Err(_) => Err("its answer makes no sense".to_owned()),
    }
}

async fn search(way: Way, whom: SocketAddr) -> Result<Gateway<Tokio>, SearchError> {
    let mut options = SearchOptions::default();
    options.bind_addr = (way.own, 0).into();
    options.broadcast_address = whom;
    // It bounds the whole search, what is asked of whoever answers included.
    options.timeout = Some(limits::ROUTER_SEARCH);
    search_gateway(options).await
}
