//! Bulk data: serde writes `&[u8]` byte by byte by default. The encoding is the same, a varint length and the bytes.

use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<&'de [u8], D::Error> {
    <&[u8]>::deserialize(d)
}
