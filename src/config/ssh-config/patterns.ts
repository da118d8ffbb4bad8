/** ssh_config(5), PATTERNS: `*` and `?`; an item with `!` that matches excludes whatever else matches. */
export function matchesList(patterns: readonly string[], text: string): boolean {
  let matched = false;
  for (const pattern of patterns) {
    if (pattern.startsWith('!')) {
      if (wildcard(pattern.slice(1)).test(text)) return false;
    } else {
      matched ||= wildcard(pattern).test(text);
    }
  }
  return matched;
}

function wildcard(pattern: string): RegExp {
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll(/\*+/g, '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's');
}
