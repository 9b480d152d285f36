//! What `astra-edge` prints, for the program itself and for those that start it and read its output.

mod peers;
mod table;

pub use peers::{Peer, Peers};
pub use table::table;
