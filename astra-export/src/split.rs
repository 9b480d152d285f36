//! Which inputs are kept from the fit, to measure agreement on.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How many inputs of a kind are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// One in this number.
    one_in: usize,
    /// But at least these, as far as they are not more than half.
    least: usize,
    /// And at most these.
    most: usize,
    /// Inputs that calibration needs at least to be good for others.
    calibrated: usize,
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Whether the rest is too small to calibrate on.
    pub to_calibrate: bool,
    /// Whether what is kept is too small to measure on.
    pub to_measure: bool,
    /// Inputs that would do for both.
    pub enough: usize,
}

impl Split {
    /// Photographs; codebooks of fewer than 32 fit others badly, crops or not.
    pub const PHOTOGRAPHS: Self = Self {
        one_in: 5,
        least: 4,
        most: 48,
        calibrated: 32,
    };
    /// Windows of a text.
    pub const WINDOWS: Self = Self {
        one_in: 10,
        least: 4,
        most: 16,
        calibrated: 16,
    };
    /// Passages.
    pub const PASSAGES: Self = Self {
        one_in: 10,
        least: 4,
        most: 64,
        calibrated: 96,
    };

    /// Inputs kept of `count`; none of one.
    pub fn held_out(self, count: usize) -> usize {
        let share = (count + self.one_in / 2) / self.one_in;
        share.clamp(self.least, self.most).min(count / 2)
    }

    /// Inputs of which this number are left to calibrate on.
    pub fn of_calibrated(self, calibrated: usize) -> usize {
        let mut count = calibrated;
        while count - self.held_out(count) < calibrated {
            count += 1;
        }
        count
    }

    /// `inputs` to calibrate on, and those that are kept. Of each run of successive inputs the seed chooses one: what
    /// comes from one source often stands together.
    pub fn divide<T>(self, inputs: Vec<T>, seed: u64) -> (Vec<T>, Vec<T>) {
        let count = inputs.len();
        let kept = self.held_out(count);
        let mut rng = StdRng::seed_from_u64(seed);
        let chosen: Vec<usize> = (0..kept)
            .map(|place| rng.random_range(place * count / kept..(place + 1) * count / kept))
            .collect();
        let (mut calibrate, mut held_out) = (Vec::new(), Vec::new());
        for (place, input) in inputs.into_iter().enumerate() {
            match chosen.binary_search(&place) {
                Ok(_) => held_out.push(input),
                Err(_) => calibrate.push(input),
            }
        }
        (calibrate, held_out)
    }

    /// What is too small where this number are calibrated on and that number kept.
    pub fn shortage(self, calibrated: usize, held_out: usize) -> Option<Shortage> {
        let to_calibrate = calibrated < self.calibrated;
        let to_measure = held_out < self.least;
        (to_calibrate || to_measure).then(|| Shortage {
            to_calibrate,
            to_measure,
            enough: self.of_calibrated(self.calibrated),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_within_bounds_is_kept_and_never_more_than_half() {
        let counts = [0, 1, 2, 5, 8, 14, 74, 125, 1000];
        let kept = counts.map(|count| Split::PHOTOGRAPHS.held_out(count));
        assert_eq!(kept, [0, 0, 1, 2, 4, 4, 15, 25, 48]);
        let kept = [1, 10, 53, 500].map(|count| Split::WINDOWS.held_out(count));
        assert_eq!(kept, [0, 4, 5, 16]);
    }

    #[test]
    fn what_is_calibrated_on_is_as_many_as_requested() {
        for split in [Split::PHOTOGRAPHS, Split::WINDOWS, Split::PASSAGES] {
            for calibrated in [6, 16, 48, 384, 700] {
                let count = split.of_calibrated(calibrated);
                assert_eq!(count - split.held_out(count), calibrated, "{split:?}");
            }
        }
    }

    #[test]
    fn a_seed_chooses_from_everywhere_and_nothing_is_in_both() {
        let inputs: Vec<usize> = (0..74).collect();
        let (calibrate, held_out) = Split::PHOTOGRAPHS.divide(inputs.clone(), 3);
        assert_eq!((calibrate.len(), held_out.len()), (59, 15));
        for (place, input) in held_out.iter().enumerate() {
            assert!((place * 74 / 15..(place + 1) * 74 / 15).contains(input));
        }
        let mut all = [calibrate.as_slice(), &held_out].concat();
        all.sort_unstable();
        assert_eq!(all, inputs);
        assert_eq!(Split::PHOTOGRAPHS.divide(inputs.clone(), 3).1, held_out);
        assert_ne!(Split::PHOTOGRAPHS.divide(inputs, 4).1, held_out);
    }

    #[test]
    fn too_few_are_told_with_how_many_would_do() {
        let shortage = Split::PHOTOGRAPHS.shortage(3, 2).unwrap();
        assert!(shortage.to_calibrate && shortage.to_measure);
        assert_eq!(shortage.enough, 40);
        let shortage = Split::PHOTOGRAPHS.shortage(10, 4).unwrap();
        assert!(shortage.to_calibrate && !shortage.to_measure);
        assert_eq!(Split::PHOTOGRAPHS.shortage(32, 8), None);
        assert_eq!(Split::WINDOWS.shortage(6, 4).unwrap().enough, 20);
    }
}
