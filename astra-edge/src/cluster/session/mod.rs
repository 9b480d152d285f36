//! A plan from its offer to its end.

pub mod cancel;
pub mod join;
pub mod set_up;
