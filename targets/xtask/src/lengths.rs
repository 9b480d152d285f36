//! No Rust file of more than 400 lines and no function of more than 60, tests included.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::binaries::workspace;
use crate::folder::entries;

const FILE: usize = 400;
const FUNCTION: usize = 60;

/// Measures every file of the workspace; functions in macros are not seen.
///
/// # Errors
/// A file or a function is too long, or a file cannot be read; the error has a line for each.
pub(crate) fn run() -> Result<()> {
    let mut files = Vec::new();
    collect(workspace(), &mut files)?;
    let mut problems = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| shown(file))?;
        problems.extend(problems_of(&text, &shown(file))?);
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}

/// Rust files below `folder`, but for what cargo builds and hidden folders.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn shown(file: &Path) -> String {
    let short = file.strip_prefix(workspace()).unwrap_or(file);
    short.display().to_string()
}

/// A line for each thing too long.
fn problems_of(text: &str, file: &str) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > FILE {
        problems.push(format!(
            "{file}: found {lines} lines, expected at most {FILE}"
        ));
    }
    let syntax = syn::parse_file(text).with_context(|| file.to_owned())?;
    let mut functions = Functions::default();
    functions.visit_file(&syntax);
    let long = functions
        .0
        .iter()
        .filter(|function| function.lines > FUNCTION);
    problems.extend(long.map(|function| {
        format!(
            "{file}:{}: function {}: found {} lines, expected at most {FUNCTION}",
            function.start, function.name, function.lines
        )
    }));
    Ok(problems)
}

/// Every function with a body, from `fn` to its last brace.
#[derive(Default)]
struct Functions(Vec<Function>);

struct Function {
    name: String,
    start: usize,
    lines: usize,
}

impl Functions {
    fn add(&mut self, signature: &Signature, body: &Block) {
        let start = signature.fn_token.span.start().line;
        self.0.push(Function {
            name: signature.ident.to_string(),
            start,
            lines: body.brace_token.span.close().end().line + 1 - start,
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `fn long`, of this many lines, in line 2.
    fn function(lines: usize) -> String {
        format!(
            "/// Comments do not count.\nfn long() {{\n{}}}\n",
            "    f();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn functions_count_from_their_first_line_to_their_last() {
        assert_eq!(
            problems_of(&function(60), "a.rs").unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(
            problems_of(&function(61), "a.rs").unwrap(),
            ["a.rs:2: function long: found 61 lines, expected at most 60"]
        );
    }

    #[test]
    fn methods_and_functions_in_modules_count_too() {
        let method = format!("impl S {{\n{}}}\n", function(61));
        let provided = format!("trait T {{\n{}}}\n", function(61));
        let test = format!("mod tests {{\n#[test]\n{}}}\n", function(61));
        for text in [method, provided, test] {
            assert_eq!(problems_of(&text, "a.rs").unwrap().len(), 1, "{text}");
        }
    }

    #[test]
    fn files_count_every_line() {
        assert_eq!(
            problems_of(&"\n".repeat(400), "a.rs").unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(
            problems_of(&"\n".repeat(401), "a.rs").unwrap(),
            ["a.rs: found 401 lines, expected at most 400"]
        );
    }
}
