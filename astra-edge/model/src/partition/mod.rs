//! Division of the tokens of one input among members.

mod costs;
mod head_partition;
mod row_chunks;

pub use costs::Costs;
pub use head_partition::HeadPartition;
pub use row_chunks::RowChunks;

/// Contiguous tokens that a member owns, not counting class tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenRange {
    /// Index of the first token.
    pub first: u16,
    /// Number of tokens.
    pub tokens: u16,
}

impl TokenRange {
    /// One past the last token.
    pub fn end(&self) -> usize {
        usize::from(self.first) + usize::from(self.tokens)
    }

    /// The tokens as indexes.
    pub fn indexes(&self) -> core::ops::Range<usize> {
        usize::from(self.first)..self.end()
    }

    /// Number of other members' tokens, of `total`, that these attend to.
    pub fn remote_tokens(&self, total: usize, causal: bool) -> usize {
        if causal {
            usize::from(self.first)
        } else {
            total.saturating_sub(usize::from(self.tokens))
        }
    }
}

/// Tokens cannot be divided, or ranges do not cover them.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum PartitionError {
    /// More members than tokens, or no members.
    #[error(
        "members: found {members} for {tokens} tokens, expected at least one, and a token for each"
    )]
    Members {
        /// Members.
        members: usize,
        /// Tokens.
        tokens: u16,
    },
    /// A speed that is not a positive number.
    #[error("speed of member {member}: found {found}, expected a positive number")]
    Speed {
        /// The member.
        member: usize,
        /// Its speed.
        found: f64,
    },
    /// A range that is empty or does not begin where the range before it ends.
    #[error(
        "tokens of member {member}: found {first} to {end}, expected to start at {expected} and hold a token"
    )]
    Gap {
        /// The member.
        member: usize,
        /// Its first token.
        first: usize,
        /// One past its last token.
        end: usize,
        /// Expected first token.
        expected: usize,
    },
    /// Ranges that do not end at the last token.
    #[error("tokens of all members: found {found}, expected {expected}")]
    Total {
        /// End of the last range.
        found: usize,
        /// Tokens of the input.
        expected: usize,
    },
}

/// Divides `total` tokens among members in proportion to their speeds, contiguous and in order, at least one each.
///
/// # Errors
/// There are more members than tokens or no members, or a speed is not a positive number.
pub fn split(total: u16, speeds: &[f64]) -> Result<Vec<TokenRange>, PartitionError> {
    check_speeds(total, speeds)?;
    let sum: f64 = speeds.iter().sum();
    let mut ranges = Vec::with_capacity(speeds.len());
    let (mut first, mut fraction) = (0_u16, 0.0);
    for (member, speed) in speeds.iter().enumerate() {
        fraction += speed / sum;
        // Each later member needs one token. There are fewer members than tokens, so the casts are exact.
        let later = (speeds.len() - 1 - member) as u16;
        let end = (fraction * f64::from(total)).round() as u16;
        let end = if later == 0 {
            total
        } else {
            end.clamp(first + 1, total - later)
        };
        ranges.push(TokenRange {
            first,
            tokens: end - first,
        });
        first = end;
    }
    Ok(ranges)
}

fn check_speeds(total: u16, speeds: &[f64]) -> Result<(), PartitionError> {
    if speeds.is_empty() || speeds.len() > usize::from(total) {
        return Err(PartitionError::Members {
            members: speeds.len(),
            tokens: total,
        });
    }
    let mut members = speeds.iter().enumerate();
    match members.find(|(_, speed)| !speed.is_finite() || **speed <= 0.0) {
        Some((member, &found)) => Err(PartitionError::Speed { member, found }),
        None => Ok(()),
    }
}

/// Checks that ranges are contiguous from token 0 to `total`, none of them empty.
///
/// # Errors
/// The first range that is empty or not contiguous, or the total.
pub fn check(total: u16, ranges: &[TokenRange]) -> Result<(), PartitionError> {
    let mut expected = 0;
    for (member, range) in ranges.iter().enumerate() {
        if usize::from(range.first) != expected || range.tokens == 0 {
            return Err(PartitionError::Gap {
                member,
                first: usize::from(range.first),
                end: range.end(),
                expected,
            });
        }
        expected = range.end();
    }
    if expected == usize::from(total) {
        return Ok(());
    }
    Err(PartitionError::Total {
        found: expected,
        expected: usize::from(total),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(total: u16, speeds: &[f64]) -> Vec<u16> {
        let ranges = split(total, speeds).unwrap();
        check(total, &ranges).unwrap();
        ranges.iter().map(|range| range.tokens).collect()
    }

    #[test]
    fn tokens_are_proportional_to_speed() {
        assert_eq!(tokens(256, &[1.0]), [256]);
        assert_eq!(tokens(256, &[1.0, 1.0, 1.0]), [85, 86, 85]);
        assert_eq!(tokens(256, &[3.0, 1.0]), [192, 64]);
        assert_eq!(tokens(1369, &[1.0; 4]), [342, 343, 342, 342]);
    }

    #[test]
    fn the_slowest_still_owns_a_token() {
        assert_eq!(tokens(3, &[1e-9, 1.0, 1e-9]), [1, 1, 1]);
        assert_eq!(tokens(256, &[1e9, 1e-9, 1e-9]), [254, 1, 1]);
        assert_eq!(tokens(256, &[1e-9, 1e-9, 1e9]), [1, 1, 254]);
    }

    #[test]
    fn bad_counts_and_speeds_are_refused() {
        let members = |members, tokens| Err(PartitionError::Members { members, tokens });
        assert_eq!(split(256, &[]), members(0, 256));
        assert_eq!(split(1, &[1.0, 1.0]), members(2, 1));
        assert_eq!(
            split(256, &[1.0, 0.0]),
            Err(PartitionError::Speed {
                member: 1,
                found: 0.0
            })
        );
        assert!(split(256, &[f64::NAN]).is_err());
        assert!(split(256, &[f64::INFINITY]).is_err());
    }

    #[test]
    fn ranges_must_be_contiguous() {
        let range = |first, tokens| TokenRange { first, tokens };
        assert_eq!(check(10, &[range(0, 4), range(4, 6)]), Ok(()));
        assert!(matches!(
            check(10, &[range(0, 4), range(5, 5)]),
            Err(PartitionError::Gap {
                member: 1,
                expected: 4,
                ..
            })
        ));
        assert!(matches!(
            check(10, &[range(0, 10), range(10, 0)]),
            Err(PartitionError::Gap { member: 1, .. })
        ));
        assert_eq!(
            check(10, &[range(0, 9)]),
            Err(PartitionError::Total {
                found: 9,
                expected: 10
            })
        );
    }
}
