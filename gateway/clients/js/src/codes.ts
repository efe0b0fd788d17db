// Which closes a client comes back after.

/** `back`: after a while. `token`: with another token. `final`: never by itself. */
export type Verdict = 'back' | 'token' | 'final';

/** The client did or is something that a second try would not change. */
const FINAL = [1002, 1003, 1007, 1008, 1009, 1010, 1015];
/** No token or a bad one, what it grants is not enough, it has expired. */
const TOKEN = [4005, 4401, 4403];

export function verdict(code: number): Verdict {
  if (FINAL.includes(code) || code >= 4500) return 'final';
  return TOKEN.includes(code) ? 'token' : 'back';
}

/** The close that an HTTP refusal stands for; most are no answer of a gateway that has events. */
export function closeOf(status: number): number {
  const codes: Record<number, number> = { 401: 4401, 429: 4429, 503: 1013 };
  return codes[status] ?? 1006;
}
