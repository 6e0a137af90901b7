//! The firewall of this system, and the command that opens a port in it.

use std::{fs, path::Path};

/// What blocks ports here, as far as can be seen without being its administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firewall {
    /// Ubuntu's, and others'.
    Ufw,
    /// Fedora's, and others'.
    Firewalld,
    /// Linux, by its own tables.
    Nftables,
    /// Linux, by the older ones.
    Iptables,
    /// macOS, by application.
    Macos,
    /// Windows.
    Windows,
    /// None was found.
    Unknown,
}

impl Firewall {
    /// Looks for it.
    #[must_use]
    pub fn find() -> Self {
        if cfg!(target_os = "macos") {
            return Self::Macos;
        }
        if cfg!(windows) {
            return Self::Windows;
        }
        let is_there = |names: &[&str]| names.iter().any(|name| Path::new(name).exists());
        let ufw = fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
        if ufw.lines().any(|line| line.trim().eq_ignore_ascii_case("enabled=yes")) {
            Self::Ufw
        } else if is_there(&["/run/firewalld", "/var/run/firewalld.pid"]) {
            Self::Firewalld
        } else if is_there(&["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"]) {
            Self::Nftables
        } else if is_there(&["/usr/sbin/iptables", "/sbin/iptables", "/usr/bin/iptables"]) {
            Self::Iptables
        } else {
            Self::Unknown
        }
    }

    /// The command that lets connections in to a TCP port.
    #[must_use]
    pub fn command(self, port: u16) -> String {
        match self {
            Self::Ufw => format!("sudo ufw allow {port}/tcp"),
            Self::Firewalld => {
                format!("sudo firewall-cmd --add-port={port}/tcp && sudo firewall-cmd --runtime-to-permanent")
            }
            Self::Nftables => {
                format!("sudo nft insert rule inet filter input tcp dport {port} accept")
            }
            Self::Iptables => format!("sudo iptables -I INPUT -p tcp --dport {port} -j ACCEPT"),
            Self::Macos => "sudo /usr/libexec/ApplicationFirewall/socketfilterfw --add \"$(which pyile)\" \
                            --unblockapp \"$(which pyile)\""
                .to_owned(),
            Self::Windows => format!(
                "netsh advfirewall firewall add rule name=pyile dir=in action=allow protocol=TCP localport={port}"
            ),
            Self::Unknown => format!(
                "no firewall program was found on this machine: let TCP port {port} in at the router or the \
                 provider's firewall"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_firewall_has_a_command_that_names_the_port() {
        for firewall in
            [Firewall::Ufw, Firewall::Firewalld, Firewall::Nftables, Firewall::Iptables, Firewall::Windows]
        {
            assert!(firewall.command(50_123).contains("50123"), "{firewall:?}");
        }
    }
}
