use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// What most conversations never have: a box that is made when it is first changed, and nothing until
/// then.
///
/// To read it makes none. To change it does, also by a call that finds nothing to change: where that
/// is likely, ask [`made`](Self::made) first.
#[derive(Debug)]
pub(crate) struct Rare<T>(Option<Box<T>>);

/// What is there of something as long as it was not made.
pub(crate) trait Nothing: Default + 'static {
    const NOTHING: &'static Self;
}

impl<T: 'static> Nothing for VecDeque<T> {
    const NOTHING: &'static Self = &Self::new();
}

impl<T: 'static> Nothing for Vec<T> {
    const NOTHING: &'static Self = &Self::new();
}

impl<K: 'static, V: 'static> Nothing for BTreeMap<K, V> {
    const NOTHING: &'static Self = &Self::new();
}

impl<T> Rare<T> {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// It, if it was made.
    #[inline]
    pub(crate) fn made(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// It, made now if it was not.
    pub(crate) fn make_with(&mut self, make: impl FnOnce() -> T) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(make()))
    }

    /// All of it, and its memory, is gone.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        self.0.take().map(|made| *made)
    }

    /// Gives its memory back if it is not needed.
    pub(crate) fn drop_if(&mut self, is_needless: impl FnOnce(&T) -> bool) {
        self.0.take_if(|made| is_needless(made));
    }

    /// Bytes of the box, and those that `inside` says.
    pub(crate) fn memory_usage(&self, inside: impl FnOnce(&T) -> usize) -> usize {
        self.0.as_deref().map_or(0, |made| size_of::<T>().saturating_add(inside(made)))
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Nothing> Deref for Rare<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::NOTHING)
    }
}

impl<T: Nothing> DerefMut for Rare<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.make_with(T::default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_from_the_first_change_until_it_is_needless() {
        let mut queue = Rare::<VecDeque<u8>>::new();
        assert!(queue.is_empty() && queue.front().is_none() && queue.made().is_none());
        queue.push_back(7);
        assert_eq!(queue.memory_usage(VecDeque::len), size_of::<VecDeque<u8>>() + 1);
        queue.drop_if(VecDeque::is_empty);
        assert_eq!(queue.pop_front(), Some(7));
        queue.drop_if(VecDeque::is_empty);
        assert!(queue.made().is_none() && queue.take().is_none());
        assert_eq!(queue.memory_usage(VecDeque::len), 0);
    }
}
