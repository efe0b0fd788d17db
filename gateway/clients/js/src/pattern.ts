// Patterns of topics: a * stands for exactly one segment, at the end for one or more.

export function matches(pattern: string, topic: string): boolean {
  const wanted = pattern.split('.');
  const segments = topic.split('.');
  const last = wanted.length - 1;
  if (wanted[last] === '*' ? segments.length <= last : segments.length !== wanted.length) return false;
  return wanted.every((segment, at) => segment === '*' || segment === segments[at]);
}
