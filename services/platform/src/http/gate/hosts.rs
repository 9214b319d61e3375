//! Under which names this process is asked, and by which pages. A page of another site can make its visitor's browser
//! call an address of the visitor's machine or network: what it cannot do is to lie about its own origin, or to call by
//! another name than it was itself loaded from.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Version};

use super::super::failure::Failure;

/// The names that are ours.
pub struct Hosts {
    listen: SocketAddr,
    names: Vec<Name>,
}

/// A host, and a port if only that one is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    host: String,
    port: Option<u16>,
}

impl std::str::FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no host name: expected NAME or NAME:PORT");
        let authority: Authority = text.trim().parse().map_err(|_| wrong())?;
        Self::of(&authority).ok_or_else(wrong)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(out, "{open}{}{close}{}", self.host, self.port.map(|port| format!(":{port}")).unwrap_or_default())
    }
}

impl Name {
    fn of(authority: &Authority) -> Option<Self> {
        let (host, text) = (authority.host(), authority.as_str());
        let port = match text.strip_prefix(host)? {
            "" => None,
            port => Some(port.strip_prefix(':')?.parse().ok()?), // whoever gives a user's name as well gives no host
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        (!host.is_empty()).then_some(Self { host, port })
    }

    fn covers(&self, other: &Self) -> bool {
        self.host == other.host && (self.port.is_none() || self.port == other.port)
    }
}

impl Hosts {
    /// Names of the machine itself, the address that is listened on, the one that is told to other instances, and these.
    pub fn new(listen: SocketAddr, advertised: Option<&str>, allowed: &[Name]) -> Self {
        let told = advertised.and_then(|url| url.parse::<axum::http::Uri>().ok()).and_then(|url| Name::of(url.authority()?));
        Self { listen, names: allowed.iter().cloned().chain(told).collect() }
    }

    /// That a request was meant for us, and does not come from a page of somebody else's.
    pub fn check(&self, request: &Request) -> Result<(), Failure> {
        let wrong = |why: &str| Failure::bad("/headers/host", why);
        let mut given = request.headers().get_all(HOST).iter();
        let host = match (given.next(), given.next()) {
            (_, Some(_)) => return Err(wrong("a request has one Host header")),
            (Some(host), None) => Some(authority(host).ok_or_else(|| wrong("not a host and a port"))?),
            (None, None) if request.version() == Version::HTTP_10 => None,
            (None, None) => return Err(wrong("a request has a Host header")),
        };
        let target = request.uri().authority().map(|target| Name::of(target).ok_or_else(|| wrong("not a host and a port"))).transpose()?;
        if let Some(stranger) = host.iter().chain(&target).find(|name| !self.is_ours(name)) {
            return Err(Failure::misdirected(format!(
                "this process is not '{stranger}': call it by its address, or tell it its name (--allow-host {})",
                stranger.host
            )));
        }
        let mut origins = request.headers().get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if self.is_own_page(origin, host.as_ref()) => Ok(()),
            _ => Err(Failure::forbidden("a page of another origin may not call this service (--allow-host names those that may)")),
        }
    }

    fn is_ours(&self, name: &Name) -> bool {
        let address: Option<IpAddr> = name.host.parse().ok();
        // An address cannot be made to mean another one, as a name can by whoever serves it.
        let by_address = address.is_some_and(|address| address.is_loopback() || address == self.listen.ip() || self.listen.ip().is_unspecified());
        by_address || name.host == "localhost" || name.host.ends_with(".localhost") || self.names.iter().any(|ours| ours.covers(name))
    }

    /// An origin is a scheme, a host and a port: another port of the same machine is another origin.
    fn is_own_page(&self, origin: &HeaderValue, host: Option<&Name>) -> bool {
        let Some((scheme, rest)) = origin.to_str().ok().and_then(|text| text.split_once("://")) else { return false };
        let Some(page) = rest.parse::<Authority>().ok().and_then(|authority| Name::of(&authority)) else { return false };
        let usual = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let with_port = |name: &Name| (name.host.clone(), name.port.unwrap_or(usual));
        host.is_some_and(|host| with_port(host) == with_port(&page)) || self.names.iter().any(|ours| ours.covers(&page))
    }
}

fn authority(value: &HeaderValue) -> Option<Name> {
    Name::of(&value.to_str().ok()?.parse().ok()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(hosts: &Hosts, given: &[&str], origin: Option<&str>) -> u16 {
        let request = given.iter().fold(Request::builder().uri("/products"), |request, host| request.header(HOST, *host));
        let request = origin.iter().fold(request, |request, origin| request.header(ORIGIN, *origin));
        hosts.check(&request.body(Body::empty()).unwrap()).map_or_else(|failure| failure.status().as_u16(), |()| 200)
    }

    #[test]
    fn names_and_pages_of_others_are_refused() {
        let hosts = Hosts::new("127.0.0.1:8080".parse().unwrap(), Some("http://one.internal:8081"), &["shop.example".parse().unwrap()]);
        for (host, origin, status) in [
            ("127.0.0.1:8080", None, 200),
            ("127.0.0.1", None, 200),
            ("localhost:9", None, 200),
            ("LOCALHOST.:8080", None, 200),
            ("daybook.localhost", None, 200),
            ("[::1]:8080", None, 200),
            ("one.internal:8081", None, 200),
            ("one.internal:8082", None, 421),
            ("shop.example", None, 200),
            ("shop.example:443", None, 200),
            ("evil.example:8080", None, 421),
            ("localhost.evil.example", None, 421),
            ("127.0.0.1.evil.example", None, 421),
            ("10.0.0.1:8080", None, 421),
            ("127.0.0.1@evil.example", None, 400),
            ("evil.example@127.0.0.1", None, 400),
            ("", None, 400),
            ("127.0.0.1:80a", None, 400),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080"), 200),
            ("127.0.0.1:8080", Some("http://127.0.0.1:3000"), 403),
            ("127.0.0.1:8080", Some("http://localhost:8080"), 403),
            ("127.0.0.1:8080", Some("http://evil.example"), 403),
            ("127.0.0.1:8080", Some("null"), 403),
            ("127.0.0.1:8080", Some("file://127.0.0.1:8080"), 403),
            ("localhost", Some("http://localhost:80"), 200),
            ("127.0.0.1:8080", Some("https://shop.example"), 200),
        ] {
            assert_eq!(asked(&hosts, &[host], origin), status, "Host: {host}, Origin: {origin:?}");
        }
        assert_eq!((asked(&hosts, &[], None), asked(&hosts, &["localhost", "localhost"], None)), (400, 400));
        let everywhere = Hosts::new("0.0.0.0:8080".parse().unwrap(), None, &[]);
        assert_eq!((asked(&everywhere, &["10.1.2.3:8080"], None), asked(&everywhere, &["evil.example"], None)), (200, 421));
    }
}
