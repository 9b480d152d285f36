//! From the members' last block to the answer: features back and the head, or a head that members share.

use astra_bundle::HeadRows;

use super::request::{Member, Request};
use super::ways::Ways;
use super::{BULK, MESSAGE};
use astra_model::partition::HeadPartition;

/// Bits of a channel of features on their way to the head.
const FEATURE_BITS: f64 = 8.0;
/// Bits of a channel of features that are a halo.
const HALO_BITS: f64 = 4.0;
/// Bytes of a map's score on its way back, compressed: measured at 518 pixels as `tasks::lossless` says.
const SCORE: f64 = 0.43;

impl Request<'_> {
    /// When the answer is there.
    pub(super) fn end(&self, members: &mut [Member], ways: &mut Ways) -> f64 {
        let head = self.on_device(self.profile.head);
        if self.profile.causal {
            // The last member has the last token.
            return members.last().map_or(0.0, |last| last.clock) + head + self.profile.hop;
        }
        if let Some(form) = self.profile.head_rows {
            return self.end_together(form, members, ways);
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
            let arrival = ways.carry(number, 0, size, member.clock + packed);
            ready = ready.max(arrival) + packed;
        }
        ready + head
    }

    /// The same where members share the head: halos out, the rows of each scored, and scores back.
    fn end_together(&self, form: HeadRows, members: &mut [Member], ways: &mut Ways) -> f64 {
        let side = self.profile.shape.tokens.isqrt().max(1);
        let rows = HeadPartition::new(self.ranges, side, form.halo);
        let bytes = self.feature_bytes(HALO_BITS) * BULK;
        let mut arrivals = vec![0.0_f64; members.len()];
        for (sender, range) in self.ranges.iter().enumerate() {
            let ready = members.get(sender).map_or(0.0, |member| member.clock);
            for (receiver, arrival) in arrivals.iter_mut().enumerate() {
                let tokens = rows.tokens_in(receiver, *range).len();
                if receiver != sender && tokens > 0 {
                    let size = bytes * tokens as f64 + MESSAGE;
                    *arrival = arrival.max(ways.carry(sender, receiver, size, ready));
                }
            }
        }
        let mut last = 0.0_f64;
        for (number, (member, arrival)) in members.iter_mut().zip(arrivals).enumerate() {
            member.wait_until(arrival);
            let scored = rows.tokens(number).len() as f64 / (side * side) as f64;
            member.compute(self.on_device(self.profile.head * scored));
            let values = rows.of(number).len() * side * form.scale * form.scale;
            let value = if self.case.rung == 0 { 4.0 } else { SCORE };
            let size = values as f64 * value * BULK + MESSAGE;
            last = last.max(match number {
                0 => member.clock,
                _ => ways.carry(number, 0, size, member.clock),
            });
        }
        last
    }

    /// Bytes of a token's features, at so many bits a channel unless they travel as they are.
    fn feature_bytes(&self, bits: f64) -> f64 {
        let width = self.profile.shape.hidden as f64;
        if self.case.rung == 0 {
            4.0 * width
        } else {
            width * bits / 8.0 + 8.0
        }
    }
}
