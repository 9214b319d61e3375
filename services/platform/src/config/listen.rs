//! Where a process listens.

use std::net::{SocketAddr, ToSocketAddrs};

use serde::Deserialize;

use crate::misuse::{Misuse, misused};

/// A host and a port to listen on. Without a host it is loopback: what is reachable by others is said in full.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen(String);

impl std::str::FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => Ok(Self(format!("{}:{port}", if host.is_empty() { "127.0.0.1" } else { host }))),
            _ => Err(format!("'{text}' is no address to listen on: HOST:PORT, as 127.0.0.1:8080, localhost:8080 or :8080")),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Listen {
    /// Of a name that has several addresses, an old-fashioned one: every client tries that.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        let all: Vec<SocketAddr> = match self.0.to_socket_addrs() {
            Ok(all) => all.collect(),
            Err(why) => misused!("cannot listen on {}: {why}", self.0),
        };
        let first = all.iter().find(|address| address.is_ipv4()).or(all.first()).copied();
        first.ok_or_else(|| Misuse::new(format!("cannot listen on {}: it has no address", self.0)).into())
    }
}
