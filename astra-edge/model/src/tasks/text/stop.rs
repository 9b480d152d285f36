//! Stop strings, which end a generation.
//!
//! They are found across token boundaries: text that may be the beginning of a stop string is held back until more text decides. The stop
//! string itself is not part of the text.

/// Most stop strings of a request.
pub const MAX_STOPS: usize = 16;

/// Searches the text of one generation for stop strings.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

/// An invalid list of stop strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// An empty string, which every text contains.
    #[error("stop string {0} is empty: expected text")]
    Empty(usize),
    /// Too many.
    #[error("{0} stop strings, expected at most {MAX_STOPS}")]
    Many(usize),
}

/// Result of appending text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Text that is not part of a stop string.
    pub text: String,
    /// Whether a stop string ended the generation.
    pub stopped: bool,
}

impl StopStrings {
    /// Searches for `stops`.
    ///
    /// # Errors
    /// A string is empty, or there are too many.
    pub fn new(stops: Vec<String>) -> Result<Self, StopError> {
        if stops.len() > MAX_STOPS {
            return Err(StopError::Many(stops.len()));
        }
        if let Some(empty) = stops.iter().position(String::is_empty) {
            return Err(StopError::Empty(empty));
        }
        Ok(Self {
            stops,
            held: String::new(),
        })
    }

    /// Appends text, and returns the text before a possible stop string. The first stop string that is complete ends the generation; of
    /// two complete at the same time, the longer one.
    pub fn push(&mut self, piece: &str) -> Passed {
        self.held.push_str(piece);
        let found = self.stops.iter().filter_map(|stop| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        if let Some((_, start)) = found.min() {
            self.held.truncate(start);
            return Passed {
                text: std::mem::take(&mut self.held),
                stopped: true,
            };
        }
        let rest = self.held.split_off(self.decided());
        Passed {
            text: std::mem::replace(&mut self.held, rest),
            stopped: false,
        }
    }

    /// The text held back, for a generation that ended for another reason.
    pub fn finish(self) -> String {
        self.held
    }

    /// Bytes before the longest suffix of the text that is a prefix of a stop string.
    fn decided(&self) -> usize {
        let begins = |rest: &str| self.stops.iter().any(|stop| stop.starts_with(rest));
        let mut starts = self.held.char_indices().map(|(at, _)| at);
        let held = starts.find(|at| self.held.get(*at..).is_some_and(begins));
        held.unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn watch(stops: &[&str]) -> StopStrings {
        StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()).collect()).unwrap()
    }

    fn passed(text: &str, stopped: bool) -> Passed {
        Passed {
            text: text.to_owned(),
            stopped,
        }
    }

    #[test]
    fn a_stop_string_across_pieces_is_found_and_left_out() {
        let mut watch = watch(&["END", "\n\n"]);
        assert_eq!(watch.push("one E"), passed("one ", false));
        assert_eq!(watch.push("N"), passed("", false));
        assert_eq!(watch.push("T\n"), passed("ENT", false));
        assert_eq!(watch.push("E"), passed("\n", false));
        assert_eq!(watch.push("ND more"), passed("", true));
    }

    #[test]
    fn text_held_back_is_not_lost() {
        let mut watch = watch(&["END"]);
        assert_eq!(watch.push("the EN"), passed("the ", false));
        assert_eq!(watch.finish(), "EN");
        assert_eq!(
            StopStrings::default().push("all of it"),
            passed("all of it", false)
        );
    }

    #[test]
    fn invalid_lists_are_refused() {
        let empty = StopStrings::new(vec!["a".to_owned(), String::new()]).unwrap_err();
        assert_eq!(empty.to_string(), "stop string 1 is empty: expected text");
        let many = StopStrings::new(vec!["a".to_owned(); 17]).unwrap_err();
        assert_eq!(many.to_string(), "17 stop strings, expected at most 16");
    }

    /// Text character by character, until one completes a stop string.
    fn slow(text: &str, stops: &[String]) -> (String, bool) {
        let mut so_far = String::new();
        for character in text.chars() {
            so_far.push(character);
            let mut complete: Vec<_> = stops
                .iter()
                .filter(|stop| so_far.ends_with(*stop))
                .collect();
            complete.sort_by_key(|stop| stop.len());
            if let Some(longest) = complete.last() {
                so_far.truncate(so_far.len() - longest.len());
                return (so_far, true);
            }
        }
        (so_far, false)
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_pieces(
            pieces in prop::collection::vec("[abä]{0,4}", 0..12),
            stops in prop::collection::vec("[abä]{1,4}", 0..3),
        ) {
            let mut watch = StopStrings::new(stops.clone()).unwrap();
            let (mut text, mut stopped) = (String::new(), false);
            for piece in &pieces {
                let passed = watch.push(piece);
                text.push_str(&passed.text);
                if passed.stopped {
                    stopped = true;
                    break;
                }
            }
            if !stopped {
                text.push_str(&watch.finish());
            }
            prop_assert_eq!((text, stopped), slow(&pieces.concat(), &stops));
        }
    }
}
