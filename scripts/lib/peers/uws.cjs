// The application of `scripts/compare` on uWebSockets.js: uws.cjs [--every-ms N] [--cert FILE --key FILE] [--deflate].
// A client says the list of its topics. It gets each of their updates as it comes, by `publish`; with --every-ms what
// changed, each so many ms. The first line on stdout is `listening data=127.0.0.1:PORT`.
'use strict';
const uws = require('@trufflesuite/uws-js-unofficial');
const { Conflation } = require('./conflation.cjs');
const { message, options, read } = require('./updates.cjs');

// Without a binary for this Node.js the package may take another WebSocket server in its place.
if (uws.SHARED_COMPRESSOR === undefined) throw new Error(`uWebSockets has no binary for Node.js ${process.version}`);
const { 'every-ms': everyMs, cert, key, deflate = false } = options();
const conflation = everyMs && new Conflation();
const clients = new Set();
const app = cert ? uws.SSLApp({ cert_file_name: cert, key_file_name: key }) : uws.App();

app.ws('/*', {
  compression: deflate ? uws.SHARED_COMPRESSOR : uws.DISABLED,
  // Far above what a client of the figure's lateness has waiting: what is left out would be late to nobody.
  maxBackpressure: 1 << 20,
  message: (socket, text) => {
    const topics = JSON.parse(Buffer.from(text).toString());
    if (!conflation) return topics.forEach((topic) => socket.subscribe(topic));
    socket.getUserData().watched = conflation.watch(topics);
    clients.add(socket.getUserData());
    socket.getUserData().socket = socket;
  },
  close: (socket) => clients.delete(socket.getUserData()),
});
app.listen('127.0.0.1', 0, (listener) => {
  if (!listener) throw new Error('no port to listen on');
  console.log(`listening data=127.0.0.1:${uws.us_socket_local_port(listener)}`);
});

if (conflation) {
  read((stamp, topic, data) => conflation.take(stamp, topic, data));
  const send = (client, bytes) => client.socket.send(bytes, false, deflate);
  setInterval(() => conflation.flush(clients, send), Number(everyMs));
} else {
  read((stamp, topic, data) => app.publish(topic, message(stamp, topic, data), false, deflate));
}
