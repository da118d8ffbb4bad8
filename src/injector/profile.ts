/** A profile: what a pod gets that asks for it, as the chart renders it into a file (docs/injector.md). */
import type { LineCounter, Node, Pair, Scalar, YAMLMap } from 'yaml';
import { quote } from '../config/value.ts';
import { parseDestination } from '../core/destination.ts';
import type { Problem } from '../core/errors.ts';
import { PROFILE_MAX_BYTES } from '../core/limits.ts';
import { listOf, member, objectOf, textOf } from './json.ts';
import type { Json, JsonObject } from './json.ts';
import { CONTAINER, INJECTED_ANNOTATION, LOCAL_VARIABLE, VOLUME_PREFIX } from './names.ts';

export interface Profile {
  readonly name: string;
  /** A core/v1 Container; nothing here knows more of it than it must. */
  readonly container: JsonObject;
  /** core/v1 Volumes, each with its name. */
  readonly volumes: readonly (JsonObject & { readonly name: string })[];
  /** The list of the pod that the container stands first in. */
  readonly place: 'initContainers' | 'containers';
  readonly annotations: Readonly<Record<string, string>>;
}

const KEYS = ['container', 'volumes', 'place', 'annotations'] as const;

/** Reads the text of a file, which `path` is the name of in what is told. Either the profile or what is wrong with it. */
export async function parseProfile(
  name: string,
  path: string,
  text: string,
): Promise<Profile | readonly Problem[]> {
  if (Buffer.byteLength(text) > PROFILE_MAX_BYTES)
    return [{ code: 'PROFILE_INVALID', where: path, message: `larger than ${PROFILE_MAX_BYTES} bytes` }];
  const yaml = await import('yaml');
  const lines = new yaml.LineCounter();
  const document = yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  if (document.errors.length > 0) {
    return document.errors.map((error) => ({
      code: 'PROFILE_INVALID',
      where: placeOf(path, lines, error.pos[0]),
      message: `not YAML: ${error.message}`,
    }));
  }
  let value: Json;
  try {
    // Aliases are resolved here, a bounded number of them; what JSON has no form for is refused by it.
    value = JSON.parse(JSON.stringify(document.toJS({ maxAliasCount: 100 }) ?? null)) as Json;
  } catch (error) {
    const message = `cannot be written as JSON: ${(error as Error).message}`;
    return [{ code: 'PROFILE_INVALID', where: path, message }];
  }
  const reader = new Reader(path, (keys) => {
    const found = keyOffset(document.contents, keys);
    return found === undefined ? path : placeOf(path, lines, found);
  });
  const profile = reader.read(name, value);
  return reader.problems.length > 0 ? reader.problems : profile;
}

/** Where the key stands that the words lead to, or the deepest there is of it. */
function keyOffset(contents: unknown, keys: readonly (string | number)[]): number | undefined {
  let node = contents as Partial<YAMLMap> | undefined;
  let offset: number | undefined;
  for (const key of keys) {
    const items = (node?.items ?? []) as readonly unknown[];
    if (typeof key === 'number') {
      node = items[key] as Partial<YAMLMap> | undefined;
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else {
      const pair = items.find((item) => (item as Pair<Scalar>).key?.value === key) as
        | Pair<Scalar>
        | undefined;
      if (pair === undefined) return offset;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value as Partial<YAMLMap> | undefined;
    }
  }
  return offset;
}

function placeOf(path: string, lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset);
  return `${path}:${line}:${col}`;
}

type Keys = readonly (string | number)[];

class Reader {
  readonly problems: Problem[] = [];
  readonly #placeOf: (keys: Keys) => string;

  constructor(path: string, placeAt: (keys: Keys) => string) {
    this.#placeOf = (keys) => (keys.length === 0 ? path : `${placeAt(keys)} ${keys.join('.')}`);
  }

  read(name: string, value: Json): Profile {
    const root = objectOf(value) ?? {};
    if (objectOf(value) === undefined) this.#wrong([], `found no map; allowed: ${KEYS.join(', ')}`);
    for (const key of Object.keys(root)) {
      if (!(KEYS as readonly string[]).includes(key))
        this.#wrong([key], `no such key; allowed: ${KEYS.join(', ')}`);
    }
    const placeText = textOf(member(root, 'place')) ?? 'initContainers';
    const place = placeText === 'containers' ? 'containers' : 'initContainers';
    if (
      placeText !== place ||
      (member(root, 'place') !== undefined && textOf(member(root, 'place')) === undefined)
    )
      this.#wrong(['place'], `found ${shown(member(root, 'place'))}; allowed: initContainers, containers`);
    const volumes = this.#volumes(member(root, 'volumes'));
    const container = this.#container(member(root, 'container'), place, volumes);
    return { name, container, volumes, place, annotations: this.#annotations(member(root, 'annotations')) };
  }

  #container(value: Json | undefined, place: Profile['place'], volumes: Profile['volumes']): JsonObject {
    const container = objectOf(value);
    if (container === undefined) {
      this.#wrong(['container'], `found ${shown(value)}; allowed: a container of Kubernetes`);
      return {};
    }
    const text = (key: string): string | undefined => textOf(member(container, key));
    if (text('name') !== CONTAINER)
      this.#wrong(['container', 'name'], `found ${shown(member(container, 'name'))}; allowed: ${CONTAINER}`);
    if ((text('image') ?? '') === '')
      this.#wrong(
        ['container', 'image'],
        `found ${shown(member(container, 'image'))}; allowed: the name of an image`,
      );
    const restart = member(container, 'restartPolicy');
    if (place === 'initContainers' && restart !== 'Always')
      this.#wrong(
        ['container', 'restartPolicy'],
        `found ${shown(restart)}; allowed among initContainers: Always, without which the pod would wait for its end`,
      );
    if (place === 'containers' && restart !== undefined)
      this.#wrong(
        ['container', 'restartPolicy'],
        `found ${shown(restart)}; allowed among containers: none; it is that of the pod`,
      );
    this.#environment(member(container, 'env'));
    this.#mounts(member(container, 'volumeMounts'), volumes);
    return container;
  }

  #environment(value: Json | undefined): void {
    if (value === undefined) return;
    const entries = listOf(value);
    if (entries === undefined) this.#wrong(['container', 'env'], `found ${shown(value)}; allowed: a list`);
    for (const [index, entry] of (entries ?? []).entries()) {
      const keys = ['container', 'env', index];
      if (textOf(member(entry, 'name')) === undefined)
        this.#wrong(keys, `found ${shown(entry)}; allowed: a variable with its name`);
      if (member(entry, 'name') !== LOCAL_VARIABLE) continue;
      const local = textOf(member(entry, 'value'));
      if (local === undefined)
        this.#wrong(
          keys,
          `${LOCAL_VARIABLE} has no "value"; allowed: a value, which the networks of the cluster are added to`,
        );
      for (const each of (local ?? '').split(',').filter(Boolean)) {
        if (parseDestination(each.trim()) === undefined)
          this.#wrong(keys, `${LOCAL_VARIABLE}: found ${quote(each)}; allowed: networks, such as 10.0.0.0/8`);
      }
    }
  }

  #mounts(value: Json | undefined, volumes: Profile['volumes']): void {
    for (const [index, mount] of (listOf(value) ?? []).entries()) {
      const name = member(mount, 'name');
      if (!volumes.some((volume) => volume.name === name))
        this.#wrong(
          ['container', 'volumeMounts', index],
          `found ${shown(name)}; allowed: a volume of this profile`,
        );
    }
  }

  #volumes(value: Json | undefined): Profile['volumes'] {
    if (value === undefined || value === null) return [];
    const volumes = listOf(value);
    if (volumes === undefined) this.#wrong(['volumes'], `found ${shown(value)}; allowed: a list`);
    const names = new Set<string>();
    return (volumes ?? []).flatMap((volume, index) => {
      const object = objectOf(volume);
      const name = textOf(member(volume, 'name')) ?? '';
      if (object === undefined || !name.startsWith(VOLUME_PREFIX) || name === VOLUME_PREFIX)
        this.#wrong(
          ['volumes', index],
          `found the name ${shown(member(volume, 'name'))}; allowed: names that begin with ${VOLUME_PREFIX}`,
        );
      else if (names.has(name)) this.#wrong(['volumes', index], `found ${quote(name)} twice`);
      names.add(name);
      return object === undefined ? [] : [{ ...object, name }];
    });
  }

  #annotations(value: Json | undefined): Record<string, string> {
    if (value === undefined || value === null) return {};
    if (objectOf(value) === undefined)
      this.#wrong(['annotations'], `found ${shown(value)}; allowed: a map of texts`);
    const annotations = new Map<string, string>();
    for (const [key, each] of Object.entries(objectOf(value) ?? {})) {
      if (typeof each !== 'string')
        this.#wrong(['annotations', key], `found ${shown(each)}; allowed: a text; put it in quotes`);
      else if (key === INJECTED_ANNOTATION)
        this.#wrong(['annotations', key], 'is written by the injector itself');
      else annotations.set(key, each);
    }
    return Object.fromEntries(annotations);
  }

  #wrong(keys: Keys, message: string): void {
    this.problems.push({ code: 'PROFILE_INVALID', where: this.#placeOf(keys), message });
  }
}

function shown(value: Json | undefined): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' && value !== null ? 'a map' : quote(String(value));
}
