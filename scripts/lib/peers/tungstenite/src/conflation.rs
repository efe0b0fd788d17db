//! The newest values of an interval in one message for each watcher, by the application itself.

use std::{cell::RefCell, collections::HashMap, fmt::Write as _, mem::take, rc::Rc};

pub type Watched = Vec<Rc<RefCell<Symbol>>>;

#[derive(Default)]
pub struct Symbol {
    topic: String,
    /// The stamp of the oldest update since the last flush; 0: none came.
    oldest: u64,
    newest: u64,
    data: String,
    /// What a flush says of it; empty: nothing.
    text: String,
}

#[derive(Default)]
pub struct Conflation {
    symbols: HashMap<String, Rc<RefCell<Symbol>>>,
    changed: Watched,
}

impl Conflation {
    fn symbol(&mut self, topic: &str) -> Rc<RefCell<Symbol>> {
        if let Some(symbol) = self.symbols.get(topic) {
            return symbol.clone();
        }
        let symbol = Symbol { topic: topic.to_owned(), ..Symbol::default() };
        self.symbols.entry(topic.to_owned()).or_insert(Rc::new(RefCell::new(symbol))).clone()
    }

    /// An update came in.
    pub fn take(&mut self, stamp: u64, topic: &str, data: &str) {
        let shared = self.symbol(topic);
        let mut symbol = shared.borrow_mut();
        if symbol.oldest == 0 {
            symbol.oldest = stamp;
            self.changed.push(shared.clone());
        }
        symbol.newest = stamp;
        symbol.data.clear();
        symbol.data.push_str(data);
    }

    /// What `flush` wants of one who watches these topics.
    pub fn watch(&mut self, topics: &[String]) -> Watched {
        topics.iter().map(|topic| self.symbol(topic)).collect()
    }

    /// Calls `send` with the message of each watcher that something changed for.
    pub fn flush<'w, W: 'w>(
        &mut self,
        watchers: impl Iterator<Item = (&'w W, &'w Watched)>,
        mut send: impl FnMut(&'w W, &str),
    ) {
        for symbol in &self.changed {
            let Symbol { topic, newest, data, text, .. } = &mut *symbol.borrow_mut();
            let _ = write!(text, r#"{{"topic":"{topic}","ts":{newest},"data":{data}}}"#);
        }
        let (mut updates, mut message) = (String::new(), String::new());
        for (watcher, watched) in watchers {
            let mut oldest = u64::MAX;
            updates.clear();
            for symbol in watched {
                let symbol = symbol.borrow();
                if !symbol.text.is_empty() {
                    updates.push(if updates.is_empty() { '[' } else { ',' });
                    updates.push_str(&symbol.text);
                    oldest = oldest.min(symbol.oldest);
                }
            }
            if !updates.is_empty() {
                message.clear();
                let _ = write!(message, r#"{{"oldest":{oldest},"updates":{updates}]}}"#);
                send(watcher, &message);
            }
        }
        for symbol in take(&mut self.changed) {
            let mut symbol = symbol.borrow_mut();
            symbol.text.clear();
            symbol.oldest = 0;
        }
    }
}
