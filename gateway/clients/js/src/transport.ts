// What carries messages: a WebSocket, or streams of events that look like one.

export interface Handlers {
  opened: () => void;
  received: (text: string) => void;
  /** Bytes came that are no message. */
  alive: () => void;
  /** Called once, and nothing after it. */
  closed: (code: number, reason: string) => void;
}

export interface Transport {
  send: (text: string) => void;
  /** Ends it; nothing is called any more. */
  close: () => void;
}

export type Open = (url: string, token: string | undefined, handlers: Handlers) => Transport;
