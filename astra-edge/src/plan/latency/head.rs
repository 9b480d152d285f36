//! From the members' last block to the output: collecting features and computing the head, or a distributed head.

use astra_bundle::HeadRows;

use super::links::Links;
use super::request::{Member, Request};
use super::{BULK, MESSAGE};
use astra_model::partition::HeadPartition;

/// Bits per channel of features that are sent to the coordinator.
const FEATURE_BITS: f64 = 8.0;
/// Bits per channel of features in a halo.
const HALO_BITS: f64 = 4.0;
/// Bytes per compressed score of a map, measured at 518 pixels (see `tasks::lossless`).
const SCORE: f64 = 0.43;

impl Request<'_> {
    /// When the output is complete.
    pub(super) fn end(&self, members: &mut [Member], links: &mut Links) -> f64 {
        let head = self.on_device(self.profile.head);
        if self.profile.causal {
            // The last member computes the last token.
            return members.last().map_or(0.0, |last| last.clock) + head + self.profile.hop;
        }
        if let Some(rows) = self.profile.head_rows {
            return self.end_distributed(rows, members, links);
        }
        let bytes = self.feature_bytes(FEATURE_BITS);
        let mut ready = members.first().map_or(0.0, |first| first.clock);
        let mut order: Vec<usize> = (1..members.len()).collect();
        let clock = |number: &usize| members.get(*number).map_or(0.0, |member| member.clock);
        order.sort_by(|a, b| clock(a).total_cmp(&clock(b)));
        for number in order {
            let (Some(member), Some(range)) = (members.get(number), self.ranges.get(number)) else {
                continue;
            };
            let packed = self.on_device(self.profile.share.at(range.tokens.into()) / 2.0);
            let size = bytes * f64::from(range.tokens) * BULK;
            let arrival = links.send(number, 0, size, member.clock + packed);
            ready = ready.max(arrival) + packed;
        }
        ready + head
    }

    /// The same for a distributed head: members exchange halos, compute scores of their rows, and send them to the coordinator.
    fn end_distributed(&self, head: HeadRows, members: &mut [Member], links: &mut Links) -> f64 {
        let side = self.profile.shape.tokens.isqrt().max(1);
        let rows = HeadPartition::new(self.ranges, side, head.halo);
        let bytes = self.feature_bytes(HALO_BITS) * BULK;
        let mut arrivals = vec![0.0_f64; members.len()];
        for (sender, range) in self.ranges.iter().enumerate() {
            let ready = members.get(sender).map_or(0.0, |member| member.clock);
            for (receiver, arrival) in arrivals.iter_mut().enumerate() {
                let tokens = rows.tokens_in(receiver, *range).len();
                if receiver != sender && tokens > 0 {
                    let size = bytes * tokens as f64 + MESSAGE;
                    *arrival = arrival.max(links.send(sender, receiver, size, ready));
                }
            }
        }
        let mut last = 0.0_f64;
        for (number, (member, arrival)) in members.iter_mut().zip(arrivals).enumerate() {
            member.wait_until(arrival);
            let scored = rows.tokens(number).len() as f64 / (side * side) as f64;
            member.compute(self.on_device(self.profile.head * scored));
            let values = rows.of(number).len() * side * head.scale * head.scale;
            let value = if self.case.rung == 0 { 4.0 } else { SCORE };
            let size = values as f64 * value * BULK + MESSAGE;
            last = last.max(match number {
                0 => member.clock,
                _ => links.send(number, 0, size, member.clock),
            });
        }
        last
    }

    /// Bytes of a token's features at `bits` bits per channel, or as float32 in exact mode.
    fn feature_bytes(&self, bits: f64) -> f64 {
        let width = self.profile.shape.hidden as f64;
        if self.case.rung == 0 {
            4.0 * width
        } else {
            width * bits / 8.0 + 8.0
        }
    }
}
