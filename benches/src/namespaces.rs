//! Two network namespaces, joined by a link that carries so much and has a queue.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Result;
use crate::streams::blocking_socket;

const FAR: &str = "10.213.7.2:0";

/// They are removed when this is dropped.
#[derive(Debug)]
pub struct Namespaces {
    near: String,
    far: String,
}

impl Namespaces {
    /// Makes them, and lets each end send so many Mbit/s through a queue of 256 KiB.
    ///
    /// # Errors
    ///
    /// When the system does not allow or have it.
    pub fn new(megabits: u32) -> Result<Self> {
        let id = std::process::id();
        let this = Self { near: format!("duologue-near-{id}"), far: format!("duologue-far-{id}") };
        for name in [&this.near, &this.far] {
            ip(&["netns", "add", name])?;
        }
        let Self { near, far } = &this;
        ip(&[
            "-n", near, "link", "add", "duo0", "type", "veth", "peer", "name", "duo0", "netns", far,
        ])?;
        for (name, address) in [(near, "10.213.7.1/24"), (far, "10.213.7.2/24")] {
            ip(&["-n", name, "address", "add", address, "dev", "duo0"])?;
            ip(&["-n", name, "link", "set", "duo0", "up"])?;
            let rate = format!("{megabits}mbit");
            // A burst is what leaves at once: a few packets, more where packets are quick.
            let burst = if megabits < 50 { "4kb" } else { "16kb" };
            let queue = ["root", "tbf", "rate", &rate, "burst", burst, "limit", "256kb"];
            let words = ["-n", name, "qdisc", "add", "dev", "duo0"];
            execute("tc", &[&words[..], &queue[..]].concat())?;
        }
        Ok(this)
    }

    /// A connection from one to the other, under reno.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn connect(&self) -> Result<(TcpStream, TcpStream)> {
        let listener: TcpListener = within(&self.far, || {
            let socket = blocking_socket()?;
            socket.bind(&FAR.parse::<SocketAddr>()?.into())?;
            socket.listen(1)?;
            Ok(socket.into())
        })?;
        let address = listener.local_addr()?;
        let near: TcpStream = within(&self.near, move || {
            let socket = blocking_socket()?;
            socket.connect(&address.into())?;
            Ok(socket.into())
        })?;
        let (far, _) = listener.accept()?;
        far.set_nodelay(true)?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok((near, far))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            // It may not have been made.
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

/// Does something in a thread that is in the namespace; the sockets that it makes stay there.
fn within<R: Send>(name: &str, act: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let namespace = File::open(Path::new("/run/netns").join(name))?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(io::Error::from)?;
            act()
        });
        thread.join().map_err(|_| "the thread in the namespace panicked")?
    })
}

fn ip(words: &[&str]) -> Result<()> {
    execute("ip", words)
}

fn execute(program: &str, words: &[&str]) -> Result<()> {
    let output = Command::new(program).args(words).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", words.join(" "), said.trim()).into())
}
