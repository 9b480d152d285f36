//! Cost model of a token range, and causal texts divided so that all members finish at the same time.

use astra_bundle::Shape;

use super::{PartitionError, TokenRange, check_speeds, split};

/// Estimated multiplications of one block, for comparing token ranges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Class tokens, which every member computes.
    class_tokens: f64,
    /// Whether a token attends only to itself and the tokens before it.
    causal: bool,
    /// Per own token: projections and MLP.
    token: f64,
    /// Per pair of a query and a key.
    pair: f64,
    /// Per token decoded from codes.
    remote: f64,
}

impl Costs {
    /// Costs of a model whose decoded tokens have `rank` axes.
    pub fn of(shape: &Shape, rank: usize, causal: bool) -> Self {
        let hidden = shape.hidden as f64;
        let queries = (shape.heads * shape.head_dim) as f64;
        let kv = shape.kv_width() as f64;
        Self {
            class_tokens: shape.class_tokens as f64,
            causal,
            // The manifest does not contain the width of the MLP; nearly all have 8 D^2 weights, in two or three matrices.
            token: hidden * (2.0 * queries + 2.0 * kv + 8.0 * hidden),
            pair: 2.0 * queries,
            remote: rank as f64 * 2.0 * kv,
        }
    }

    /// Multiplications of a member that owns `tokens` of `total` tokens from `first` on.
    pub fn work(&self, first: usize, tokens: usize, total: usize) -> f64 {
        let (first, tokens, total) = (first as f64, tokens as f64, total as f64);
        let rows = self.class_tokens + tokens;
        let (pairs, remote) = if self.causal {
            let class = self.class_tokens * (self.class_tokens + 1.0) / 2.0;
            let own = tokens * (self.class_tokens + first) + tokens * (tokens + 1.0) / 2.0;
            (class + own, first)
        } else {
            (rows * (self.class_tokens + total), total - tokens)
        };
        self.token * rows + self.pair * pairs + self.remote * remote
    }

    /// Divides `total` tokens among members in order, at least one each, so that all finish at about the same time: in proportion to their
    /// speeds; later members of a causal text, which attend to more tokens, own fewer.
    ///
    /// # Errors
    /// There are more members than tokens or no members, or a speed is not a positive number.
    pub fn split(&self, total: u16, speeds: &[f64]) -> Result<Vec<TokenRange>, PartitionError> {
        match self.causal {
            true => split_causal(total, speeds, self),
            false => split(total, speeds),
        }
    }

    /// Time of the slowest member, where a device of speed 1 does one multiplication per unit of time.
    pub fn slowest(&self, ranges: &[TokenRange], speeds: &[f64]) -> f64 {
        let total = ranges.last().map_or(0, TokenRange::end);
        let members = ranges.iter().zip(speeds);
        members
            .map(|(range, speed)| {
                let (first, tokens) = (usize::from(range.first), usize::from(range.tokens));
                self.work(first, tokens, total) / speed
            })
            .fold(0.0, f64::max)
    }
}

fn split_causal(
    total: u16,
    speeds: &[f64],
    costs: &Costs,
) -> Result<Vec<TokenRange>, PartitionError> {
    check_speeds(total, speeds)?;
    let all = usize::from(total);
    // The tokens a member can compute grow with the time, so bisection finds the time in which all members compute all tokens.
    let slowest = speeds.iter().copied().fold(f64::INFINITY, f64::min);
    let (mut low, mut high) = (0.0, costs.work(0, all, all) / slowest);
    for _ in 0..64 {
        let time = low + (high - low) / 2.0;
        if assign(all, speeds, costs, time).1 {
            high = time;
        } else {
            low = time;
        }
    }
    Ok(assign(all, speeds, costs, high).0)
}

/// Ranges that members finish in `time`, and whether the last member does too, which gets the remaining tokens.
fn assign(total: usize, speeds: &[f64], costs: &Costs, time: f64) -> (Vec<TokenRange>, bool) {
    let mut first = 0;
    let mut in_time = true;
    let ranges = speeds.iter().enumerate().map(|(member, speed)| {
        // Each later member needs one token.
        let later = speeds.len() - 1 - member;
        let available = total - first - later;
        let fits = |tokens: &usize| costs.work(first, *tokens, total) <= time * speed;
        let tokens = if later == 0 {
            in_time = fits(&available);
            available
        } else {
            largest(available, fits)
        };
        let range = TokenRange {
            first: first as u16,
            tokens: tokens as u16,
        };
        first += tokens;
        range
    });
    (ranges.collect(), in_time)
}

/// The largest number from 1 to `limit` that fits, or 1; `fits` must not hold for a number above one for which it does not.
fn largest(limit: usize, fits: impl Fn(&usize) -> bool) -> usize {
    let (mut low, mut high) = (1, limit);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(&middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::check;

    fn costs() -> Costs {
        let shape = Shape {
            hidden: 576,
            heads: 9,
            kv_heads: 3,
            head_dim: 64,
            blocks: 30,
            tokens: 2044,
            class_tokens: 4,
        };
        Costs::of(&shape, 288, true)
    }

    fn tokens(total: u16, speeds: &[f64]) -> Vec<u16> {
        let ranges = costs().split(total, speeds).unwrap();
        check(total, &ranges).unwrap();
        ranges.iter().map(|range| range.tokens).collect()
    }

    #[test]
    fn later_members_own_less() {
        for total in [12, 124, 508, 2044] {
            for members in 2..=5 {
                let owned = tokens(total, &vec![1.0; members]);
                assert!(owned.is_sorted_by(|a, b| a + 1 >= *b), "{owned:?}");
            }
        }
        let owned = tokens(2044, &[1.0; 4]);
        assert!(owned[0] > owned[3] + 20, "{owned:?}");
    }

    #[test]
    fn members_finish_together() {
        for speeds in [&[1.0, 1.0, 1.0][..], &[1.0, 2.0], &[0.5, 0.7, 1.9, 3.0]] {
            let ranges = costs().split(1000, speeds).unwrap();
            let time = |member: usize| {
                let range = ranges[member];
                let (first, tokens) = (usize::from(range.first), usize::from(range.tokens));
                costs().work(first, tokens, 1000) / speeds[member]
            };
            let times: Vec<f64> = (0..speeds.len()).map(time).collect();
            let slowest = costs().slowest(&ranges, speeds);
            // Rounding to whole tokens leaves a difference of about one.
            let token = costs().work(0, 1000, 1000) / 1000.0 * 2.0;
            for (time, speed) in times.iter().zip(speeds) {
                assert!(
                    slowest - time <= token / speed * speeds.len() as f64,
                    "{times:?}"
                );
            }
        }
    }

    #[test]
    fn each_member_owns_a_token_and_the_total_is_kept() {
        assert_eq!(tokens(3, &[1e-9, 1.0, 1e-9]), [1, 1, 1]);
        assert_eq!(tokens(1, &[5.0]), [1]);
        assert_eq!(tokens(256, &[1e9, 1e-9, 1e-9]), [254, 1, 1]);
        assert_eq!(tokens(256, &[1e-9, 1e-9, 1e9]), [1, 1, 254]);
    }

    #[test]
    fn too_few_tokens_and_bad_speeds_are_refused() {
        assert!(costs().split(1, &[1.0, 1.0]).is_err());
        assert!(costs().split(100, &[]).is_err());
        assert!(costs().split(100, &[1.0, f64::NAN]).is_err());
    }
}
