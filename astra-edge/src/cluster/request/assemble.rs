//! The members' shares combined: class tokens averaged, patches in order, missing ones filled.

use astra_model::mean::{fill, mean};
use astra_model::partition::TokenRange;

use crate::cluster::member::share::Share;

/// The features of the whole input.
#[derive(Clone, Debug, PartialEq)]
pub struct Assembled {
    /// Mean of the members' class tokens, `[c * D]`.
    pub cls: Vec<f32>,
    /// Patch tokens, `[T, D]`.
    pub patches: Vec<f32>,
    /// Tokens whose features did not arrive; they hold the mean of the others.
    pub missing: Vec<TokenRange>,
}

/// Combines the shares by member; `hidden` is D, and shares that did not arrive are `None`. Returns `None` if none arrived, or the length
/// of one does not fit its range.
///
/// A head over all patches needs a value for each: the mean of the others changes the answer least.
pub fn assemble(
    ranges: &[TokenRange],
    shares: &[Option<Share>],
    hidden: usize,
) -> Option<Assembled> {
    let total = ranges.last().map_or(0, TokenRange::end);
    let mut patches = vec![0.0; total * hidden];
    let mut missing = Vec::new();
    let mut copies: Vec<&[f32]> = Vec::new();
    for (place, range) in ranges.iter().enumerate() {
        match shares.get(place).and_then(Option::as_ref) {
            Some(share) => {
                let rows = rows_mut(&mut patches, range, hidden)?;
                if share.features.len() != rows.len() {
                    return None;
                }
                rows.copy_from_slice(&share.features);
                copies.push(&share.cls);
            }
            None => missing.push(*range),
        }
    }
    fill_missing(&mut patches, &missing, shares, hidden)?;
    Some(Assembled {
        cls: mean(copies)?,
        patches,
        missing,
    })
}

/// Scores of a whole map, and the mean of the members' class tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Mean of the members' class tokens, `[c * D]`.
    pub cls: Vec<f32>,
    /// Scores, row by row.
    pub scores: Vec<f32>,
    /// Tokens of members whose scores did not arrive; these are the mean of the others.
    pub missing: Vec<TokenRange>,
}

/// Combines scores by member; `counts` are the numbers of scores of each, and shares that did not arrive are `None`. Returns `None` if
/// none arrived, or one has another count.
pub fn assemble_scores(
    ranges: &[TokenRange],
    counts: &[usize],
    shares: &[Option<Share>],
) -> Option<Scores> {
    let there = shares.iter().flatten();
    let copies: Vec<&[f32]> = there.clone().map(|share| share.cls.as_slice()).collect();
    let known = || {
        there
            .clone()
            .filter_map(|share| share.scores.as_ref())
            .flatten()
    };
    let mean_score = known().sum::<f32>() / known().count().max(1) as f32;
    let (mut scores, mut missing) = (Vec::new(), Vec::new());
    for (place, (range, &count)) in ranges.iter().zip(counts).enumerate() {
        match shares.get(place).and_then(Option::as_ref) {
            Some(share) => {
                let own = share.scores.as_ref().filter(|own| own.len() == count)?;
                scores.extend_from_slice(own);
            }
            None => {
                missing.push(*range);
                scores.resize(scores.len() + count, mean_score);
            }
        }
    }
    Some(Scores {
        cls: mean(copies)?,
        scores,
        missing,
    })
}

/// Fills rows that did not arrive with the mean of those that did.
fn fill_missing(
    patches: &mut [f32],
    missing: &[TokenRange],
    shares: &[Option<Share>],
    hidden: usize,
) -> Option<()> {
    if missing.is_empty() {
        return Some(());
    }
    let received = shares.iter().flatten();
    let rows = received.flat_map(|share| share.features.chunks_exact(hidden.max(1)));
    let mean = mean(rows)?;
    for range in missing {
        fill(rows_mut(patches, range, hidden)?, &mean)?;
    }
    Some(())
}

fn rows_mut<'a>(
    patches: &'a mut [f32],
    range: &TokenRange,
    hidden: usize,
) -> Option<&'a mut [f32]> {
    patches.get_mut(usize::from(range.first) * hidden..range.end() * hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGES: [TokenRange; 2] = [
        TokenRange {
            first: 0,
            tokens: 2,
        },
        TokenRange {
            first: 2,
            tokens: 1,
        },
    ];

    fn share(cls: &[f32], features: &[f32]) -> Option<Share> {
        Some(Share {
            cls: cls.to_vec(),
            features: features.to_vec(),
            scores: None,
        })
    }

    #[test]
    fn scores_follow_one_another_and_holes_get_their_mean() {
        let share = |cls: f32, scores: &[f32]| {
            Some(Share {
                cls: vec![cls],
                scores: Some(scores.to_vec()),
                ..Share::default()
            })
        };
        let shares = [share(1.0, &[1.0, 2.0]), share(3.0, &[3.0])];
        let whole = assemble_scores(&RANGES, &[2, 1], &shares).unwrap();
        assert_eq!((whole.cls, whole.scores), (vec![2.0], vec![1.0, 2.0, 3.0]));
        let whole = assemble_scores(&RANGES, &[2, 1], &[shares[0].clone(), None]).unwrap();
        assert_eq!((whole.cls, whole.scores), (vec![1.0], vec![1.0, 2.0, 1.5]));
        assert_eq!(whole.missing, [RANGES[1]]);
        assert_eq!(assemble_scores(&RANGES, &[1, 1], &shares), None);
        assert_eq!(assemble_scores(&RANGES, &[2, 1], &[None, None]), None);
    }

    #[test]
    fn shares_go_to_their_places() {
        let shares = [
            share(&[1.0, 2.0], &[1.0, 2.0, 3.0, 4.0]),
            share(&[3.0, 6.0], &[5.0, 6.0]),
        ];
        let whole = assemble(&RANGES, &shares, 2).unwrap();
        assert_eq!(whole.cls, [2.0, 4.0]);
        assert_eq!(whole.patches, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(whole.missing.is_empty());
    }

    #[test]
    fn holes_get_the_mean_of_what_is_there() {
        let shares = [share(&[1.0, 2.0], &[1.0, 2.0, 3.0, 4.0]), None];
        let whole = assemble(&RANGES, &shares, 2).unwrap();
        assert_eq!(whole.cls, [1.0, 2.0]);
        assert_eq!(whole.patches, [1.0, 2.0, 3.0, 4.0, 2.0, 3.0]);
        assert_eq!(whole.missing, [RANGES[1]]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(assemble(&RANGES, &[None, None], 2), None);
        assert_eq!(
            assemble(&RANGES, &[share(&[1.0], &[1.0, 2.0]), None], 2),
            None
        );
        assert_eq!(assemble(&[], &[], 2), None);
    }
}
