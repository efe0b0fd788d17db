// The newest values of an interval in one message for each watcher, by the application itself. `oldest` is the stamp
// of the oldest update that a message stands for, those that newer ones took the place of included. A symbol's text is
// written once for all, and a message put together of bytes, which costs less than a string for each watcher.
'use strict';

const MESSAGE_BYTES = 1 << 20;
const head = (oldest) => `{"oldest":${oldest},"updates":[`;
// Stamps have 16 digits each, so they compare as text too.
const HEAD_BYTES = head('0'.repeat(16)).length;

class Conflation {
  #symbols = new Map();
  #changed = [];
  #message = Buffer.allocUnsafe(MESSAGE_BYTES);

  #symbol(topic) {
    let symbol = this.#symbols.get(topic);
    if (symbol === undefined) {
      symbol = { topic, oldest: '', newest: '', data: '', text: undefined };
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

  /** Calls `send(watcher, bytes)` for each of the watchers that something changed for; the bytes hold until it returns. */
  flush(watchers, send) {
    for (const symbol of this.#changed) {
      symbol.text = Buffer.from(`{"topic":"${symbol.topic}","ts":${symbol.newest},"data":${symbol.data}},`);
    }
    const message = this.#message;
    for (const watcher of watchers) {
      let oldest = '';
      let end = HEAD_BYTES;
      for (const symbol of watcher.watched) {
        if (symbol.text === undefined) continue;
        message.set(symbol.text, end);
        end += symbol.text.length;
        if (oldest === '' || symbol.oldest < oldest) oldest = symbol.oldest;
      }
      if (oldest === '') continue;
      message.latin1Write(head(oldest), 0);
      // In place of the last comma.
      end += message.latin1Write(']}', end - 1) - 1;
      send(watcher, message.subarray(0, end));
    }
    for (const symbol of this.#changed) {
      symbol.text = undefined;
      symbol.oldest = '';
    }
    this.#changed = [];
  }
}

module.exports = { Conflation };
