//! Every path against the scalar one.
