use super::event::Lane;

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

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.chat, &self.control].into_iter()
    }
}
