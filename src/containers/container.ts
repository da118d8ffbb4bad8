/** A container as the engine tells of it (GET /containers/ID/json), as far as it matters here. */

/** What is handed on to the engine as it came. */
export type Passed = Readonly<Record<string, unknown>>;

export interface Mount {
  readonly type: string;
  /** Of a volume. */
  readonly name: string;
  readonly destination: string;
  readonly writable: boolean;
}

export interface Container {
  readonly id: string;
  readonly name: string;
  /** The image as it was named, and its number. */
  readonly image: string;
  readonly imageId: string;
  readonly running: boolean;
  /** In the engine's own PID namespace; 0 when it does not run. */
  readonly pid: number;
  /** ISO 8601 with up to nine digits behind the point. */
  readonly startedAt: string;
  /** Why the engine could not start it; empty when it could. */
  readonly error: string;
  /** `healthy`, `unhealthy` or `starting`; undefined without a check. */
  readonly health: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** `container:ID`, `host`, `none`, or the name of a network. */
  readonly networkMode: string;
  /** It is removed when it stops. */
  readonly autoRemove: boolean;
  /** Seconds that it is given to stop; undefined: the engine's default. */
  readonly stopTimeout: number | undefined;
  readonly mounts: readonly Mount[];
  /** `Config` and `HostConfig`. */
  readonly config: Passed;
  readonly hostConfig: Passed;
}

const record = (value: unknown): Passed =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Passed) : {};
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Reads what the engine answered; what it lacks is empty. */
export function readContainer(answer: unknown): Container {
  const all = record(answer);
  const [state, config, hostConfig] = [
    record(all['State']),
    record(all['Config']),
    record(all['HostConfig']),
  ];
  const health = text(record(state['Health'])['Status']);
  const labels = Object.entries(record(config['Labels'])).map(([key, value]) => [key, text(value)] as const);
  const mounts = Array.isArray(all['Mounts']) ? all['Mounts'].map(record) : [];
  const { StopTimeout: stopTimeout } = config;
  return {
    id: text(all['Id']),
    name: text(all['Name']).replace(/^\//, ''),
    image: text(config['Image']),
    imageId: text(all['Image']),
    // One that waits for its next start "runs" without a process.
    running: state['Running'] === true && state['Restarting'] !== true,
    pid: typeof state['Pid'] === 'number' ? state['Pid'] : 0,
    startedAt: text(state['StartedAt']),
    error: text(state['Error']),
    health: health === '' || health === 'none' ? undefined : health,
    labels: Object.fromEntries(labels),
    networkMode: text(hostConfig['NetworkMode']),
    autoRemove: hostConfig['AutoRemove'] === true,
    stopTimeout: typeof stopTimeout === 'number' ? stopTimeout : undefined,
    mounts: mounts.map((mount) => ({
      type: text(mount['Type']),
      name: text(mount['Name']),
      destination: text(mount['Destination']),
      writable: mount['RW'] !== false,
    })),
    config,
    hostConfig,
  };
}

/** What `container:` in a mode of namespaces names; undefined for every other mode. */
export function joined(mode: string): string | undefined {
  return mode.startsWith('container:') ? mode.slice('container:'.length) : undefined;
}

/** Whether `reference` (a number, the beginning of one, or a name) means the container. */
export function isNamed({ id, name }: Pick<Container, 'id' | 'name'>, reference: string): boolean {
  return (
    reference !== '' && (name === reference || (reference.length >= SHORT_ID && id.startsWith(reference)))
  );
}

/** Digits of a number in what people read, as Docker prints it. */
const SHORT_ID = 12;

export function shortId(id: string): string {
  return id.slice(0, SHORT_ID);
}

/**
 * Whether `a` began after `b`. Nanoseconds are written without the zeros at their end, so that texts of one
 * second compare wrongly.
 */
export function startedAfter(a: Container, b: Container): boolean {
  return compareTimes(a.startedAt, b.startedAt) > 0;
}

function compareTimes(a: string, b: string): number {
  const [aSecond, aPart] = splitTime(a);
  const [bSecond, bPart] = splitTime(b);
  return aSecond - bSecond || (aPart < bPart ? -1 : aPart > bPart ? 1 : 0);
}

/** Seconds of the epoch, and the digits behind the point. */
function splitTime(text: string): [number, string] {
  const [, second = '', part = '', zone = ''] = /^([^.Z+]+?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(text) ?? [];
  const at = Date.parse(`${second}${zone}`);
  return [Number.isNaN(at) ? 0 : at, part.padEnd(9, '0')];
}
