//! `cargo xtask size`: sizes of device programs, compared with the saved ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::binaries::workspace;
use crate::board::Board;
use crate::child;
use crate::cross::{self, Profile};
use crate::stop::Stop;

/// How much a program may grow before the check fails, in percent.
const GROWTH: u64 = 3;
/// Crates that `--parts` shows.
const PARTS: usize = 15;

/// Bytes of one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    /// As linked, with symbols.
    binary: u64,
    /// As installed.
    stripped: u64,
}

type Sizes = BTreeMap<String, Size>;

/// One board's line.
#[derive(Debug, Serialize)]
struct Row {
    board: String,
    found: Size,
    saved: Option<Size>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
}

/// A crate's functions and constants in a program.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Part {
    name: String,
    bytes: u64,
}

/// How to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) save: bool,
    pub(crate) parts: bool,
    pub(crate) json: bool,
}

/// Builds the programs of `boards` and shows their sizes.
///
/// # Errors
/// A build fails, or a program has grown beyond its saved size.
pub(crate) fn run(boards: &[Board], options: Options, stop: &Stop) -> Result<()> {
    let path = workspace().join("targets/sizes.json");
    let mut sizes = read(&path)?;
    let mut rows = Vec::new();
    for board in boards {
        let built = cross::build(board, Profile::Dist, stop)?;
        let bytes = |path: &Path| fs::metadata(path).map(|data| data.len());
        rows.push(Row {
            board: board.name.clone(),
            found: Size {
                binary: bytes(&built.whole)?,
                stripped: bytes(&built.edge)?,
            },
            saved: sizes.get(&board.name).copied(),
            parts: match options.parts {
                true => parts(board, &built.whole, stop)?,
                false => Vec::new(),
            },
        });
    }
    match options.json {
        true => println!("{}", serde_json::to_string(&rows)?),
        false => show(&rows),
    }
    if options.save {
        sizes.extend(rows.into_iter().map(|row| (row.board, row.found)));
        return write(&path, &sizes);
    }
    let boards_where = |is: fn(&Row) -> bool| {
        let rows = rows.iter().filter(|row| is(row));
        rows.map(|row| row.board.as_str()).collect::<Vec<_>>()
    };
    let unsaved = boards_where(|row| row.saved.is_none());
    if !unsaved.is_empty() {
        bail!(
            "{} says nothing of {}; --save writes down what was found",
            path.display(),
            unsaved.join(", ")
        );
    }
    let grown = boards_where(Row::grew);
    if !grown.is_empty() {
        bail!(
            "grown by more than {GROWTH} %: {}; `cargo xtask size --parts` shows what takes the room, --save accepts it",
            grown.join(", ")
        );
    }
    Ok(())
}

impl Row {
    fn grew(&self) -> bool {
        let limit = self
            .saved
            .map(|saved| saved.stripped + saved.stripped * GROWTH / 100);
        limit.is_some_and(|limit| self.found.stripped > limit)
    }
}

fn show(rows: &[Row]) {
    println!(
        "{:<22}{:>14}{:>14}{:>14}",
        "board", "binary, MB", "stripped, MB", "saved, MB"
    );
    let mega = |bytes: u64| format!("{:.2}", bytes as f64 / 1e6);
    for row in rows {
        let saved = row
            .saved
            .map_or_else(|| "-".to_owned(), |saved| mega(saved.stripped));
        println!(
            "{:<22}{:>14}{:>14}{saved:>14}",
            row.board,
            mega(row.found.binary),
            mega(row.found.stripped)
        );
        for part in &row.parts {
            println!("  {:<34}{:>14}", part.name, mega(part.bytes));
        }
    }
}

fn read(path: &PathBuf) -> Result<Sizes> {
    if !path.exists() {
        return Ok(Sizes::new());
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: no sizes", path.display()))
}

fn write(path: &PathBuf, sizes: &Sizes) -> Result<()> {
    let text = serde_json::to_string_pretty(sizes)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The crates that take the most room, by the sizes of their symbols; the linker's own and ONNX Runtime are not among them.
fn parts(board: &Board, program: &Path, stop: &Stop) -> Result<Vec<Part>> {
    let mut command = Command::new(board.tool("nm"));
    command
        .args(["--print-size", "--size-sort", "--demangle", "--radix=d"])
        .arg(program);
    let output = child::capture(&mut command, stop, None, true, || ())?;
    if !output.status.success() {
        bail!("{} failed ({})", board.tool("nm"), output.status);
    }
    let mut parts = sum(&output.stdout);
    parts.truncate(PARTS);
    Ok(parts)
}

/// Bytes by crate, the largest first, of lines `ADDRESS BYTES KIND NAME`.
fn sum(symbols: &str) -> Vec<Part> {
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    for line in symbols.lines() {
        let mut words = line.splitn(4, ' ');
        let (_, size, kind) = (words.next(), words.next(), words.next());
        let size = size.and_then(|size| size.parse::<u64>().ok());
        // What is zero at the start takes no room in the file.
        let zeroed = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("b"));
        if let (Some(size), Some(name), false) = (size, words.next(), zeroed) {
            *bytes.entry(crate_of(name)).or_default() += size;
        }
    }
    let mut parts: Vec<Part> = bytes
        .into_iter()
        .map(|(name, bytes)| Part {
            name: name.to_owned(),
            bytes,
        })
        .collect();
    parts.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.name.cmp(&b.name)));
    parts
}

/// The crate of `a::b::c`, `<a::b as c::d>::e` and `<&mut a::b as ...>`; of names that are none of Rust's, what they begin with.
fn crate_of(name: &str) -> &str {
    let bare = name.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
    let bare = bare.trim_start_matches("mut ").trim_start_matches("dyn ");
    match bare.split_once("::") {
        Some((first, _)) if !first.contains(' ') => first,
        _ => "others",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_count_for_their_crates() {
        let symbols = "\
0001 00000100 t zenoh::net::run
0002 00000050 T <zenoh::api::Session as core::ops::Drop>::drop
0003 00000030 t <&mut tokio::io::Stream as std::io::Read>::read
0004 00000900 b zenoh::CACHE
0005 00000020 r memcpy
0006 t short
";
        let parts = sum(symbols);
        let found: Vec<_> = parts
            .iter()
            .map(|part| (part.name.as_str(), part.bytes))
            .collect();
        assert_eq!(found, [("zenoh", 150), ("tokio", 30), ("others", 20)]);
    }

    #[test]
    fn only_growth_beyond_the_limit_counts() {
        let row = |found, saved: Option<u64>| Row {
            board: String::new(),
            found: Size {
                binary: 0,
                stripped: found,
            },
            saved: saved.map(|stripped| Size {
                binary: 0,
                stripped,
            }),
            parts: Vec::new(),
        };
        assert!(!row(1030, Some(1000)).grew());
        assert!(row(1031, Some(1000)).grew());
        assert!(!row(500, Some(1000)).grew());
        assert!(!row(5000, None).grew());
    }

    #[test]
    fn the_saved_sizes_are_those_of_the_boards() {
        let saved = read(&workspace().join("targets/sizes.json")).unwrap();
        let boards: Vec<_> = Board::all()
            .unwrap()
            .into_iter()
            .map(|board| board.name)
            .collect();
        assert_eq!(saved.into_keys().collect::<Vec<_>>(), boards);
    }
}
