use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use duologue::io::TransportError;
use duologue::testing::{Duplex, Fault, Faulty, Script, duplex};
use duologue::time::VirtualClock;
use futures::channel::mpsc;

/// Streams that may fail; the next one is sound, so that everything can end.
const FAULTY_STREAMS: usize = 4;

pub(super) type Stream = Faulty<Duplex>;

/// Makes streams between the two; the first ones fail as the scripts say.
#[derive(Clone)]
pub(super) struct Cable(Arc<Mutex<Inner>>);

struct Inner {
    clock: VirtualClock,
    capacity: usize,
    scripts: Vec<Script>,
    made: usize,
    sender: mpsc::UnboundedSender<Stream>,
    /// After so many calls the first streams break at the client, and the server hears nothing of it.
    one_sided: Option<usize>,
}

impl Cable {
    pub(super) fn new(
        clock: &VirtualClock,
        capacity: u16,
        scripts: Vec<Script>,
        sender: mpsc::UnboundedSender<Stream>,
        one_sided: Option<usize>,
    ) -> Self {
        let capacity = usize::from(capacity % 4096) + 1;
        Self(Arc::new(Mutex::new(Inner {
            clock: clock.clone(),
            capacity,
            scripts,
            made: 0,
            one_sided,
            sender,
        })))
    }

    pub(super) fn make(&self) -> Stream {
        let mut inner = self.0.lock().unwrap();
        let (near, far) = duplex(inner.capacity);
        let (mut near_script, mut far_script) = (inner.script(), inner.script());
        if let Some(calls) = inner.one_sided.filter(|_| inner.made < 8) {
            let passes = || std::iter::repeat_n(Fault::Pass, calls);
            let broken = [Fault::Fail(ErrorKind::ConnectionReset)];
            near_script = Script::new().reads(passes().chain(broken));
            far_script = Script::new().reads(passes().chain([Fault::Stall]));
        }
        // A listener that is gone refuses: the stream ends at once.
        let _ = inner.sender.unbounded_send(Faulty::new(far, far_script, &inner.clock));
        Faulty::new(near, near_script, &inner.clock)
    }

    /// As [`make`](Self::make), but now and then nobody answers the call.
    pub(super) fn dial(&self, refuses: bool) -> Result<Stream, TransportError> {
        if refuses && self.0.lock().unwrap().made % 4 == 2 {
            self.0.lock().unwrap().made += 2;
            return Err(TransportError::Io { kind: ErrorKind::ConnectionRefused, code: None });
        }
        Ok(self.make())
    }
}

impl Inner {
    fn script(&mut self) -> Script {
        let script = self.scripts.get(self.made).filter(|_| self.made < 2 * FAULTY_STREAMS);
        self.made += 1;
        script.cloned().unwrap_or_default()
    }
}
