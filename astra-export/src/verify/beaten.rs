//! Rungs that are not worth their bits.

use astra_bundle::QualityMeasure;

use super::interval::Interval;
use super::row::Row;

/// Devices at which rungs are compared.
const DEVICES: usize = 4;

/// A rung that one of fewer bits is better than.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beaten {
    /// The rung.
    pub bits: u16,
    /// Its mean quality.
    pub mean: f64,
    /// The rung that is better; of several the best.
    pub by: u16,
    /// That one's mean quality.
    pub by_mean: f64,
    /// Devices that both were measured at.
    pub devices: usize,
    /// What the means are of.
    pub measure: QualityMeasure,
}

/// Which of the rungs measured are beaten: a rung of fewer bits has the better mean quality at four devices, or at the number of
/// devices nearest to it, by more than the noise, which is to say that the 95 % interval of the difference on the same inputs
/// leaves out 0. Exact mode neither beats nor is beaten.
pub fn beaten(rows: &[Row]) -> Vec<Beaten> {
    let devices = rows.iter().map(|row| row.agreement.devices);
    let Some(devices) = devices.min_by_key(|devices| devices.abs_diff(DEVICES)) else {
        return Vec::new();
    };
    let there = |row: &&Row| row.bits > 0 && row.agreement.devices == devices;
    let rows: Vec<&Row> = rows.iter().filter(there).collect();
    let each = rows.iter().filter_map(|row| {
        let fewer = rows.iter().filter(|other| other.bits < row.bits);
        let better = fewer.filter_map(|other| compare(row, other));
        better.max_by(|a, b| a.lead().total_cmp(&b.lead()))
    });
    each.collect()
}

impl Beaten {
    /// How much better the other rung is.
    fn lead(&self) -> f64 {
        match self.measure.is_loss() {
            true => self.mean - self.by_mean,
            false => self.by_mean - self.mean,
        }
    }
}

fn compare(row: &Row, other: &Row) -> Option<Beaten> {
    let (quality, better) = (row.agreement.quality?, other.agreement.quality?);
    if quality.measure != better.measure || row.scores.len() != other.scores.len() {
        return None;
    }
    let sign = if quality.measure.is_loss() { -1.0 } else { 1.0 };
    let leads = row.scores.iter().zip(&other.scores);
    let leads: Vec<f64> = leads.map(|(own, other)| sign * (other - own)).collect();
    (Interval::of_mean(&leads)?.low > 0.0).then_some(Beaten {
        bits: row.bits,
        mean: quality.mean,
        by: other.bits,
        by_mean: better.mean,
        devices: row.agreement.devices,
        measure: quality.measure,
    })
}

#[cfg(test)]
mod tests {
    use astra_bundle::Agreement;

    use super::*;

    fn row(bits: u16, devices: usize, measure: QualityMeasure, scores: &[f64]) -> Row {
        Row {
            bits,
            rank: 8,
            agreement: Agreement {
                devices,
                inputs: scores.len(),
                quality: Interval::quality(measure, scores),
                ..Agreement::default()
            },
            scores: scores.to_vec(),
            masked_tokens: 0,
        }
    }

    fn cosines(bits: u16, devices: usize, scores: &[f64]) -> Row {
        row(bits, devices, QualityMeasure::ClsCosine, scores)
    }

    fn pairs(rows: &[Row]) -> Vec<(u16, u16)> {
        let found = beaten(rows);
        found.iter().map(|found| (found.bits, found.by)).collect()
    }

    #[test]
    fn a_rung_is_beaten_by_one_of_fewer_bits_on_the_same_inputs() {
        // Inputs differ by much more than the rungs.
        let rows = [
            cosines(10, 4, &[0.95, 0.90, 0.85, 0.99]),
            cosines(40, 4, &[0.94, 0.89, 0.845, 0.981]),
            cosines(80, 4, &[0.945, 0.897, 0.848, 0.985]),
            cosines(160, 4, &[0.97, 0.95, 0.93, 0.995]),
        ];
        assert_eq!(pairs(&rows), [(40, 10), (80, 10)]);
        let found = beaten(&rows)[0];
        assert!((found.mean - 0.914).abs() < 1e-9 && (found.by_mean - 0.9225).abs() < 1e-9);
        assert_eq!(
            (found.devices, found.measure),
            (4, QualityMeasure::ClsCosine)
        );
    }

    #[test]
    fn noise_beats_nothing() {
        let rows = [
            cosines(10, 4, &[0.95, 0.90, 0.85, 0.99]),
            cosines(40, 4, &[0.91, 0.93, 0.86, 0.95]),
        ];
        assert_eq!(pairs(&rows), []);
        let one = [cosines(10, 4, &[0.95]), cosines(40, 4, &[0.9])];
        assert_eq!(pairs(&one), []);
    }

    #[test]
    fn of_perplexity_less_is_better() {
        let increase = QualityMeasure::PerplexityIncrease;
        let rows = [
            row(40, 4, increase, &[0.02, 0.03, 0.025]),
            row(160, 4, increase, &[0.031, 0.041, 0.036]),
            row(320, 4, increase, &[0.001, 0.002, 0.001]),
        ];
        assert_eq!(pairs(&rows), [(160, 40)]);
    }

    #[test]
    fn four_devices_decide_or_the_number_nearest_to_them() {
        let good = [0.95, 0.94, 0.96];
        let bad = [0.85, 0.84, 0.86];
        let better = [0.98, 0.97, 0.99];
        let rows = [
            cosines(10, 2, &good),
            cosines(10, 4, &good),
            cosines(40, 2, &bad),
            cosines(40, 4, &better),
        ];
        assert_eq!(pairs(&rows), []);
        let rows = [cosines(10, 2, &good), cosines(40, 2, &bad)];
        assert_eq!(pairs(&rows), [(40, 10)]);
        let exact = [cosines(0, 4, &good), cosines(40, 4, &bad)];
        assert_eq!(pairs(&exact), []);
        assert_eq!(pairs(&[]), []);
    }
}
