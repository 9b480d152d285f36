//! Families of models: what is known about each once its weights are read, and the graphs it becomes.

pub mod vit;
