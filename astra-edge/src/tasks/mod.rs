//! What surrounds the model for each kind of input.
