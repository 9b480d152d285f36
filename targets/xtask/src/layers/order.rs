//! Lists of layers in the documentation of modules, and what breaks them.

use std::collections::BTreeMap;

use super::source::{Module, Modules};
use super::{Import, UNLISTED, shown};

/// What begins the paragraph before a list.
const TITLE: &str = "Layers, lowest first";

/// A line for each thing that is wrong with a list, or with the imports of the modules in it.
pub(super) fn check(modules: &Modules, imports: &[Import]) -> Vec<String> {
    modules
        .iter()
        .flat_map(|parent| check_one(parent, modules, imports))
        .collect()
}

fn check_one(parent: &Module, modules: &Modules, imports: &[Import]) -> Vec<String> {
    let children: Vec<&str> = modules
        .children(parent)
        .filter_map(|child| child.path.last())
        .map(String::as_str)
        .collect();
    let file = shown(&parent.file);
    let Some(layers) = layers(&parent.doc, &children) else {
        let is_root = parent.path.len() == 1;
        return match is_root && children.len() > UNLISTED {
            true => vec![format!(
                "{file}: layers: found no list, expected {TITLE:?} with {} modules",
                children.len()
            )],
            false => Vec::new(),
        };
    };
    let mut problems = Vec::new();
    for child in &children {
        let found = layers.iter().filter(|(name, _)| name == child).count();
        if found != 1 {
            problems.push(format!(
                "{file}: layers: found `{child}` {found} times, expected once"
            ));
        }
    }
    let floors: BTreeMap<&str, usize> = layers.into_iter().collect();
    let depth = parent.path.len();
    let floor = |path: &[String]| {
        let child = path.get(depth).filter(|_| path.starts_with(&parent.path))?;
        Some((child.clone(), *floors.get(child.as_str())?))
    };
    let mut upward: BTreeMap<(String, String, String), Vec<&str>> = BTreeMap::new();
    for import in imports {
        if let (Some((from, low)), Some((to, high))) = (floor(&import.from), floor(&import.to))
            && low < high
            && let Some(module) = modules.get(&import.from)
        {
            let key = (shown(&module.file), from, to);
            upward.entry(key).or_default().push(&import.name);
        }
    }
    problems.extend(upward.into_iter().map(|((file, from, to), names)| {
        format!(
            "{file}: imports of `{from}`: found `{to}` ({}), expected only layers below",
            names.join(", ")
        )
    }));
    problems
}

/// The modules of a list with the number of their bullet, from 0; `None` where there is no list.
fn layers<'a>(doc: &'a str, children: &[&str]) -> Option<Vec<(&'a str, usize)>> {
    let mut lines = doc.lines().map(str::trim_end);
    lines.find(|line| line.trim_start().starts_with(TITLE))?;
    let mut layers = Vec::new();
    let mut bullets = 0_usize;
    for line in lines {
        let text = line.strip_prefix(' ').unwrap_or(line);
        match text.strip_prefix("- ") {
            Some(_) => bullets += 1,
            None if text.starts_with("  ") && bullets > 0 => {}
            // The rest of the paragraph, and an empty line.
            None if bullets == 0 => continue,
            None => break,
        }
        let spans = text.split('`').skip(1).step_by(2);
        let modules = spans.filter(|span| children.contains(span));
        layers.extend(modules.map(|module| (module, bullets)));
    }
    Some(layers)
}
