//! Simulation of the members' blocks.

use std::ops::Range;

use astra_wire::Layout;

use super::codes::Codes;
use super::links::Links;
use super::{BULK, Case, MESSAGE, Prediction};
use crate::plan::profile::{AttendSize, Profile, RungProfile};
use astra_model::partition::{RowChunks, TokenRange};

/// A request of several members.
pub(super) struct Request<'a> {
    pub(super) profile: &'a Profile,
    pub(super) rung: &'a RungProfile,
    /// Of the codes of each block.
    pub(super) layouts: &'a [Layout],
    pub(super) ranges: &'a [TokenRange],
    pub(super) case: &'a Case,
    /// Whether members compute their rows in several chunks.
    pub(super) chunked: bool,
}

/// Codes that a member sends for some of its tokens.
struct Sent {
    ready: f64,
    sender: usize,
    bytes: f64,
}

/// Time of a member, and what it was spent on.
#[derive(Clone, Copy, Default)]
pub(super) struct Member {
    pub(super) clock: f64,
    compute: f64,
    encode: f64,
    wait: f64,
}

impl Request<'_> {
    pub(super) fn run(&self) -> Prediction {
        let mut links = Links::new(self.case, self.profile.hop);
        let mut members = vec![Member::default(); self.ranges.len()];
        self.begin(&mut members, &mut links);
        let mut sent = self.first_codes(&mut members);
        for block in 0..self.profile.shape.blocks {
            let arrivals = self.deliver(sent, &mut links);
            sent = self.block(&mut members, &arrivals, block);
        }
        let latency_ms = self.end(&mut members, &mut links);
        let mean =
            |get: fn(&Member) -> f64| members.iter().map(get).sum::<f64>() / members.len() as f64;
        let (compute_ms, encode_ms, wait_ms) = (
            mean(|one| one.compute),
            mean(|one| one.encode),
            mean(|one| one.wait),
        );
        Prediction {
            latency_ms,
            compute_ms,
            encode_ms,
            wait_ms,
            rest_ms: latency_ms - compute_ms - encode_ms - wait_ms,
            ..Prediction::default()
        }
    }

    /// Milliseconds on a device for `milliseconds` of one core.
    pub(super) fn on_device(&self, milliseconds: f64) -> f64 {
        milliseconds / self.case.cores
    }

    /// The first member sends the input, and each member embeds its tokens.
    fn begin(&self, members: &mut [Member], links: &mut Links) {
        let mut ready = 0.0;
        for (number, range) in self.ranges.iter().enumerate().skip(1) {
            let tokens = usize::from(range.tokens);
            let (encode, decode, bytes) = match &self.profile.strip {
                Some(strip) => (
                    strip.encode.at(tokens),
                    strip.decode.at(tokens),
                    strip.bytes,
                ),
                None => (0.0, 0.0, 4.0),
            };
            ready += self.on_device(encode);
            let arrival = links.send(0, number, bytes * tokens as f64 * BULK + MESSAGE, ready);
            if let Some(member) = members.get_mut(number) {
                member.clock = arrival + self.on_device(decode);
            }
        }
        if let Some(first) = members.first_mut() {
            first.clock = ready;
        }
        for (member, range) in members.iter_mut().zip(self.ranges) {
            member.compute(self.on_device(self.profile.embed.at(range.tokens.into())));
        }
    }

    /// Codes of the first block, in a single chunk.
    fn first_codes(&self, members: &mut [Member]) -> Vec<Sent> {
        let mut sent = Vec::new();
        for (number, (member, range)) in members.iter_mut().zip(self.ranges).enumerate() {
            sent.extend(self.encode(member, number, 0, *range));
        }
        sent
    }

    /// Encodes and sends the tokens `range` for a block.
    fn encode(
        &self,
        member: &mut Member,
        sender: usize,
        block: usize,
        range: TokenRange,
    ) -> Option<Sent> {
        let receivers = self.receivers(sender).len();
        if receivers == 0 || range.tokens == 0 {
            return None;
        }
        let codes = self.codes(sender, block, range);
        let send = receivers as f64 * self.handling(&codes);
        // The base of the rung's curve is paid once for all tokens, not for each chunk.
        let encode = self.rung.encode.token * f64::from(range.tokens) + send;
        member.encode(self.on_device(encode));
        Some(Sent {
            ready: member.clock,
            sender,
            bytes: codes.bytes as f64 * BULK + codes.messages as f64 * MESSAGE,
        })
    }

    /// Size of the codes of the tokens `range` in a block, of which `predict` found a layout for each. Models have at most 255.
    fn codes(&self, sender: usize, block: usize, range: TokenRange) -> Codes {
        let layout = self.layouts.get(block);
        layout.map_or_else(Codes::default, |layout| {
            Codes::of(layout, block as u8, sender as u8, range)
        })
    }

    /// Processor time for sending them to one member, or for receiving them.
    fn handling(&self, codes: &Codes) -> f64 {
        let message = &self.profile.message;
        codes.messages as f64 * message.base + codes.bytes as f64 * message.token
    }

    /// When each member has received all its codes.
    fn deliver(&self, mut sent: Vec<Sent>, links: &mut Links) -> Vec<f64> {
        let mut arrivals = vec![0.0_f64; self.ranges.len()];
        // Codes that are ready first are sent first.
        sent.sort_by(|a, b| a.ready.total_cmp(&b.ready));
        for codes in sent {
            let receivers = self.receivers(codes.sender);
            for (receiver, arrival) in
                links.multicast(codes.sender, receivers, codes.bytes, codes.ready)
            {
                if let Some(last) = arrivals.get_mut(receiver) {
                    *last = last.max(arrival);
                }
            }
        }
        arrivals
    }

    /// Computes a block whose codes arrive at `arrivals`. Returns the codes for the next block.
    fn block(&self, members: &mut [Member], arrivals: &[f64], block: usize) -> Vec<Sent> {
        let mut sent = Vec::new();
        let members = members.iter_mut().zip(self.ranges).zip(arrivals);
        for (number, ((member, range), arrival)) in members.enumerate() {
            let tokens = usize::from(range.tokens);
            let total = self.ranges.last().map_or(0, TokenRange::end);
            let remote = range.remote_tokens(total, self.profile.causal);
            member.compute(self.on_device(self.profile.local.at(tokens)));
            member.compute(self.on_device(self.rung.expect.at(tokens + remote)));
            if remote > 0 {
                // Messages are received while the member waits, as far as it does.
                let received = member.clock + self.on_device(self.receiving(number, block));
                member.wait_until(arrival.max(received) + self.quota_delay());
                member.encode(self.on_device(self.rung.decode.at(remote)));
            }
            let class = self.profile.shape.class_tokens;
            let rows = AttendSize::of(class, tokens, remote, self.profile.causal);
            member.compute(self.on_device(self.rung.attend.at(rows)));
            let chunks = self.chunks(range);
            let mlp = self.on_device(self.profile.mlp.at(tokens));
            for chunk in 0..chunks.count() {
                let rows = chunks.rows(chunk).len();
                member.compute(mlp * rows as f64 / (class + tokens) as f64);
                if block + 1 < self.profile.shape.blocks {
                    let tokens = within(range, chunks.tokens(chunk));
                    sent.extend(self.encode(member, number, block + 1, tokens));
                }
            }
        }
        sent
    }

    /// How much later than the average the last member is, where every member waits for all others: a CPU quota suspends each for
    /// a part of every period, at independent times. The expected maximum of N uniform numbers is N / (N + 1) of the range, their
    /// mean half of it. Members of a causal text wait in a chain instead, where the delays overlap.
    fn quota_delay(&self) -> f64 {
        if self.profile.causal {
            return 0.0;
        }
        let members = self.ranges.len() as f64;
        (1.0 - self.case.cores) * self.case.quota_period * (members / (members + 1.0) - 0.5)
    }

    /// Members that receive a member's codes.
    fn receivers(&self, sender: usize) -> std::ops::Range<usize> {
        match self.profile.causal {
            true => sender + 1..self.ranges.len(),
            false => 0..self.ranges.len() - 1,
        }
    }

    /// Processor time of a member for receiving the codes of one block.
    fn receiving(&self, receiver: usize, block: usize) -> f64 {
        let senders = self.ranges.iter().enumerate();
        let senders = senders.filter(|(sender, _)| match self.profile.causal {
            true => *sender < receiver,
            false => *sender != receiver,
        });
        let times = senders.flat_map(|(sender, range)| {
            let chunks = self.chunks(range);
            let tokens = (0..chunks.count()).map(move |chunk| within(range, chunks.tokens(chunk)));
            tokens.map(move |tokens| self.handling(&self.codes(sender, block, tokens)))
        });
        times.sum()
    }

    fn chunks(&self, range: &TokenRange) -> RowChunks {
        let class = self.profile.shape.class_tokens;
        match self.chunked {
            true => RowChunks::new(class, range.tokens.into(), self.rung.chunk_tokens),
            false => RowChunks::single(class, range.tokens.into()),
        }
    }
}

/// Some tokens of a range, given from 0.
fn within(range: &TokenRange, tokens: Range<usize>) -> TokenRange {
    // At most the tokens of the range.
    TokenRange {
        first: range.first + tokens.start as u16,
        tokens: tokens.len() as u16,
    }
}

impl Member {
    pub(super) fn compute(&mut self, time: f64) {
        self.compute += time;
        self.clock += time;
    }

    fn encode(&mut self, time: f64) {
        self.encode += time;
        self.clock += time;
    }

    pub(super) fn wait_until(&mut self, time: f64) {
        if time > self.clock {
            self.wait += time - self.clock;
            self.clock = time;
        }
    }
}
