//! What one member computes of a request, and the form in which it is sent.

pub mod encoding;
pub mod execute;
pub mod halo;
pub mod outcome;
pub mod share;
