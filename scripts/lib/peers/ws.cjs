// The application of `scripts/compare` on the npm package `ws`: ws.cjs [--every-ms N] [--cert FILE --key FILE]
// [--deflate]. A client says the list of its topics. It gets each of their updates as it comes; with --every-ms what
// changed, each so many ms. The first line on stdout is `listening data=127.0.0.1:PORT`.
'use strict';
const { readFileSync } = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { WebSocketServer } = require('ws');
const { Conflation } = require('./conflation.cjs');
const { message, options, read } = require('./updates.cjs');

const { 'every-ms': everyMs, cert, key, deflate = false } = options();
const conflation = everyMs && new Conflation();
const clients = new Set();
const rooms = new Map();
const compression = {
  // As the package's documents say; what others compress is compressed here too.
  zlibDeflateOptions: { chunkSize: 1024, memLevel: 7, level: 3 },
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  concurrencyLimit: 10,
  threshold: 128,
};
const tls = cert && {
  cert: readFileSync(cert),
  key: readFileSync(key),
  minVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256',
};
const server = tls ? https.createServer(tls) : http.createServer();
const sockets = new WebSocketServer({
  server,
  perMessageDeflate: deflate && compression,
  clientTracking: false,
  skipUTF8Validation: true,
});
const ROOM = { binary: false, compress: deflate };

const room = (topic) => {
  if (!rooms.has(topic)) rooms.set(topic, new Set());
  return rooms.get(topic);
};
sockets.on('connection', (socket) => {
  let topics = [];
  socket.on('message', (text) => {
    topics = JSON.parse(text);
    if (!conflation) return topics.forEach((topic) => room(topic).add(socket));
    socket.watched = conflation.watch(topics);
    clients.add(socket);
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    clients.delete(socket);
    topics.forEach((topic) => room(topic).delete(socket));
  });
});
server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  console.log(`listening data=127.0.0.1:${server.address().port}`);
});

if (conflation) {
  read((stamp, topic, data) => conflation.take(stamp, topic, data));
  // It may keep what it is given until the socket takes more.
  const send = (socket, bytes) => socket.send(Buffer.from(bytes), ROOM);
  setInterval(() => conflation.flush(clients, send), Number(everyMs));
} else {
  read((stamp, topic, data) => {
    const members = rooms.get(topic);
    if (members === undefined) return;
    // Made bytes once for all.
    const bytes = Buffer.from(message(stamp, topic, data));
    for (const socket of members) socket.send(bytes, ROOM);
  });
}
