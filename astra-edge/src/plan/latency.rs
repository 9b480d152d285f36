//! How long a request takes, predicted from what its steps take on one device and from how fast the link is.
//!
//! A request is gone through block by block, as the members do: each has a clock, which its own work moves on, and every link
//! a time until which it is busy. Frames of all members are under way at once; a link that is shared carries one at a time.

use astra_bundle::HeadRows;
use astra_wire::{Layout, LayoutError};
use serde::Serialize;

use super::profile::{Profile, Rows, RungProfile};
use super::{Costs, Pieces, PlanError, Rows as RowsOfMap, TokenRange, split, split_causal};

/// Bytes of a frame's header, seal and packet, its way through Zenoh and TCP included.
const FRAME: f64 = 24.0 + 16.0 + 92.0;
/// Milliseconds in which shares of a core are dealt out.
const PERIOD: f64 = 10.0;
/// Bytes on the wire of a long message's byte.
const BULK: f64 = 1.05;
/// Bits of a channel of features on their way to the head, and of those that are a halo.
const FEATURE_BITS: f64 = 8.0;
const HALO_BITS: f64 = 4.0;
/// Bytes of a map's score on its way back, compressed: measured at 518 pixels as `tasks::lossless` says.
const SCORE: f64 = 0.43;

/// What devices are connected by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Network {
    /// Megabits a second, of each device both ways or of the medium.
    pub mbps: f64,
    /// Whether all devices share one medium.
    pub shared: bool,
}

/// A request that is thought of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// Members.
    pub devices: usize,
    /// Tokens of the input, those that every member computes not counted.
    pub tokens: u16,
    /// Bits per token per block; 0 in exact mode.
    pub rung: u16,
    /// The link.
    pub network: Network,
    /// Cores of a device that computes with one thread, up to 1.
    pub cores: f64,
}

/// What it would take. Times are in milliseconds, those of members means over members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Prediction {
    /// From input ready to answer ready, of a text to its first token.
    pub latency_ms: f64,
    /// The same of one device.
    pub one_device_ms: f64,
    /// Running the model.
    pub compute_ms: f64,
    /// The codec, and handing frames on.
    pub encode_ms: f64,
    /// Waiting for codes of others.
    pub wait_ms: f64,
    /// Input out, features back, and the head.
    pub rest_ms: f64,
}

/// Why there is no prediction.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum PredictError {
    /// The rung was not measured.
    #[error("rung {found} is not among those measured: {}", measured.iter().map(u16::to_string).collect::<Vec<_>>().join(", "))]
    Rung {
        /// Rung asked for.
        found: u16,
        /// Those there are.
        measured: Vec<u16>,
    },
    /// The tokens cannot be divided among so many.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The rung does not fit the wire.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Predicts a request.
///
/// # Errors
/// The rung was not measured, or there are more members than tokens.
pub fn predict(profile: &Profile, case: &Case) -> Result<Prediction, PredictError> {
    let all = usize::from(case.tokens)
        + if profile.causal {
            profile.shape.class_tokens
        } else {
            0
        };
    let one_device_ms = profile.whole.at(all) / case.cores;
    if case.devices < 2 {
        return Ok(Prediction {
            latency_ms: one_device_ms,
            one_device_ms,
            compute_ms: one_device_ms,
            ..Prediction::default()
        });
    }
    let rung = profile.rungs.iter().find(|rung| rung.bits == case.rung);
    let rung = rung.ok_or_else(|| PredictError::Rung {
        found: case.rung,
        measured: profile.rungs.iter().map(|rung| rung.bits).collect(),
    })?;
    let speeds = vec![1.0; case.devices];
    let ranges = match profile.causal {
        false => split(case.tokens, &speeds)?,
        true => {
            let costs = Costs::of(&profile.shape, rung.rank, true);
            split_causal(case.tokens, &speeds, &costs)?
        }
    };
    let request = Request {
        profile,
        rung,
        layout: Layout::new(rung.codes, rung.code_bits)?,
        ranges: &ranges,
        case,
        divided: false,
    };
    let in_one = request.run();
    let divided = Pieces::are_worth_it(in_one.wait_ms, in_one.latency_ms);
    let predicted = match divided {
        true => Request { divided, ..request }.run(),
        false => in_one,
    };
    Ok(Prediction {
        one_device_ms,
        ..predicted
    })
}

struct Request<'a> {
    profile: &'a Profile,
    rung: &'a RungProfile,
    layout: Layout,
    ranges: &'a [TokenRange],
    case: &'a Case,
    /// Whether members go through their rows in several pieces.
    divided: bool,
}

/// Codes that a member sends of some of its tokens.
struct Sent {
    ready: f64,
    sender: usize,
    bytes: f64,
}

/// A member as far as it is.
#[derive(Clone, Copy, Default)]
struct Member {
    clock: f64,
    compute: f64,
    encode: f64,
    wait: f64,
}

/// Until when each way is busy.
struct Ways {
    /// Milliseconds a byte.
    byte: f64,
    hop: f64,
    shared: bool,
    up: Vec<f64>,
    down: Vec<f64>,
}

impl Request<'_> {
    fn run(&self) -> Prediction {
        let mut ways = Ways::new(self.case, self.profile.hop);
        let mut members = vec![Member::default(); self.ranges.len()];
        self.begin(&mut members, &mut ways);
        let mut sent = self.first_codes(&mut members);
        for block in 0..self.profile.shape.blocks {
            let arrivals = self.carry(sent, &mut ways);
            let last = block + 1 == self.profile.shape.blocks;
            sent = self.block(&mut members, &arrivals, last);
        }
        let latency_ms = self.end(&mut members, &mut ways);
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

    /// Milliseconds of a device for so many of one core.
    fn on_device(&self, milliseconds: f64) -> f64 {
        milliseconds / self.case.cores
    }

    /// The input goes out from the first member, and everybody embeds its tokens.
    fn begin(&self, members: &mut [Member], ways: &mut Ways) {
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
            let arrival = ways.carry(0, number, bytes * tokens as f64 * BULK + FRAME, ready);
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

    /// Codes of the first block, all at once.
    fn first_codes(&self, members: &mut [Member]) -> Vec<Sent> {
        let mut sent = Vec::new();
        for (number, (member, range)) in members.iter_mut().zip(self.ranges).enumerate() {
            sent.extend(self.encode(member, number, range.tokens));
        }
        sent
    }

    /// Finds codes of so many tokens, and hands them on.
    fn encode(&self, member: &mut Member, sender: usize, tokens: u16) -> Option<Sent> {
        let receivers = self.receivers(sender).len();
        if receivers == 0 || tokens == 0 {
            return None;
        }
        let frames = f64::from(self.layout.frames(tokens));
        let hand_on = frames * receivers as f64 * self.profile.frame;
        // The rung's curve is of all tokens at once, whose base a piece does not pay again.
        let encode = self.rung.encode.token * f64::from(tokens) + hand_on;
        member.encode(self.on_device(encode));
        let codes = f64::from(self.rung.codes) * f64::from(self.rung.code_bits) / 8.0;
        Some(Sent {
            ready: member.clock,
            sender,
            bytes: codes * f64::from(tokens) + frames * FRAME,
        })
    }

    /// When each member has the last of what was sent to it.
    fn carry(&self, mut sent: Vec<Sent>, ways: &mut Ways) -> Vec<f64> {
        let mut arrivals = vec![0.0_f64; self.ranges.len()];
        // What is ready first is first on the wire.
        sent.sort_by(|a, b| a.ready.total_cmp(&b.ready));
        for codes in sent {
            let receivers = self.receivers(codes.sender);
            for (receiver, arrival) in
                ways.spread(codes.sender, receivers, codes.bytes, codes.ready)
            {
                if let Some(last) = arrivals.get_mut(receiver) {
                    *last = last.max(arrival);
                }
            }
        }
        arrivals
    }

    /// One block, for which codes arrive at these times; those for the next.
    fn block(&self, members: &mut [Member], arrivals: &[f64], last: bool) -> Vec<Sent> {
        let mut sent = Vec::new();
        let members = members.iter_mut().zip(self.ranges).zip(arrivals);
        for (number, ((member, range), arrival)) in members.enumerate() {
            let tokens = usize::from(range.tokens);
            let total = self.ranges.last().map_or(0, TokenRange::end);
            let remote = range.remote_tokens(total, self.profile.causal);
            member.compute(self.on_device(self.profile.local.at(tokens)));
            member.compute(self.on_device(self.rung.expect.at(tokens + remote)));
            if remote > 0 {
                // Frames are taken in while there is nothing else to do, if there is such a time.
                let frames = self.frames_to(number);
                let taken_in = member.clock + self.on_device(frames * self.profile.frame);
                member.wait_until(arrival.max(taken_in) + self.unevenness());
                member.encode(self.on_device(self.rung.decode.at(remote)));
            }
            let class = self.profile.shape.class_tokens;
            let rows = Rows::of(class, tokens, remote, self.profile.causal);
            member.compute(self.on_device(self.rung.attend.at(rows)));
            let pieces = self.pieces(range);
            let mlp = self.on_device(self.profile.mlp.at(tokens));
            for piece in 0..pieces.count() {
                let rows = pieces.rows(piece).len();
                member.compute(mlp * rows as f64 / (class + tokens) as f64);
                if !last {
                    // No more than a member's tokens.
                    let tokens = pieces.tokens(piece).len() as u16;
                    sent.extend(self.encode(member, number, tokens));
                }
            }
        }
        sent
    }

    /// How much later than on average the last of all members is where everybody waits for everybody: with a share of a core
    /// each is held up for a part of every period, at times of its own. The largest of N evenly distributed numbers is
    /// N / (N + 1) of the most there can be, their mean half of it. A causal text's members run one behind another.
    fn unevenness(&self) -> f64 {
        if self.profile.causal {
            return 0.0;
        }
        let members = self.ranges.len() as f64;
        (1.0 - self.case.cores) * PERIOD * (members / (members + 1.0) - 0.5)
    }

    /// When the answer is there.
    fn end(&self, members: &mut [Member], ways: &mut Ways) -> f64 {
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
        let rows = RowsOfMap::new(self.ranges, side, form.halo);
        let bytes = self.feature_bytes(HALO_BITS) * BULK;
        let mut arrivals = vec![0.0_f64; members.len()];
        for (sender, range) in self.ranges.iter().enumerate() {
            let ready = members.get(sender).map_or(0.0, |member| member.clock);
            for (receiver, arrival) in arrivals.iter_mut().enumerate() {
                let tokens = rows.tokens_in(receiver, *range).len();
                if receiver != sender && tokens > 0 {
                    let size = bytes * tokens as f64 + FRAME;
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
            let size = values as f64 * value * BULK + FRAME;
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

    /// Members that a member's codes go to.
    fn receivers(&self, sender: usize) -> std::ops::Range<usize> {
        match self.profile.causal {
            true => sender + 1..self.ranges.len(),
            false => 0..self.ranges.len() - 1,
        }
    }

    /// Frames that a member takes in, in one block.
    fn frames_to(&self, receiver: usize) -> f64 {
        let senders = self.ranges.iter().enumerate();
        let heard = senders.filter(|(sender, _)| match self.profile.causal {
            true => *sender < receiver,
            false => *sender != receiver,
        });
        let frames = heard.flat_map(|(_, range)| {
            let pieces = self.pieces(range);
            let tokens = (0..pieces.count()).map(move |piece| pieces.tokens(piece).len() as u16);
            tokens.map(|tokens| f64::from(self.layout.frames(tokens)))
        });
        frames.sum()
    }

    fn pieces(&self, range: &TokenRange) -> Pieces {
        let class = self.profile.shape.class_tokens;
        match self.divided {
            true => {
                let frame = self.layout.tokens_per_frame().into();
                Pieces::new(class, range.tokens.into(), frame)
            }
            false => Pieces::one(class, range.tokens.into()),
        }
    }
}

impl Member {
    fn compute(&mut self, time: f64) {
        self.compute += time;
        self.clock += time;
    }

    fn encode(&mut self, time: f64) {
        self.encode += time;
        self.clock += time;
    }

    fn wait_until(&mut self, time: f64) {
        if time > self.clock {
            self.wait += time - self.clock;
            self.clock = time;
        }
    }
}

impl Ways {
    fn new(case: &Case, hop: f64) -> Self {
        Self {
            byte: 8.0 / (case.network.mbps * 1e3),
            hop,
            shared: case.network.shared,
            up: vec![0.0; case.devices],
            down: vec![0.0; case.devices],
        }
    }

    /// When the last of so many bytes arrives that may leave from `ready` on.
    fn carry(&mut self, from: usize, to: usize, bytes: f64, ready: f64) -> f64 {
        let (began, left) = self.leave(from, bytes, ready);
        self.arrive(to, bytes, began, left)
    }

    /// The same for copies to several members, which leave frame by frame side by side. Of the numbers, `from` stands for the
    /// last member.
    fn spread(
        &mut self,
        from: usize,
        receivers: std::ops::Range<usize>,
        bytes: f64,
        ready: f64,
    ) -> Vec<(usize, f64)> {
        let (began, left) = self.leave(from, bytes * receivers.len() as f64, ready);
        let last = self.down.len().saturating_sub(1);
        let number = |receiver: usize| if receiver == from { last } else { receiver };
        let arrivals = receivers.map(|receiver| {
            let receiver = number(receiver);
            (receiver, self.arrive(receiver, bytes, began, left))
        });
        arrivals.collect()
    }

    /// When the first of them leaves, and the last.
    fn leave(&mut self, from: usize, bytes: f64, ready: f64) -> (f64, f64) {
        let from = if self.shared { 0 } else { from };
        let Some(busy) = self.up.get_mut(from) else {
            return (ready, ready);
        };
        let began = busy.max(ready);
        *busy = began + bytes * self.byte;
        (began, *busy)
    }

    fn arrive(&mut self, to: usize, bytes: f64, began: f64, left: f64) -> f64 {
        if self.shared {
            return left + self.hop;
        }
        let Some(busy) = self.down.get_mut(to) else {
            return left;
        };
        // The receiver's way is as fast as the sender's: it is in the way only where others use it too.
        *busy = busy.max(began) + bytes * self.byte;
        left.max(*busy) + self.hop
    }
}

#[cfg(test)]
mod tests {
    use astra_bundle::Shape;

    use super::*;
    use crate::plan::profile::{Curve, Strip, Surface};

    fn profile(causal: bool) -> Profile {
        let line = |token| Curve {
            token,
            ..Curve::default()
        };
        Profile {
            model: "a model".to_owned(),
            shape: Shape {
                hidden: 100,
                heads: 4,
                kv_heads: 4,
                head_dim: 25,
                blocks: 10,
                tokens: 1000,
                class_tokens: 0,
            },
            causal,
            whole: line(1.0),
            embed: line(0.0),
            local: line(0.02),
            mlp: line(0.03),
            head: 0.0,
            head_rows: None,
            strip: (!causal).then(|| Strip {
                encode: line(0.0),
                decode: line(0.0),
                bytes: 0.0,
            }),
            share: line(0.0),
            frame: 0.0,
            hop: 0.0,
            rungs: vec![RungProfile {
                bits: 160,
                rank: 50,
                codes: 20,
                code_bits: 8,
                encode: line(0.0),
                decode: line(0.0),
                expect: line(0.0),
                attend: Surface {
                    row: 0.05,
                    ..Surface::default()
                },
            }],
        }
    }

    fn case(devices: usize, mbps: f64) -> Case {
        Case {
            devices,
            tokens: 1000,
            rung: 160,
            network: Network {
                mbps,
                shared: false,
            },
            cores: 1.0,
        }
    }

    #[test]
    fn without_a_network_in_the_way_work_is_divided() {
        for devices in [2, 4, 5] {
            let found = predict(&profile(false), &case(devices, 1e9)).unwrap();
            assert!(
                (found.latency_ms - 1000.0 / devices as f64).abs() < 0.1,
                "{found:?}"
            );
            assert_eq!(found.one_device_ms, 1000.0);
        }
        let half = Case {
            cores: 0.5,
            ..case(4, 1e9)
        };
        let found = predict(&profile(false), &half).unwrap();
        // Half a core, and in ten blocks a wait for the last of four.
        let expected = 500.0 + 10.0 * 0.5 * 10.0 * 0.3;
        assert!((found.latency_ms - expected).abs() < 0.1, "{found:?}");
        assert_eq!(
            predict(&profile(false), &case(1, 1.0)).unwrap().latency_ms,
            1000.0
        );
    }

    #[test]
    fn a_slow_link_is_what_takes_the_time() {
        let fast = predict(&profile(false), &case(4, 1.0)).unwrap();
        // Ten blocks of three copies of 250 tokens of 20 bytes, at a byte in 8 us.
        let bits = 10.0 * 3.0 * 250.0 * 20.0 * 8.0 / 1e3;
        assert!(
            fast.latency_ms > bits && fast.wait_ms > 0.8 * bits,
            "{fast:?}"
        );
        let shared = Case {
            network: Network {
                mbps: 1.0,
                shared: true,
            },
            ..case(4, 1.0)
        };
        let air = predict(&profile(false), &shared).unwrap();
        assert!(air.wait_ms > 3.0 * fast.wait_ms, "{air:?} beside {fast:?}");
        // Of a causal text half as many frames are sent.
        let text = predict(&profile(true), &shared).unwrap();
        assert!(text.wait_ms < 0.7 * air.wait_ms, "{text:?} beside {air:?}");
    }

    #[test]
    fn what_was_not_measured_is_not_predicted() {
        let other = Case {
            rung: 320,
            ..case(4, 10.0)
        };
        let error = predict(&profile(false), &other).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rung 320 is not among those measured: 160"
        );
        assert!(predict(&profile(false), &case(1001, 10.0)).is_err());
    }

    #[test]
    fn a_head_that_members_share_takes_each_its_rows() {
        let mut whole = profile(false);
        whole.shape.tokens = 1024;
        whole.head = 160.0;
        let case = Case {
            tokens: 1024,
            ..case(4, 1e9)
        };
        let alone = predict(&whole, &case).unwrap();
        let shared = Profile {
            head_rows: Some(HeadRows { halo: 1, scale: 8 }),
            ..whole
        };
        let together = predict(&shared, &case).unwrap();
        // 32 rows, 8 a member, and one more on either side of the inner ones.
        let saved = alone.latency_ms - together.latency_ms;
        assert!((saved - 160.0 * (1.0 - 10.0 / 32.0)).abs() < 0.5, "{saved}");
    }
}
