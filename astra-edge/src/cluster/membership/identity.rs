//! The id, name and key fingerprint of this device.

use sha2::{Digest, Sha256};

use crate::link::ClusterName;

/// The program and its version, for the hello.
pub const SOFTWARE: &str = concat!("astra-edge ", env!("CARGO_PKG_VERSION"));

/// What devices compare instead of their keys; it does not reveal a key that is not in a dictionary. The first 8 bytes of SHA-256 over a
/// label, the length of the cluster's name, the name, and the key.
pub fn fingerprint(cluster: &ClusterName, key: &[u8]) -> [u8; 8] {
    let cluster = cluster.to_string();
    let digest = Sha256::new()
        .chain_update(b"astra-edge cluster key v1\0")
        .chain_update((cluster.len() as u64).to_le_bytes())
        .chain_update(&cluster)
        .chain_update(key)
        .finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

/// A text of another device as people may see it: control characters, which terminals obey, as question marks.
pub fn printable(text: &str) -> String {
    let shown = |character: char| match character.is_control() {
        true => '?',
        false => character,
    };
    text.chars().map(shown).collect()
}

/// The longest prefix of `text` that fits into `N` bytes.
pub fn shorten<const N: usize>(text: &str) -> heapless::String<N> {
    let mut short = heapless::String::new();
    for character in text.chars() {
        if short.push(character).is_err() {
            break;
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cluster: &str, key: &str) -> [u8; 8] {
        fingerprint(&cluster.parse().unwrap(), key.as_bytes())
    }

    #[test]
    fn a_fingerprint_tells_clusters_and_keys_apart() {
        assert_eq!(of("lab", "secret"), of("lab", "secret"));
        assert_ne!(of("lab", "secret"), of("lab", "Secret"));
        assert_ne!(of("lab", "secret"), of("lab2", "secret"));
        // The name's length goes in, so that moving a letter from one to the other is seen.
        assert_ne!(of("lab", "secret"), of("labs", "ecret"));
        // Pinned: devices of different versions compare it.
        let text = b"astra-edge cluster key v1\0\x05\0\0\0\0\0\0\0astra";
        assert_eq!(of("astra", "")[..], Sha256::digest(text)[..8]);
    }

    #[test]
    fn control_characters_are_not_shown() {
        assert_eq!(
            printable("kitchen \u{1b}[2J\r\n\u{9b}é"),
            "kitchen ?[2J???é"
        );
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(shorten::<4>("abcdef"), "abcd");
        assert_eq!(shorten::<4>("abcé"), "abc");
        assert_eq!(shorten::<5>("abcé"), "abcé");
    }
}
