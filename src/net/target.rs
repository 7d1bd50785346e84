use core::fmt;
use core::str::FromStr;
use std::borrow::ToOwned;
use std::format;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::string::{String, ToString};

use super::TargetError;
use super::printable::Printable;
use super::service::well_known_port;

/// Longest host name, in bytes ([RFC 1035, section 2.3.4](https://www.rfc-editor.org/rfc/rfc1035)).
const MAX_HOST: usize = 253;
/// Longest service name, in bytes. IANA's have at most 15, aliases in a services file may be longer.
const MAX_SERVICE: usize = 64;
/// Longest path of a Unix socket, in bytes: the least that a supported system allows is 103.
const MAX_UNIX_PATH: usize = 103;

/// Where to connect to or listen at: a host or address, and a service or port; or a Unix socket.
///
/// As in the chapter, **the host wins over the address and the service over the port** when both
/// are given; an empty host or service counts as not given. Nothing is looked up here: names are
/// resolved when connecting or binding, and a name that cannot be resolved is an error, never a
/// reason to fall back.
///
/// | text | means |
/// |---|---|
/// | `example.org:1001`, `192.0.2.7:1001` | a host or an IPv4 address, and a port |
/// | `example.org:ftp` | a service by name, see [`service_port`](super::service_port) |
/// | `[2001:db8::7]:1001`, `[fe80::7%eth0]:1001` | an IPv6 address, and a port |
/// | `:1001` | any address of this machine, for a listener |
/// | `unix:/run/chat.sock` | a Unix socket; the path is at most 103 bytes long |
///
/// # Examples
///
/// ```
/// use duologue::net::{Endpoint, Host, Port, Target};
///
/// let target: Target = "example.org:ftp".parse()?;
/// assert_eq!(target, Target::new().host("example.org").service("ftp"));
///
/// let both = Target::new().host("example.org").address([192, 0, 2, 7]).service("ftp").port(1001);
/// assert_eq!(both.endpoint()?, target.endpoint()?);
///
/// let error = "http://example.org/".parse::<Target>().unwrap_err();
/// assert!(error.to_string().ends_with("write `example.org:http`"));
/// # Ok::<(), duologue::net::TargetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    host: String,
    address: Option<IpAddr>,
    service: String,
    port: Option<u16>,
    path: Option<PathBuf>,
}

/// What a [`Target`] comes to once precedence is applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host and a port.
    Tcp(Host, Port),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// The host part of an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// None was given: for a listener all addresses of this machine, for a client an error.
    Any,
    /// An address, which needs no lookup.
    Address(IpAddr),
    /// A name to look up, or an IPv6 address with a zone (`fe80::7%eth0`).
    Name(String),
}

/// The port part of an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// A number; for a listener 0 means any free one.
    Number(u16),
    /// The name of a service.
    Service(String),
}

impl Target {
    /// A target of which nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The Unix socket at `path`, which wins over everything else.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }

    /// Reads `text` like [`FromStr`] does, with `port` where it names neither port nor service.
    ///
    /// # Errors
    ///
    /// [`TargetError`], which says what to write instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::net::Target;
    ///
    /// assert_eq!(Target::with_default_port("example.org", 1001)?.to_string(), "example.org:1001");
    /// assert_eq!(Target::with_default_port("example.org:7", 1001)?.to_string(), "example.org:7");
    /// # Ok::<(), duologue::net::TargetError>(())
    /// ```
    pub fn with_default_port(text: &str, port: u16) -> Result<Self, TargetError> {
        let mut target = parse(text)?;
        if target.path.is_none() && target.port.is_none() && target.service.is_empty() {
            target.port = Some(port);
        }
        target.endpoint()?;
        Ok(target)
    }

    /// Sets the host: a name, or an address in text. It wins over the address.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Sets the address, which counts when there is no host.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpAddr>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Sets the service by name. It wins over the port.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = service.into();
        self
    }

    /// Sets the port, which counts when there is no service.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Applies the precedence and checks what it leaves.
    ///
    /// # Errors
    ///
    /// [`TargetError`] for a malformed part, or when neither service nor port is given.
    pub fn endpoint(&self) -> Result<Endpoint, TargetError> {
        if let Some(path) = &self.path {
            return check_path(path).map(Endpoint::Unix);
        }
        let host = if self.host.is_empty() {
            self.address.map_or(Host::Any, Host::Address)
        } else {
            check_host(&self.host)?
        };
        if !self.service.is_empty() {
            return Ok(Endpoint::Tcp(host, Port::Service(check_service(&self.service)?)));
        }
        let port = self.port.ok_or(TargetError::NoPort)?;
        Ok(Endpoint::Tcp(host, Port::Number(port)))
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        if let SocketAddr::V6(v6) = address {
            if v6.scope_id() != 0 {
                let host = format!("{}%{}", v6.ip(), v6.scope_id());
                return Self::new().host(host).port(v6.port());
            }
        }
        Self::new().address(address.ip()).port(address.port())
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let target = parse(text)?;
        target.endpoint()?;
        Ok(target)
    }
}

/// Writes what counts, in the form that can be read back; only control characters are escaped.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            return write!(f, "unix:{}", Printable(&path.to_string_lossy()));
        }
        match (self.host.as_str(), self.address) {
            ("", None) => {}
            ("", Some(IpAddr::V6(address))) => write!(f, "[{address}]")?,
            ("", Some(IpAddr::V4(address))) => write!(f, "{address}")?,
            (host, _) if host.contains(':') => write!(f, "[{}]", host.escape_debug())?,
            (host, _) => write!(f, "{}", host.escape_debug())?,
        }
        match (self.service.as_str(), self.port) {
            ("", None) => Ok(()),
            ("", Some(port)) => write!(f, ":{port}"),
            (service, _) => write!(f, ":{}", service.escape_debug()),
        }
    }
}

/// Reads everything but a missing port, which only [`Target::endpoint`] minds.
fn parse(text: &str) -> Result<Target, TargetError> {
    if text.is_empty() {
        return Err(TargetError::Empty);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(TargetError::Url { instead: instead_of_url(scheme, rest) });
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Target::unix(path));
    }
    if text.contains(['/', '\\']) {
        let instead = text.starts_with('/').then(|| format!("unix:{}", text.escape_debug()));
        return Err(TargetError::Url { instead });
    }
    let (host, port) = split(text)?;
    let target = Target::new().host(host);
    match port {
        None => Ok(target),
        Some("") => Err(TargetError::NoPort),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(target.port(port.parse().map_err(|_| TargetError::Port { text: shown(port) })?))
        }
        Some(service) => Ok(target.service(service)),
    }
}

/// Splits off what stands behind the host's colon, and takes the host's brackets away.
fn split(text: &str) -> Result<(&str, Option<&str>), TargetError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(TargetError::Brackets)?;
        if !is_ipv6(host) {
            return Err(TargetError::Brackets);
        }
        return match (rest, rest.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            (_, None) => Err(TargetError::Brackets),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, port)) if port.contains(':') => {
            Err(if is_ipv6(text) { TargetError::Brackets } else { TargetError::Colons })
        }
        Some((host, port)) => Ok((host, Some(port))),
    }
}

/// An IPv6 address, with or without a zone.
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "0"));
    address.parse::<Ipv6Addr>().is_ok()
        && !zone.is_empty()
        && zone.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn check_host(host: &str) -> Result<Host, TargetError> {
    if let Ok(address) = host.parse() {
        return Ok(Host::Address(address));
    }
    if host.len() > MAX_HOST {
        return Err(TargetError::HostTooLong { length: host.len() });
    }
    if is_ipv6(host) {
        return Ok(Host::Name(host.to_owned()));
    }
    if let Some((scheme, rest)) = host.split_once("://") {
        return Err(TargetError::Url { instead: instead_of_url(scheme, rest) });
    }
    if let Some(found) = host.chars().find(|c| !(c.is_alphanumeric() || "-_.".contains(*c))) {
        return Err(TargetError::HostCharacter { found });
    }
    // A system's resolver may take `127.1` or `0x7f.1` for an address; a name never ends like that.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if is_number {
        return Err(TargetError::NotAnAddress { text: shown(host) });
    }
    Ok(Host::Name(host.to_owned()))
}

fn check_service(name: &str) -> Result<String, TargetError> {
    let valid = name.len() <= MAX_SERVICE
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte));
    if valid { Ok(name.to_owned()) } else { Err(TargetError::Port { text: shown(name) }) }
}

fn check_path(path: &Path) -> Result<PathBuf, TargetError> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() || bytes.contains(&0) || bytes.len() > MAX_UNIX_PATH {
        return Err(TargetError::Path { length: bytes.len() });
    }
    Ok(path.to_owned())
}

/// What the writer of a URL probably wants, if that can be told.
fn instead_of_url(scheme: &str, rest: &str) -> Option<String> {
    if scheme == "unix" {
        return Some(format!("unix:{}", shown(rest)));
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let target = parse(authority).ok()?;
    if target.endpoint().is_ok() {
        return Some(target.to_string());
    }
    well_known_port(scheme)?;
    let target = target.service(scheme);
    target.endpoint().ok().map(|_| target.to_string())
}

/// At most 64 characters of a text that somebody else wrote, escaped.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
