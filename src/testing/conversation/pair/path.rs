//! What else lies on the way.

use core::time::Duration;

use super::super::pipe::Nagle;
use super::Pair;
use crate::wire::Side;

impl Pair {
    /// From now on what this side sends arrives at multiples of `beat` only, all at once, on this
    /// stream: as it does where a timer, or a network that sends little packets together, decides.
    pub fn bunch(&mut self, from: Side, beat: Duration) {
        match from {
            Side::Client => self.up.pipe.beat = beat,
            Side::Server => self.down.pipe.beat = beat,
        }
    }

    /// From now on both directions of this stream go through a relay that sends by Nagle's algorithm,
    /// to kernels that delay their acknowledgements by 40 ms.
    pub fn relay(&mut self) {
        self.up.pipe.nagle = Some(Nagle::default());
        self.down.pipe.nagle = Some(Nagle::default());
    }
}
