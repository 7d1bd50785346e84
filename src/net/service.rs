use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::string::String;
use std::vec::Vec;

/// Most bytes of the system's services file that are looked at: 1 MiB (a usual one has 13 KiB).
const MAX_SERVICES_FILE: u64 = 1 << 20;

/// Names that are known without looking anywhere, from IANA's registry.
const WELL_KNOWN: &[(&str, u16)] = &[
    ("echo", 7),
    ("discard", 9),
    ("daytime", 13),
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("whois", 43),
    ("domain", 53),
    ("gopher", 70),
    ("finger", 79),
    ("http", 80),
    ("www", 80),
    ("pop3", 110),
    ("nntp", 119),
    ("imap", 143),
    ("irc", 194),
    ("ldap", 389),
    ("https", 443),
    ("nntps", 563),
    ("submission", 587),
    ("ldaps", 636),
    ("ftps", 990),
    ("imaps", 993),
    ("pop3s", 995),
];

/// The TCP port of a service, from the built-in table or else the system's services file.
///
/// The file (`/etc/services` on unix, `drivers\etc\services` on Windows) is read on a helper thread
/// and only for a name that the table lacks; at most 1 MiB of it counts. It is read anew each time,
/// so an entry added while the program runs is found.
///
/// # Cancel safety
///
/// Cancel safe: nothing is kept.
///
/// # Examples
///
/// ```
/// # futures::executor::block_on(async {
/// assert_eq!(duologue::net::service_port("ftp").await, Some(21));
/// assert_eq!(duologue::net::service_port("no such service").await, None);
/// # });
/// ```
pub async fn service_port(name: &str) -> Option<u16> {
    if let Some(port) = well_known_port(name) {
        return Some(port);
    }
    let text = blocking::unblock(read_services_file).await?;
    port_in_services(&text, name)
}

/// The TCP port of a service in the built-in table, whose names are IANA's.
///
/// Case does not matter ([RFC 6335, section 5.1](https://www.rfc-editor.org/rfc/rfc6335#section-5.1)).
///
/// # Examples
///
/// ```
/// assert_eq!(duologue::net::well_known_port("NNTP"), Some(119));
/// ```
pub fn well_known_port(name: &str) -> Option<u16> {
    WELL_KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, port)| *port)
}

/// The TCP port of a service in the text of a services file, by its name or an alias of it.
///
/// The first line that fits wins; a line that is not understood is passed over.
///
/// # Examples
///
/// ```
/// let text = "ourchat  1001/udp\nourchat  1001/tcp  chat  # the chapter's first example\n";
/// assert_eq!(duologue::net::port_in_services(text, "chat"), Some(1001));
/// assert_eq!(duologue::net::port_in_services(text, "file"), None);
/// ```
pub fn port_in_services(text: &str, name: &str) -> Option<u16> {
    text.lines().find_map(|line| {
        let (entry, _comment) = line.split_once('#').unwrap_or((line, ""));
        let mut words = entry.split_ascii_whitespace();
        let official = words.next()?;
        let (port, protocol) = words.next()?.split_once('/')?;
        let named = core::iter::once(official).chain(words).any(|w| w.eq_ignore_ascii_case(name));
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (named && protocol.eq_ignore_ascii_case("tcp")).then_some(port)
    })
}

fn read_services_file() -> Option<String> {
    let mut bytes = Vec::new();
    File::open(services_file()?).ok()?.take(MAX_SERVICES_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there may be none")]
fn services_file() -> Option<PathBuf> {
    Some("/etc/services".into())
}

#[cfg(not(unix))]
fn services_file() -> Option<PathBuf> {
    let root = std::env::var_os("SystemRoot")?;
    Some(PathBuf::from(root).join("System32").join("drivers").join("etc").join("services"))
}
