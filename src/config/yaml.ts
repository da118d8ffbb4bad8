import type * as Yaml from 'yaml';
import type { Document, LineCounter, Node as YamlNode } from 'yaml';
import type { Problem } from '../core/errors.ts';

/** A value in the file with its place, free of YAML's own vocabulary. */
export type FileNode =
  | { readonly type: 'map'; readonly at: string; readonly entries: readonly FileEntry[] }
  | { readonly type: 'list'; readonly at: string; readonly items: readonly FileNode[] }
  /** `text` is what stands in the file: `010` and `yes` are not interpreted. */
  | { readonly type: 'scalar'; readonly at: string; readonly text: string }
  | { readonly type: 'empty'; readonly at: string };

export interface FileEntry {
  readonly key: string;
  /** Place of the key, as `file:line:column`. */
  readonly at: string;
  readonly value: FileNode;
}

/** Anchors may nest without end; the configuration is never deeper than this. */
const DEPTH_MAX = 8;
/** Values that aliases stand for: bounds what a few nested aliases can blow up to. The file bounds the others. */
const ALIASED_MAX = 10_000;

/** Reads YAML 1.2 text. `path` is for the places only. An empty file is an empty map. */
export async function parseYaml(
  path: string,
  text: string,
): Promise<{ root: FileNode | undefined; problems: readonly Problem[] }> {
  // Loaded here because most containers are configured by flags or environment alone, and the
  // parser costs 30 ms and 9 MB.
  const yaml = await import('yaml');
  const lines = new yaml.LineCounter();
  const document = yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const problems = document.errors.map((error) => ({
    code: error.code === 'DUPLICATE_KEY' ? ('CONFIG_INVALID' as const) : ('CONFIG_UNREADABLE' as const),
    where: place(path, lines, error.pos[0]),
    message: error.code === 'DUPLICATE_KEY' ? 'the key is given twice' : `not YAML: ${error.message}`,
    hint:
      error.code === 'DUPLICATE_KEY'
        ? 'Keep one of the two.'
        : 'Correct the syntax; indentation is by spaces, and text with ": " or "#" wants quotes.',
  }));
  if (problems.some((problem) => problem.code === 'CONFIG_UNREADABLE')) return { root: undefined, problems };
  const reader = new Reader(yaml, document, path, lines);
  return { root: reader.read(document.contents, 0, 0), problems: [...problems, ...reader.problems] };
}

function place(path: string, lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset);
  return `${path}:${line}:${col}`;
}

class Reader {
  readonly problems: Problem[] = [];
  readonly #yaml: typeof Yaml;
  readonly #document: Document.Parsed;
  readonly #path: string;
  readonly #lines: LineCounter;
  #aliased = 0;
  /** Aliases that the reader is within. */
  #aliases = 0;
  #refused = false;

  constructor(yaml: typeof Yaml, document: Document.Parsed, path: string, lines: LineCounter) {
    this.#yaml = yaml;
    this.#document = document;
    this.#path = path;
    this.#lines = lines;
  }

  /** `offset` is where the parent stands: an absent value has no place of its own. */
  read(node: unknown, offset: number, depth: number): FileNode {
    const yaml = this.#yaml;
    const start = yaml.isNode(node) ? ((node as YamlNode).range?.[0] ?? offset) : offset;
    const at = place(this.#path, this.#lines, start);
    if (this.#aliases > 0) this.#aliased++;
    if (depth > DEPTH_MAX || this.#aliased > ALIASED_MAX) {
      if (!this.#refused) {
        this.problems.push({
          code: 'CONFIG_INVALID',
          where: at,
          message: 'nested too deep, or too many values',
        });
      }
      this.#refused = true;
      return { type: 'empty', at };
    }
    if (yaml.isAlias(node)) {
      const target = node.resolve(this.#document);
      if (target !== undefined) {
        this.#aliases++;
        const value = this.read(target, start, depth + 1);
        this.#aliases--;
        return value;
      }
      // Without quotes, *.example is the alias of an anchor named .example.
      const text = `*${node.source}`;
      this.problems.push({
        code: 'CONFIG_INVALID',
        where: at,
        message: `found ${text} without quotes, which in YAML is an alias, and of nothing`,
        hint: `Write "${text}".`,
      });
      return { type: 'scalar', at, text };
    }
    if (yaml.isMap(node)) {
      const entries = node.items.map((pair) => {
        const keyOffset = yaml.isNode(pair.key) ? (pair.key.range?.[0] ?? start) : start;
        const key = yaml.isScalar(pair.key) ? scalarText(pair.key) : String(pair.key);
        return {
          key,
          at: place(this.#path, this.#lines, keyOffset),
          value: this.read(pair.value, keyOffset, depth + 1),
        };
      });
      return { type: 'map', at, entries };
    }
    if (yaml.isSeq(node))
      return { type: 'list', at, items: node.items.map((item) => this.read(item, start, depth + 1)) };
    if (!yaml.isScalar(node) || node.value === null) return { type: 'empty', at };
    return { type: 'scalar', at, text: scalarText(node) };
  }
}

/** Strings are taken decoded; numbers and the like as written, so that nothing is lost in between. */
function scalarText(scalar: { value: unknown; source?: string }): string {
  return typeof scalar.value === 'string' ? scalar.value : (scalar.source ?? String(scalar.value));
}
