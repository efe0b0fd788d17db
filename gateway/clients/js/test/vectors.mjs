// Runs a vector of ../../vectors against a core; README.md there says what each step means. It needs no runtime of its own.

/** Events that a vector has to name: what an application would act upon. */
const TO_BE_TOLD = ['gap', 'error', 'closed'];

/** Runs those of all files; gives how many passed, and what is wrong with the others. */
export function runAll(files, Core) {
  const failures = [];
  let passed = 0;
  for (const [name, vectors] of files) {
    for (const vector of vectors) {
      try {
        run(vector, Core);
        passed++;
      } catch (error) {
        failures.push(`${name}: ${vector.name}: ${error.message}`);
      }
    }
  }
  return { passed, failures };
}

function run(vector, Core) {
  const player = new Player(vector, Core);
  vector.steps.forEach((step, at) => {
    const [[name, value]] = Object.entries(step);
    try {
      player.step(name, value);
    } catch (error) {
      throw new Error(`step ${at + 1} ${JSON.stringify(step)}: ${error.message}`);
    }
  });
  player.end();
}

class Player {
  constructor({ options = {} }, Core) {
    const { token = false, random = 0.5, backoff = { min: 500, max: 20000 }, tab = 'tab' } = options;
    this.core = new Core({ hasToken: token, random: () => random, backoff, tab });
    this.subscriptions = { auto: this.core.auto };
    this.owns = {};
    this.events = [];
    this.variables = new Map();
    this.answers = {};
    for (const event of ['notice', 'authorized', 'error', 'closed', 'state']) {
      this.core.on(event, (value) => this.events.push({ event, value }));
    }
    this.listen('auto', this.core.auto);
    this.core.start();
  }

  listen(of, subscription) {
    for (const event of ['update', 'gap', 'stale', 'live', 'status', 'error', 'notice']) {
      subscription.on(event, (value) => this.events.push({ of, event, value }));
    }
  }

  step(name, value) {
    if (name in this.inputs) {
      this.nothingElse();
      this.inputs[name].call(this, value);
    } else if (name in this.expectations) {
      this.expectations[name].call(this, value);
    } else {
      throw new Error(`there is no step ${name}`);
    }
  }

  /** What the client did has to stand in the vector before the next that happens to it. */
  nothingElse() {
    const action = this.core.next();
    if (action) throw new Error(`before it the client did ${JSON.stringify(action)}`);
  }

  end() {
    this.nothingElse();
    const untold = this.events.find(({ event }) => TO_BE_TOLD.includes(event));
    if (untold) throw new Error(`it does not say that the client told ${JSON.stringify(untold)}`);
  }

  action(wanted) {
    const action = this.core.next();
    if (action?.do !== wanted) throw new Error(`the client did ${JSON.stringify(action) ?? 'nothing'}`);
    return action;
  }

  inputs = {
    subscribe({ as, topics, interval_ms: interval }) {
      this.listen(as, (this.subscriptions[as] = this.core.subscribe(topics, { interval })));
    },
    unsubscribe(as) { this.subscriptions[as].close(); },
    publish({ as, topic, ...change }) { this.core.publish(topic, change, (answer) => { this.answers[as] = answer; }); },
    own({ as, topic, value }) { this.owns[as] = this.core.own(topic, value); },
    set_own({ as, value }) { this.owns[as].set(value); },
    close_own(as) { this.owns[as].close(); },
    token(token) { this.core.token(token ?? undefined); },
    token_failed(reason) { this.core.tokenFailed(reason); },
    wake() { this.core.wake(); },
    start() { this.core.start(); },
    close() { this.core.close(); },
    opened() { this.core.opened(); },
    received(message) { this.core.received(typeof message === 'string' ? message : JSON.stringify(this.filled(message))); },
    closed({ code, reason = '' }) { this.core.closed(code, reason); },
    time_ms(now) { this.core.time(now); },
  };

  expectations = {
    connects({ token }) { same(this.action('connect').token, token); },
    sent(wanted) { this.agree(JSON.parse(this.action('send').text), wanted); },
    asks_token(why) { same(this.action('token').why, why); },
    gives_up() { this.action('close'); },
    state(wanted) { same(this.core.state, wanted); },
    held(wanted) {
      for (const [of, topics] of Object.entries(wanted)) same(held(this.subscriptions[of]), topics);
    },
    live(wanted) {
      for (const [of, live] of Object.entries(wanted)) same(this.subscriptions[of].live, live);
    },
    status({ of, topic, state }) { same(this.subscriptions[of].status(topic)?.state ?? 'live', state); },
    told(wanted) {
      const at = this.events.findIndex((event) => agrees(event, wanted));
      if (at < 0) throw new Error(`the client told ${JSON.stringify(this.events)}`);
      this.events.splice(0, at + 1);
    },
    untold(wanted) {
      const event = this.events.find((each) => agrees(each, wanted));
      if (event) throw new Error(`the client told ${JSON.stringify(event)}`);
    },
    answered(wanted) {
      for (const [as, answer] of Object.entries(wanted)) {
        const { v, version, code } = this.answers[as] ?? {};
        same(code === undefined ? (v === undefined ? null : { v, version }) : { code }, answer);
      }
    },
  };

  /** The message with its variables replaced. */
  filled(value) {
    if (typeof value === 'string' && value.startsWith('$')) {
      if (!this.variables.has(value)) throw new Error(`${value} is not known yet`);
      return this.variables.get(value);
    }
    if (Array.isArray(value)) return value.map((each) => this.filled(each));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, this.filled(each)]));
  }

  /** What was sent has the fields that are wanted; `null` is for one that it must not have. */
  agree(sent, wanted) {
    for (const [key, value] of Object.entries(wanted)) {
      const found = sent[key];
      if (value === null) same(found, undefined);
      else if (typeof value === 'string' && value.startsWith('$') && !this.variables.has(value)) {
        if (found === undefined) throw new Error(`${key} is missing in ${JSON.stringify(sent)}`);
        this.variables.set(value, found);
      } else same(found, this.filled(value), `${key} of ${JSON.stringify(sent)}`);
    }
  }
}

function held(subscription) {
  return Object.fromEntries([...subscription.topics].map(([topic, { v, data, table }]) =>
    [topic, table ? { v, table: Object.fromEntries(table) } : { v, data }]));
}

/** Whether `found` has all that `wanted` has. */
function agrees(found, wanted) {
  if (typeof wanted !== 'object' || wanted === null || typeof found !== 'object' || found === null) return equal(found, wanted);
  return Object.entries(wanted).every(([key, value]) => agrees(found[key], value));
}

function same(found, wanted, what = 'it') {
  if (!equal(found, wanted)) throw new Error(`${what} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

/** Of JSON, where members have no order. */
function equal(left, right) {
  if (left === right) return true;
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
  const keys = Object.keys(left);
  return Array.isArray(left) === Array.isArray(right) && keys.length === Object.keys(right).length
    && keys.every((key) => Object.hasOwn(right, key) && equal(left[key], right[key]));
}
