//! Plans' buffers: those used last, as far as they are worth their memory.

use astra_wire::Layout;

use crate::plan::Plan;

/// Plans whose buffers are kept; one coordinator needs one, or one for each length of its texts, and a device can serve a
/// few.
const PLANS: usize = 8;
/// Bytes that the codes of others may take up in all of them together. At 320 bits, eight plans of SmolLM2's longest text take 80 MB;
/// in exact mode one alone can take more than this.
const BYTES: usize = 128 << 20;

/// What is kept of plans, least recently used first; the one used last is kept whatever it takes.
pub(super) struct Paths<T> {
    paths: Vec<Kept<T>>,
}

struct Kept<T> {
    plan: u64,
    bytes: usize,
    path: T,
}

impl<T> Paths<T> {
    pub(super) fn new() -> Self {
        Self { paths: Vec::new() }
    }

    /// Makes room for a plan of so many bytes, before they are taken.
    pub(super) fn make_room(&mut self, plan: u64, bytes: usize) {
        self.remove(plan);
        let too_many = |paths: &[Kept<T>]| {
            let taken: usize = paths.iter().map(|kept| kept.bytes).sum();
            !paths.is_empty() && (paths.len() >= PLANS || taken.saturating_add(bytes) > BYTES)
        };
        while too_many(&self.paths) {
            self.paths.remove(0);
        }
    }

    /// Keeps a plan for which room was made.
    pub(super) fn keep(&mut self, plan: u64, bytes: usize, path: T) {
        self.paths.push(Kept { plan, bytes, path });
    }

    /// What is kept of a plan, which becomes the most recently used.
    pub(super) fn find(&mut self, plan: u64) -> Option<&mut T> {
        let place = self.paths.iter().position(|kept| kept.plan == plan)?;
        let kept = self.paths.remove(place);
        self.paths.push(kept);
        self.paths.last_mut().map(|kept| &mut kept.path)
    }

    pub(super) fn remove(&mut self, plan: u64) {
        self.paths.retain(|kept| kept.plan != plan);
    }

    pub(super) fn clear(&mut self) {
        self.paths.clear();
    }
}

/// Bytes that the codes of other members take up at most, of a model of so many blocks: those of all blocks, where they come before they
/// are wanted.
pub(super) fn bytes(plan: &Plan, me: usize, blocks: usize, layout: Layout) -> usize {
    let tokens = match plan.causal {
        true => plan.remote_tokens(me),
        false => plan.tokens(),
    };
    // A code, and whether a part of a token has come, are 4 bytes each.
    let words = usize::from(layout.codes_per_token()) + usize::from(layout.parts());
    blocks * tokens * words * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(paths: &Paths<u64>) -> Vec<u64> {
        paths.paths.iter().map(|kept| kept.path).collect()
    }

    fn take(paths: &mut Paths<u64>, plan: u64, bytes: usize) {
        paths.make_room(plan, bytes);
        paths.keep(plan, bytes, plan);
    }

    #[test]
    fn so_many_plans_are_kept_those_used_last() {
        let mut paths = Paths::new();
        for plan in 0..PLANS as u64 {
            take(&mut paths, plan, 0);
        }
        assert_eq!(paths.find(0), Some(&mut 0));
        take(&mut paths, 100, 0);
        assert_eq!(paths.find(1), None);
        assert_eq!(kept(&paths), [2, 3, 4, 5, 6, 7, 0, 100]);
        // One that is set up anew takes its own place.
        take(&mut paths, 2, 0);
        assert_eq!(kept(&paths), [3, 4, 5, 6, 7, 0, 100, 2]);
        paths.remove(5);
        assert_eq!(kept(&paths), [3, 4, 6, 7, 0, 100, 2]);
    }

    #[test]
    fn plans_share_so_many_bytes_but_the_newest_is_kept() {
        let mut paths = Paths::new();
        for plan in 0..4 {
            take(&mut paths, plan, BYTES / 4);
        }
        assert_eq!(kept(&paths), [0, 1, 2, 3]);
        paths.find(0);
        take(&mut paths, 4, BYTES / 2);
        assert_eq!(kept(&paths), [3, 0, 4]);
        take(&mut paths, 5, BYTES + 1);
        assert_eq!(kept(&paths), [5]);
        take(&mut paths, 6, 1);
        assert_eq!(kept(&paths), [6]);
    }

    #[test]
    fn a_causal_plan_takes_what_lies_before_its_member() {
        let range = |first, tokens| astra_model::partition::TokenRange { first, tokens };
        let mut plan = Plan {
            id: 1,
            version: astra_wire::VERSION,
            epoch: 1,
            rung: 320,
            causal: true,
            ranges: vec![range(0, 1000), range(1000, 1044)],
        };
        let layout = Layout::new(40, 8).unwrap();
        assert_eq!(bytes(&plan, 0, 30, layout), 0);
        assert_eq!(bytes(&plan, 1, 30, layout), 30 * 1000 * 41 * 4);
        plan.causal = false;
        assert_eq!(bytes(&plan, 0, 30, layout), 30 * 2044 * 41 * 4);
    }
}
