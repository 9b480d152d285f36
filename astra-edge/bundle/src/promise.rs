//! The rung of requests that name none: the fewest bits that keep a promise.

use std::fmt;
use std::str::FromStr;

use crate::manifest::Manifest;
use crate::quality::Quality;
use crate::rung::{Agreement, Rung};

/// The rung of a bundle whose agreement was not measured.
const UNMEASURED: u32 = 320;

/// How close to the one-device answer an answer is promised to come: a number q above 0 and at most 1. A cosine is to be at
/// least q, a perplexity at most 1 - q above that on one device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise(f64);

/// A number that is no [`Promise`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("quality: found {0:?}, expected a number above 0 and at most 1, such as 0.99")]
pub struct PromiseError(String);

/// The rung chosen where none is named.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DefaultRung<'a> {
    /// The rung.
    pub rung: &'a Rung,
    /// Why it is this one.
    pub reason: RungReason<'a>,
}

/// Why a rung is the default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RungReason<'a> {
    /// It has the fewest bits of those whose interval's worse end keeps the promise.
    Kept(&'a Agreement),
    /// No rung keeps the promise; of those that were measured it has the best mean.
    Best(&'a Agreement),
    /// Agreement was not measured.
    NotMeasured,
}

impl Promise {
    /// `quality` as a promise; `None` where it is none.
    pub fn new(quality: f64) -> Option<Self> {
        (quality > 0.0 && quality <= 1.0).then_some(Self(quality))
    }

    /// Whether the worse end of the interval keeps it.
    pub fn is_kept_by(self, quality: &Quality) -> bool {
        let worst = quality.worst();
        match quality.measure.is_loss() {
            true => worst <= 1.0 - self.0,
            false => worst >= self.0,
        }
    }
}

impl FromStr for Promise {
    type Err = PromiseError;

    fn from_str(text: &str) -> Result<Self, PromiseError> {
        let quality = text.parse().ok();
        let promise = quality.and_then(Self::new);
        promise.ok_or_else(|| PromiseError(text.to_owned()))
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Manifest {
    /// The rung of requests that name none, on about `devices` devices. Of each rung that was measured, what was measured at the
    /// number of devices nearest to that decides ([`Rung::measured`]). `None` for a bundle without rungs.
    pub fn default_rung(&self, promise: Promise, devices: usize) -> Option<DefaultRung<'_>> {
        let measured = self.rungs.iter().filter_map(|rung| {
            let agreement = rung.measured(devices)?;
            Some((rung, agreement, agreement.quality.as_ref()?))
        });
        // By ascending bits.
        let kept = measured
            .clone()
            .find(|(_, _, quality)| promise.is_kept_by(quality));
        if let Some((rung, agreement, _)) = kept {
            let reason = RungReason::Kept(agreement);
            return Some(DefaultRung { rung, reason });
        }
        let best = measured.reduce(|best, other| match other.2.is_better_than(best.2) {
            true => other,
            false => best,
        });
        if let Some((rung, agreement, _)) = best {
            let reason = RungReason::Best(agreement);
            return Some(DefaultRung { rung, reason });
        }
        let usual = self.rungs.iter().find(|rung| rung.bits == UNMEASURED);
        Some(DefaultRung {
            rung: usual.or(self.rungs.last())?,
            reason: RungReason::NotMeasured,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest(rungs: &[(u32, Value)]) -> Manifest {
        let rungs = rungs.iter().map(|(bits, agreement)| {
            json!({"bits": bits, "basis": "b", "code_bits": 1, "words": 2, "blocks": [], "agreement": agreement})
        });
        serde_json::from_value(json!({
            "format": 3, "model": "m", "family": "vit", "task": {"kind": "features"},
            "source": {"file": "m.onnx", "sha256": "0".repeat(64)}, "seed": 0, "software": "",
            "shape": {
                "hidden": 8, "heads": 2, "kv_heads": 2, "head_dim": 4, "blocks": 1, "tokens": 4, "class_tokens": 1
            },
            "bases": [], "exact": [], "rungs": rungs.collect::<Vec<_>>(),
            "calibration": {"source": "", "inputs": 0, "tokens": 0, "held_out": 0}, "files": {}
        }))
        .unwrap()
    }

    fn cosine(devices: usize, mean: f64, half: f64) -> Value {
        let (low, high) = (mean - half, mean + half);
        json!({"devices": devices, "inputs": 9, "cls_cosine": mean,
               "quality": {"measure": "cls_cosine", "mean": mean, "low": low, "high": high}})
    }

    fn increase(mean: f64, half: f64) -> Value {
        let (low, high) = (mean - half, mean + half);
        json!([{"devices": 4, "inputs": 9,
                "quality": {"measure": "perplexity_increase", "mean": mean, "low": low, "high": high}}])
    }

    fn chosen(manifest: &Manifest, quality: f64, devices: usize) -> (u32, &'static str) {
        let chosen = manifest.default_rung(Promise::new(quality).unwrap(), devices);
        let DefaultRung { rung, reason } = chosen.unwrap();
        let reason = match reason {
            RungReason::Kept(_) => "kept",
            RungReason::Best(_) => "best",
            RungReason::NotMeasured => "not measured",
        };
        (rung.bits, reason)
    }

    #[test]
    fn the_lower_end_of_the_interval_has_to_keep_the_promise() {
        let rungs = [
            (80, json!([cosine(4, 0.985, 0.001)])),
            (160, json!([cosine(4, 0.991, 0.002)])),
            (320, json!([cosine(4, 0.993, 0.001)])),
            (640, json!([cosine(4, 0.998, 0.001)])),
        ];
        let manifest = manifest(&rungs);
        assert_eq!(chosen(&manifest, 0.99, 4), (320, "kept"));
        assert_eq!(chosen(&manifest, 0.98, 4), (80, "kept"));
        assert_eq!(chosen(&manifest, 0.999, 4), (640, "best"));
        assert_eq!(chosen(&manifest, 1.0, 4), (640, "best"));
    }

    #[test]
    fn the_nearest_number_of_devices_decides() {
        let rungs = [
            (
                160,
                json!([
                    cosine(2, 0.995, 0.0),
                    cosine(4, 0.985, 0.0),
                    cosine(8, 0.98, 0.0)
                ]),
            ),
            (
                320,
                json!([
                    cosine(2, 0.999, 0.0),
                    cosine(4, 0.995, 0.0),
                    cosine(8, 0.985, 0.0)
                ]),
            ),
        ];
        let manifest = manifest(&rungs);
        let at = |devices| chosen(&manifest, 0.99, devices);
        assert_eq!((at(1), at(2)), ((160, "kept"), (160, "kept")));
        // As near to two as to four.
        assert_eq!((at(3), at(5)), ((320, "kept"), (320, "kept")));
        assert_eq!((at(6), at(30)), ((320, "best"), (320, "best")));
    }

    #[test]
    fn of_perplexity_the_upper_end_has_to() {
        let rungs = [
            (80, increase(0.012, 0.001)),
            (160, increase(0.008, 0.004)),
            (320, increase(0.004, 0.002)),
        ];
        let manifest = manifest(&rungs);
        assert_eq!(chosen(&manifest, 0.99, 4), (320, "kept"));
        assert_eq!(chosen(&manifest, 0.98, 4), (80, "kept"));
        assert_eq!(chosen(&manifest, 0.999, 4), (320, "best"));
    }

    #[test]
    fn without_measurements_it_is_320_or_the_largest() {
        let none = |bits: &[u32]| {
            let rungs: Vec<_> = bits.iter().map(|&bits| (bits, json!([]))).collect();
            manifest(&rungs)
        };
        assert_eq!(
            chosen(&none(&[40, 320, 640]), 0.99, 4),
            (320, "not measured")
        );
        assert_eq!(chosen(&none(&[40, 160]), 0.99, 4), (160, "not measured"));
        let promise = Promise::new(0.99).unwrap();
        assert_eq!(none(&[]).default_rung(promise, 4), None);
        // A figure without an interval decides nothing.
        let older = manifest(&[(
            160,
            json!([{"devices": 4, "inputs": 1, "cls_cosine": 0.999}]),
        )]);
        assert_eq!(chosen(&older, 0.99, 4), (160, "not measured"));
        assert_eq!(older.rungs[0].measured(2).unwrap().inputs, 1);
    }

    #[test]
    fn promises_are_numbers_up_to_one() {
        assert_eq!("0.99".parse(), Ok(Promise(0.99)));
        assert_eq!("1".parse(), Ok(Promise(1.0)));
        for text in ["0", "-0.5", "1.01", "NaN", "99 %", ""] {
            let refused = text.parse::<Promise>().unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("quality: found {text:?}, expected a number")),
                "{refused}"
            );
        }
        assert_eq!(Promise(0.99).to_string(), "0.99");
    }
}
