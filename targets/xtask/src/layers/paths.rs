//! The paths in the code of a module, and what each imports.

use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, ItemUse, Macro, Path, VisRestricted};

use super::Import;
use super::resolve::{Resolver, Target};
use super::source::{Module, leaves, only_tests, re_exports};

/// Items of other modules that the code of `module` uses.
pub(super) fn imports(module: &Module, resolver: &Resolver<'_>) -> Vec<Import> {
    let mut visitor = Imports {
        module,
        resolver,
        found: Vec::new(),
    };
    for item in &module.items {
        visitor.visit_item(item);
    }
    visitor.found
}

struct Imports<'a> {
    module: &'a Module,
    resolver: &'a Resolver<'a>,
    found: Vec<Import>,
}

impl Imports<'_> {
    fn add(&mut self, path: &[String]) {
        for target in self.resolver.resolve(self.module, path) {
            if let Target::Item(to, name) = target
                && to != self.module.path
            {
                self.found.push(Import {
                    from: self.module.path.clone(),
                    to,
                    name,
                });
            }
        }
    }

    fn add_path(&mut self, path: &Path) {
        let names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        self.add(&names.collect::<Vec<_>>());
    }
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if re_exports(&item.vis) {
            return;
        }
        for leaf in leaves(&item.tree) {
            self.add(&leaf.path);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.add_path(path);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.add_path(&called.path);
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        // Modules within functions only: those of files are visited by themselves.
        if !matches!(item, syn::Item::Mod(_)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes: &[Attribute] = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => &[],
        };
        if !only_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}
