// The usual transport: a WebSocket.

import type { Open } from './transport.js';

const PROTOCOL = 'fanwire.json.v1';

export const socket: Open = (url, token, handlers) => {
  // A page cannot set headers here; of the protocols offered the gateway selects the first.
  const socket = new WebSocket(url.replace(/^http/, 'ws'), [PROTOCOL, ...(token ? [`fanwire.token.${token}`] : [])]);
  let open = true, made = false;
  const closed = (code: number, reason: string) => {
    if (!open) return;
    open = false;
    handlers.closed(code || 1006, reason);
  };
  socket.onopen = () => {
    made = true;
    if (open) handlers.opened();
  };
  socket.onmessage = ({ data }) => open && handlers.received(data as string);
  socket.onclose = ({ code, reason }) => closed(code, reason);
  // Not every runtime tells a close of a connection that was never made.
  socket.onerror = () => made || closed(1006, 'no connection');
  return {
    send: (text) => socket.readyState === WebSocket.OPEN && socket.send(text),
    close: () => {
      open = false;
      socket.close(1000);
    },
  };
};
