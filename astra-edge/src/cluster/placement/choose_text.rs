//! Members and token ranges of a text, as many members as make it fastest.

use crate::cluster::membership::roster::Candidate;
use crate::cluster::placement::choose::{
    Placement, PlacementError, PlacementRequest, by_name, choose, fill_in_speeds, most_members,
    weights,
};
use astra_model::partition::{Costs, TokenRange};

/// Seconds that the exchange of codes adds to each block: the network, and waiting for it.
const EXCHANGE: f64 = 1e-3;

/// Costs of a language model or text encoder.
#[derive(Clone, Copy, Debug)]
pub struct TextModel {
    /// Costs of token ranges.
    pub costs: Costs,
    /// Whether attention is causal.
    pub causal: bool,
    /// Transformer layers.
    pub blocks: usize,
    /// Work of the text that devices measure their speed with.
    pub measured: f64,
}

/// Chooses as many members as make a text fastest, possibly one.
///
/// Members of a causal model are in ascending order of speed, so that the fastest owns the last tokens and generates; where the client
/// gives their shares, they are in the order of their names.
///
/// # Errors
/// The shares of the request do not fit the devices or the tokens.
pub fn choose_for_text(
    own: &Candidate,
    others: &[Candidate],
    request: &PlacementRequest,
    model: &TextModel,
) -> Result<Placement, PlacementError> {
    if request.shares.is_some() {
        return choose(own, others, request);
    }
    let mut others = others.to_vec();
    fill_in_speeds(own, &mut others);
    others.sort_by(|a, b| b.speed.total_cmp(&a.speed).then(a.device.cmp(&b.device)));
    let mut best: Option<(f64, Placement)> = None;
    for count in 1..=most_members(request).min(others.len() + 1) {
        let mut members: Vec<Candidate> = others.iter().take(count - 1).cloned().collect();
        members.push(own.clone());
        if model.causal {
            members.sort_by(|a, b| a.speed.total_cmp(&b.speed).then(by_name(a, b)));
        } else {
            members.sort_by(by_name);
        }
        let speeds = weights(&members);
        let ranges = model.costs.split(request.tokens, &speeds)?;
        let seconds = model.seconds(&ranges, &speeds);
        if best.as_ref().is_none_or(|(fastest, _)| seconds < *fastest) {
            best = Some((seconds, Placement::of(own, members, ranges)));
        }
    }
    match best {
        Some((_, placement)) => Ok(placement),
        // This device can always compute on its own.
        None => choose(own, &[], request),
    }
}

impl TextModel {
    /// Seconds until the slowest of members of these speeds has computed its range.
    pub fn seconds(&self, ranges: &[TokenRange], speeds: &[f64]) -> f64 {
        let exchange = if ranges.len() > 1 {
            self.blocks as f64 * EXCHANGE
        } else {
            0.0
        };
        self.costs.slowest(ranges, speeds) / self.measured + exchange
    }

    /// Seconds that a device needs for tokens `first..total` of a text, with keys and values of those before in its cache.
    pub fn seconds_behind(&self, first: usize, total: usize, speed: f64) -> f64 {
        let all = self.costs.work(0, total, total);
        let there = self.costs.work(0, first, first);
        (all - there).max(0.0) / speed / self.measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::placement::choose::tests::{candidate, request, summary};
    use astra_model::partition;

    fn text_model(causal: bool) -> TextModel {
        let shape = astra_bundle::Shape {
            hidden: 576,
            heads: 9,
            kv_heads: 3,
            head_dim: 64,
            blocks: 30,
            tokens: 2044,
            class_tokens: 4,
        };
        let costs = Costs::of(&shape, 288, causal);
        TextModel {
            costs,
            causal,
            blocks: 30,
            measured: costs.work(0, 124, 124),
        }
    }

    #[test]
    fn the_fastest_has_the_last_tokens_of_a_causal_text() {
        let own = candidate("b", 3.0);
        let others = [candidate("a", 4.0), candidate("c", 2.0)];
        let placement = choose_for_text(&own, &others, &request(508), &text_model(true)).unwrap();
        let names: Vec<&str> = placement.members.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
        assert_eq!(placement.me, 1);
        partition::check(508, &placement.ranges).unwrap();
        assert!(placement.ranges[0].tokens < placement.ranges[2].tokens);
        let shares = PlacementRequest {
            shares: Some(vec![100, 200, 208]),
            ..request(508)
        };
        let placement = choose_for_text(&own, &others, &shares, &text_model(true)).unwrap();
        assert_eq!(summary(&placement), [("a", 100), ("b", 200), ("c", 208)]);
    }

    #[test]
    fn a_text_goes_to_as_many_as_make_it_faster() {
        let others = [candidate("b", 4.0), candidate("c", 4.0)];
        let members = |tokens, causal| {
            let own = candidate("a", 4.0);
            let placement = choose_for_text(&own, &others, &request(tokens), &text_model(causal));
            placement.unwrap().members.len()
        };
        for causal in [true, false] {
            assert_eq!(members(8, causal), 1, "the exchange takes longer");
            assert_eq!(members(508, causal), 3);
        }
        // A device too slow to help is left out.
        let slow = [candidate("b", 0.01)];
        let own = candidate("a", 4.0);
        let placement = choose_for_text(&own, &slow, &request(508), &text_model(true)).unwrap();
        assert_eq!(placement.members.len(), 1);
        let few = PlacementRequest {
            max_members: 2,
            ..request(508)
        };
        let placement = choose_for_text(&own, &others, &few, &text_model(true)).unwrap();
        assert_eq!(placement.members.len(), 2);
    }
}
