//! From a path to the module that defines what it names, re-exports followed.

use std::collections::BTreeSet;

use super::source::{Binding, Module, ModulePath, Modules};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A module itself.
    Module(ModulePath),
    /// An item, by the module that defines it, and its name there.
    Item(ModulePath, String),
}

pub(super) struct Resolver<'a> {
    modules: &'a Modules,
}

/// Names that are being looked up: a `use` may name itself through a glob.
type Pending = BTreeSet<(ModulePath, String)>;

impl<'a> Resolver<'a> {
    pub(super) fn new(modules: &'a Modules) -> Self {
        Self { modules }
    }

    /// All that a path in `module` names: a name may be of a type and of a function at once. Empty for what is not of the workspace.
    pub(super) fn resolve(&self, module: &Module, path: &[String]) -> BTreeSet<Target> {
        self.path(module, path, &mut Pending::new())
    }

    fn path(&self, module: &Module, path: &[String], pending: &mut Pending) -> BTreeSet<Target> {
        let Some((first, rest)) = path.split_first() else {
            return BTreeSet::new();
        };
        let mut targets = self.first(module, first, pending);
        for name in rest {
            targets = targets
                .into_iter()
                .flat_map(|target| match target {
                    Target::Module(path) => self.below(&path, name, pending),
                    // A variant or an associated item.
                    Target::Item(..) => BTreeSet::from([target]),
                })
                .collect();
        }
        targets
    }

    fn first(&self, module: &Module, name: &str, pending: &mut Pending) -> BTreeSet<Target> {
        let here = &module.path;
        let whole = |path: &[String]| BTreeSet::from([Target::Module(path.to_owned())]);
        match name {
            "crate" => here.get(..1).map(whole).unwrap_or_default(),
            "self" => whole(here),
            "super" => self.parent(here).map(whole).unwrap_or_default(),
            _ => {
                let found = self.name(module, name, pending);
                let root = vec![name.to_owned()];
                match found.is_empty() && self.modules.get(&root).is_some() {
                    true => whole(&root),
                    false => found,
                }
            }
        }
    }

    fn parent<'p>(&self, path: &'p [String]) -> Option<&'p [String]> {
        path.split_last().map(|(_, parent)| parent)
    }

    /// `super` and `self` may also stand after others.
    fn below(&self, path: &[String], name: &str, pending: &mut Pending) -> BTreeSet<Target> {
        match (name, self.modules.get(path)) {
            ("super", _) => self
                .parent(path)
                .map(|parent| BTreeSet::from([Target::Module(parent.to_owned())]))
                .unwrap_or_default(),
            (_, Some(module)) => self.name(module, name, pending),
            (_, None) => BTreeSet::new(),
        }
    }

    /// What a name stands for in a module.
    fn name(&self, module: &Module, name: &str, pending: &mut Pending) -> BTreeSet<Target> {
        let key = (module.path.clone(), name.to_owned());
        if !pending.insert(key.clone()) {
            return BTreeSet::new();
        }
        let mut found = BTreeSet::new();
        for binding in module.names.get(name).into_iter().flatten() {
            match binding {
                Binding::Item => {
                    found.insert(Target::Item(module.path.clone(), name.to_owned()));
                }
                Binding::Module => {
                    let mut path = module.path.clone();
                    path.push(name.to_owned());
                    found.insert(Target::Module(path));
                }
                Binding::Use(path) => found.extend(self.path(module, path, pending)),
            }
        }
        if found.is_empty() {
            for glob in &module.globs {
                for target in self.path(module, glob, pending) {
                    if let Target::Module(path) = target {
                        found.extend(self.below(&path, name, pending));
                    }
                }
            }
        }
        pending.remove(&key);
        found
    }
}
