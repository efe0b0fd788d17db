//! Which file imports which: paths of `use` and of expressions, resolved as the compiler does, through
//! re-exports, to the file that defines what they name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Item, Meta, UseTree, visit::Visit};

/// A crate of the workspace: its name in paths and the directory of its sources.
pub struct Crate {
    pub name: &'static str,
    pub src: &'static str,
}

/// Importer and imported, as paths from the workspace's root.
pub type Edges = BTreeSet<(String, String)>;

#[derive(Default)]
struct Module {
    file: String,
    children: BTreeSet<String>,
    /// What a name stands for: `use` of any visibility, by the name that it gives.
    names: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Paths that count as imports.
    imports: Vec<Vec<String>>,
}

/// Modules by their path; the first segment is the crate's name.
#[derive(Default)]
pub struct Workspace {
    modules: BTreeMap<Vec<String>, Module>,
    crates: BTreeSet<String>,
}

impl Workspace {
    pub fn read(root: &Path, crates: &[Crate]) -> Self {
        let mut workspace = Self::default();
        for Crate { name, src } in crates {
            workspace.crates.insert((*name).to_owned());
            let lib = root.join(src).join("lib.rs");
            let entry = if lib.exists() { lib } else { root.join(src).join("main.rs") };
            workspace.read_file(root, &entry, &root.join(src), vec![(*name).to_owned()]);
        }
        workspace
    }

    fn read_file(&mut self, root: &Path, file: &Path, dir: &Path, path: Vec<String>) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let shown = file.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        self.read_items(root, &parsed.items, dir, path, shown);
    }

    fn read_items(&mut self, root: &Path, items: &[Item], dir: &Path, path: Vec<String>, file: String) {
        let mut module = Module { file: file.clone(), ..Module::default() };
        let mut inner: Vec<(PathBuf, PathBuf, Vec<String>)> = Vec::new();
        for item in items {
            match item {
                Item::Mod(item) if !is_for_tests(&item.attrs) => {
                    let name = item.ident.to_string();
                    module.children.insert(name.clone());
                    let below = [path.clone(), vec![name.clone()]].concat();
                    match &item.content {
                        Some((_, items)) => {
                            self.read_items(root, items, &dir.join(&name), below, file.clone());
                        }
                        None => {
                            let flat = dir.join(format!("{name}.rs"));
                            let nested = dir.join(&name).join("mod.rs");
                            inner.push((if flat.exists() { flat } else { nested }, dir.join(&name), below));
                        }
                    }
                }
                Item::Use(item) if !is_for_tests(&item.attrs) => {
                    let is_public = !matches!(item.vis, syn::Visibility::Inherited);
                    let mut leaves = Vec::new();
                    flatten(&item.tree, &mut Vec::new(), &mut leaves);
                    for (leaf, name) in leaves {
                        match name {
                            Some(name) => drop(module.names.insert(name, leaf.clone())),
                            None => module.globs.push(leaf.clone()),
                        }
                        if !is_public {
                            module.imports.push(leaf);
                        }
                    }
                }
                _ => {}
            }
        }
        let mut paths = Paths(Vec::new());
        items.iter().filter(|item| !matches!(item, Item::Mod(_) | Item::Use(_))).for_each(|item| {
            paths.visit_item(item);
        });
        module.imports.extend(paths.0);
        self.modules.insert(path, module);
        for (file, dir, path) in inner {
            self.read_file(root, &file, &dir, path);
        }
    }

    /// Every import of one file by another.
    pub fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (path, module) in &self.modules {
            for import in &module.imports {
                if let Some(file) = self.resolve(path, import, 0)
                    && *file != module.file
                {
                    edges.insert((module.file.clone(), file.clone()));
                }
            }
        }
        edges
    }

    /// The file that defines what `import` names in the module `at`; `None` for what is no file's of the
    /// workspace, and for a module itself, whose items are counted where they are used.
    fn resolve(&self, at: &[String], import: &[String], depth: usize) -> Option<&String> {
        if depth > 16 {
            return None;
        }
        let (mut here, rest) = match import.first()?.as_str() {
            "crate" => (vec![at[0].clone()], &import[1..]),
            "self" => (at.to_vec(), &import[1..]),
            "super" => (at[..at.len() - 1].to_vec(), &import[1..]),
            first if self.crates.contains(first) && !self.modules[at].children.contains(first) => {
                (vec![first.to_owned()], &import[1..])
            }
            first => {
                let module = self.modules.get(at)?;
                // Items of this file need no import, and those of other crates are none of ours.
                if !module.children.contains(first) && !module.names.contains_key(first) {
                    return None;
                }
                (at.to_vec(), import)
            }
        };
        for (index, segment) in rest.iter().enumerate() {
            let module = self.modules.get(&here)?;
            if segment == "super" {
                here.pop();
            } else if module.children.contains(segment) {
                here.push(segment.clone());
            } else if let Some(target) = module.names.get(segment) {
                let whole = [target.as_slice(), &rest[index + 1..]].concat();
                // A name may stand for a module and for something in it.
                return if *target == import { None } else { self.resolve(&here, &whole, depth + 1) };
            } else if let Some(file) = module
                .globs
                .iter()
                .find_map(|glob| self.resolve(&here, &[glob.as_slice(), &rest[index..]].concat(), depth + 1))
            {
                return Some(file);
            } else {
                return (segment != "self").then_some(&module.file);
            }
        }
        None
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string().contains("test"),
        _ => false,
    })
}

/// Every path that a `use` names, with the name that it gives; `None` for a glob.
fn flatten(tree: &UseTree, before: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, Option<String>)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, leaves)),
        UseTree::Name(name) if name.ident == "self" => leaves.push((before.clone(), before.last().cloned())),
        UseTree::Name(name) => {
            leaves.push((
                [before.as_slice(), &[name.ident.to_string()]].concat(),
                Some(name.ident.to_string()),
            ));
        }
        UseTree::Rename(rename) => {
            leaves.push((
                [before.as_slice(), &[rename.ident.to_string()]].concat(),
                Some(rename.rename.to_string()),
            ));
        }
        UseTree::Glob(_) => leaves.push((before.clone(), None)),
    }
}

/// Paths of more than one segment in expressions, types and patterns.
struct Paths(Vec<Vec<String>>);

impl<'a> Visit<'a> for Paths {
    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.segments.len() > 1 && path.leading_colon.is_none() {
            self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, _: &'a syn::ItemMod) {}

    fn visit_item_use(&mut self, _: &'a syn::ItemUse) {}
}

/// Groups of files that import each other, each of two or more.
pub fn circles(edges: &Edges) -> Vec<Vec<String>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(from).or_default().push(to);
        next.entry(to).or_default();
    }
    let reach = |start: &str| {
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(file) = open.pop() {
            for to in &next[file] {
                if seen.insert(*to) {
                    open.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = next.keys().map(|file| (*file, reach(file))).collect();
    let mut found = BTreeSet::new();
    for (file, reached_from) in &reached {
        let circle: Vec<String> = reached_from
            .iter()
            .filter(|other| reached[**other].contains(file))
            .map(|other| (*other).to_owned())
            .collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}
