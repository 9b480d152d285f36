//! Which devices take part in a request, and which tokens each of them computes. No network here.

pub mod choose;
pub mod choose_text;
pub mod latency_history;
