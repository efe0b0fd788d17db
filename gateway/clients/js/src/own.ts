// A key of one's own in a keyed topic, such as a member of a room: it goes with its connection, so each writes it anew.

type Write = (change: { set: Record<string, unknown> } | { del: string[] }) => void;

export class Own {
  #key: string | undefined;
  #value: unknown;
  #write: Write;
  #end: () => void;

  /** @internal */
  constructor(readonly topic: string, value: unknown, write: Write, end: () => void) {
    this.#value = value;
    this.#write = write;
    this.#end = end;
  }

  /** Writes another value. */
  set(value: unknown): void {
    this.#value = value;
    if (this.#key !== undefined) this.#write({ set: { [this.#key]: value } });
  }

  /** Removes the key. */
  close(): void {
    this.#end();
    if (this.#key !== undefined) this.#write({ del: [this.#key] });
    this.#key = undefined;
  }

  /** @internal What the key is called on this connection; `undefined`: there is none. */
  named(key: string | undefined): void {
    this.#key = key;
    if (key !== undefined) this.set(this.#value);
  }
}
