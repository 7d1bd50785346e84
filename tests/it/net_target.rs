use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use duologue::net::{Endpoint, Host, Port, Target, TargetError, port_in_services, well_known_port};
use duologue::testing::SplitMix64;

fn name(name: &str) -> Host {
    Host::Name(name.into())
}

fn tcp(host: Host, port: u16) -> Endpoint {
    Endpoint::Tcp(host, Port::Number(port))
}

fn service(host: Host, service: &str) -> Endpoint {
    Endpoint::Tcp(host, Port::Service(service.into()))
}

const V4: Host = Host::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));
const V6: Host = Host::Address(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)));

#[test]
fn the_host_wins_over_the_address_and_the_service_over_the_port() {
    let bare = Target::new;
    let address = [192, 0, 2, 7];
    for (target, endpoint) in [
        (bare().host("a.b").address(address).service("ftp").port(7), service(name("a.b"), "ftp")),
        (bare().host("a.b").address(address).port(7), tcp(name("a.b"), 7)),
        (bare().host("a.b").service("ftp").port(7), service(name("a.b"), "ftp")),
        (bare().host("a.b").service("ftp"), service(name("a.b"), "ftp")),
        (bare().host("a.b").port(7), tcp(name("a.b"), 7)),
        (bare().address(address).service("ftp").port(7), service(V4, "ftp")),
        (bare().address(address).service("ftp"), service(V4, "ftp")),
        (bare().address(address).port(7), tcp(V4, 7)),
        // Neither host nor address: all addresses, for a listener.
        (bare().service("ftp").port(7), service(Host::Any, "ftp")),
        (bare().port(7), tcp(Host::Any, 7)),
        // Empty is not given, as in the chapter's components.
        (bare().host("").address(address).service("").port(7), tcp(V4, 7)),
        // A host may be an address in text.
        (bare().host("192.0.2.7").port(7), tcp(V4, 7)),
        (bare().host("2001:db8::7").port(7), tcp(V6, 7)),
        (Target::unix("/run/chat").host("a.b").port(7), Endpoint::Unix("/run/chat".into())),
    ] {
        assert_eq!(target.endpoint(), Ok(endpoint), "{target:?}");
    }
    assert_eq!(bare().host("a.b").endpoint(), Err(TargetError::NoPort));
}

#[test]
fn texts_that_are_targets() {
    for (text, endpoint) in [
        ("example.org:1001", tcp(name("example.org"), 1001)),
        ("localhost:0", tcp(name("localhost"), 0)),
        ("example.org.:65535", tcp(name("example.org."), 65535)),
        ("example.org:ftp", service(name("example.org"), "ftp")),
        ("a-b_c.org:our-chat2", service(name("a-b_c.org"), "our-chat2")),
        ("192.0.2.7:1001", tcp(V4, 1001)),
        ("[2001:db8::7]:1001", tcp(V6, 1001)),
        ("[2001:db8::7]:http", service(V6, "http")),
        ("[fe80::7%eth0]:1001", tcp(name("fe80::7%eth0"), 1001)),
        ("bücher.example:80", tcp(name("bücher.example"), 80)),
        (":1001", tcp(Host::Any, 1001)),
        ("3com.example:7", tcp(name("3com.example"), 7)),
    ] {
        let target: Target = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(target.endpoint(), Ok(endpoint), "{text}");
        assert_eq!(target.to_string(), text);
    }
    assert_eq!(
        "unix:/run/a b.sock".parse::<Target>().unwrap().endpoint(),
        Ok(Endpoint::Unix("/run/a b.sock".into()))
    );
}

#[test]
fn texts_that_are_not_say_what_to_write() {
    for (text, message) in [
        ("", "the address is empty: write `host:port`"),
        ("example.org", "the port is missing: write `host:port` or `host:service`"),
        ("example.org:", "the port is missing: write `host:port` or `host:service`"),
        ("[::1]", "the port is missing: write `host:port` or `host:service`"),
        ("example.org:65536", "`65536` is neither a port (0 to 65535) nor the name of a service"),
        ("example.org:-1", "`-1` is neither a port (0 to 65535) nor the name of a service"),
        ("example.org:a b", "`a b` is neither a port (0 to 65535) nor the name of a service"),
        ("::1", "an IPv6 address, and nothing else, goes in brackets: write `[::1]:1001`"),
        ("::1:1001", "an IPv6 address, and nothing else, goes in brackets: write `[::1]:1001`"),
        ("[::1:1001", "an IPv6 address, and nothing else, goes in brackets: write `[::1]:1001`"),
        ("[::1]1001", "an IPv6 address, and nothing else, goes in brackets: write `[::1]:1001`"),
        ("[a.b]:1", "an IPv6 address, and nothing else, goes in brackets: write `[::1]:1001`"),
        ("a:b:c", "too many colons: write `host:port` or `[v6-address]:port`"),
        ("a b:1", "a host name has no ` ` in it"),
        ("me@a:1", "a host name has no `@` in it"),
        ("a\u{1b}[2J:1", "a host name has no `\\u{1b}` in it"),
        ("256.0.0.1:1", "`256.0.0.1` is no IPv4 address: it has four numbers from 0 to 255"),
        ("127.1:1", "`127.1` is no IPv4 address: it has four numbers from 0 to 255"),
        ("0x7f.1:1", "`0x7f.1` is no IPv4 address: it has four numbers from 0 to 255"),
        ("0xA:1", "`0xA` is no IPv4 address: it has four numbers from 0 to 255"),
        (
            "unix:",
            "the path of a Unix socket has 1 to 103 bytes, none of them zero; this one has 0",
        ),
    ] {
        let error = text.parse::<Target>().expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
        assert!(!error.can_retry());
    }
    let long = format!("{}:1", "a".repeat(254));
    assert_eq!(long.parse::<Target>(), Err(TargetError::HostTooLong { length: 254 }));
    let long = format!("unix:/{}", "a".repeat(103));
    assert_eq!(long.parse::<Target>(), Err(TargetError::Path { length: 104 }));
}

#[test]
fn a_url_is_refused_with_what_to_write_instead() {
    for (url, instead) in [
        ("http://www.ExamSite.Com", Some("www.ExamSite.Com:http")),
        ("http://www.ExamSite.Com:8080/a?b#c", Some("www.ExamSite.Com:8080")),
        ("https://me:secret@[::1]/", Some("[::1]:https")),
        ("tcp://192.0.2.7:1001", Some("192.0.2.7:1001")),
        ("unix:///run/chat", Some("unix:/run/chat")),
        ("/run/chat", Some("unix:/run/chat")),
        ("gibberish://example.org", None),
        ("http://", None),
        ("://", None),
        ("http://a b/", None),
        ("example.org/path", None),
    ] {
        let error = url.parse::<Target>().expect_err(url);
        assert_eq!(error, TargetError::Url { instead: instead.map(Into::into) }, "{url}");
        let message = error.to_string();
        assert!(
            message.starts_with("this is a URL or a path, not a host and a port: "),
            "{message}"
        );
        assert!(instead.is_none_or(|instead| message.ends_with(&format!("`{instead}`"))));
    }
    let host = Target::new().host("http://www.ExamSite.Com").port(80);
    assert!(matches!(host.endpoint(), Err(TargetError::Url { instead: Some(_) })));
}

#[test]
fn a_default_port_counts_only_where_there_is_none() {
    for (text, shown) in [
        ("example.org", "example.org:1001"),
        ("192.0.2.7", "192.0.2.7:1001"),
        ("[::1]", "[::1]:1001"),
        ("example.org:7", "example.org:7"),
        ("example.org:ftp", "example.org:ftp"),
        ("unix:/run/chat", "unix:/run/chat"),
    ] {
        assert_eq!(Target::with_default_port(text, 1001).unwrap().to_string(), shown);
    }
    assert_eq!(Target::with_default_port("::1", 1001), Err(TargetError::Brackets));
    assert!(Target::with_default_port("http://a", 1001).is_err());
}

#[test]
fn a_socket_address_is_a_target() {
    for text in ["192.0.2.7:1001", "[2001:db8::7]:1001", "[fe80::7%3]:1001"] {
        let address: std::net::SocketAddr = text.parse().unwrap();
        assert_eq!(Target::from(address).to_string(), text);
    }
}

#[test]
fn the_path_of_a_unix_socket_is_written_as_it_is_read() {
    for path in ["/tmp/it's.sock", "a\"b", "a\\b", "a\u{AD}b", "소켓", "a b"] {
        let target = Target::unix(path);
        assert_eq!(target.to_string(), format!("unix:{path}"));
        assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
    }
    assert_eq!(Target::unix("a\nb\u{202E}").to_string(), "unix:a\\nb\\u{202e}");
}

#[test]
fn no_text_makes_the_parser_panic_and_what_it_takes_it_takes_again() {
    let pieces = [
        ":",
        "[",
        "]",
        "/",
        "://",
        "unix:",
        "http",
        "::1",
        "%",
        "1",
        "65535",
        "a",
        ".",
        "@",
        "ü",
        "\0",
        "\u{7f}",
        " ",
        "127.0.0.1",
        "ftp",
        "#",
        "?",
    ];
    let mut random = SplitMix64::new(7);
    let mut taken = 0;
    for _ in 0..50_000 {
        let count = random.next_u64() % 7;
        let text: String = (0..count)
            .map(|_| pieces[usize::try_from(random.next_u64()).unwrap() % pieces.len()])
            .collect();
        match text.parse::<Target>() {
            Ok(target) => {
                taken += 1;
                let again = target.to_string();
                if matches!(target.endpoint(), Ok(Endpoint::Tcp(..))) {
                    let again: Target = again.parse().unwrap_or_else(|e| panic!("{again:?}: {e}"));
                    assert_eq!(again.endpoint(), target.endpoint(), "{text:?}");
                }
            }
            Err(error) => {
                assert!(!error.to_string().contains(char::is_control), "{text:?}: {error}");
            }
        }
    }
    assert!(taken > 100, "{taken}");
}

#[test]
fn services_come_from_the_table_and_the_systems_file() {
    for (name, port) in [("ftp", 21), ("SMTP", 25), ("telnet", 23), ("nntp", 119), ("www", 80)] {
        assert_eq!(well_known_port(name), Some(port));
    }
    assert_eq!(well_known_port("chat"), None);

    let file = "# services\n\
                \n\
                broken\n\
                broken 12\n\
                broken x/tcp\n\
                zero 0/tcp\n\
                large 65536/tcp\n\
                talk\t\t517/udp\n\
                ourchat 1001/tcp\tchat Talk # not chatter\n\
                ourchat 1002/tcp\n\
                windows 2001/TCP\r\n";
    for (name, port) in [
        ("ourchat", Some(1001)),
        ("CHAT", Some(1001)),
        ("talk", Some(1001)),
        ("windows", Some(2001)),
        ("chatter", None),
        ("broken", None),
        ("zero", None),
        ("large", None),
        ("#", None),
        ("", None),
        ("1001/tcp", None),
    ] {
        assert_eq!(port_in_services(file, name), port, "{name}");
    }
}
