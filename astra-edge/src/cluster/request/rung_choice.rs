//! The rung of a request.

use std::sync::atomic::{AtomicBool, Ordering};

use astra_bundle::{Bundle, BundleError, DefaultRung, Manifest, Promise, RungReason};

use crate::config::{RequestDefaults, Rung};

/// Chooses the rung of requests.
#[derive(Debug)]
pub(crate) struct RungChoice {
    /// Of requests that name none, if it is set.
    setting: Option<Rung>,
    promise: Promise,
    /// Whether the log says already that the promise may not be kept.
    has_warned: AtomicBool,
}

impl RungChoice {
    pub(crate) fn new(defaults: &RequestDefaults) -> Self {
        Self {
            setting: defaults.rung,
            promise: defaults.quality,
            has_warned: AtomicBool::new(false),
        }
    }

    /// The rung of a request on about `devices` devices: the one it names, else the one in the settings, else the fewest bits that
    /// keep the promise. 0 is exact mode.
    ///
    /// # Errors
    /// The bundle does not have the rung that the request names.
    pub(crate) fn rung(
        &self,
        bundle: &Bundle,
        named: Option<u16>,
        devices: usize,
    ) -> Result<u16, BundleError> {
        match (named, self.setting) {
            (Some(0), _) => Ok(0),
            (Some(named), _) => bundle.rung(named.into()).map(|_| named),
            (None, Some(Rung(bits))) => Ok(nearest(bundle.manifest(), bits)),
            (None, None) => Ok(self.by_promise(bundle.manifest(), devices)),
        }
    }

    fn by_promise(&self, manifest: &Manifest, devices: usize) -> u16 {
        let Some(chosen) = manifest.default_rung(self.promise, devices) else {
            return 0;
        };
        if let Some(warning) = warning(&chosen, self.promise)
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("{warning}");
        }
        // Bits are 16 bits wide on the wire, and refused beyond with the manifest.
        u16::try_from(chosen.rung.bits).unwrap_or_default()
    }
}

/// Why a promise may not be kept.
fn warning(chosen: &DefaultRung<'_>, promise: Promise) -> Option<String> {
    let bits = chosen.rung.bits;
    match chosen.reason {
        RungReason::Kept(_) => None,
        RungReason::Best(measured) => Some(format!(
            "no rung keeps the promised quality of {promise}: the best, {bits} bits, was measured with {}",
            measured.summary().unwrap_or_default()
        )),
        RungReason::NotMeasured => Some(format!(
            "the bundle's agreement was not measured, so that a quality of {promise} cannot be promised: {bits} bits are used"
        )),
    }
}

/// The rung that is set; where the bundle lacks it the next below, else the next above, else exact mode.
fn nearest(manifest: &Manifest, bits: u16) -> u16 {
    // Ascending, and no wider on the wire than 16 bits.
    let rungs = manifest.rungs.iter();
    let rungs: Vec<u16> = rungs.filter_map(|rung| rung.bits.try_into().ok()).collect();
    let below = rungs.iter().rev().find(|rung| **rung <= bits);
    match bits {
        0 => 0,
        _ => below.or(rungs.first()).copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use astra_bundle::{Agreement, Quality, QualityMeasure, Rung as BundleRung};
    use serde_json::json;

    use super::*;

    fn rung(bits: u32, mean: Option<f64>) -> BundleRung {
        let agreement = mean.map(|mean| Agreement {
            devices: 4,
            inputs: 24,
            quality: Some(Quality {
                measure: QualityMeasure::ClsCosine,
                mean,
                low: mean - 0.002,
                high: mean + 0.001,
            }),
            ..Agreement::default()
        });
        let rung = json!({
            "bits": bits, "basis": "plain", "code_bits": 1, "words": 2, "blocks": [], "agreement": agreement.as_slice()
        });
        serde_json::from_value(rung).unwrap()
    }

    fn said(rung: &BundleRung, reason: RungReason<'_>) -> Option<String> {
        let promise = Promise::new(0.99).unwrap();
        warning(&DefaultRung { rung, reason }, promise)
    }

    #[test]
    fn a_promise_that_is_not_kept_is_told_with_the_figure() {
        let measured = rung(640, Some(0.985));
        let agreement = &measured.agreement[0];
        assert_eq!(said(&measured, RungReason::Kept(agreement)), None);
        assert_eq!(
            said(&measured, RungReason::Best(agreement)).unwrap(),
            "no rung keeps the promised quality of 0.99: the best, 640 bits, was measured with class token cosine 0.9850 (0.9830 to \
             0.9860, 24 inputs, 4 devices)"
        );
        let unmeasured = rung(320, None);
        let text = said(&unmeasured, RungReason::NotMeasured).unwrap();
        assert!(
            text.contains("was not measured") && text.ends_with("320 bits are used"),
            "{text}"
        );
    }
}
