//! Codewords of one group by Lloyd's algorithm.

use astra_codec::{Codebook, CodebookError, half_norms};
use rand::Rng;
use rand::rngs::StdRng;

use super::FitError;

/// What to fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clustering {
    /// Dimensions of a point, positive.
    pub(crate) dim: usize,
    /// Codewords, K, a power of two.
    pub(crate) words: usize,
    /// Rounds of assignment and averaging at most.
    pub(crate) rounds: usize,
}

/// K codewords, in the two layouts that the search and the averaging need.
struct Words {
    dim: usize,
    count: usize,
    word_major: Vec<f32>,
    dim_major: Vec<f32>,
    half_norms: Vec<f32>,
}

impl Clustering {
    /// Fits codewords to `points`, `[n, dim]` with n > 0, each counted as often as its `importance` says, `[n]`, and returns them
    /// dimension-major, `[dim, K]`. The same points and state of `rng` give the same words.
    pub(crate) fn fit(
        &self,
        points: &[f32],
        importance: &[f32],
        rng: &mut StdRng,
    ) -> Result<Vec<f32>, FitError> {
        let seeds = self.spread_out(points, importance, rng);
        self.rounds(
            Words::new(self.dim, self.words, seeds)?,
            points,
            importance,
            rng,
        )
    }

    /// The same from given words, dimension-major.
    pub(crate) fn resume(
        &self,
        words: &[f32],
        points: &[f32],
        importance: &[f32],
        rng: &mut StdRng,
    ) -> Result<Vec<f32>, FitError> {
        let words = Words::new(self.dim, self.words, transpose(words, self.words))?;
        self.rounds(words, points, importance, rng)
    }

    fn rounds(
        &self,
        mut words: Words,
        points: &[f32],
        importance: &[f32],
        rng: &mut StdRng,
    ) -> Result<Vec<f32>, FitError> {
        let tokens = points.len() / self.dim;
        let (mut codes, mut before) = (vec![0; tokens], vec![0; tokens]);
        for _ in 0..self.rounds {
            words.assign(points, &mut codes)?;
            let empty = words.average(points, importance, &codes);
            if empty.is_empty() && codes == before {
                break;
            }
            words.reseed(&empty, points, importance, &codes, rng);
            words.refresh()?;
            before.copy_from_slice(&codes);
        }
        Ok(words.dim_major)
    }

    /// First words after k-means++ (Arthur and Vassilvitskii, 2007): each is a point drawn with a probability that grows with
    /// its squared distance to the words before. Word-major, `[K, dim]`.
    fn spread_out(&self, points: &[f32], importance: &[f32], rng: &mut StdRng) -> Vec<f32> {
        let tokens = points.len() / self.dim;
        let columns = transpose(points, self.dim);
        let mut errors = importance.to_vec();
        let mut distances = vec![f32::INFINITY; tokens];
        let mut seeds = Vec::with_capacity(self.words * self.dim);
        let mut from_word = vec![0.0_f32; tokens];
        for _ in 0..self.words {
            let token = draw(&errors, rng);
            let seed = points.chunks_exact(self.dim).nth(token).unwrap_or_default();
            seeds.extend_from_slice(seed);
            from_word.fill(0.0);
            for (column, &center) in columns.chunks_exact(tokens).zip(seed) {
                for (sum, x) in from_word.iter_mut().zip(column) {
                    *sum += (x - center) * (x - center);
                }
            }
            let weighed = errors.iter_mut().zip(importance);
            for ((distance, &new), (error, &weight)) in
                distances.iter_mut().zip(&from_word).zip(weighed)
            {
                *distance = distance.min(new);
                *error = *distance * weight;
            }
        }
        seeds
    }
}

impl Words {
    fn new(dim: usize, count: usize, word_major: Vec<f32>) -> Result<Self, CodebookError> {
        let mut words = Self {
            dim,
            count,
            dim_major: vec![0.0; word_major.len()],
            half_norms: vec![0.0; count],
            word_major,
        };
        words.refresh()?;
        Ok(words)
    }

    /// Makes the derived tables follow `word_major`.
    fn refresh(&mut self) -> Result<(), CodebookError> {
        self.dim_major = transpose(&self.word_major, self.dim);
        let dims = [self.dim as u16];
        half_norms(&dims, self.count, &self.dim_major, &mut self.half_norms)
    }

    fn assign(&self, points: &[f32], codes: &mut [u16]) -> Result<(), FitError> {
        let dims = [self.dim as u16];
        let (d, w, h) = (&self.dim_major, &self.word_major, &self.half_norms);
        Codebook::new(&dims, self.count, d, w, h)?.encode(points, codes)?;
        Ok(())
    }

    /// Moves every word to the mean of its points; returns the words that have none, which stay.
    fn average(&mut self, points: &[f32], importance: &[f32], codes: &[u16]) -> Vec<usize> {
        let mut sums = vec![0.0_f64; self.count * self.dim];
        let mut counts = vec![0.0_f64; self.count];
        let points = points.chunks_exact(self.dim).zip(importance);
        for ((point, &weight), &code) in points.zip(codes) {
            let weight = f64::from(weight);
            let code = usize::from(code);
            if let (Some(sum), Some(count)) = (
                sums.get_mut(code * self.dim..(code + 1) * self.dim),
                counts.get_mut(code),
            ) {
                *count += weight;
                sum.iter_mut()
                    .zip(point)
                    .for_each(|(sum, &x)| *sum += weight * f64::from(x));
            }
        }
        let words = self.word_major.chunks_exact_mut(self.dim);
        for ((word, sum), &count) in words.zip(sums.chunks_exact(self.dim)).zip(&counts) {
            if count > 0.0 {
                let mean = sum.iter().map(|sum| (sum / count) as f32);
                word.iter_mut().zip(mean).for_each(|(x, mean)| *x = mean);
            }
        }
        let empty = counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count <= 0.0);
        empty.map(|(word, _)| word).collect()
    }

    /// Moves words without points to points that are served badly.
    fn reseed(
        &mut self,
        empty: &[usize],
        points: &[f32],
        importance: &[f32],
        codes: &[u16],
        rng: &mut StdRng,
    ) {
        if empty.is_empty() {
            return;
        }
        let mut errors: Vec<f32> = points
            .chunks_exact(self.dim)
            .zip(codes)
            .zip(importance)
            .map(|((point, &code), weight)| {
                weight * squared_distance(point, self.word(usize::from(code)))
            })
            .collect();
        for &word in empty {
            let token = draw(&errors, rng);
            let point = points.chunks_exact(self.dim).nth(token).unwrap_or_default();
            let place = self.word_major.chunks_exact_mut(self.dim).nth(word);
            if let Some(place) = place {
                place.copy_from_slice(point);
            }
            // Not twice the same point.
            if let Some(error) = errors.get_mut(token) {
                *error = 0.0;
            }
        }
    }

    fn word(&self, word: usize) -> &[f32] {
        self.word_major
            .get(word * self.dim..(word + 1) * self.dim)
            .unwrap_or_default()
    }
}

/// Draws an index with a probability proportional to its weight; any index where the weights say nothing.
fn draw(weights: &[f32], rng: &mut StdRng) -> usize {
    let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    if !total.is_finite() || total <= 0.0 {
        return rng.random_range(0..weights.len().max(1));
    }
    let mut left = rng.random::<f64>() * total;
    let index = weights.iter().position(|&w| {
        left -= f64::from(w);
        left < 0.0
    });
    index.unwrap_or(weights.len().saturating_sub(1))
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// `[rows, columns]` to `[columns, rows]`.
fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        out.extend(values.iter().skip(column).step_by(columns));
    }
    out
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const SIX_ROUNDS: Clustering = Clustering {
        dim: 3,
        words: 16,
        rounds: 6,
    };

    /// Points around eight corners of a cube.
    fn corners(tokens: usize) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(3);
        let mut point = || {
            let corner: f32 = if rng.random() { 1.0 } else { -1.0 };
            corner + rng.random_range(-0.2..0.2)
        };
        (0..3 * tokens).map(|_| point()).collect()
    }

    fn distortion(points: &[f32], dim: usize, dim_major: &[f32]) -> f32 {
        let words = transpose(dim_major, dim_major.len() / dim);
        let nearest = |point: &[f32]| {
            let all = words.chunks_exact(dim).map(|w| squared_distance(point, w));
            all.fold(f32::INFINITY, f32::min)
        };
        let points = points.chunks_exact(dim);
        let tokens = points.len() as f32;
        points.map(nearest).sum::<f32>() / tokens
    }

    #[test]
    fn more_rounds_never_serve_the_points_worse() {
        let points = corners(500);
        let after = |rounds| {
            let clustering = Clustering {
                rounds,
                ..SIX_ROUNDS
            };
            let words = clustering.fit(&points, &[1.0; 500], &mut StdRng::seed_from_u64(1));
            distortion(&points, 3, &words.unwrap())
        };
        let by_rounds: Vec<f32> = (0..6).map(after).collect();
        assert!(
            by_rounds.is_sorted_by(|before, after| after <= before),
            "{by_rounds:?}"
        );
        assert!(by_rounds[5] < 0.9 * by_rounds[0], "{by_rounds:?}");
    }

    #[test]
    fn a_seed_decides_the_words() {
        let points = corners(300);
        let fit = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            SIX_ROUNDS.fit(&points, &[1.0; 300], &mut rng).unwrap()
        };
        assert_eq!(fit(5), fit(5));
        assert_ne!(fit(5), fit(6));
    }

    #[test]
    fn fewer_points_than_words_are_met_exactly() {
        let points = corners(10);
        let words = SIX_ROUNDS.fit(&points, &[1.0; 10], &mut StdRng::seed_from_u64(1));
        assert!(distortion(&points, 3, &words.unwrap()) < 1e-10);
    }

    #[test]
    fn words_without_points_are_put_to_use() {
        // All words start on one spot: but for reseeding, fifteen of sixteen would stay empty.
        let points = corners(200);
        let mut words = Words::new(3, 16, vec![1.0; 48]).unwrap();
        let mut codes = vec![0; 200];
        words.assign(&points, &mut codes).unwrap();
        let empty = words.average(&points, &[1.0; 200], &codes);
        assert_eq!(empty.len(), 15);
        words.reseed(
            &empty,
            &points,
            &[1.0; 200],
            &codes,
            &mut StdRng::seed_from_u64(1),
        );
        words.refresh().unwrap();
        words.assign(&points, &mut codes).unwrap();
        let used: std::collections::BTreeSet<u16> = codes.into_iter().collect();
        assert!(used.len() >= 15, "{used:?}");
    }
    #[test]
    fn important_points_are_served_better() {
        let points = corners(400);
        let first_matter: Vec<f32> = (0..400).map(|i| if i < 40 { 50.0 } else { 1.0 }).collect();
        let served = |importance: &[f32]| {
            let words = SIX_ROUNDS.fit(&points, importance, &mut StdRng::seed_from_u64(1));
            distortion(&points[..40 * 3], 3, &words.unwrap())
        };
        let (equal, first) = (served(&[1.0; 400]), served(&first_matter));
        assert!(first < 0.7 * equal, "{first} and {equal}");
    }
}
