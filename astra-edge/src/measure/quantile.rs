//! Quantiles of measured values.

/// The value that a share of `values` does not exceed, between two of them where it falls between; 0 of none.
pub(super) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(0.0);
    let (low, high) = (at(place.floor()), at(place.ceil()));
    low + (high - low) * place.fract()
}

/// Median, of requests say; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}
