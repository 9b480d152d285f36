//! Inputs of a step on several threads.

use rayon::ThreadPool;

use super::TuneError;

/// `f` of every item, on `threads` threads, each of which computes one item at a time and nothing else: products within an item
/// stay on its thread, so that no thread takes up a second item while it waits for parts of its first.
///
/// # Errors
/// The first error, or threads cannot be started.
pub(super) fn map<T: Sync, U: Send>(
    threads: usize,
    items: &[T],
    f: impl Fn(&T) -> Result<U, TuneError> + Sync,
) -> Result<Vec<U>, TuneError> {
    let threads = threads.clamp(1, items.len().max(1));
    let pools = (0..threads)
        .map(|_| alone())
        .collect::<Result<Vec<_>, _>>()?;
    let found = std::thread::scope(|scope| {
        let workers = pools.iter().enumerate().map(|(worker, pool)| {
            let f = &f;
            let own = items.iter().skip(worker).step_by(threads);
            scope.spawn(move || pool.install(|| own.map(f).collect::<Result<Vec<U>, _>>()))
        });
        let workers: Vec<_> = workers.collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.collect::<Result<Vec<_>, _>>()
    });
    let found = found.map_err(|_| candle_core::Error::msg("a thread of the training panicked"))?;
    let found: Vec<Vec<U>> = found.into_iter().collect::<Result<_, _>>()?;
    // In the order of the items, so that sums do not depend on the threads.
    let mut rows: Vec<_> = found.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::with_capacity(items.len());
    for place in 0..items.len() {
        all.extend(rows.get_mut(place % threads).and_then(Iterator::next));
    }
    Ok(all)
}

fn alone() -> Result<ThreadPool, TuneError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    Ok(pool.map_err(|error| candle_core::Error::msg(error.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..11).collect();
        for threads in [1, 2, 4, 20] {
            let found = map(threads, &items, |&item| Ok(10 * item)).unwrap();
            assert_eq!(found, items.iter().map(|i| 10 * i).collect::<Vec<_>>());
        }
        let failing = map(2, &items, |&item| match item {
            7 => Err(candle_core::Error::msg("seven").into()),
            _ => Ok(item),
        });
        assert!(failing.unwrap_err().to_string().contains("seven"));
        assert!(map(2, &[] as &[usize], |&i| Ok(i)).unwrap().is_empty());
    }
}
