//! Input cut into reads.

/// Pieces of 1 to 256 bytes, their lengths drawn from `cut`; now and then an empty one.
pub fn pieces(mut input: &[u8], cut: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(cut);
    std::iter::from_fn(move || {
        if input.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = if state & 0x100 == 0 { 4 } else { 257 };
        let (piece, rest) = input.split_at(((state >> 16) as usize % most).min(input.len()));
        input = rest;
        Some(piece)
    })
}
