//! The modules of crates: what each defines, and what its `use` items bring in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use syn::visit::Visit;
use syn::{Attribute, Expr, ExprLit, Item, ItemUse, Lit, Meta, UseTree, Visibility};

use crate::workspace_crates::Crate;

/// Names from the crate's on: `["astra_edge", "plan", "latency"]`.
pub(super) type ModulePath = Vec<String>;

/// What a name stands for in a module.
#[derive(Clone, Debug)]
pub(super) enum Binding {
    /// An item that the module defines.
    Item,
    /// A module below it.
    Module,
    /// What a `use` names.
    Use(Vec<String>),
}

pub(super) struct Module {
    pub(super) path: ModulePath,
    pub(super) file: PathBuf,
    pub(super) doc: String,
    /// All of it but what only tests compile.
    pub(super) items: Vec<Item>,
    pub(super) names: BTreeMap<String, Vec<Binding>>,
    /// Paths of `use PATH::*`.
    pub(super) globs: Vec<Vec<String>>,
}

/// All modules of the crates, by their paths.
#[derive(Default)]
pub(super) struct Modules(BTreeMap<ModulePath, Module>);

impl Modules {
    pub(super) fn read(crates: &[Crate]) -> Result<Self> {
        let mut modules = Self::default();
        for member in crates {
            let file = &member.root;
            let folder = file.parent().unwrap_or(Path::new(""));
            modules.read_file(vec![member.name.clone()], file, folder)?;
        }
        Ok(modules)
    }

    pub(super) fn get(&self, path: &[String]) -> Option<&Module> {
        self.0.get(path)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Module> {
        self.0.values()
    }

    /// Modules right below `parent`.
    pub(super) fn children<'a>(&'a self, parent: &'a Module) -> impl Iterator<Item = &'a Module> {
        let depth = parent.path.len();
        self.iter()
            .filter(move |module| module.path.len() == depth + 1)
            .filter(|module| module.path.starts_with(&parent.path))
    }

    /// `folder` is where the files of its child modules are.
    fn read_file(&mut self, path: ModulePath, file: &Path, folder: &Path) -> Result<()> {
        let text = fs::read_to_string(file).with_context(|| super::shown(file))?;
        let syntax = syn::parse_file(&text).with_context(|| super::shown(file))?;
        self.add(path, file, folder, doc_of(&syntax.attrs), syntax.items)
    }

    fn add(
        &mut self,
        path: ModulePath,
        file: &Path,
        folder: &Path,
        doc: String,
        items: Vec<Item>,
    ) -> Result<()> {
        let mut module = Module {
            path,
            file: file.to_owned(),
            doc,
            items: Vec::new(),
            names: BTreeMap::new(),
            globs: Vec::new(),
        };
        for item in items {
            if only_tests(attributes(&item)) {
                continue;
            }
            let Item::Mod(child) = item else {
                module.bind(&item);
                module.items.push(item);
                continue;
            };
            let name = child.ident.to_string();
            module.name(&name, Binding::Module);
            let mut path = module.path.clone();
            path.push(name.clone());
            let below = folder.join(&name);
            match child.content {
                Some((_, items)) => self.add(path, file, &below, doc_of(&child.attrs), items)?,
                None => self.read_file(path, &file_of(&name, folder, file)?, &below)?,
            }
        }
        module.bind_inner();
        self.0.insert(module.path.clone(), module);
        Ok(())
    }
}

impl Module {
    fn name(&mut self, name: &str, binding: Binding) {
        self.names.entry(name.to_owned()).or_default().push(binding);
    }

    fn bind(&mut self, item: &Item) {
        if let Item::Use(item) = item {
            for leaf in leaves(&item.tree) {
                match leaf.name {
                    Some(name) => self.name(&name, Binding::Use(leaf.path)),
                    None => self.globs.push(leaf.path),
                }
            }
        } else if let Some(name) = defined(item) {
            self.name(&name, Binding::Item);
        }
    }

    /// A `use` within a function holds for the module where that has no such name: scopes of functions are not kept apart.
    fn bind_inner(&mut self) {
        let mut inner = InnerUses::default();
        for item in &self.items {
            if !matches!(item, Item::Use(_)) {
                inner.visit_item(item);
            }
        }
        for leaf in inner.0 {
            if let Some(name) = leaf.name.filter(|name| !self.names.contains_key(name)) {
                self.name(&name, Binding::Use(leaf.path));
            }
        }
    }
}

/// What is imported within functions.
#[derive(Default)]
struct InnerUses(Vec<Leaf>);

impl<'ast> Visit<'ast> for InnerUses {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.0.extend(leaves(&item.tree));
    }
}

/// One path that a `use` names.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    /// What it is called here; none of a glob.
    name: Option<String>,
}

/// The paths of a `use`, each whole.
pub(super) fn leaves(tree: &UseTree) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    collect(tree, &mut Vec::new(), &mut leaves);
    leaves
}

fn collect(tree: &UseTree, before: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    let leaf = |last: String, name: String| {
        let mut path = before.clone();
        // `a::{self}` is `a`.
        if last != "self" || path.is_empty() {
            path.push(last);
        }
        let name = match name.as_str() {
            "self" => path.last().cloned(),
            _ => Some(name),
        };
        Leaf { path, name }
    };
    match tree {
        UseTree::Path(part) => {
            before.push(part.ident.to_string());
            collect(&part.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(last) => {
            let last = last.ident.to_string();
            leaves.push(leaf(last.clone(), last));
        }
        UseTree::Rename(last) => leaves.push(leaf(last.ident.to_string(), last.rename.to_string())),
        UseTree::Glob(_) => leaves.push(Leaf {
            path: before.clone(),
            name: None,
        }),
        UseTree::Group(group) => {
            for tree in &group.items {
                collect(tree, before, leaves);
            }
        }
    }
}

/// Whether a `use` passes on what it names.
pub(super) fn re_exports(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

/// The name that an item has in its module.
fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether only tests compile what these attributes stand on: `cfg(test)` or `cfg(all(test, ...))`.
pub(super) fn only_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list
            .parse_args::<Meta>()
            .is_ok_and(|meta| needs_test(&meta)),
        _ => false,
    })
}

fn needs_test(meta: &Meta) -> bool {
    match meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => {
            let parse = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
            let parts = list.parse_args_with(parse);
            parts.is_ok_and(|parts| parts.iter().any(needs_test))
        }
        _ => false,
    }
}

/// The file of `mod NAME;`.
fn file_of(name: &str, folder: &Path, parent: &Path) -> Result<PathBuf> {
    let file = folder.join(format!("{name}.rs"));
    let in_folder = folder.join(name).join("mod.rs");
    match (file.is_file(), in_folder.is_file()) {
        (true, _) => Ok(file),
        (_, true) => Ok(in_folder),
        _ => bail!(
            "{}: module {name}: found no file, expected {}",
            super::shown(parent),
            super::shown(&file)
        ),
    }
}

/// The text of doc comments.
fn doc_of(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(line),
                ..
            }) if pair.path.is_ident("doc") => Some(line.value()),
            _ => None,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
