use super::event::Lane;
use super::rare::{Nothing, Rare};
use super::receive_lane::ReceiveLane;
use super::send_lane::SendLane;

/// One of a kind for each lane.
#[derive(Debug, Default)]
pub(super) struct Lanes<T> {
    pub(super) chat: T,
    pub(super) control: T,
}

impl<T> Lanes<T> {
    pub(super) fn from_fn(mut make: impl FnMut(Lane) -> T) -> Self {
        Self { chat: make(Lane::Chat), control: make(Lane::Control) }
    }

    pub(super) fn get(&self, lane: Lane) -> &T {
        match lane {
            Lane::Chat => &self.chat,
            Lane::Control => &self.control,
        }
    }

    pub(super) fn get_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Chat => &mut self.chat,
            Lane::Control => &mut self.control,
        }
    }
}

/// What the peer takes of a lane, and what we queue of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneLimits {
    pub(super) peer_items: u32,
    pub(super) peer_bytes: u32,
    pub(super) peer_item: u32,
    pub(super) queued_items: u32,
    pub(super) queued_bytes: u32,
}

impl LaneLimits {
    pub(super) const NONE: Self =
        Self { peer_items: 0, peer_bytes: 0, peer_item: 0, queued_items: 0, queued_bytes: 0 };
}

/// The two lanes of one direction. That of control is made when something first goes through it: there
/// are conversations of nothing but chat.
#[derive(Debug)]
pub(super) struct Half<T> {
    pub(super) chat: T,
    pub(super) control: Rare<T>,
}

/// A lane of one direction.
pub(super) trait HalfLane: Nothing {
    /// One that is as its twin was at the beginning.
    fn twin(&self) -> Self;
}

impl HalfLane for SendLane {
    fn twin(&self) -> Self {
        Self::new(self.limits())
    }
}

impl HalfLane for ReceiveLane {
    fn twin(&self) -> Self {
        Self::default()
    }
}

impl<T: HalfLane> Half<T> {
    pub(super) fn new(chat: T) -> Self {
        Self { chat, control: Rare::new() }
    }

    pub(super) fn get(&self, lane: Lane) -> &T {
        match lane {
            Lane::Chat => &self.chat,
            Lane::Control => &self.control,
        }
    }

    /// The lane, for something to go through it.
    pub(super) fn get_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Chat => &mut self.chat,
            Lane::Control => self.control.make_with(|| self.chat.twin()),
        }
    }

    /// The lane, if anything ever went through it.
    pub(super) fn made(&mut self, lane: Lane) -> Option<&mut T> {
        match lane {
            Lane::Chat => Some(&mut self.chat),
            Lane::Control => self.control.made(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.chat, &self.control].into_iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        core::iter::once(&mut self.chat).chain(self.control.made())
    }
}
