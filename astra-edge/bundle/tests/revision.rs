//! A bundle with other values in some places: these change, all others do not, and neither does the bundle itself.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers are tests too, but stand outside functions marked as such"
)]

mod common;

use std::fs;

use astra_bundle::*;
use common::refined::{BITS, both_words, first};
use common::{Place, refined};

#[test]
fn values_are_replaced_in_their_places() {
    let place = Place::new();
    let bundle = refined::write(&place.bundle());
    let before = fs::read(place.bundle().join(WEIGHTS_FILE)).unwrap();
    let rung = bundle.rung(BITS).unwrap();
    let mut bases = bundle.manifest().bases.iter();
    let basis = bases.find(|basis| basis.name == rung.basis);
    let tensor = basis.unwrap().blocks[0].enc_w.clone();
    let values = vec![0.5; tensor.elements().unwrap()];
    let [mut words, words2] = both_words(0);
    words.iter_mut().for_each(|word| *word = -*word);

    let out = place.root().join("revised");
    let mut revision = Revision::of(&bundle, &out).unwrap();
    revision.tensor(&tensor, &values).unwrap();
    revision.codebook(rung, 0, &first(&words, &words2)).unwrap();
    let revised = revision.finish(bundle.manifest().clone()).unwrap();

    assert_eq!(*revised.tensor(&tensor).unwrap(), *values);
    assert_eq!(revised.codebook(rung, 0).unwrap(), first(&words, &words2));
    assert_eq!(
        revised.codebook(rung, 1).unwrap(),
        bundle.codebook(rung, 1).unwrap()
    );
    let after = fs::read(out.join(WEIGHTS_FILE)).unwrap();
    assert_eq!(after.len(), before.len());
    let start = usize::try_from(tensor.offset).unwrap();
    let end = start + 2 * values.len();
    assert_eq!(
        (&after[..start], &after[end..]),
        (&before[..start], &before[end..])
    );
    assert_eq!(fs::read(place.bundle().join(WEIGHTS_FILE)).unwrap(), before);
    assert_ne!(revised.hash(), bundle.hash());
}

#[test]
fn other_sizes_are_refused_and_nothing_is_left() {
    let place = Place::new();
    let bundle = refined::write(&place.bundle());
    let rung = bundle.rung(BITS).unwrap();
    let mut bases = bundle.manifest().bases.iter();
    let basis = bases.find(|basis| basis.name == rung.basis);
    let tensor = basis.unwrap().blocks[0].enc_b.clone();
    let names = place.names();
    let out = place.root().join("revised");
    let mut revision = Revision::of(&bundle, &out).unwrap();
    let count = tensor.elements().unwrap();
    let refusal = revision.tensor(&tensor, &vec![0.0; count + 1]).unwrap_err();
    assert!(
        refusal.to_string().contains("as many as its shape has"),
        "{refusal}"
    );
    let refusal = revision.tensor(&tensor, &vec![1e9; count]).unwrap_err();
    assert!(refusal.to_string().contains("float16"), "{refusal}");
    let outside = TensorRef {
        offset: 1 << 40,
        ..tensor
    };
    assert!(revision.tensor(&outside, &vec![0.0; count]).is_err());
    let [words, words2] = both_words(0);
    // Padded, both blocks have the same size.
    let refusal = revision
        .codebook(rung, 1, &first(&words, &words2))
        .unwrap_err();
    assert!(refusal.to_string().contains("axes, "), "{refusal}");
    drop(revision);
    assert_eq!(place.names(), names);
}

#[test]
fn a_revision_can_take_the_place_of_its_bundle() {
    let place = Place::new();
    let bundle = refined::write(&place.bundle());
    let tensor = bundle.manifest().bases[0].blocks[0].enc_b.clone();
    let values = vec![2.0; tensor.elements().unwrap()];
    let mut revision = Revision::of(&bundle, &place.bundle()).unwrap();
    revision.tensor(&tensor, &values).unwrap();
    revision.finish(bundle.manifest().clone()).unwrap();
    let read = Bundle::open(&place.bundle()).unwrap();
    assert_eq!(*read.tensor(&tensor).unwrap(), *values);
}
