//! The paths that a piece of source names: in `use`, in expressions, types and patterns, and among the tokens
//! of macro calls.

use std::iter::Peekable;

use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream::IntoIter};
use syn::{Attribute, Meta, UseTree, Visibility, visit::Visit};

/// Segments; the first is empty where the path begins with `::`.
pub type Path = Vec<String>;

/// What a name stands for by a `use`.
pub struct Given {
    pub path: Path,
    /// By a plain `pub use`.
    pub is_public: bool,
}

/// A `use` of all that a path holds.
pub struct Glob {
    pub path: Path,
    /// A plain `pub use`.
    pub is_public: bool,
}

/// What items name, those for tests apart. Modules are left to the caller.
#[derive(Default)]
pub struct Named {
    /// Paths of more than one segment, and those of `use`; what `pub use` names is not among them.
    pub paths: Vec<Path>,
    /// `use` by the names that they give.
    pub names: Vec<(String, Given)>,
    pub globs: Vec<Glob>,
    /// Macros that are called by one name.
    pub macros: Vec<String>,
}

impl Named {
    fn note_use(&mut self, item: &syn::ItemUse) {
        let is_public = matches!(item.vis, Visibility::Public(_));
        let mut leaves = Vec::new();
        let mut root = item.leading_colon.iter().map(|_| String::new()).collect();
        flatten(&item.tree, &mut root, &mut leaves);
        for (path, name) in leaves {
            let Some(name) = name else {
                self.globs.push(Glob { path, is_public });
                continue;
            };
            if !is_public {
                self.paths.push(path.clone());
            }
            self.names.push((name, Given { path, is_public }));
        }
    }

    /// Paths among tokens, of which nobody knows what they mean: two names or more with `::` between them.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut after_name = false;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.note_tokens(group.stream()),
                TokenTree::Ident(first) => self.note_path(vec![first.to_string()], &mut tokens),
                // What follows `>` or a name is a part of what stands before it.
                TokenTree::Punct(punct) if punct.as_char() == ':' && !after_name => {
                    if tokens.next_if(|next| is_punct(next, ':')).is_some()
                        && let Some(TokenTree::Ident(first)) =
                            tokens.next_if(|next| matches!(next, TokenTree::Ident(_)))
                    {
                        self.note_path(vec![String::new(), first.to_string()], &mut tokens);
                    }
                }
                TokenTree::Punct(punct) => {
                    after_name = punct.as_char() == '>';
                    continue;
                }
                TokenTree::Literal(_) => {}
            }
            after_name = false;
        }
    }

    /// The rest of a path whose beginning was read; a list in braces is of a `use`.
    fn note_path(&mut self, mut path: Path, tokens: &mut Peekable<IntoIter>) {
        loop {
            let mut ahead = tokens.clone();
            if !(ahead.next().is_some_and(|token| is_punct(&token, ':'))
                && ahead.next().is_some_and(|token| is_punct(&token, ':')))
            {
                break;
            }
            match ahead.next() {
                Some(TokenTree::Ident(next)) => path.push(next.to_string()),
                Some(TokenTree::Group(list)) if list.delimiter() == Delimiter::Brace => {
                    let mut each = list.stream().into_iter().peekable();
                    while let Some(token) = each.next() {
                        if let TokenTree::Ident(name) = token {
                            self.note_path([path.as_slice(), &[name.to_string()]].concat(), &mut each);
                        }
                    }
                    *tokens = ahead;
                    return;
                }
                Some(token) if is_punct(&token, '*') => {
                    self.globs.push(Glob { path, is_public: false });
                    *tokens = ahead;
                    return;
                }
                _ => break,
            }
            *tokens = ahead;
        }
        if path.len() > 1 {
            self.paths.push(path);
        }
    }
}

fn is_punct(token: &TokenTree, is: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == is)
}

impl<'a> Visit<'a> for Named {
    fn visit_path(&mut self, path: &'a syn::Path) {
        let root = path.leading_colon.iter().map(|_| String::new());
        let whole: Path = root.chain(path.segments.iter().map(|segment| segment.ident.to_string())).collect();
        if whole.len() > 1 {
            self.paths.push(whole);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.macros.extend(call.path.get_ident().map(ToString::to_string));
        self.note_tokens(call.tokens.clone());
        syn::visit::visit_macro(self, call);
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.note_use(item);
        }
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_impl(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, _: &'a syn::ItemMod) {}
}

/// Whether it is compiled for tests alone: `cfg(test)`, or `cfg(all(test, …))`.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}

/// Every path that a `use` names, with the name that it gives; `None` for a glob.
fn flatten(tree: &UseTree, before: &mut Path, leaves: &mut Vec<(Path, Option<String>)>) {
    let whole = |name: &syn::Ident| [before.as_slice(), &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, leaves)),
        UseTree::Name(name) if name.ident == "self" => leaves.push((before.clone(), before.last().cloned())),
        UseTree::Name(name) => leaves.push((whole(&name.ident), Some(name.ident.to_string()))),
        UseTree::Rename(rename) if rename.ident == "self" => {
            leaves.push((before.clone(), Some(rename.rename.to_string())));
        }
        UseTree::Rename(rename) => leaves.push((whole(&rename.ident), Some(rename.rename.to_string()))),
        UseTree::Glob(_) => leaves.push((before.clone(), None)),
    }
}
