// The newest values of an interval in one message for each watcher, by the application itself. `oldest` is the stamp
// of the oldest update that a message stands for, those that newer ones took the place of included.
'use strict';

class Conflation {
  #symbols = new Map();
  #changed = [];

  #symbol(topic) {
    let symbol = this.#symbols.get(topic);
    if (symbol === undefined) {
      symbol = { topic, oldest: '', newest: '', data: '', text: '' };
      this.#symbols.set(topic, symbol);
    }
    return symbol;
  }

  /** An update came in. */
  take(stamp, topic, data) {
    const symbol = this.#symbol(topic);
    if (symbol.oldest === '') {
      symbol.oldest = stamp;
      this.#changed.push(symbol);
    }
    symbol.newest = stamp;
    symbol.data = data;
  }

  /** What `flush` wants of one who watches these topics. */
  watch(topics) {
    return topics.map((topic) => this.#symbol(topic));
  }

  /** Calls `send(watcher, message)` for each of the watchers that something changed for. */
  flush(watchers, send) {
    for (const symbol of this.#changed) {
      symbol.text = `{"topic":"${symbol.topic}","ts":${symbol.newest},"data":${symbol.data}}`;
    }
    for (const watcher of watchers) {
      let oldest = '';
      let updates = '';
      for (const symbol of watcher.watched) {
        if (symbol.text === '') continue;
        updates = updates === '' ? symbol.text : `${updates},${symbol.text}`;
        // Stamps have as many digits, so they compare as text.
        if (oldest === '' || symbol.oldest < oldest) oldest = symbol.oldest;
      }
      if (updates !== '') send(watcher, `{"oldest":${oldest},"updates":[${updates}]}`);
    }
    for (const symbol of this.#changed) {
      symbol.text = '';
      symbol.oldest = '';
    }
    this.#changed = [];
  }
}

module.exports = { Conflation };
