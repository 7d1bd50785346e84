use core::fmt;
use core::mem;
use std::collections::VecDeque;
use std::string::String;
use std::vec::Vec;

/// Bytes of text that are kept together.
const BLOCK: usize = 16 << 10;

/// Lines of chat that were next among the events, taken at once: see
/// [`Events::ready_chats`](super::Events::ready_chats).
///
/// # Examples
///
/// ```
/// use duologue::session::Chats;
///
/// fn show(chats: &Chats) {
///     for text in chats {
///         println!("{}", text.escape_debug());
///     }
/// }
/// # show(&Chats::default());
/// ```
#[derive(Clone, Default)]
pub struct Chats {
    runs: Vec<Run>,
}

impl Chats {
    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.runs.iter().fold(0, |sum, run| sum.saturating_add(run.len()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The texts, in their order. Lines of which more is said come as
    /// [`Event::Chat`](super::Event::Chat) only.
    pub fn iter(&self) -> Iter<'_> {
        Iter { runs: &self.runs, line: 0, start: self.runs.first().map_or(0, |run| run.start) }
    }

    #[inline]
    pub(super) fn push(&mut self, run: Run) {
        self.runs.push(run);
    }
}

impl<'a> IntoIterator for &'a Chats {
    type Item = &'a str;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Shows how many lines there are, and nothing of what they say.
impl fmt::Debug for Chats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chats").field("len", &self.len()).finish()
    }
}

/// The texts of [`Chats`].
#[derive(Clone)]
pub struct Iter<'a> {
    runs: &'a [Run],
    /// The next line of the first run, and where it begins.
    line: usize,
    start: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let run = self.runs.first()?;
            if let Some(end) = run.end(self.line) {
                let text = run.text.get(self.start..end);
                self.line = self.line.saturating_add(1);
                self.start = end;
                return text;
            }
            self.runs = self.runs.get(1..)?;
            self.line = 0;
            self.start = self.runs.first().map_or(0, |run| run.start);
        }
    }
}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

/// Lines of chat with numbers that follow each other, their texts in one piece.
#[derive(Clone)]
pub(super) struct Run {
    /// The number of the first line.
    number: u64,
    text: String,
    /// Where the first line begins, and where each ends: the first apart, as there is often no other,
    /// and then no memory for them.
    start: usize,
    end: u32,
    more: VecDeque<u32>,
}

impl Run {
    /// One that begins with a line, and has room for `ahead` bytes of the lines that follow, as far as
    /// they fit into it.
    pub(super) fn new(number: u64, text: &str, ahead: usize) -> Self {
        let mut texts = String::with_capacity(room_for(0, text, ahead));
        texts.push_str(text);
        Self { number, text: texts, start: 0, end: place(text.len()), more: VecDeque::new() }
    }

    /// How many lines there are: one at least.
    pub(super) fn len(&self) -> usize {
        self.more.len().saturating_add(1)
    }

    /// The number of the last line.
    #[inline]
    pub(super) fn last(&self) -> u64 {
        self.number.saturating_add(self.more.len() as u64)
    }

    /// Adds a line that `ahead` bytes of others follow, if it is the next one and there is room for it.
    pub(super) fn push(&mut self, number: u64, text: &str, ahead: usize) -> bool {
        let has_room = self.text.len().saturating_add(text.len()) <= BLOCK;
        let is_next = self.last().checked_add(1) == Some(number);
        if has_room && is_next {
            self.text.reserve(room_for(self.text.len(), text, ahead));
            self.text.push_str(text);
            self.more.push_back(place(self.text.len()));
        }
        has_room && is_next
    }

    /// Where a line ends.
    fn end(&self, line: usize) -> Option<usize> {
        let end = match line.checked_sub(1) {
            None => self.end,
            Some(line) => *self.more.get(line)?,
        };
        Some(usize::try_from(end).unwrap_or(usize::MAX))
    }

    /// Takes the first line, with its number; says whether there was no other, and so is nothing left.
    #[inline]
    pub(super) fn pop(&mut self) -> (u64, String, bool) {
        let number = self.number;
        let Some(end) = self.more.pop_front() else {
            let mut text = mem::take(&mut self.text);
            if self.start > 0 {
                text = text.get(self.start..).unwrap_or_default().into();
            }
            return (number, text, true);
        };
        let first = usize::try_from(self.end).unwrap_or(usize::MAX);
        let text = self.text.get(self.start..first).unwrap_or_default().into();
        (self.start, self.end) = (first, end);
        self.number = number.saturating_add(1);
        (number, text, false)
    }
}

/// Bytes that a line takes and those that follow it, as far as they fit behind `len`.
fn room_for(len: usize, text: &str, ahead: usize) -> usize {
    let with = len.saturating_add(text.len());
    text.len().saturating_add(ahead.min(BLOCK.saturating_sub(with)))
}

/// A line has at most 16 MiB.
fn place(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_as_they_went_in_one_by_one_and_at_once() {
        let mut run = Run::new(7, "a", 4);
        assert!(run.push(8, "", 3) && run.push(9, "ccc", 0));
        assert!(!run.push(11, "not the next", 0));
        assert!(!run.push(10, &"x".repeat(BLOCK), 0), "no room");
        assert_eq!((run.len(), run.last()), (3, 9));
        let mut chats = Chats::default();
        chats.push(run.clone());
        chats.push(Run::new(10, "d", 0));
        assert_eq!(chats.iter().collect::<Vec<_>>(), ["a", "", "ccc", "d"]);
        assert_eq!(run.pop(), (7, "a".into(), false));
        assert_eq!((run.len(), run.last()), (2, 9));
        let mut rest = Chats::default();
        rest.push(run.clone());
        assert_eq!(rest.iter().collect::<Vec<_>>(), ["", "ccc"]);
        assert_eq!(run.pop(), (8, String::new(), false));
        assert_eq!(run.pop(), (9, "ccc".into(), true));
        assert_eq!(Run::new(7, "alone", 0).pop(), (7, "alone".into(), true));
    }

    #[test]
    fn memory_is_made_once_for_lines_that_are_known_to_follow() {
        let line = "x".repeat(60);
        let mut run = Run::new(0, &line, 199 * line.len());
        let room = run.text.capacity();
        assert_eq!(room, 200 * line.len());
        for number in 1..200_u64 {
            assert!(run.push(number, &line, (199 - number as usize) * line.len()));
            assert_eq!(run.text.capacity(), room, "line {number}");
        }
        // Of more than a block's worth there is room for what fits.
        assert_eq!(Run::new(0, &line, 1 << 20).text.capacity(), BLOCK);
        assert_eq!(Run::new(0, &"x".repeat(2 * BLOCK), 7).text.capacity(), 2 * BLOCK);
    }
}
