//! The members' shares put together: class tokens averaged, patches in their places, holes filled.

use crate::plan::TokenRange;
use crate::simulate::mean;

/// One member's share of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Share {
    /// Its copy of the class token after the final norm, [D]; of a text its share of the vector.
    pub cls: Vec<f32>,
    /// Its tokens after the final norm: [t, D].
    pub features: Vec<f32>,
}

/// The features of the whole input.
#[derive(Clone, Debug, PartialEq)]
pub struct Assembled {
    /// Mean of the class tokens there are: [D].
    pub cls: Vec<f32>,
    /// Patch tokens: [T, D].
    pub patches: Vec<f32>,
    /// Tokens whose features did not come; they hold the mean of those that did.
    pub missing: Vec<TokenRange>,
}

/// Puts shares together by member; `hidden` is D. Shares that did not come are `None`. Returns `None` if none came, or one has
/// not the length its range says.
///
/// A head that looks at all patches needs something in each place: the mean of the others says the least.
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
    if copies.is_empty() {
        return None;
    }
    fill(&mut patches, &missing, total, hidden)?;
    Some(Assembled {
        cls: mean(&copies),
        patches,
        missing,
    })
}

fn fill(patches: &mut [f32], missing: &[TokenRange], total: usize, hidden: usize) -> Option<()> {
    let holes: usize = missing.iter().map(|range| usize::from(range.tokens)).sum();
    if holes == 0 {
        return Some(());
    }
    // The holes are still zero, so they add nothing.
    let mut sum = vec![0.0; hidden];
    for row in patches.chunks_exact(hidden.max(1)) {
        for (total, value) in sum.iter_mut().zip(row) {
            *total += value;
        }
    }
    let present = (total - holes).max(1) as f32;
    sum.iter_mut().for_each(|value| *value /= present);
    for range in missing {
        for row in rows_mut(patches, range, hidden)?.chunks_exact_mut(hidden.max(1)) {
            row.copy_from_slice(&sum);
        }
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
        })
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
