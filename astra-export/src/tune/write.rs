//! Trained rungs in a bundle.

use std::path::Path;

use astra_bundle::{Bundle, Revision};

use super::TuneError;
use super::codec::{RungFrame, Values, rounded};

/// A rung after its training.
pub(super) struct Trained {
    pub(super) bits: u32,
    pub(super) frame: RungFrame,
    pub(super) values: Values,
    /// How, for people; nothing where it stays as it was.
    pub(super) note: Option<String>,
}

/// Writes the bundle with other values in the trained rungs. Agreement measured before is left out of rungs that changed.
///
/// # Errors
/// [`TuneError::Bundle`]; what lay at `out` stays.
pub(super) fn write(bundle: &Bundle, out: &Path, rungs: &[Trained]) -> Result<Bundle, TuneError> {
    let mut revision = Revision::of(bundle, out)?;
    let mut manifest = bundle.manifest().clone();
    for trained in rungs.iter().filter(|trained| trained.note.is_some()) {
        let rung = bundle.rung(trained.bits)?;
        let bases = manifest.bases.iter();
        let basis = bases.into_iter().find(|basis| basis.name == rung.basis);
        let places = basis.into_iter().flat_map(|basis| &basis.blocks);
        let blocks = rounded(&trained.frame, &trained.values);
        for (number, (block, place)) in blocks.iter().zip(places).enumerate() {
            let tensors = &block.tensors;
            revision.tensor(&place.enc_w, &tensors.enc_w)?;
            revision.tensor(&place.enc_b, &tensors.enc_b)?;
            revision.tensor(&place.dec_w, &tensors.dec_w)?;
            revision.tensor(&place.dec_b, &tensors.dec_b)?;
            revision.codebook(rung, number, &block.codebook())?;
            let before = number.checked_sub(1);
            let place = before.and_then(|before| rung.prediction.get(before));
            if let (Some(place), Some([w, b])) = (place, &tensors.prediction) {
                revision.tensor(&place.w, w)?;
                revision.tensor(&place.b, b)?;
            }
        }
        for rung in &mut manifest.rungs {
            if rung.bits == trained.bits {
                rung.agreement.clear();
                rung.calibration_note.clone_from(&trained.note);
            }
        }
    }
    Ok(revision.finish(manifest)?)
}
