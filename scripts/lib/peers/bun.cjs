// The application of `scripts/compare` on Bun's own server, which is a uWebSockets: bun.cjs [--every-ms N]
// [--cert FILE --key FILE] [--deflate]. It does what uws.cjs does.
'use strict';
const { Conflation } = require('./conflation.cjs');
const { message, options, read } = require('./updates.cjs');

const { 'every-ms': everyMs, cert, key, deflate = false } = options();
const conflation = everyMs && new Conflation();
const clients = new Set();
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  tls: cert ? { cert: Bun.file(cert), key: Bun.file(key) } : undefined,
  fetch: (request, serving) =>
    serving.upgrade(request, { data: {} }) ? undefined : new Response('no upgrade', { status: 400 }),
  websocket: {
    perMessageDeflate: deflate ? { compress: 'shared', decompress: 'shared' } : false,
    backpressureLimit: 1 << 20,
    message: (socket, text) => {
      const topics = JSON.parse(text);
      if (!conflation) return topics.forEach((topic) => socket.subscribe(topic));
      socket.watched = conflation.watch(topics);
      clients.add(socket);
    },
    close: (socket) => clients.delete(socket),
  },
});
console.log(`listening data=127.0.0.1:${server.port}`);

if (conflation) {
  read((stamp, topic, data) => conflation.take(stamp, topic, data));
  // Binary messages: it sends bytes as no others, and strings cost more.
  const send = (socket, bytes) => socket.send(bytes, deflate);
  setInterval(() => conflation.flush(clients, send), Number(everyMs));
} else {
  read((stamp, topic, data) => server.publish(topic, message(stamp, topic, data), deflate));
}
