//! An LRU cache of the plans' data paths, limited in number and memory.

/// Most plans in the cache. A coordinator needs one, or one for each length of its texts, and a device can serve several.
const MAX_PLANS: usize = 8;
/// Limit of the bytes for received codes of all plans. At 320 bits, eight plans of SmolLM2's longest text take up to 80 MB; in exact mode a
/// single plan can take more than this.
const MAX_BYTES: usize = 128 << 20;

/// Values by plan, least recently used first. The most recently used is kept even if it exceeds the limit.
pub(super) struct PlanCache<T> {
    entries: Vec<Entry<T>>,
}

struct Entry<T> {
    plan: u64,
    bytes: usize,
    value: T,
}

impl<T> PlanCache<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Evicts plans until one of `bytes` bytes fits, before its buffers are allocated.
    pub(super) fn make_room(&mut self, plan: u64, bytes: usize) {
        self.remove(plan);
        let is_full = |entries: &[Entry<T>]| {
            let used: usize = entries.iter().map(|entry| entry.bytes).sum();
            !entries.is_empty()
                && (entries.len() >= MAX_PLANS || used.saturating_add(bytes) > MAX_BYTES)
        };
        while is_full(&self.entries) {
            self.entries.remove(0);
        }
    }

    /// Inserts a plan after [`make_room`](Self::make_room).
    pub(super) fn insert(&mut self, plan: u64, bytes: usize, value: T) {
        self.entries.push(Entry { plan, bytes, value });
    }

    /// The value of a plan, which becomes the most recently used.
    pub(super) fn get(&mut self, plan: u64) -> Option<&mut T> {
        let index = self.entries.iter().position(|entry| entry.plan == plan)?;
        let entry = self.entries.remove(index);
        self.entries.push(entry);
        self.entries.last_mut().map(|entry| &mut entry.value)
    }

    pub(super) fn remove(&mut self, plan: u64) {
        self.entries.retain(|entry| entry.plan != plan);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(cache: &PlanCache<u64>) -> Vec<u64> {
        cache.entries.iter().map(|entry| entry.value).collect()
    }

    fn insert(cache: &mut PlanCache<u64>, plan: u64, bytes: usize) {
        cache.make_room(plan, bytes);
        cache.insert(plan, bytes, plan);
    }

    #[test]
    fn the_least_recently_used_plan_is_evicted() {
        let mut cache = PlanCache::new();
        for plan in 0..MAX_PLANS as u64 {
            insert(&mut cache, plan, 0);
        }
        assert_eq!(cache.get(0), Some(&mut 0));
        insert(&mut cache, 100, 0);
        assert_eq!(cache.get(1), None);
        assert_eq!(plans(&cache), [2, 3, 4, 5, 6, 7, 0, 100]);
        // A plan that is set up again replaces its entry.
        insert(&mut cache, 2, 0);
        assert_eq!(plans(&cache), [3, 4, 5, 6, 7, 0, 100, 2]);
        cache.remove(5);
        assert_eq!(plans(&cache), [3, 4, 6, 7, 0, 100, 2]);
    }

    #[test]
    fn bytes_are_limited_but_the_newest_plan_is_kept() {
        let mut cache = PlanCache::new();
        for plan in 0..4 {
            insert(&mut cache, plan, MAX_BYTES / 4);
        }
        assert_eq!(plans(&cache), [0, 1, 2, 3]);
        cache.get(0);
        insert(&mut cache, 4, MAX_BYTES / 2);
        assert_eq!(plans(&cache), [3, 0, 4]);
        insert(&mut cache, 5, MAX_BYTES + 1);
        assert_eq!(plans(&cache), [5]);
        insert(&mut cache, 6, 1);
        assert_eq!(plans(&cache), [6]);
    }
}
