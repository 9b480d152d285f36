//! What a member sends of some tokens, in bytes.

use astra_model::partition::TokenRange;
use astra_wire::{CodeHeader, Flags, Layout, MAX_CODE_BATCH, MAX_FRAME, VERSION};

/// Number of a request whose frames have headers of a common length.
const REQUEST: u32 = 1000;

/// Size of the codes of some tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Codes {
    /// Bytes of all frames.
    pub(super) bytes: usize,
    /// Messages that the frames are sent in.
    pub(super) messages: usize,
}

impl Codes {
    /// Those of the tokens `range`, laid out as `layout`.
    pub(super) fn of(layout: &Layout, block: u8, sender: u8, range: TokenRange) -> Self {
        let mut codes = Self::default();
        let mut message = 0;
        for tokens in layout.split(range.tokens) {
            // Tokens are numbered in 16 bits.
            let header = CodeHeader {
                version: VERSION,
                request: REQUEST,
                epoch: 1,
                block,
                sender,
                first_token: range.first + tokens.start as u16,
                tokens: tokens.len() as u16,
                part: 0,
                rung: layout.rung(),
                flags: Flags::NONE,
            };
            for part in 0..layout.parts() {
                let length = header.encoded_len() + layout.body_len(header.tokens, part);
                // A message ends where there is no room for the longest frame.
                if message == 0 || MAX_CODE_BATCH - message < MAX_FRAME {
                    codes.messages += 1;
                    message = 0;
                }
                message += length;
                codes.bytes += length;
            }
        }
        codes
    }
}

#[cfg(test)]
mod tests {
    use astra_wire::{Framer, Refinement, SideInfo};

    use super::*;

    /// Bytes of the frames of a framer, and its messages as the data path fills them.
    fn sent(layout: Layout, range: TokenRange) -> Codes {
        let refined = layout.refined_of_all(range.tokens);
        let counts = layout
            .split(range.tokens)
            .map(|tokens| layout.refined(tokens.len() as u16));
        let positions: Vec<u16> = counts.flat_map(|count| 0..count).collect();
        let second = layout.refinement().map_or(0, |second| second.codes.into());
        let header = CodeHeader {
            version: VERSION,
            request: REQUEST,
            epoch: 1,
            block: 3,
            sender: 1,
            first_token: range.first,
            tokens: range.tokens,
            part: 0,
            rung: layout.rung(),
            flags: Flags::NONE,
        };
        let codes = vec![0_u32; usize::from(range.tokens) * usize::from(layout.codes_per_token())];
        let second = vec![0; refined * second];
        let refined = SideInfo {
            means: &[],
            positions: &positions,
            codes: &second,
        };
        let mut framer = Framer::new(header, layout, &codes, refined).unwrap();
        let mut batches = vec![0];
        let mut buffer = [0; MAX_FRAME];
        while let Some(length) = framer.next_frame(&mut buffer).unwrap() {
            if MAX_CODE_BATCH - batches.last().unwrap() < MAX_FRAME {
                batches.push(0);
            }
            *batches.last_mut().unwrap() += length;
        }
        Codes {
            bytes: batches.iter().sum(),
            messages: batches.len(),
        }
    }

    #[test]
    fn codes_take_what_is_sent() {
        let refinement = |codes| Refinement {
            share: 13,
            codes,
            bits: 8,
        };
        let layouts = [
            Layout::new(160, 20, 8, None),
            Layout::new(160, 8, 8, Some(refinement(24))),
            Layout::new(160, 30, 8, Some(refinement(90))),
            Layout::new(10, 1, 8, Some(refinement(2))),
            Layout::new(0, 384, 32, None),
        ];
        for layout in layouts.map(Result::unwrap) {
            for (first, tokens) in [(0, 1), (100, 64), (256, 343), (5000, 1369)] {
                let range = TokenRange { first, tokens };
                assert_eq!(Codes::of(&layout, 3, 1, range), sent(layout, range));
            }
        }
    }
}
