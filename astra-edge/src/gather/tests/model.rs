//! What is gathered from frames of any sizes, in any order, lost and repeated, beside a slow and obvious model.

use std::collections::BTreeMap;
use std::ops::Range;

use astra_codec::MeanQuantizer;
use astra_wire::{Refinement, SideInfo, emit};

use super::*;

/// Axes of a token.
const RANK: usize = 6;

/// Numbers from a seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % end.max(1)
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// A codebook of `groups` groups over [`RANK`] axes whose word i is `i * unit * (axis + 1)` in each axis.
pub(super) struct Table {
    dims: Vec<u16>,
    unit: f32,
    words: Vec<f32>,
    norms: Vec<f32>,
}

impl Table {
    pub(super) fn new(groups: usize, unit: f32) -> Self {
        let mut dims = vec![1; groups];
        dims[0] += (RANK - groups) as u16;
        let mut axis = 0;
        let mut words = Vec::new();
        for &dim in &dims {
            let axes = axis..axis + usize::from(dim);
            axis = axes.end;
            words.extend(
                (0..256).flat_map(|word| axes.clone().map(move |axis| value(word, axis, unit))),
            );
        }
        Self {
            norms: vec![0.0; groups * 256],
            dims,
            unit,
            words,
        }
    }

    /// Only for decoding, which reads words one after another.
    pub(super) fn book(&self) -> Codebook<'_> {
        Codebook::new(&self.dims, 256, &self.words, &self.words, &self.norms).unwrap()
    }

    fn add(&self, codes: &[u16], row: &mut [f32]) {
        let groups = (0..self.dims.len()).flat_map(|group| vec![group; self.dims[group].into()]);
        for (axis, group) in groups.enumerate() {
            row[axis] += value(codes[group], axis, self.unit);
        }
    }
}

fn value(word: u16, axis: usize, unit: f32) -> f32 {
    f32::from(word) * unit * (axis + 1) as f32
}

/// Layout and codebooks of one block.
pub(super) struct Block {
    pub(super) layout: Layout,
    first: Table,
    second: Table,
    /// Bits and steps of a mean, without one none.
    mean: Option<([u8; RANK], [f32; RANK])>,
}

impl Block {
    /// Of `codes` first-stage codes, and of `share`/256 of the tokens `second` more.
    pub(super) fn new(codes: usize, share: u8, second: usize) -> Self {
        let refinement = Refinement {
            share,
            codes: second as u16,
            bits: 8,
        };
        let refinement = Some(refinement).filter(|second| second.share > 0);
        Self {
            layout: Layout::new(40, codes as u16, 8, refinement).unwrap(),
            first: Table::new(codes, 1.0),
            second: Table::new(second, 1.0 / 1024.0),
            mean: None,
        }
    }

    /// The same with means, of `bits` bits in most axes.
    pub(super) fn with_mean(self, bits: u8) -> Self {
        let widths = [bits, 8, 0, 1, bits, 3];
        // Powers of two, so that all sums are exact.
        let steps = [1.0, 0.5, 0.0, 2.0, 0.25, 4.0];
        let bytes = 1 + widths
            .iter()
            .copied()
            .map(usize::from)
            .sum::<usize>()
            .div_ceil(8);
        Self {
            layout: self.layout.with_mean(bytes as u16).unwrap(),
            mean: Some((widths, steps)),
            ..self
        }
    }

    pub(super) fn stages(&self) -> Option<Stages<'_>> {
        let second = self.layout.refinement().map(|_| self.second.book());
        let mean = self.mean.as_ref();
        Some(Stages {
            mean: mean.map(|(bits, steps)| MeanQuantizer::new(bits, steps).unwrap()),
            first: self.first.book(),
            second,
        })
    }

    /// Any frame of `tokens`, and the row of each of its tokens.
    pub(super) fn frame(
        &self,
        header: CodeHeader,
        tokens: Range<usize>,
        random: &mut Random,
    ) -> (Vec<u8>, BTreeMap<usize, Vec<f32>>) {
        let header = CodeHeader {
            first_token: tokens.start as u16,
            tokens: tokens.len() as u16,
            rung: self.layout.rung(),
            ..header
        };
        let refined = usize::from(self.layout.refined(header.tokens));
        let mut order: Vec<u16> = (0..header.tokens).collect();
        random.shuffle(&mut order);
        order.truncate(refined);
        order.sort_unstable();
        let mut codes = |count| {
            (0..count)
                .map(|_| random.below(256) as u16)
                .collect::<Vec<_>>()
        };
        let groups = self.first.dims.len();
        let first = codes(tokens.len() * groups);
        let second = codes(refined * self.second.dims.len());
        let (packed, mean) = self.some_mean(tokens.len(), random);
        let mut rows = BTreeMap::new();
        for (token, codes) in tokens.clone().zip(first.chunks(groups)) {
            let row = rows.entry(token).or_insert(mean.clone());
            self.first.add(codes, row);
        }
        for (position, codes) in order.iter().zip(second.chunks(self.second.dims.len())) {
            let row = rows.get_mut(&(tokens.start + usize::from(*position)));
            self.second.add(codes, row.unwrap());
        }
        let refined = SideInfo {
            means: &packed,
            positions: &order,
            codes: &second,
        };
        let mut bytes = vec![0; MAX_FRAME];
        let length = emit(&header, &self.layout, &first, refined, &mut bytes).unwrap();
        bytes.truncate(length);
        (bytes, rows)
    }

    /// The bytes and the values of any mean of a frame of `tokens` tokens; none and zeros where it has none.
    fn some_mean(&self, tokens: usize, random: &mut Random) -> (Vec<u8>, Vec<f32>) {
        let mut values = vec![0.0; RANK];
        let (Some((bits, steps)), 8..) = (&self.mean, tokens) else {
            return (Vec::new(), values);
        };
        // Gains of 1/2 to 4 without a fraction.
        let gain = 7 + random.below(4) as i32;
        let (mut word, mut filled) = (0_u64, 0);
        for axis in (0..RANK).filter(|&axis| bits[axis] > 0) {
            let code = random.below(1 << bits[axis]);
            word |= (code as u64) << filled;
            filled += usize::from(bits[axis]);
            let middle = (code as f32 + 0.5) - f32::from(1_u8 << (bits[axis] - 1));
            values[axis] = middle * steps[axis] * 2_f32.powi(gain - 8);
        }
        let mut packed = vec![(gain as u8) << 4];
        packed.extend(&word.to_le_bytes()[..filled.div_ceil(8)]);
        (packed, values)
    }
}

/// A plan of some members, and what arrives of each block.
struct Case {
    plan: Plan,
    me: usize,
    blocks: Vec<Block>,
    /// A member that sends frames of its own making.
    hostile: Option<usize>,
    random: Random,
    /// What the case was made from, for messages.
    seed: u64,
}

/// Frames of one block, and the rows that they give.
#[derive(Default)]
struct Arrivals {
    frames: Vec<Vec<u8>>,
    rows: BTreeMap<usize, Vec<f32>>,
}

impl Case {
    fn header(&self, request: u32, block: usize, sender: usize) -> CodeHeader {
        CodeHeader {
            block: block as u8,
            sender: sender as u8,
            ..header(coded(), request, 0, 0)
        }
    }

    /// Frames of all others, of any sizes; of one in four nothing arrives, one in four arrives twice.
    fn arrivals(&mut self, request: u32, block: usize) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for sender in members_of(self.plan.senders(self.me)) {
            let header = self.header(request, block, sender);
            let range = self.plan.ranges[sender].indexes();
            let most = usize::from(self.blocks[block].layout.tokens_per_frame());
            let mut next = range.start;
            while next < range.end {
                let end = next + 1 + self.random.below(most.min(range.end - next));
                let (frame, rows) = self.blocks[block].frame(header, next..end, &mut self.random);
                next = end;
                let copies = [0, 1, 1, 2][self.random.below(4)];
                arrivals.frames.extend(vec![frame; copies]);
                if copies > 0 {
                    arrivals.rows.extend(rows);
                }
            }
        }
        arrivals
    }

    /// Adds frames of any tokens, which the hostile member has no right to or has already sent.
    fn add_hostile(&mut self, request: u32, block: usize, arrivals: &mut Arrivals) {
        let Some(sender) = self.hostile else { return };
        let header = self.header(request, block, sender);
        let range = self.plan.ranges[sender].indexes();
        for _ in 0..8 {
            let all = self.plan.tokens();
            let most = usize::from(self.blocks[block].layout.tokens_per_frame());
            let first = self.random.below(all);
            let end = first + 1 + self.random.below(most.min(all - first));
            let (frame, rows) = self.blocks[block].frame(header, first..end, &mut self.random);
            arrivals.frames.push(frame);
            let own = range.contains(&first) && end <= range.end;
            arrivals.rows.extend(rows.into_iter().filter(|_| own));
        }
    }

    fn check(mut self) {
        let layouts = self.blocks.iter().map(|block| block.layout).collect();
        let plan = Arc::new(self.plan.clone());
        let thread = std::thread::current();
        let gather = Gather::new(plan, self.me, layouts, false, thread);
        for request in 0..2 {
            gather.begin(request).unwrap();
            let all: Vec<Arrivals> = (0..self.blocks.len())
                .map(|block| {
                    let mut arrivals = self.arrivals(request, block);
                    self.add_hostile(request, block, &mut arrivals);
                    arrivals
                })
                .collect();
            let mut frames: Vec<&Vec<u8>> = all.iter().flat_map(|one| &one.frames).collect();
            self.random.shuffle(&mut frames);
            frames.iter().for_each(|frame| gather.receive(frame));
            for (block, arrivals) in all.iter().enumerate() {
                self.check_block(&gather, request, block, &arrivals.rows);
            }
            gather.end(request);
        }
    }

    fn check_block(
        &self,
        gather: &Gather,
        request: u32,
        block: usize,
        expected: &BTreeMap<usize, Vec<f32>>,
    ) {
        let remote_tokens = self.plan.remote_tokens(self.me);
        let mut remote = vec![-1.0; remote_tokens * RANK];
        let mut tokens = vec![usize::MAX; remote_tokens];
        let stages = self.blocks[block].stages();
        let mut wait = wait_state(Duration::ZERO);
        let gathered = gather
            .collect(request, block, stages, &mut remote, &mut tokens, &mut wait)
            .unwrap();
        let seed = self.seed;
        assert_eq!(gathered.arrived, expected.len(), "seed {seed}");
        assert_eq!(gathered.missing, remote_tokens - expected.len());
        let hostile = self
            .hostile
            .map_or(0..0, |member| self.plan.ranges[member].indexes());
        let rows = remote.chunks(RANK).zip(tokens).zip(expected);
        for ((row, found), (token, expected)) in rows {
            assert!(gathered.missing == 0 || found == *token);
            // The hostile member can only spoil its own.
            assert!(
                hostile.contains(token) || row == expected,
                "seed {seed}: token {token}"
            );
            assert!(row.iter().all(|value| value.is_finite()));
        }
    }
}

fn members_of(mask: u16) -> Vec<usize> {
    (0..16).filter(|member| mask & (1 << member) != 0).collect()
}

impl Case {
    /// One of many.
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut first = 0;
        let ranges: Vec<TokenRange> = (0..2 + random.below(3))
            .map(|_| {
                let tokens = 1 + random.below(120) as u16;
                first += tokens;
                let first = first - tokens;
                TokenRange { first, tokens }
            })
            .collect();
        let me = random.below(ranges.len());
        let plan = Plan {
            id: 7,
            version: astra_wire::VERSION,
            epoch: 5,
            rung: 40,
            causal: random.below(2) == 0,
            ranges,
        };
        let blocks = (0..1 + random.below(4)).map(|_| {
            let share = random.below(2) * (1 + random.below(64));
            let (first, second) = (1 + random.below(RANK), 1 + random.below(RANK));
            let block = Block::new(first, share as u8, second);
            match random.below(2) {
                0 => block,
                _ => block.with_mean(1 + random.below(8) as u8),
            }
        });
        let blocks = blocks.collect();
        let senders = members_of(plan.senders(me));
        let hostile = random.below(2 * senders.len());
        Self {
            hostile: senders.get(hostile).copied(),
            plan,
            me,
            blocks,
            random,
            seed,
        }
    }
}

#[test]
fn rows_are_those_of_the_model() {
    for seed in 0..400 {
        Case::new(seed).check();
    }
}
