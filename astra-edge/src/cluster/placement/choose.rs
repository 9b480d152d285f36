//! Members and token ranges of a request, by the speeds of the devices.

use astra_wire::MAX_MEMBERS;

use crate::cluster::membership::roster::Candidate;
use astra_model::partition;
use astra_model::partition::{PartitionError, TokenRange};

/// What a placement has to fulfil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementRequest {
    /// Tokens to divide.
    pub tokens: u16,
    /// Most members, this device included; 0 for as many as there are.
    pub max_members: usize,
    /// Tokens of each member in their order, where the client gives them.
    pub shares: Option<Vec<u16>>,
}

/// Members in their order, and the tokens each owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// The members; a member's number is its index.
    pub members: Vec<Candidate>,
    /// Token range of each.
    pub ranges: Vec<TokenRange>,
    /// The number of this device.
    pub me: usize,
}

/// Why there is no placement.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum PlacementError {
    /// Fewer usable devices than ranges.
    #[error(
        "token ranges: found those of {wanted} members, expected at most {found}, the devices that can be used"
    )]
    TooFew {
        /// Number of ranges.
        wanted: usize,
        /// Usable devices, this one included.
        found: usize,
    },
    /// The ranges do not cover the tokens.
    #[error(transparent)]
    Plan(#[from] PartitionError),
}

impl Placement {
    /// Whether this device is the only member.
    pub fn is_local(&self) -> bool {
        self.members.len() < 2
    }
}

/// Chooses members among `own`, this device, and `others`, and divides the tokens by speed.
///
/// This device and the fastest others become members, in the order of their names, so that every coordinator makes the same plan. A
/// device so slow that its share is less than half a token is left out.
///
/// # Errors
/// The shares of the request do not fit the devices or the tokens.
pub fn choose(
    own: &Candidate,
    others: &[Candidate],
    request: &PlacementRequest,
) -> Result<Placement, PlacementError> {
    let most = most_members(request);
    let wanted = request.shares.as_ref().map_or(most, Vec::len);
    if request.shares.is_some() && wanted > (others.len() + 1).min(most) {
        return Err(PlacementError::TooFew {
            wanted,
            found: (others.len() + 1).min(most),
        });
    }
    let mut others = others.to_vec();
    fill_in_speeds(own, &mut others);
    // Ids decide between equal speeds, so that the placement is the same each time.
    others.sort_by(|a, b| b.speed.total_cmp(&a.speed).then(a.device.cmp(&b.device)));
    others.truncate(wanted.saturating_sub(1));
    let mut members = others;
    members.push(own.clone());
    if request.shares.is_none() {
        drop_the_too_slow(own, &mut members, request.tokens);
    }
    members.sort_by(by_name);
    let ranges = match &request.shares {
        Some(shares) => given_ranges(request.tokens, shares)?,
        None => partition::split(request.tokens, &weights(&members))?,
    };
    Ok(Placement::of(own, members, ranges))
}

impl Placement {
    /// This device as the only member, without tokens to divide.
    pub(crate) fn local(own: Candidate) -> Self {
        Self {
            members: vec![own],
            ranges: Vec::new(),
            me: 0,
        }
    }

    pub(crate) fn of(own: &Candidate, members: Vec<Candidate>, ranges: Vec<TokenRange>) -> Self {
        let mut places = members.iter();
        let me = places.position(|member| member.device == own.device);
        Self {
            me: me.unwrap_or_default(),
            members,
            ranges,
        }
    }
}

pub(crate) fn by_name(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    a.name.cmp(&b.name).then(a.device.cmp(&b.device))
}

/// Largest number of members, at least one.
pub(crate) fn most_members(request: &PlacementRequest) -> usize {
    let most = match request.max_members {
        0 => MAX_MEMBERS,
        given => given.min(MAX_MEMBERS),
    };
    most.min(usize::from(request.tokens)).max(1)
}

/// Devices whose speed is not measured yet are assumed to be as fast as this one.
pub(crate) fn fill_in_speeds(own: &Candidate, others: &mut [Candidate]) {
    for other in others.iter_mut().filter(|other| other.speed <= 0.0) {
        other.speed = own.speed;
    }
}

pub(crate) fn weights(members: &[Candidate]) -> Vec<f64> {
    let speed = |member: &Candidate| {
        if member.speed > 0.0 {
            member.speed
        } else {
            1.0
        }
    };
    members.iter().map(speed).collect()
}

/// Removes the slowest member until each share rounds to at least one token.
fn drop_the_too_slow(own: &Candidate, members: &mut Vec<Candidate>, tokens: u16) {
    loop {
        let weights = weights(members);
        let sum: f64 = weights.iter().sum();
        let slowest = (members.iter().zip(&weights).enumerate())
            .filter(|(_, (member, _))| member.device != own.device)
            .min_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b));
        match slowest {
            Some((place, (_, weight))) if weight / sum * f64::from(tokens) < 0.5 => {
                members.remove(place);
            }
            _ => return,
        }
    }
}

fn given_ranges(tokens: u16, shares: &[u16]) -> Result<Vec<TokenRange>, PartitionError> {
    let mut first = 0_u16;
    let ranges: Vec<TokenRange> = shares
        .iter()
        .map(|&tokens| {
            let range = TokenRange { first, tokens };
            first = first.saturating_add(tokens);
            range
        })
        .collect();
    partition::check(tokens, &ranges)?;
    Ok(ranges)
}

#[cfg(test)]
pub(crate) mod tests {
    use astra_wire::DeviceId;

    use super::*;

    pub(crate) fn candidate(name: &str, speed: f64) -> Candidate {
        let mut id = [0; 16];
        id[..name.len()].copy_from_slice(name.as_bytes());
        Candidate {
            device: DeviceId(id),
            name: name.to_owned(),
            speed,
            since: 1,
        }
    }

    pub(crate) fn request(tokens: u16) -> PlacementRequest {
        PlacementRequest {
            tokens,
            max_members: 0,
            shares: None,
        }
    }

    pub(crate) fn summary(placement: &Placement) -> Vec<(&str, u16)> {
        let names = placement.members.iter().map(|member| member.name.as_str());
        names
            .zip(placement.ranges.iter().map(|range| range.tokens))
            .collect()
    }

    #[test]
    fn members_stand_in_order_of_their_names() {
        let placement = choose(
            &candidate("b", 1.0),
            &[candidate("c", 2.0), candidate("a", 1.0)],
            &request(256),
        )
        .unwrap();
        assert_eq!(summary(&placement), [("a", 64), ("b", 64), ("c", 128)]);
        assert_eq!(placement.me, 1);
        assert!(!placement.is_local());
    }

    #[test]
    fn every_coordinator_makes_the_same_plan() {
        let all = [
            candidate("a", 3.0),
            candidate("b", 1.0),
            candidate("c", 2.0),
        ];
        let plans: Vec<Placement> = (0..3)
            .map(|own| {
                let mut others = all.to_vec();
                let own = others.remove(own);
                choose(&own, &others, &request(100)).unwrap()
            })
            .collect();
        for (place, plan) in plans.iter().enumerate() {
            assert_eq!(plan.ranges, plans[0].ranges);
            assert_eq!(plan.me, place);
        }
    }

    #[test]
    fn nobody_else_means_alone() {
        let placement = choose(&candidate("a", 0.0), &[], &request(256)).unwrap();
        assert_eq!(summary(&placement), [("a", 256)]);
        assert!(placement.is_local());
    }

    #[test]
    fn the_fastest_are_taken_and_this_device_always() {
        let others = [
            candidate("b", 5.0),
            candidate("c", 9.0),
            candidate("d", 7.0),
        ];
        let request = PlacementRequest {
            max_members: 3,
            ..request(210)
        };
        let placement = choose(&candidate("a", 5.0), &others, &request).unwrap();
        assert_eq!(summary(&placement), [("a", 50), ("c", 90), ("d", 70)]);
        let most: Vec<Candidate> = (0..40)
            .map(|i| candidate(&format!("x{i:02}"), 1.0))
            .collect();
        let placement = choose(&candidate("y", 1.0), &most, &self::request(256)).unwrap();
        assert_eq!(placement.members.len(), MAX_MEMBERS);
        assert_eq!(placement.me, MAX_MEMBERS - 1);
    }

    #[test]
    fn who_would_own_nothing_is_left_out() {
        let others = [candidate("b", 0.001), candidate("c", 1.0)];
        let placement = choose(&candidate("a", 1.0), &others, &request(256)).unwrap();
        assert_eq!(summary(&placement), [("a", 128), ("c", 128)]);
        let slow = choose(&candidate("a", 0.001), &others[1..], &request(256)).unwrap();
        assert_eq!(
            summary(&slow),
            [("a", 1), ("c", 255)],
            "the coordinator stays"
        );
        let few = choose(
            &candidate("a", 1.0),
            &[candidate("b", 1.0), candidate("c", 1.0)],
            &request(2),
        );
        assert_eq!(few.unwrap().members.len(), 2, "no more members than tokens");
    }

    #[test]
    fn a_speed_not_measured_counts_as_ours() {
        let placement =
            choose(&candidate("a", 2.0), &[candidate("b", 0.0)], &request(256)).unwrap();
        assert_eq!(summary(&placement), [("a", 128), ("b", 128)]);
    }

    #[test]
    fn shares_can_be_asked_for() {
        let others = [candidate("b", 1.0), candidate("c", 1.0)];
        let request = |shares: &[u16]| {
            let request = PlacementRequest {
                shares: Some(shares.to_vec()),
                ..request(256)
            };
            choose(&candidate("a", 1.0), &others, &request)
        };
        assert_eq!(
            summary(&request(&[100, 80, 76]).unwrap()),
            [("a", 100), ("b", 80), ("c", 76)]
        );
        assert_eq!(request(&[1, 255]).unwrap().members.len(), 2);
        assert_eq!(
            request(&[64, 64, 64, 64]),
            Err(PlacementError::TooFew {
                wanted: 4,
                found: 3
            })
        );
        assert!(matches!(
            request(&[100, 80, 75]),
            Err(PlacementError::Plan(PartitionError::Total { .. }))
        ));
        assert!(matches!(
            request(&[256, 0]),
            Err(PlacementError::Plan(PartitionError::Gap { .. }))
        ));
        assert!(request(&[]).is_err());
        assert!(request(&[65535, 65535]).is_err());
    }
}
