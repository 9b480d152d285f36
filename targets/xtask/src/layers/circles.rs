//! Files that import each other in a circle.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use super::source::Modules;
use super::{Import, shown};

/// A line for each circle, and below it one for each import that ties it, with the names. What a module takes from those it is in
/// ties nothing.
pub(super) fn find(modules: &Modules, imports: &[Import]) -> Vec<String> {
    let mut names: BTreeMap<(&Path, &Path), Vec<&str>> = BTreeMap::new();
    let mut graph = DiGraphMap::<&Path, ()>::new();
    for import in imports {
        let (Some(from), Some(to)) = (modules.get(&import.from), modules.get(&import.to)) else {
            continue;
        };
        let inside = from.path.starts_with(&to.path);
        let (from, to) = (from.file.as_path(), to.file.as_path());
        if from != to && !inside {
            names.entry((from, to)).or_default().push(&import.name);
            graph.add_edge(from, to, ());
        }
    }
    let circles = tarjan_scc(&graph).into_iter();
    let mut circles: Vec<_> = circles.filter(|files| files.len() > 1).collect();
    for circle in &mut circles {
        circle.sort_unstable();
    }
    circles.sort_unstable();
    circles
        .iter()
        .map(|circle| describe(circle, &names))
        .collect()
}

fn describe(circle: &[&Path], names: &BTreeMap<(&Path, &Path), Vec<&str>>) -> String {
    let first = circle.first().map(|file| shown(file)).unwrap_or_default();
    let mut text = format!(
        "{first}: found a circle of {} files, expected none",
        circle.len()
    );
    for ((from, to), names) in names {
        if circle.contains(from) && circle.contains(to) {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n  {} -> {}: {}",
                shown(from),
                shown(to),
                names.join(", ")
            );
        }
    }
    text
}
