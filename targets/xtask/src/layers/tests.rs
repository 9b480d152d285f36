//! Small trees made up for these tests.

use std::fs;
use std::path::PathBuf;

use super::check;
use crate::workspace_crates::Crate;

/// What is wrong with a library `sample` of these files; paths in it are below its folder.
fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let library = |name: &str| Crate {
        name: name.to_owned(),
        root: folder.path().join(PathBuf::from(name)).with_extension("rs"),
    };
    let other = files.iter().any(|(path, _)| *path == "other.rs");
    let mut crates = vec![library("sample")];
    crates.extend(other.then(|| library("other")));
    let prefix = format!("{}/", folder.path().display());
    let problems = check(&crates).unwrap().into_iter();
    problems
        .map(|problem| problem.replace(&prefix, ""))
        .collect()
}

const NONE: [&str; 0] = [];

#[test]
fn a_circle_is_found_and_what_ties_it() {
    let found = problems(&[
        ("sample.rs", "mod sample_a; mod sample_b; mod sample_c;"),
        ("sample_a.rs", "use crate::sample_b::B; pub struct A(B);"),
        (
            "sample_b.rs",
            "pub struct B; fn f() { super::sample_c::work(); }",
        ),
        (
            "sample_c.rs",
            "pub fn work() { let _: crate::sample_a::A; }",
        ),
    ]);
    assert_eq!(
        found,
        ["sample_a.rs: found a circle of 3 files, expected none\
          \n  sample_a.rs -> sample_b.rs: B\
          \n  sample_b.rs -> sample_c.rs: work\
          \n  sample_c.rs -> sample_a.rs: A"]
    );
}

#[test]
fn a_tree_without_a_circle_is_clean() {
    let found = problems(&[
        ("sample.rs", "mod high; mod low;"),
        (
            "high.rs",
            "use crate::low::{self, A}; fn f(a: A) { low::work() }",
        ),
        ("low.rs", "pub struct A; pub fn work() {}"),
    ]);
    assert_eq!(found, NONE);
}

#[test]
fn re_exports_lead_to_the_file_that_defines() {
    // `b` takes from `parts`, which only passes on what `parts/one` defines.
    let clean = [
        ("sample.rs", "mod parts; mod b;"),
        (
            "parts/mod.rs",
            "mod one; mod two; pub use one::One; pub use self::two::*;",
        ),
        ("parts/one.rs", "pub struct One;"),
        ("parts/two.rs", "use super::One; pub struct Two(One);"),
        (
            "b.rs",
            "use crate::parts::{One, Two as Second}; fn f(_: One, _: Second) {}",
        ),
    ];
    assert_eq!(problems(&clean), NONE);
    let mut tied = clean;
    tied[2].1 = "use crate::parts::Two; pub struct One; fn f(_: Two) {}";
    assert_eq!(
        problems(&tied),
        ["parts/one.rs: found a circle of 2 files, expected none\
          \n  parts/one.rs -> parts/two.rs: Two\
          \n  parts/two.rs -> parts/one.rs: One"]
    );
}

#[test]
fn a_module_may_share_with_those_in_it_and_use_them() {
    let files = [
        ("sample.rs", "mod outer; mod parts;"),
        (
            "parts/mod.rs",
            "mod one; pub struct Shared; fn f() { let _: one::One; }",
        ),
        ("parts/one.rs", "use super::Shared; pub struct One(Shared);"),
        ("outer.rs", ""),
    ];
    assert_eq!(problems(&files), NONE);
    // Of modules outside, its file is like any other.
    let mut tied = files;
    tied[2].1 = "use crate::outer::work; pub struct One;";
    tied[3].1 = "pub fn work() { let _: crate::parts::Shared; }";
    assert_eq!(
        problems(&tied),
        ["outer.rs: found a circle of 3 files, expected none\
          \n  outer.rs -> parts/mod.rs: Shared\
          \n  parts/mod.rs -> parts/one.rs: One\
          \n  parts/one.rs -> outer.rs: work"]
    );
}

#[test]
fn what_only_tests_compile_and_macros_do_not_count() {
    let found = problems(&[
        ("sample.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        (
            "b.rs",
            "pub struct B;
             #[cfg(test)] use crate::a::A;
             #[cfg(all(test, unix))] mod tests { use crate::a::A; }
             impl B { #[cfg(test)] fn f(_: crate::a::A) {} }
             fn g() { println!(\"{}\", size_of::<crate::a::A>()); }",
        ),
    ]);
    assert_eq!(found, NONE);
}

#[test]
fn names_of_functions_and_of_other_crates_are_followed() {
    let found = problems(&[
        ("other.rs", "pub mod deep; pub use deep::Thing;"),
        (
            "deep.rs",
            "pub struct Thing; fn f() { use crate::Thing as T; let _: T; }",
        ),
        ("sample.rs", "mod a; mod b;"),
        (
            "a.rs",
            "fn f() { use crate::b; b::work(); } pub fn g(_: other::Thing) {}",
        ),
        ("b.rs", "pub fn work() { crate::a::g(other::deep::Thing) }"),
    ]);
    assert_eq!(
        found,
        ["a.rs: found a circle of 2 files, expected none\
          \n  a.rs -> b.rs: work\
          \n  b.rs -> a.rs: g"]
    );
}

const LISTED: &str = "//! A library. Layers, lowest first, are not named in the middle of a line.
//!
//! Layers, lowest first:
//!
//! - `low`: what stands at the
//!   bottom
//! - [`middle`] and [`beside`]: words
//! - `high`
//!
//! - `low`: no longer of the list
mod beside; mod high; mod low; mod middle;";

#[test]
fn a_module_imports_none_above_it() {
    let files = [
        ("sample.rs", LISTED),
        ("low.rs", "pub struct Low;"),
        (
            "middle.rs",
            "pub struct Middle(crate::low::Low, super::beside::Beside);",
        ),
        ("beside.rs", "pub struct Beside;"),
        ("high/mod.rs", "mod part; pub use part::Part;"),
        ("high/part.rs", "pub struct Part(crate::low::Low);"),
    ];
    assert_eq!(problems(&files), NONE);
    let mut broken = files;
    broken[3].1 = "use crate::high::Part; pub struct Beside(Part);";
    assert_eq!(
        problems(&broken),
        ["beside.rs: imports of `beside`: found `high` (Part), expected only layers below"]
    );
}

#[test]
fn a_list_has_every_module_once() {
    let text = LISTED.replace("[`middle`] and ", "`low`, ");
    let found = problems(&[
        ("sample.rs", &text),
        ("low.rs", ""),
        ("middle.rs", ""),
        ("beside.rs", ""),
        ("high.rs", ""),
    ]);
    assert_eq!(
        found,
        [
            "sample.rs: layers: found `low` 2 times, expected once",
            "sample.rs: layers: found `middle` 0 times, expected once"
        ]
    );
}

#[test]
fn a_large_library_has_a_list() {
    let files = ["a.rs", "b.rs", "c.rs", "d.rs"].map(|file| (file, ""));
    let roots = ["mod a; mod b; mod c;", "mod a; mod b; mod c; mod d;"];
    let [small, large] = roots.map(|root| problems(&[&[("sample.rs", root)], &files[..]].concat()));
    assert_eq!(small, NONE);
    assert_eq!(
        large,
        ["sample.rs: layers: found no list, expected \"Layers, lowest first\" with 4 modules"]
    );
}

#[test]
fn this_workspace_keeps_its_layers() {
    let found = check(&crate::workspace_crates::all().unwrap()).unwrap();
    assert_eq!(found, NONE, "{}", found.join("\n"));
}
