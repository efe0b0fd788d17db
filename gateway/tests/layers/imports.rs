//! Which file imports which: every path that a file names, resolved as the compiler does, through re-exports,
//! to the file that defines what it names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path as FilePath, PathBuf},
};

use syn::{Item, visit::Visit};

use crate::paths::{Given, Glob, Named, Path, is_for_tests};

/// A crate of the workspace: its name in paths and the directory of its sources.
pub struct Crate {
    pub name: &'static str,
    pub src: &'static str,
}

/// Importer and imported, as paths from the workspace's root.
pub type Edges = BTreeSet<(String, String)>;

/// Texts of sources by their paths from the workspace's root.
pub type Sources = BTreeMap<PathBuf, String>;

#[derive(Default)]
struct Module {
    file: String,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    /// What a name stands for.
    names: BTreeMap<String, Given>,
    globs: Vec<Glob>,
    /// Paths that count as imports.
    imports: Vec<Path>,
    macros: Vec<String>,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found<'a> {
    Module(Path),
    /// The file that defines it.
    Item(&'a str),
}

/// Modules by their path; the first segment is the crate's name.
#[derive(Default)]
pub struct Workspace {
    modules: BTreeMap<Path, Module>,
    crates: BTreeSet<String>,
}

/// The sources below a directory.
pub fn sources(root: &FilePath, dir: &FilePath, sources: &mut Sources) {
    let entries = fs::read_dir(root.join(dir)).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let path = dir.join(entry.file_name());
        if entry.path().is_dir() {
            self::sources(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path());
            sources.insert(path, text.unwrap_or_else(|error| panic!("{}: {error}", entry.path().display())));
        }
    }
}

impl Workspace {
    pub fn read(sources: &Sources, crates: &[Crate]) -> Self {
        let mut workspace = Self::default();
        for Crate { name, src } in crates {
            workspace.crates.insert((*name).to_owned());
            let dir = FilePath::new(src);
            let lib = dir.join("lib.rs");
            let entry = if sources.contains_key(&lib) { lib } else { dir.join("main.rs") };
            workspace.read_file(sources, &entry, dir, vec![(*name).to_owned()]);
        }
        workspace
    }

    fn read_file(&mut self, sources: &Sources, file: &FilePath, dir: &FilePath, path: Path) {
        let text = sources.get(file).unwrap_or_else(|| panic!("{} is missing", file.display()));
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.read_items(sources, &parsed.items, dir, path, file.to_string_lossy().into_owned());
    }

    fn read_items(&mut self, sources: &Sources, items: &[Item], dir: &FilePath, path: Path, file: String) {
        let mut module = Module { file: file.clone(), ..Module::default() };
        for item in items {
            let Item::Mod(item) = item else { continue };
            if is_for_tests(&item.attrs) {
                continue;
            }
            let name = item.ident.to_string();
            module.children.insert(name.clone());
            let below = [path.as_slice(), std::slice::from_ref(&name)].concat();
            match &item.content {
                Some((_, items)) => self.read_items(sources, items, &dir.join(&name), below, file.clone()),
                None => {
                    let flat = dir.join(format!("{name}.rs"));
                    let nested = dir.join(&name).join("mod.rs");
                    let file = if sources.contains_key(&flat) { flat } else { nested };
                    self.read_file(sources, &file, &dir.join(&name), below);
                }
            }
        }
        let mut named = Named::default();
        items.iter().for_each(|item| named.visit_item(item));
        module.items = items.iter().filter_map(name_of).collect();
        (module.imports, module.globs, module.macros) = (named.paths, named.globs, named.macros);
        // Names of the module stand before those of functions.
        for (name, given) in named.names {
            module.names.entry(name).or_insert(given);
        }
        self.modules.insert(path, module);
    }

    /// Every import of one file by another. A glob imports the file of its module, and what that gives on.
    pub fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (path, module) in &self.modules {
            let mut note = |found| {
                if let Some(Found::Item(file)) = found
                    && file != module.file
                {
                    edges.insert((module.file.clone(), file.to_owned()));
                }
            };
            module.imports.iter().for_each(|import| note(self.resolve(path, import, 0)));
            for glob in module.globs.iter().filter(|glob| !glob.is_public) {
                match self.resolve(path, &glob.path, 0) {
                    Some(Found::Module(from)) => {
                        note(Some(Found::Item(&self.modules[&from].file)));
                        let given = self.modules[&from].names.values().filter(|given| given.is_public);
                        given.for_each(|given| note(self.resolve(&from, &given.path, 0)));
                    }
                    found => note(found),
                }
            }
        }
        edges
    }

    /// What a crate names that is none of the workspace's, by file: whole paths, and macros with their `!`. A
    /// glob ends in `*`.
    pub fn foreign(&self, name: &str) -> BTreeSet<(&str, String)> {
        let mut foreign = BTreeSet::new();
        for (at, module) in self.modules.iter().filter(|(path, _)| path[0] == name) {
            let globs = module.globs.iter().map(|glob| [glob.path.as_slice(), &["*".to_owned()]].concat());
            let given = module.names.values().map(|given| given.path.clone());
            for path in module.imports.iter().cloned().chain(given).chain(globs) {
                if self.resolve(at, &path, 0).is_none() {
                    let whole = expanded(module, path).into_iter().filter(|segment| !segment.is_empty());
                    foreign.insert((module.file.as_str(), whole.collect::<Vec<_>>().join("::")));
                }
            }
            foreign.extend(module.macros.iter().map(|name| (module.file.as_str(), format!("{name}!"))));
        }
        foreign
    }

    /// What `path` names in the module `at`; `None`: nothing of the workspace.
    fn resolve(&self, at: &[String], path: &[String], depth: usize) -> Option<Found<'_>> {
        if depth > 16 {
            return None;
        }
        let (mut here, rest) = match path.first()?.as_str() {
            "" => (self.extern_crate(path.get(1)?)?, &path[2..]),
            "crate" => (vec![at[0].clone()], &path[1..]),
            "self" => (at.to_vec(), &path[1..]),
            "super" => (at[..at.len() - 1].to_vec(), &path[1..]),
            first => match self.look_up(at, first, depth) {
                Some(Found::Module(module)) => (module, &path[1..]),
                Some(item) => return Some(item),
                None => (self.extern_crate(first)?, &path[1..]),
            },
        };
        for segment in rest {
            if segment == "super" {
                here.pop();
            } else {
                match self.look_up(&here, segment, depth) {
                    Some(Found::Module(module)) => here = module,
                    Some(item) => return Some(item),
                    // A macro made it.
                    None => return self.modules.get(&here).map(|module| Found::Item(&module.file)),
                }
            }
        }
        Some(Found::Module(here))
    }

    /// A name in a module, also where it came there by `use`.
    fn look_up(&self, at: &[String], name: &str, depth: usize) -> Option<Found<'_>> {
        let module = self.modules.get(at)?;
        if module.children.contains(name) {
            return Some(Found::Module([at, &[name.to_owned()]].concat()));
        }
        if module.items.contains(name) {
            return Some(Found::Item(&module.file));
        }
        if let Some(given) = module.names.get(name) {
            return self.resolve(at, &given.path, depth + 1);
        }
        module.globs.iter().find_map(|glob| match self.resolve(at, &glob.path, depth + 1)? {
            Found::Module(from) if from != at => self.look_up(&from, name, depth + 1),
            _ => None,
        })
    }

    fn extern_crate(&self, name: &str) -> Option<Path> {
        self.crates.contains(name).then(|| vec![name.to_owned()])
    }
}

/// With what its first name stands for in its module.
fn expanded(module: &Module, mut path: Path) -> Path {
    for _ in 0..16 {
        match module.names.get(&path[0]) {
            Some(given) if path[0] != given.path[0] => {
                path = [given.path.as_slice(), &path[1..]].concat();
            }
            _ => break,
        }
    }
    path
}

/// What an item defines.
fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
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
