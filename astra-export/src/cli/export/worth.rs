//! Which of the rungs that were fitted a bundle keeps.

use astra_export::fit::Fitted;
use astra_export::verify::Beaten;

/// Takes beaten rungs out, with the bases that are then of no use.
pub(super) fn leave_out(fitted: &mut Fitted, beaten: &[Beaten]) {
    let is_beaten = |bits: u32| beaten.iter().any(|rung| u32::from(rung.bits) == bits);
    fitted.rungs.retain(|rung| !is_beaten(rung.spec.bits));
    let used: Vec<String> = fitted
        .rungs
        .iter()
        .map(|rung| rung.spec.basis_name())
        .collect();
    fitted.bases.retain(|basis| used.contains(&basis.name));
}

/// That a rung is left out, and why.
pub(super) fn notice(rung: &Beaten) -> String {
    let Beaten {
        bits, by, devices, ..
    } = rung;
    let figure = |mean| format!("{} {}", rung.measure.name(), rung.measure.figure(mean));
    format!(
        "rung {bits} is left out: {} on {devices} devices, where {by} bits have {}; --rungs {bits} makes it",
        figure(rung.mean),
        figure(rung.by_mean)
    )
}

#[cfg(test)]
mod tests {
    use astra_bundle::QualityMeasure;
    use astra_export::fit::{BasisKind, FittedBasis, FittedRung, RungSpec};

    use super::*;

    fn beaten(bits: u16, measure: QualityMeasure) -> Beaten {
        Beaten {
            bits,
            mean: 0.9012,
            by: 10,
            by_mean: 0.9155,
            devices: 4,
            measure,
        }
    }

    #[test]
    fn a_beaten_rung_goes_with_its_basis() {
        let specs = RungSpec::table(12, 384, 256);
        let rungs = specs.iter().map(|spec| FittedRung {
            spec: spec.clone(),
            blocks: Vec::new(),
            prediction: Vec::new(),
        });
        let mut names: Vec<String> = specs.iter().map(RungSpec::basis_name).collect();
        names.dedup();
        let bases = names.iter().map(|name| FittedBasis {
            name: name.clone(),
            rank: 96,
            blocks: Vec::new(),
        });
        let mut fitted = Fitted {
            bases: bases.collect(),
            rungs: rungs.collect(),
        };
        let kept: Vec<u32> = specs
            .iter()
            .map(|spec| spec.bits)
            .filter(|&b| b != 80)
            .collect();
        leave_out(&mut fitted, &[beaten(80, QualityMeasure::ClsCosine)]);
        let found: Vec<u32> = fitted.rungs.iter().map(|rung| rung.spec.bits).collect();
        assert_eq!(found, kept);
        assert_eq!(fitted.bases.len(), names.len() - 1);
        let own = specs.iter().find(|spec| spec.bits == 80).unwrap();
        assert_eq!(own.basis, BasisKind::Attention);
        assert!(
            fitted
                .bases
                .iter()
                .all(|basis| basis.name != own.basis_name())
        );
    }

    #[test]
    fn what_is_left_out_is_said_with_both_figures() {
        assert_eq!(
            notice(&beaten(40, QualityMeasure::ClsCosine)),
            "rung 40 is left out: class token cosine 0.9012 on 4 devices, where 10 bits have class token cosine 0.9155; \
             --rungs 40 makes it"
        );
        assert!(
            notice(&beaten(40, QualityMeasure::PerplexityIncrease))
                .contains("perplexity +90.12 % on 4")
        );
    }
}
