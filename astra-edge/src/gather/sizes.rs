//! How large the slots of a plan are.

use astra_wire::{Layout, MIN_MEAN_TOKENS, Refinement};

use crate::plan::Plan;

/// Blocks that are buffered where all members wait for each other: a member runs ahead of another by one block, and by more only where
/// deadlines were missed. In a causal plan the first member waits for no other, so all blocks of a request are buffered.
pub(super) const DEPTH: usize = 8;

/// Numbers of what the slots of one member hold, enough for each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotSizes {
    /// Blocks buffered.
    pub(super) depth: usize,
    /// Tokens of a block, from token 0 of the request on.
    pub(super) tokens: usize,
    /// Halves of 16 bits that the first-stage codes of a token take.
    pub(super) halves: usize,
    /// Parts of a token.
    pub(super) parts: usize,
    /// Refined tokens of a block; 0 without a second stage.
    pub(super) entries: usize,
    /// Second-stage codes of a refined token.
    pub(super) entry_codes: usize,
    /// Means of a block; 0 where frames have none.
    pub(super) means: usize,
    /// Bytes of a mean.
    pub(super) mean_bytes: usize,
    /// Members of the plan.
    pub(super) members: usize,
}

impl SlotSizes {
    /// Those of member `me` of `plan`, whose blocks have `layouts`.
    pub(super) fn new(plan: &Plan, me: usize, layouts: &[Layout]) -> Self {
        let (depth, tokens) = match plan.causal {
            true => (layouts.len(), plan.remote_tokens(me)),
            false => (DEPTH, plan.tokens()),
        };
        let most = |count: &dyn Fn(&Layout) -> usize| layouts.iter().map(count).max().unwrap_or(0);
        let second = |layout: &Layout| layout.refinement();
        Self {
            depth: depth.max(1),
            tokens,
            halves: most(&halves_per_token),
            parts: most(&|layout| layout.parts().into()),
            entries: most(&|layout| {
                second(layout).map_or(0, |second| first_entry(&second, tokens))
            }),
            entry_codes: most(&|layout| second(layout).map_or(0, |second| second.codes.into())),
            means: match layouts.iter().any(|layout| layout.mean() > 0) {
                true => tokens.div_ceil(MIN_MEAN_TOKENS.into()),
                false => 0,
            },
            mean_bytes: most(&|layout| layout.mean().into()),
            members: plan.ranges.len(),
        }
    }

    /// Memory of the slots.
    pub(super) fn bytes(&self) -> usize {
        let number = |entries: usize| if entries > 0 { 2 } else { 0 };
        let numbers = number(self.entries) + number(self.means);
        let token = 2 * self.halves + 4 * self.parts + numbers;
        let entries = 2 * self.entries * self.entry_codes + self.means * self.mean_bytes;
        self.depth * (self.tokens * token + entries + 8 * self.members)
    }
}

/// Halves of 16 bits that the first-stage codes of a token take: one for each code, in exact mode two for each value.
pub(super) fn halves_per_token(layout: &Layout) -> usize {
    usize::from(layout.codes_per_token()) * halves(layout)
}

pub(super) fn halves(layout: &Layout) -> usize {
    1 + usize::from(layout.is_exact())
}

/// Where the entries of a frame begin whose first token is `token`; for the number of tokens, the number of entries.
///
/// With a share of `s`/256, a frame of n tokens has k refined ones, k <= (s n + 128) / 256. If there is any, s n >= 128, so k <= 2 s n / 256.
/// Its entries begin at the next whole number from 2 s / 256 times its first token on, so they end before those of the next frame
/// begin, wherever the frames of a range are divided, and entries of one member's range are never those of another's.
pub(super) fn first_entry(second: &Refinement, token: usize) -> usize {
    (2 * usize::from(second.share) * token).div_ceil(256)
}

/// Which mean of a block is that of the frame whose first token is `token`. Frames that have one are of at least
/// [`MIN_MEAN_TOKENS`] tokens, so two that do not overlap have different ones.
pub(super) fn mean_of(token: usize) -> usize {
    token / usize::from(MIN_MEAN_TOKENS)
}
