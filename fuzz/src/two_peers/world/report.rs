//! What is known when a check fails.

use std::fmt;

use super::{End, World};

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "at {:?}", self.now)?;
        for (machine, app) in [Some(&self.client), self.server.as_ref()].into_iter().zip(&self.apps)
        {
            let state = machine.map(|m| (m.is_open(), m.is_detached(), m.is_closed(), m.error()));
            writeln!(f, "{:?}: {state:?} {:?} {:?}", app.side, app.resolved, app.untaken)?;
            writeln!(f, "  outgoing {:?}", app.outgoing)?;
            writeln!(f, "  incoming {:?}", app.incoming)?;
        }
        for stream in &self.streams {
            let end = match stream.server {
                End::Acceptor(_) => "acceptor",
                End::Resuming(_) => "resuming",
                End::Attached => "attached",
                End::Gone => "gone",
            };
            let (up, down) = (stream.up.len(), stream.down.len());
            writeln!(f, "  stream {end} client {}, {up} up, {down} down", stream.is_client)?;
        }
        Ok(())
    }
}
