//! SHA-256 as a value: 64 lowercase hex digits in text, 32 bytes in memory.

use std::fmt;
use std::io::{self, Read};

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 (FIPS 180-4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest(pub [u8; 32]);

impl Sha256Digest {
    /// Hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Hash of everything that is left in `reader`, and how many bytes that was.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn of_reader(mut reader: impl Read) -> io::Result<(Self, u64)> {
        let mut sha = Sha256::new();
        let mut chunk = vec![0; 64 << 10];
        let mut bytes = 0;
        loop {
            let n = match reader.read(&mut chunk) {
                Ok(0) => return Ok((Self(sha.finalize().into()), bytes)),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            sha.update(chunk.get(..n).unwrap_or(&chunk));
            bytes += n as u64;
        }
    }

    /// The first 12 hex digits, as people see it.
    pub fn short(&self) -> String {
        let mut hex = self.to_string();
        hex.truncate(12);
        hex
    }

    /// The digest that `text` spells, or `None` unless it is exactly 64 lowercase hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let nibble = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Digest({self})")
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| {
            de::Error::invalid_value(de::Unexpected::Str(&text), &"64 lowercase hex digits")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 example: "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn hashes_slices_and_readers_alike() {
        assert_eq!(Sha256Digest::of(b"abc").to_string(), ABC);
        let (digest, bytes) = Sha256Digest::of_reader(&b"abc"[..]).unwrap();
        assert_eq!((digest.to_string().as_str(), bytes), (ABC, 3));

        let long: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let (digest, bytes) = Sha256Digest::of_reader(&long[..]).unwrap();
        assert_eq!((digest, bytes), (Sha256Digest::of(&long), 200_000));
    }

    #[test]
    fn reads_only_its_own_spelling() {
        assert_eq!(Sha256Digest::from_hex(ABC), Some(Sha256Digest::of(b"abc")));
        let upper = ABC.to_uppercase();
        let (short, long) = (&ABC[1..], format!("{ABC}0"));
        for bad in ["", "zz", &upper, short, &long, &ABC.replace('b', "g")] {
            assert_eq!(Sha256Digest::from_hex(bad), None, "{bad}");
        }
    }
}
