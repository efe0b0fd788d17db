// A TCP proxy that cuts what it carries, or holds it up.
import { once } from 'node:events';
import net from 'node:net';

export class Proxy {
  /** To a port of this machine. */
  static async start(port) {
    const proxy = new Proxy();
    proxy.pairs = new Set();
    proxy.held = false;
    proxy.server = net.createServer((near) => {
      const far = net.connect(port, '127.0.0.1');
      const pair = [near, far];
      proxy.pairs.add(pair);
      near.pipe(far);
      far.pipe(near);
      for (const socket of pair) {
        socket.on('error', () => {});
        socket.on('close', () => {
          pair.forEach((each) => each.destroy());
          proxy.pairs.delete(pair);
        });
      }
    });
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  /** Ends all connections, as a network does that goes away. */
  cut() {
    for (const [near, far] of this.pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  /** Carries nothing to clients until `release`, so that sockets fill up. */
  hold() {
    for (const [near, far] of this.pairs) far.unpipe(near);
  }

  release() {
    for (const [near, far] of this.pairs) far.pipe(near);
  }

  stop() {
    this.cut();
    this.server.close();
  }
}
