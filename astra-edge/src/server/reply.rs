//! Helpers of several handlers.

use astra_wire::Control;

use crate::link::encode;

/// Parses `100,80,76`; anything else is an empty list, which is refused when tokens are divided.
pub(crate) fn parse_shares(text: &str) -> Option<Vec<u16>> {
    let shares: Result<_, _> = text.split(',').map(|share| share.trim().parse()).collect();
    Some(shares.unwrap_or_default())
}

pub(crate) fn failed(text: &str) -> Vec<u8> {
    encode(&Control::Failed { text }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_between_commas() {
        assert_eq!(parse_shares("100,80,76"), Some(vec![100, 80, 76]));
        assert_eq!(parse_shares(" 1 , 2"), Some(vec![1, 2]));
        // Refused when the tokens are divided.
        assert_eq!(parse_shares("100,80,x"), Some(vec![]));
        assert_eq!(parse_shares(""), Some(vec![]));
    }
}
