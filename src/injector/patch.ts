/** What becomes of a pod: pure, and the same when it is asked again about what it made. */
import { quote } from '../config/value.ts';
import { destinationText, parseDestination } from '../core/destination.ts';
import { suggest } from '../core/suggest.ts';
import { listOf, member, objectOf, textOf } from './json.ts';
import type { Json, JsonObject } from './json.ts';
import {
  CONTAINER,
  DEFAULT_PROFILE,
  INJECT_LABEL,
  INJECT_VALUE,
  INJECTED_ANNOTATION,
  LOCAL_ANNOTATION,
  LOCAL_VARIABLE,
  PROFILE_ANNOTATION,
} from './names.ts';
import type { Profile } from './profile.ts';

/** RFC 6902. */
export interface Operation {
  readonly op: 'add' | 'remove' | 'replace';
  readonly path: string;
  readonly value?: Json;
}

export type Decision =
  | {
      readonly kind: 'inject';
      readonly profile: string;
      /** Empty when the pod has everything already. */
      readonly patch: readonly Operation[];
      readonly warnings: readonly string[];
    }
  | { readonly kind: 'skip'; readonly why: string; readonly warnings: readonly string[] }
  | { readonly kind: 'refuse'; readonly profile: string | undefined; readonly message: string };

export interface Surroundings {
  profile(name: string): Profile | undefined;
  /** Names of all of them, and of those that are not used because they are broken. */
  readonly names: readonly string[];
  readonly broken: readonly string[];
  /** Networks of the cluster. */
  readonly networks: readonly string[];
}

const LISTS = ['initContainers', 'containers', 'ephemeralContainers'] as const;

/** Decides on a pod that is about to be created. Reads what others wrote, and throws at nothing of it. */
export function decide(pod: JsonObject, around: Surroundings): Decision {
  const metadata = member(pod, 'metadata');
  const spec = member(pod, 'spec');
  const annotations = member(metadata, 'annotations');
  if (member(member(metadata, 'labels'), INJECT_LABEL) !== INJECT_VALUE)
    return skip(`the label ${INJECT_LABEL} is not "${INJECT_VALUE}"`);
  if (isWindows(spec))
    return skip('a pod of Windows', [
      `netproxy: a pod of Windows is left alone, in spite of ${INJECT_LABEL}`,
    ]);
  const named = textOf(member(annotations, PROFILE_ANNOTATION)) ?? DEFAULT_PROFILE;
  const profile = around.profile(named);
  if (profile === undefined) return refuse(undefined, unknownProfile(named, around));
  if (member(spec, 'hostNetwork') === true) {
    return refuse(
      named,
      'the pod has hostNetwork: true, and the network of a node is not to be taken over; remove that, ' +
        `or the label ${INJECT_LABEL}`,
    );
  }
  const injected = textOf(member(annotations, INJECTED_ANNOTATION)) !== undefined;
  const foreign = injected ? undefined : foreignName(spec, profile);
  if (foreign !== undefined) return refuse(named, foreign);
  const local = localOf(member(annotations, LOCAL_ANNOTATION));
  if (typeof local === 'string') return refuse(named, local);
  const container = withLocal(profile.container, [...around.networks, ...local]);
  const patch = [
    ...patchContainers(spec, container, profile.place),
    ...patchVolumes(spec, profile.volumes),
    ...patchAnnotations(metadata, { ...profile.annotations, [INJECTED_ANNOTATION]: named }),
  ];
  return { kind: 'inject', profile: named, patch, warnings: warningsOf(spec, profile) };
}

function skip(why: string, warnings: readonly string[] = []): Decision {
  return { kind: 'skip', why, warnings };
}

function refuse(profile: string | undefined, message: string): Decision {
  return { kind: 'refuse', profile, message: `netproxy: ${message}` };
}

function isWindows(spec: Json | undefined): boolean {
  return (
    member(member(spec, 'os'), 'name') === 'windows' ||
    member(member(spec, 'nodeSelector'), 'kubernetes.io/os') === 'windows'
  );
}

function unknownProfile(named: string, { names, broken }: Surroundings): string {
  const given = `the profile ${quote(named)} (annotation ${PROFILE_ANNOTATION})`;
  if (broken.includes(named)) return `${given} is broken; the log of the injector says where`;
  const near = suggest(named, names);
  const hint =
    near === undefined ? `there are: ${names.join(', ') || 'none'}` : `did you mean ${quote(near)}?`;
  return `there is no ${given.slice('the '.length)}; ${hint}`;
}

/** Why the sidecar has no room: a container or volume has the name of one of its own. */
function foreignName(spec: Json | undefined, profile: Profile): string | undefined {
  for (const list of LISTS) {
    if (indexOf(member(spec, list), CONTAINER) !== -1)
      return `${list} has a container ${CONTAINER} already; rename it, or remove the label ${INJECT_LABEL} where the chart's own sidecar is included`;
  }
  const taken = profile.volumes.find(({ name }) => indexOf(member(spec, 'volumes'), name) !== -1);
  return taken && `the pod has a volume ${taken.name} already; rename it`;
}

/** Networks of the annotation, or what is wrong with them. */
function localOf(value: Json | undefined): readonly string[] | string {
  if (value === undefined) return [];
  const networks: string[] = [];
  for (const each of (textOf(value) ?? '').split(',')) {
    const text = each.trim();
    if (text === '') continue;
    const parsed = parseDestination(text);
    const allowed = 'allowed: networks such as 10.1.0.0/16, with commas between them';
    if (parsed === undefined) return `${LOCAL_ANNOTATION}: found ${quote(text)}; ${allowed}`;
    if (parsed.parsed.text !== parsed.parsed.network)
      return `${LOCAL_ANNOTATION}: found ${quote(text)}, with bits after the prefix; write ${destinationText({ ...parsed, cidr: parsed.parsed.network })}`;
    networks.push(destinationText(parsed));
  }
  return networks;
}

/** The container with these networks beside those that its variable has. */
function withLocal(container: JsonObject, more: readonly string[]): JsonObject {
  if (more.length === 0) return container;
  const env = listOf(member(container, 'env')) ?? [];
  const at = env.findIndex((entry) => member(entry, 'name') === LOCAL_VARIABLE);
  const had = (textOf(member(env[at], 'value')) ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter(Boolean);
  const entry = { name: LOCAL_VARIABLE, value: [...new Set([...had, ...more])].join(',') };
  return { ...container, env: at === -1 ? [...env, entry] : env.with(at, entry) };
}

function warningsOf(spec: Json | undefined, { place }: Profile): string[] {
  const restart = textOf(member(spec, 'restartPolicy')) ?? 'Always';
  return place === 'containers' && restart !== 'Always'
    ? [
        `netproxy: restartPolicy is ${restart}, and a sidecar among "containers" does not end by itself: the pod will not complete`,
      ]
    : [];
}

/** Ours comes first, so that other init containers start behind it, and is exchanged when it is there but not as it should be. */
function patchContainers(
  spec: Json | undefined,
  container: JsonObject,
  place: Profile['place'],
): Operation[] {
  const elsewhere = LISTS.filter((list) => list !== place).flatMap((list): Operation[] => {
    const at = indexOf(member(spec, list), CONTAINER);
    return at === -1 ? [] : [{ op: 'remove', path: `/spec/${list}/${at}` }];
  });
  const list = listOf(member(spec, place));
  if (list === undefined || list.length === 0)
    return [...elsewhere, { op: 'add', path: `/spec/${place}`, value: [container] }];
  const at = indexOf(list, CONTAINER);
  if (at === 0)
    return covers(list[0], container)
      ? elsewhere
      : [...elsewhere, { op: 'replace', path: `/spec/${place}/0`, value: container }];
  return [
    ...elsewhere,
    ...(at === -1 ? [] : [{ op: 'remove' as const, path: `/spec/${place}/${at}` }]),
    { op: 'add', path: `/spec/${place}/0`, value: container },
  ];
}

function patchVolumes(spec: Json | undefined, volumes: Profile['volumes']): Operation[] {
  if (volumes.length === 0) return [];
  const list = listOf(member(spec, 'volumes'));
  if (list === undefined || list.length === 0)
    return [{ op: 'add', path: '/spec/volumes', value: [...volumes] }];
  return volumes.flatMap((volume): Operation[] => {
    const at = indexOf(list, volume.name);
    if (at === -1) return [{ op: 'add', path: '/spec/volumes/-', value: volume }];
    return covers(list[at], volume) ? [] : [{ op: 'replace', path: `/spec/volumes/${at}`, value: volume }];
  });
}

function patchAnnotations(metadata: Json | undefined, wanted: Readonly<Record<string, string>>): Operation[] {
  const there = objectOf(member(metadata, 'annotations'));
  if (there === undefined) return [{ op: 'add', path: '/metadata/annotations', value: wanted }];
  return Object.entries(wanted)
    .filter(([key, value]) => {
      const own = member(there, key);
      // What the pod says of itself stays, such as its own list of volumes for the autoscaler; the mark is ours.
      return key === INJECTED_ANNOTATION ? own !== value : own === undefined;
    })
    .map(([key, value]) => ({
      op: 'add',
      // RFC 6901 section 3.
      path: `/metadata/annotations/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`,
      value,
    }));
}

function indexOf(list: Json | undefined, name: string): number {
  return (listOf(list) ?? []).findIndex((each) => member(each, 'name') === name);
}

/**
 * Whether `there` is `wanted`, but for members that were added: the API server fills in defaults between two calls, and
 * mounts the token of the service account. Of a list nothing else may be more: the last of two variables counts.
 */
function covers(there: Json | undefined, wanted: Json): boolean {
  if (Array.isArray(wanted)) {
    const list = listOf(there);
    return (
      list !== undefined &&
      list.length === wanted.length &&
      wanted.every((each, index) => covers(list[index], each as Json))
    );
  }
  const object = objectOf(wanted);
  if (object === undefined) return there === wanted;
  return (
    objectOf(there) !== undefined &&
    Object.entries(object).every(([key, value]) => {
      const given = member(there, key);
      if (key !== 'volumeMounts') return covers(given, value);
      const mounts = listOf(given) ?? [];
      return (listOf(value) ?? []).every((mount) => mounts.some((each) => covers(each, mount)));
    })
  );
}
