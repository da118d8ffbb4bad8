/** AdmissionReview of admission.k8s.io/v1: bytes to a request, and a decision to bytes. */
import { listOf, member, objectOf, textOf } from './json.ts';
import type { Json, JsonObject } from './json.ts';
import type { Decision } from './patch.ts';

export interface Review {
  readonly uid: string;
  readonly operation: string;
  /** `v1/Pod`, or `GROUP/VERSION/KIND`. */
  readonly kind: string;
  readonly subResource: string;
  readonly namespace: string;
  /** The pod's own name, or the beginning of one that the API server is to make. */
  readonly name: string;
  readonly dryRun: boolean;
  readonly object: JsonObject | undefined;
}

const API_VERSION = 'admission.k8s.io/v1';
const KIND = 'AdmissionReview';

/** Of what is answered and logged; a name has at most 253 characters, and a uid 36. */
const TEXT_MAX = 253;

/** Why bytes are no review, for whoever sent them. */
export class BadReview extends Error {}

/** Reads the body of a request. Throws BadReview. */
export function parseReview(body: Buffer): Review {
  let root: Json;
  try {
    root = JSON.parse(body.toString('utf8')) as Json;
  } catch {
    throw new BadReview('the body is not JSON');
  }
  const apiVersion = textOf(member(root, 'apiVersion'));
  if (textOf(member(root, 'kind')) !== KIND || apiVersion !== API_VERSION)
    throw new BadReview(`the body is no ${KIND} of ${API_VERSION}`);
  const request = member(root, 'request');
  const text = (value: Json | undefined): string => (textOf(value) ?? '').slice(0, TEXT_MAX);
  const uid = textOf(member(request, 'uid')) ?? '';
  if (uid === '' || uid.length > TEXT_MAX) throw new BadReview('"request.uid" is missing or too long');
  const operation = textOf(member(request, 'operation'));
  if (operation === undefined) throw new BadReview('"request.operation" is missing');
  const kind = member(request, 'kind');
  const [group, version, name] = ['group', 'version', 'kind'].map((key) => textOf(member(kind, key)));
  if (version === undefined || name === undefined) throw new BadReview('"request.kind" is missing');
  const given = member(request, 'object');
  const object = objectOf(given);
  if (object === undefined && given !== undefined && given !== null)
    throw new BadReview('"request.object" is not an object');
  const metadata = member(object, 'metadata');
  return {
    ...{ uid, operation: text(operation), object },
    kind: [group ?? '', version, name].filter(Boolean).join('/').slice(0, TEXT_MAX),
    subResource: text(member(request, 'subResource')),
    namespace: text(member(request, 'namespace')),
    name:
      text(member(request, 'name')) ||
      text(member(metadata, 'name')) ||
      text(member(metadata, 'generateName')),
    dryRun: member(request, 'dryRun') === true,
  };
}

/** Whether it is a pod that is about to be created; everything else is let through as it is. */
export function isNewPod({ operation, kind, subResource }: Review): boolean {
  return operation === 'CREATE' && kind === 'v1/Pod' && subResource === '';
}

/** Codes of HTTP, which become the status of the refused request. */
const FORBIDDEN = 403;
const UNAVAILABLE = 503;

/** The answer to a review. `unavailable`: nobody can say yet, so that it is worth asking again. */
export function reviewAnswer(
  uid: string,
  decision: Decision | { kind: 'unavailable'; message: string },
): object {
  const answer = (response: object): object => ({
    apiVersion: API_VERSION,
    kind: KIND,
    response: { uid, ...response },
  });
  if (decision.kind === 'refuse' || decision.kind === 'unavailable') {
    const [code, reason] =
      decision.kind === 'refuse' ? [FORBIDDEN, 'Forbidden'] : [UNAVAILABLE, 'ServiceUnavailable'];
    return answer({ allowed: false, status: { code, reason, message: decision.message } });
  }
  const { warnings } = decision;
  const told = warnings.length > 0 ? { warnings: listOf(warnings) } : {};
  if (decision.kind === 'skip' || decision.patch.length === 0) return answer({ allowed: true, ...told });
  const patch = Buffer.from(JSON.stringify(decision.patch)).toString('base64');
  return answer({ allowed: true, patchType: 'JSONPatch', patch, ...told });
}
