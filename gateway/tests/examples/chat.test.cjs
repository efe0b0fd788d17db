// The chat, by three people: they join, write, type, leave, write to one alone, and find what was said before.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { Example } = require('./example.cjs');

/** `linger` of the members in the configuration. */
const LINGER_MS = 3000;

const texts = (page, selector) => page.$$eval(selector, (items) => items.map((item) => item.textContent));
const said = (page) => page.$$eval('#log li', (items) => items.map((item) => [...item.childNodes].slice(1).map((part) => part.textContent)));
const members = (page) => texts(page, '#members button');

/** Waits until `text` is among what `selector` selects. */
const shows = (page, selector, text) => page.waitForFunction(
  ([of, wanted]) => [...document.querySelectorAll(of)].some((item) => item.textContent.includes(wanted)), [selector, text]);

/** Waits until these are all the members. */
const shown = (page, names, timeout = 15_000) => page.waitForFunction(
  (wanted) => [...document.querySelectorAll('#members button')].map((item) => item.textContent).join() === wanted,
  names.join(), { timeout });

async function enter(example, name, room = '') {
  const page = await example.page(room);
  await page.fill('#name', name);
  await page.click('#login button');
  await shows(page, '#members button', `${name} (you)`);
  return page;
}

async function say(page, text) {
  await page.fill('#text', text);
  await page.click('#say button');
}

test('the chat', { timeout: 120_000 }, async (t) => {
  const example = await Example.start(t, 'chat');
  const anna = await enter(example, 'anna');
  const ben = await enter(example, 'ben');
  let zoe;

  await t.test('who joins is seen by all, and counted', async () => {
    zoe = await enter(example, 'Zoë');
    for (const [page, names] of [[anna, ['Zoë', 'anna (you)', 'ben']], [ben, ['Zoë', 'anna', 'ben (you)']]]) {
      await page.waitForFunction(() => document.querySelectorAll('#members button').length === 3);
      assert.deepEqual((await members(page)).sort(), names.sort());
      await shows(page, '#rooms button', '#lobby 3');
    }
  });

  await t.test('what is said is seen by all, as text', async () => {
    await say(anna, 'hello, <b>all</b>');
    for (const page of [anna, ben, zoe]) await shows(page, '#log li', 'hello, <b>all</b>');
    assert.deepEqual(await texts(ben, '#log b'), []);
    assert.deepEqual(await said(ben), [['anna', 'hello, <b>all</b>']]);
  });

  await t.test('who types is seen by the others, until that has not gone on for 3 s', async () => {
    await ben.type('#text', 'I am');
    for (const page of [anna, zoe]) await shows(page, '#typing', 'ben is typing');
    await example.picture(anna, '-typing');
    assert.deepEqual(await texts(ben, '#typing'), ['']);
    const began = Date.now();
    await anna.waitForFunction(() => !document.querySelector('#typing').textContent);
    assert.ok(Date.now() - began > 1500, `gone after ${Date.now() - began} ms`);
    // What is sent ends it at once.
    await ben.type('#text', ' here');
    await shows(anna, '#typing', 'ben is typing');
    await ben.click('#say button');
    await anna.waitForFunction(() => !document.querySelector('#typing').textContent, null, { timeout: 1500 });
    await shows(anna, '#log li', 'I am here');
  });

  await t.test('a direct message is seen by whom it is for alone', async () => {
    await say(anna, '@ben this is for you');
    await shows(ben, '#log .direct', 'anna → you');
    await shows(anna, '#log .direct', 'you → ben');
    // What is said to all later is the third one's next.
    await say(anna, 'and this for all');
    await shows(zoe, '#log li', 'and this for all');
    const heard = (await said(zoe)).map(([, text]) => text);
    assert.deepEqual(heard, ['hello, <b>all</b>', 'I am here', 'and this for all']);
    // Nor may it ask: the gateway refuses that.
    const refused = await zoe.evaluate(() => new Promise((resolve) => {
      const inbox = client.subscribe('user.ben.inbox');
      for (const event of ['error', 'subscribed']) inbox.on(event, resolve);
    }));
    assert.equal(refused.code, 4403, JSON.stringify(refused));
  });

  await t.test('nobody writes as somebody else, nor what is no message', async () => {
    const code = (topic, value) => zoe.evaluate(
      ([of, written]) => client.publish(of, written).then(() => 0, (error) => error.code), [topic, value]);
    assert.equal(await code('chat.lobby.members', { set: { 'ben/x': 'here' } }), 4403);
    assert.equal(await code('chat.lobby.members.count', 100), 4403);
    assert.equal(await code('chat.lobby.other', 1), 4403);
    assert.equal(await code('chat.lobby.messages', { text: '' }), 4000);
    assert.equal(await code('chat.lobby.messages', { text: 'x', by: 'ben' }), 4000);
  });

  await t.test('who closes the tab is gone after the linger; who comes back before has never left', async () => {
    const left = Date.now();
    await zoe.close();
    await shown(anna, ['anna (you)', 'ben']);
    const goneMs = Date.now() - left;
    assert.ok(goneMs > LINGER_MS - 500 && goneMs < LINGER_MS + 3000, `gone after ${goneMs} ms`);
    await shows(ben, '#rooms button', '#lobby 2');
    await anna.evaluate(() => {
      globalThis.seen = [];
      const list = document.querySelector('#members');
      new MutationObserver(() => seen.push(list.textContent)).observe(list, { childList: true });
    });
    await ben.reload();
    await ben.fill('#name', 'ben');
    await ben.click('#login button');
    await shows(ben, '#members button', 'ben (you)');
    await anna.waitForTimeout(LINGER_MS + 1000);
    const seen = await anna.evaluate(() => seen);
    assert.ok(seen.length && seen.every((list) => list.includes('ben')), JSON.stringify(seen));
  });

  await t.test('who comes later finds what was said before, in order, and direct messages too', async () => {
    assert.deepEqual(await said(ben), [
      ['anna', 'hello, <b>all</b>'], ['ben', 'I am here'], ['anna → you', 'this is for you'], ['anna', 'and this for all']]);
    const carl = await enter(example, 'carl');
    await shows(carl, '#log li', 'and this for all');
    await shown(anna, ['anna (you)', 'ben', 'carl']);
    assert.deepEqual((await said(carl)).map(([, text]) => text), ['hello, <b>all</b>', 'I am here', 'and this for all']);
    await carl.close();
    await shown(anna, ['anna (you)', 'ben']);
  });

  await t.test('another room has its own members and messages', async () => {
    await ben.fill('#other', 'garden');
    await ben.press('#other', 'Enter');
    // Who leaves a room by itself is gone at once.
    await shown(anna, ['anna (you)'], LINGER_MS / 2);
    await shows(anna, '#rooms button', '#garden 1');
    await say(ben, 'nice here');
    await shows(ben, '#log li', 'nice here');
    await say(anna, 'still in the lobby');
    await shows(anna, '#log li', 'still in the lobby');
    assert.deepEqual((await said(ben)).map(([, text]) => text), ['this is for you', 'nice here']);
    await anna.click('#rooms button:has-text("#garden")');
    await shows(anna, '#log li', 'nice here');
    await shown(anna, ['anna (you)', 'ben']);
    await shows(anna, '#rooms button', '#garden 2');
    await example.picture(anna);
  });

  assert.deepEqual(example.errors, []);
});
