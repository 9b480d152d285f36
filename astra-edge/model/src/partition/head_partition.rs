//! Rows of patches that each member computes the head for.
//!
//! A row belongs to the member whose range contains most of it. To compute the scores of its rows a member also reads a halo of rows above
//! and below, as deep as the head's receptive field.

use core::ops::Range;

use super::TokenRange;

/// Rows of patches by member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadPartition {
    side: usize,
    halo: usize,
    /// By member: contiguous, and some may be empty.
    rows: Vec<Range<usize>>,
}

impl HeadPartition {
    /// Rows of a grid of `side` x `side` patches whose tokens are divided into `ranges`, with `halo` rows of halo on either side.
    ///
    /// No member begins less than a halo from the first row or ends less than a halo from the last, so that each halo is complete or
    /// absent.
    pub fn new(ranges: &[TokenRange], side: usize, halo: usize) -> Self {
        let start = |range: &TokenRange| {
            let row = (usize::from(range.first) + side / 2)
                .checked_div(side)
                .unwrap_or(0);
            snap(row.min(side), side, halo)
        };
        let ends = ranges.iter().skip(1).map(start).chain([side]);
        let mut first = 0;
        let rows = ends.map(|end| {
            let rows = first..end;
            first = end;
            rows
        });
        Self {
            side,
            halo,
            rows: rows.collect(),
        }
    }

    /// Rows that a member computes scores for; empty for one that computes none.
    pub fn of(&self, member: usize) -> Range<usize> {
        self.rows.get(member).cloned().unwrap_or_default()
    }

    /// Whether a member's rows have a halo above and below.
    pub fn halos(&self, member: usize) -> [bool; 2] {
        let rows = self.of(member);
        let has_halo = !rows.is_empty() && self.halo > 0;
        [has_halo && rows.start > 0, has_halo && rows.end < self.side]
    }

    /// Tokens that a member reads: those of its rows and halos.
    pub fn tokens(&self, member: usize) -> Range<usize> {
        let rows = self.of(member);
        if rows.is_empty() {
            return 0..0;
        }
        let [above, below] = self
            .halos(member)
            .map(|has_halo| usize::from(has_halo) * self.halo);
        (rows.start - above) * self.side..(rows.end + below) * self.side
    }

    /// Tokens in `range` that a member reads.
    pub fn tokens_in(&self, member: usize, range: TokenRange) -> Range<usize> {
        let (read, range) = (self.tokens(member), range.indexes());
        let first = read.start.max(range.start);
        first..read.end.min(range.end).max(first)
    }
}

/// The row where a member begins, moved to where halos are complete.
fn snap(row: usize, side: usize, halo: usize) -> usize {
    let nearer = |low: usize, high: usize| if row - low < high - row { low } else { high };
    if side < 2 * halo {
        return nearer(0, side);
    }
    if row < halo {
        nearer(0, halo)
    } else if row > side - halo {
        nearer(side - halo, side)
    } else {
        row
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(sizes: &[u16]) -> Vec<TokenRange> {
        let mut first = 0;
        let range = |&tokens: &u16| {
            let range = TokenRange { first, tokens };
            first += tokens;
            range
        };
        sizes.iter().map(range).collect()
    }

    #[test]
    fn rows_belong_to_the_member_with_most_of_them() {
        let ranges = ranges(&[343, 342, 342, 342]);
        let rows = HeadPartition::new(&ranges, 37, 2);
        assert_eq!((rows.of(0), rows.of(1)), (0..9, 9..19));
        assert_eq!((rows.of(2), rows.of(3)), (19..28, 28..37));
        assert_eq!(rows.halos(0), [false, true]);
        assert_eq!(rows.halos(1), [true, true]);
        assert_eq!(rows.tokens(1), 7 * 37..21 * 37);
        // Tokens that the second member reads of the first, and of the third.
        assert_eq!(rows.tokens_in(1, ranges[0]), 7 * 37..343);
        assert_eq!(rows.tokens_in(1, ranges[2]), 685..21 * 37);
        assert_eq!(rows.tokens_in(1, ranges[3]), 1027..1027);
    }

    #[test]
    fn a_member_of_few_tokens_has_no_rows() {
        let rows = HeadPartition::new(&ranges(&[1, 2, 3, 250]), 16, 2);
        assert_eq!(rows.tokens(0), 0..0);
        assert_eq!(rows.of(3), 0..16);
        assert_eq!(rows.halos(3), [false, false]);
    }

    proptest! {
        #[test]
        fn every_row_is_scored_once_and_halos_are_complete(
            sizes in prop::collection::vec(1_u16..200, 1..16),
            side in 1_usize..40,
            halo in 0_usize..6,
        ) {
            let ranges = ranges(&sizes);
            let rows = HeadPartition::new(&ranges, side, halo);
            let mut next = 0;
            for member in 0..ranges.len() {
                let own = rows.of(member);
                prop_assert_eq!(own.start, next);
                prop_assert!(own.end >= own.start);
                next = own.end;
                let tokens = rows.tokens(member);
                if own.is_empty() {
                    prop_assert!(tokens.is_empty());
                    continue;
                }
                let [above, below] = rows.halos(member);
                prop_assert_eq!(above, own.start > 0 && halo > 0);
                prop_assert_eq!(below, own.end < side && halo > 0);
                let (above, below) = (usize::from(above) * halo, usize::from(below) * halo);
                prop_assert_eq!(tokens.start + above * side, own.start * side);
                prop_assert_eq!(tokens.end, (own.end + below) * side);
                prop_assert!(tokens.end <= side * side);
            }
            prop_assert_eq!(next, side);
        }
    }
}
