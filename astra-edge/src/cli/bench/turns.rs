//! The order in which kinds of requests take turns: the one device's, and at most as many others as a device keeps plans, for setting one
//! up is no part of a request.

/// Kinds from 0 on, and the input of each request, from 0 to `repeat`. Each kind requests an input one turn after the kind before, so
/// that what a device keeps of the last prompt is of another one.
pub(super) fn turns(repeat: usize, kinds: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..repeat + kinds).flat_map(move |turn| {
        let input = move |kind: usize| turn.checked_sub(kind).filter(|&input| input < repeat);
        (0..kinds).filter_map(move |kind| Some((kind, input(kind)?)))
    })
}

/// Inputs of the `count` requests of a kind before them, after those of the turns. The kind before ended with none that this one begins
/// with.
pub(super) fn warm_up(repeat: usize, count: usize, kind: usize) -> impl Iterator<Item = usize> {
    (0..count).rev().map(move |number| repeat + kind + number)
}

#[cfg(test)]
mod tests {
    use astra_edge::cluster::request::coordinator::PLANS;

    use super::*;

    #[test]
    fn no_input_is_requested_twice_in_a_row() {
        for (repeat, count, kinds) in [(1, 1, 1), (1, 2, 5), (9, 2, 1), (9, 1, 3), (15, 3, 5)] {
            let first = (0..kinds).flat_map(|kind| warm_up(repeat, count, kind));
            let then = turns(repeat, kinds).map(|(_, input)| input);
            let all: Vec<usize> = first.chain(then).collect();
            let twice = all.windows(2).find(|pair| pair[0] == pair[1]);
            // A single input is necessarily requested by one kind after the other.
            let single = repeat == 1 && kinds > 1;
            assert_eq!(twice.is_some(), single, "{repeat} {count} {kinds}: {all:?}");
            assert!(all.iter().all(|&input| input < repeat + count + PLANS));
        }
    }

    #[test]
    fn every_kind_requests_every_input_and_the_first_kind_before_the_others() {
        for (repeat, kinds) in [(1, 1), (2, 5), (9, 3)] {
            let turns: Vec<_> = turns(repeat, kinds).collect();
            assert_eq!(turns.len(), repeat * kinds);
            for kind in 0..kinds {
                let of_kind = turns.iter().filter(|turn| turn.0 == kind);
                assert!(of_kind.map(|turn| turn.1).eq(0..repeat), "{turns:?}");
            }
            for (place, turn) in turns.iter().enumerate() {
                let first = turns.iter().position(|first| *first == (0, turn.1));
                assert!(first <= Some(place));
            }
        }
    }
}
