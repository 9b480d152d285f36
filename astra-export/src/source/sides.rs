//! How large a model may be, and that its file holds no more of it than it says.

use super::Mismatch;
use super::tensors::Tensors;

/// Largest of any dimension but the vocabulary; keeps products of dimensions from overflowing.
pub(super) const MAX_SIDE: usize = 1 << 16;
/// Most tokens of a vocabulary.
pub(super) const MAX_VOCAB: usize = 1 << 24;

/// Refuses the first side, by its name in the file, that is not from 1 to its largest.
pub(super) fn check_sides<const N: usize>(
    sides: [(&'static str, usize, usize); N],
) -> Result<(), Mismatch> {
    for (name, side, most) in sides {
        if !(1..=most).contains(&side) {
            return Err(Mismatch::new(name, side, format!("1 to {most}")));
        }
    }
    Ok(())
}

/// Refuses a model of which there is the tensor `beyond`, of one layer more than `layers`.
pub(super) fn check_layers(
    tensors: &dyn Tensors,
    layers: usize,
    beyond: &str,
) -> Result<(), Mismatch> {
    if tensors.contains(beyond) {
        let expected = format!("{layers} layers");
        return Err(Mismatch::new(beyond, "another layer", expected));
    }
    Ok(())
}

/// Refuses heads, by their name in the file, that do not divide the channels evenly.
pub(super) fn check_heads(
    name: &'static str,
    heads: usize,
    channels: usize,
) -> Result<(), Mismatch> {
    if channels.is_multiple_of(heads) {
        return Ok(());
    }
    let expected = format!("a divisor of the {channels} channels");
    Err(Mismatch::new(name, heads, expected))
}
