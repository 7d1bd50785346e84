use core::fmt;
use std::boxed::Box;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::vec::Vec;

use async_io::Async;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::connect::{port_number, resolve};
use super::event::Observer;
use super::listener::Listening;
use super::{Address, Endpoint, Event, Host, ListenError, Listener, Target, TargetError};

type BeforeBindHook = Box<dyn FnMut(&mut BeforeBind<'_>) -> io::Result<()> + Send>;

/// How to listen: the length of the queue, the hook before bind, and who is told.
///
/// # Examples
///
/// A listener for all addresses, narrowed to this machine before it is bound:
///
/// ```
/// use duologue::net::{Address, ListenOptions, Target};
/// use std::net::Ipv4Addr;
///
/// # futures::executor::block_on(async {
/// let listener = ListenOptions::new()
///     .before_bind(|socket| {
///         let port = socket.address().port().unwrap_or(0);
///         socket.set_address((Ipv4Addr::LOCALHOST, port).into())
///     })
///     .bind(&Target::new().port(0))
///     .await?;
/// assert_eq!(listener.local_address().ip(), Some(Ipv4Addr::LOCALHOST.into()));
/// # Ok::<(), duologue::net::ListenError>(())
/// # }).unwrap();
/// ```
pub struct ListenOptions {
    backlog: u16,
    before_bind: BeforeBindHook,
    observer: Observer,
}

/// A socket that is about to be bound: what a hook may look at and change.
///
/// On unix it lends its descriptor ([`AsFd`](std::os::fd::AsFd)), for options that this crate does
/// not know.
#[derive(Debug)]
pub struct BeforeBind<'a> {
    address: Address,
    #[cfg_attr(not(unix), expect(dead_code, reason = "only unix lends the descriptor"))]
    socket: &'a Socket,
}

impl ListenOptions {
    /// A backlog of 1024, no hook and no observer.
    pub fn new() -> Self {
        Self { backlog: 1024, before_bind: Box::new(|_| Ok(())), observer: Observer::default() }
    }

    /// Sets how many connections may wait to be accepted, at least 1; 1024 by default.
    ///
    /// The system may have a lower limit of its own (`net.core.somaxconn` on Linux).
    #[must_use]
    pub const fn backlog(mut self, backlog: u16) -> Self {
        self.backlog = if backlog == 0 { 1 } else { backlog };
        self
    }

    /// Has `hook` called with each socket just before it is bound.
    ///
    /// It may set options, change the address, or refuse by an error, which becomes
    /// [`ListenError::Hook`]. It is called again when another address is tried: IPv4 where the
    /// system has no IPv6, or the next address of a host name. It must not block.
    #[must_use]
    pub fn before_bind(
        mut self,
        hook: impl FnMut(&mut BeforeBind<'_>) -> io::Result<()> + Send + 'static,
    ) -> Self {
        self.before_bind = Box::new(hook);
        self
    }

    /// Has `observer` called with each event, in the order that [`Event`] documents.
    ///
    /// A [`Server`](super::Server) on this listener reports to it as well.
    #[must_use]
    pub fn on_event(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    /// Listens at `target`, which needs no host: without one at all addresses, IPv6 and IPv4.
    ///
    /// A host name is looked up, and the first of its addresses that can be bound is taken. On unix
    /// a port can be bound again right after an earlier server's end (`SO_REUSEADDR`).
    ///
    /// The file of a Unix socket that nobody listens at any more is replaced; one that is in use,
    /// and a file that is no socket, are not touched. Who may connect is up to the permissions of
    /// its folder and the process's umask.
    ///
    /// # Errors
    ///
    /// [`ListenError`], which names the address.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future leaves nothing open.
    pub async fn bind(mut self, target: &Target) -> Result<Listener, ListenError> {
        let (host, port) = match target.endpoint()? {
            Endpoint::Unix(path) => {
                let address = super::connect::unix(path)?;
                return self.bind_first(Vec::from([address]));
            }
            Endpoint::Tcp(host, port) => (host, port_number(port).await?),
        };
        if host == Host::Any {
            let any = [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()];
            let any = any.map(|ip| Address::Tcp(SocketAddr::new(ip, port)));
            return self.bind_first(any.into());
        }
        let addresses = resolve(host, port)
            .await
            .map_err(|(host, error)| ListenError::Lookup { host, error })?;
        self.bind_first(addresses.into_iter().map(Address::Tcp).collect())
    }

    /// Binds the first address that can be; the error is that of the first.
    fn bind_first(&mut self, addresses: Vec<Address>) -> Result<Listener, ListenError> {
        let mut first_error = None;
        for address in addresses {
            match self.bind_one(address) {
                Ok(listener) => {
                    self.observer
                        .emit(|| Event::Listening { address: listener.local_address().clone() });
                    return Ok(listener);
                }
                // A taken port is an answer, or half a service would come about unnoticed; what is
                // worth another try is a family or an address that this system does not have.
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or(ListenError::Target(TargetError::NoHost)))
    }

    fn bind_one(&mut self, address: Address) -> Result<Listener, ListenError> {
        let failed = |address: &Address, error: io::Error| ListenError::Bind {
            address: address.clone(),
            error: error.into(),
        };
        let socket = new_socket(&address).map_err(|error| failed(&address, error))?;
        let mut before = BeforeBind { address: address.clone(), socket: &socket };
        (self.before_bind)(&mut before)
            .map_err(|error| ListenError::Hook { error: error.into() })?;
        let is_ipv6 = matches!(address, Address::Tcp(SocketAddr::V6(_)));
        let address = before.address;
        let observer = self.observer.clone();
        listen(socket, is_ipv6, &address, self.backlog.into())
            .and_then(|socket| Listener::new(socket, observer))
            .map_err(|error| failed(&address, error))
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ListenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenOptions")
            .field("backlog", &self.backlog)
            .field("observer", &self.observer)
            .finish_non_exhaustive()
    }
}

impl BeforeBind<'_> {
    /// The address that will be bound.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Binds another IP address or port instead.
    ///
    /// An IPv6 socket can be bound to an IPv4 address; it then serves IPv4 alone.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an IPv6 address and an IPv4 socket, and for a Unix socket.
    pub fn set_address(&mut self, address: SocketAddr) -> io::Result<()> {
        match self.address {
            Address::Tcp(old) if old.is_ipv6() || address.is_ipv4() => {}
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        self.address = Address::Tcp(address);
        Ok(())
    }
}

#[cfg(unix)]
impl AsFd for BeforeBind<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn new_socket(address: &Address) -> io::Result<Socket> {
    match address {
        Address::Unix(_) => Socket::new(Domain::UNIX, Type::STREAM, None),
        Address::Tcp(SocketAddr::V4(_)) => {
            Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
        }
        Address::Tcp(SocketAddr::V6(v6)) => {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
            // One that names an address serves that one only; the unspecified one serves IPv4 too.
            socket.set_only_v6(!v6.ip().is_unspecified())?;
            Ok(socket)
        }
    }
}

fn is_final(error: &ListenError) -> bool {
    match error {
        ListenError::Bind { error, .. } => {
            matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
        }
        _ => true,
    }
}

fn listen(socket: Socket, is_ipv6: bool, address: &Address, backlog: i32) -> io::Result<Listening> {
    let address = match address {
        Address::Tcp(address) => *address,
        #[cfg(unix)]
        Address::Unix(path) => {
            let path = path.as_deref().ok_or(io::ErrorKind::InvalidInput)?;
            let file = super::socket_file::bind(&socket, path)?;
            socket.listen(backlog)?;
            return Ok(Listening::Unix(file, Async::new(socket.into())?));
        }
        #[cfg(not(unix))]
        Address::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    let address = match address {
        SocketAddr::V4(v4) if is_ipv6 => {
            socket.set_only_v6(false)?;
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        address => address,
    };
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(backlog)?;
    Ok(Listening::Tcp(Async::new(socket.into())?))
}
