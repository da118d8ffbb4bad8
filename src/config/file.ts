import { NetproxyError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import type { ReadFile } from './read-file.ts';
import { SETTINGS } from './settings.ts';
import type { SettingId } from './settings.ts';
import type { Given } from './value.ts';
import { parseYaml } from './yaml.ts';
import type { FileNode } from './yaml.ts';

/** What the configuration file gives, by setting; nothing is judged but the shape. */
export interface FileSettings {
  readonly given: Map<SettingId, Given[]>;
  /** Lists of maps, such as bastions, by key. */
  readonly lists: ReadonlyMap<string, readonly FileItem[]>;
}

/** One map of a list. */
export interface FileItem {
  /** Place and key of the item, for what is missing from it. */
  readonly where: string;
  readonly given: Map<SettingId, Given[]>;
}

/**
 * Reads `path`, which `source` named, and sorts what it holds by the table; every key that the table
 * lacks is a problem.
 */
export async function readConfigFile(
  path: string,
  source: string,
  readFile: ReadFile,
  problems: Problem[],
): Promise<FileSettings> {
  const empty: FileSettings = { given: new Map(), lists: new Map() };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFile(path));
  } catch (error) {
    const known = error instanceof NetproxyError;
    problems.push({
      code: 'CONFIG_UNREADABLE',
      where: source,
      message: known ? error.message : `${path}: the file is not UTF-8 text`,
      ...(known ? { hint: error.hint } : {}),
    });
    return empty;
  }
  const { root, problems: syntax } = await parseYaml(path, text);
  problems.push(...syntax);
  if (root === undefined || root.type === 'empty') return empty;
  const walker = new Walker(problems);
  walker.map(root, '', '');
  return { given: walker.given, lists: walker.lists };
}

/**
 * Reads rules that stand in a flag or a variable, which the places are named for: YAML, of one rule or of a
 * list. The braces of one rule may be left out. The first has the number `index`.
 */
export async function readRuleText(
  { text, where }: Given,
  index: number,
  problems: Problem[],
): Promise<readonly FileItem[]> {
  const bare = /^\s*[A-Za-z]+:[^\n]*$/.test(text);
  const { root, problems: syntax } = await parseYaml(where, bare ? `{${text}}` : text);
  problems.push(...syntax);
  if (root === undefined || root.type === 'empty') return [];
  const list: FileNode = root.type === 'map' ? { type: 'list', at: root.at, items: [root] } : root;
  const walker = new Walker(problems);
  walker.itemList(list, 'rules', index);
  return walker.lists.get('rules') ?? [];
}

/** Keys by the map they stand in: '' is the top, 'tun' and 'bastions[]' are inside. */
const KEYS: ReadonlyMap<string, ReadonlyMap<string, SettingId | 'map' | 'list'>> = keysByParent();

function keysByParent(): Map<string, Map<string, SettingId | 'map' | 'list'>> {
  const parents = new Map<string, Map<string, SettingId | 'map' | 'list'>>([['', new Map()]]);
  for (const [id, { key }] of SETTINGS) {
    if (key === undefined) continue;
    const dot = key.lastIndexOf('.');
    const parent = dot === -1 ? '' : key.slice(0, dot);
    const children = parents.get(parent) ?? new Map<string, SettingId | 'map' | 'list'>();
    parents.set(parent, children.set(key.slice(dot + 1), id));
    if (parent === '') continue;
    // A map of its own within an item of a list: its list comes first in the table.
    const [list, inner] = parent.split('[].');
    if (inner !== undefined) parents.get(`${list}[]`)?.set(inner, 'map');
    else if (parent.endsWith('[]')) parents.get('')?.set(parent.slice(0, -2), 'list');
    else parents.get('')?.set(parent, 'map');
  }
  return parents;
}

class Walker {
  readonly given: Map<SettingId, Given[]> = new Map();
  readonly lists: Map<string, FileItem[]> = new Map();
  readonly #problems: Problem[];

  constructor(problems: Problem[]) {
    this.#problems = problems;
  }

  /** `parent` names the map in the table; `path` is how this very map is called in messages. */
  map(node: FileNode, parent: string, path: string, given: Map<SettingId, Given[]> = this.given): void {
    if (node.type === 'empty') return;
    const known = KEYS.get(parent) ?? new Map<string, never>();
    if (node.type !== 'map') {
      const found = node.type === 'list' ? 'a list' : 'a single value';
      this.#wrong(node.at, path, `found ${found}; allowed: the keys ${[...known.keys()].join(', ')}`);
      return;
    }
    for (const { key, at, value } of node.entries) {
      const inner = path === '' ? key : `${path}.${key}`;
      const target = known.get(key);
      if (target === undefined) {
        this.#unknown(at, inner, key, parent, known);
      } else if (target === 'map') {
        this.map(value, parent === '' ? key : `${parent}.${key}`, inner, given);
      } else if (target === 'list') {
        this.itemList(value, inner);
      } else {
        this.#value(value, target, inner, given);
      }
    }
  }

  /** `path` is the name of a list of maps; `first` the number of its first item in messages. */
  itemList(node: FileNode, path: string, first = 0): void {
    const items: FileItem[] = [];
    this.lists.set(path, items);
    if (node.type === 'empty') return;
    if (node.type !== 'list') {
      this.#wrong(
        node.at,
        path,
        `found no list; allowed: a list of ${path}`,
        `Begin each ${path.slice(0, -1)} with "- ".`,
      );
      return;
    }
    for (const [index, item] of node.items.entries()) {
      const itemPath = `${path}[${first + index}]`;
      const given = new Map<SettingId, Given[]>();
      items.push({ where: `${item.at} ${itemPath}`, given });
      this.map(item, `${path}[]`, itemPath, given);
    }
  }

  #value(node: FileNode, id: SettingId, path: string, given: Map<SettingId, Given[]>): void {
    const list = SETTINGS.get(id)?.list === true;
    const allowed = SETTINGS.get(id)?.kind.allowed;
    if (list && node.type === 'list') {
      const texts = node.items.flatMap((item, index) => {
        const where = `${item.at} ${path}[${index}]`;
        if (item.type === 'scalar') return [{ text: item.text, where }];
        this.#wrong(item.at, `${path}[${index}]`, `found no single value; allowed: ${allowed}`);
        return [];
      });
      given.set(id, texts);
    } else if ((!list || SETTINGS.get(id)?.one === true) && node.type === 'scalar') {
      given.set(id, [{ text: node.text, where: `${node.at} ${path}` }]);
    } else if (node.type === 'empty') {
      if (list) given.set(id, []);
      else
        this.#wrong(
          node.at,
          path,
          `the value is empty; allowed: ${allowed}`,
          'Remove the key to have its default.',
        );
    } else if (list) {
      this.#wrong(
        node.at,
        path,
        `found no list; allowed: a list, each item ${allowed}`,
        `Write ${path}: [ … ].`,
      );
    } else {
      this.#wrong(node.at, path, `found ${node.type === 'list' ? 'a list' : 'a map'}; allowed: ${allowed}`);
    }
  }

  #unknown(at: string, path: string, key: string, parent: string, known: ReadonlyMap<string, unknown>): void {
    const near = suggest(key, known.keys());
    const elsewhere = [...KEYS].find(([other, keys]) => other !== parent && keys.has(key))?.[0];
    let hint: string | undefined;
    if (near !== undefined) hint = `Did you mean ${near}?`;
    else if (elsewhere !== undefined)
      hint = `It belongs ${elsewhere === '' ? 'at the top' : `under ${elsewhere}`}.`;
    this.#wrong(at, path, `no such key; allowed here: ${[...known.keys()].join(', ')}`, hint);
  }

  #wrong(at: string, path: string, message: string, hint?: string): void {
    const where = path === '' ? at : `${at} ${path}`;
    this.#problems.push({ code: 'CONFIG_INVALID', where, message, ...(hint === undefined ? {} : { hint }) });
  }
}
