/**
 * `netproxy attach`: the part of the composition that carries containers, each by a run of its own whose traffic is
 * that of the container's namespace, and whose connections to bastions are this process's own.
 */
import type { AttachInput, Io } from './cli/commands.ts';
import type { Config } from './config/config.ts';
import { ENABLE_LABEL } from './config/labels.ts';
import type { Container } from './containers/container.ts';
import { openEngine } from './containers/engine.ts';
import { entranceOf } from './containers/namespace.ts';
import { GONE, Watcher } from './containers/watcher.ts';
import type { ConfigSource } from './control/reload.ts';
import { NetproxyError } from './core/errors.ts';
import type { ErrorCode } from './core/errors.ts';
import { ATTACHED_MAX } from './core/limits.ts';
import { withFields } from './core/log.ts';
import type { LeveledLog } from './core/logger.ts';
import { loadNative } from './core/native.ts';
import type { Native } from './core/native.ts';
import { throughHelper, withoutMarks } from './core/native-view.ts';
import { NetnsHelper } from './netns/helper.ts';
import type { Place } from './netns/place.ts';
import { release } from './netns/takeover.ts';

/** Forwards the traffic of a place until `io.stop`. */
export type Forward = (
  config: Config,
  io: Io,
  surroundings: {
    ready(line: string): void;
    readonly source: ConfigSource;
    readonly native: Native;
    readonly place: Place;
  },
) => Promise<void>;

/** What mends these is another container, or another label. */
const LASTING: ReadonlySet<ErrorCode> = new Set(['CONFIG_INVALID', 'CONTAINER_UNSUITABLE']);

/** Listeners of the process that each run has: for signals that have it read its files, or tell its state. */
const LISTENERS_EACH = 4;

export async function attach(
  input: AttachInput,
  io: Io,
  ready: (line: string) => void,
  forward: Forward,
): Promise<void> {
  const { container: reference, environment } = input;
  const native = loadNative();
  const engine = await openEngine(environment);
  process.setMaxListeners(LISTENERS_EACH * ATTACHED_MAX);
  const only = reference === undefined ? undefined : await engine.inspect(reference);
  // Ahead of everything else, and also when it does not run, which the watcher would wait for.
  if (only !== undefined) entranceOf(only);
  let once = only !== undefined;
  const watcher = new Watcher({
    ...{ engine, log: io.log },
    chosen: only === undefined ? { label: `${ENABLE_LABEL}=true` } : { container: only.id },
    isLasting: (error) => error instanceof NetproxyError && LASTING.has(error.code),
    carry: (container, stop, works) => {
      const told = (line: string): void => {
        once = false;
        works();
        ready(`${container.name}: ${line}`);
      };
      return carry(container, { native, input, io, stop, told, forward, last: () => once });
    },
  });
  await watcher.run(io.stop, (containers) => {
    if (only === undefined)
      ready(`netproxy watches the containers with ${ENABLE_LABEL}=true; ${containers} run`);
  });
}

interface Carrying {
  readonly native: Native;
  readonly input: AttachInput;
  readonly io: Io;
  readonly stop: AbortSignal;
  readonly told: (line: string) => void;
  readonly forward: Forward;
  /** Whether a failure is the end of all. */
  readonly last: () => boolean;
}

async function carry(
  container: Container,
  { native, input, io, stop, told, forward, last }: Carrying,
): Promise<void> {
  const entrance = entranceOf(container);
  const { config, source, isDefault } = await input.settings(container.labels, container.name);
  const helper = await NetnsHelper.start(native, { kind: 'enter', network: entrance.netns });
  let latest = config;
  let failed = true;
  try {
    // The process may have ended, and another one have its number.
    if (helper.number !== entrance.number) {
      throw new NetproxyError('CONTAINER_UNSUITABLE', `${container.name}: the container has ended`, {
        hint: 'Look into its log: docker logs.',
      });
    }
    const there = throughHelper(native, helper.channel);
    const place: Place = {
      ...{ data: there, near: there, own: withoutMarks(native), runner: helper.runner, lost: helper.lost },
      ...{ shared: false, uplinks: true, ownNetworks: true, entering: true },
      ...{ number: entrance.number, resolvConf: entrance.resolvConf },
    };
    const followed: ConfigSource = {
      files: source.files,
      place: (error) => source.place(error),
      describe: () => source.describe(),
      read: async () => within((latest = await source.read())),
    };
    const log: LeveledLog = {
      ...withFields(io.log, { container: container.name }),
      get level() {
        return io.log.level;
      },
      isLevelEnabled: (level) => io.log.isLevelEnabled(level),
    };
    await forward(within(config), { ...io, log, stop }, { ready: told, source: followed, native, place });
    failed = false;
  } finally {
    // While netproxy goes on, a container that it cannot carry stays closed. One that has ended has nothing to put back.
    const leaves = stop.aborted ? stop.reason !== GONE : failed && last();
    const open = isDefault('onExit') || latest.onExit === 'open';
    if (leaves && open) await release(helper.runner).catch((error: Error) => io.log.error({}, error.message));
    await helper.close();
  }
}

/** What concerns the process is not a container's; what is put back is decided here. */
function within(config: Config): Config {
  return {
    ...config,
    control: { ...config.control, socket: undefined, listen: undefined },
    user: 'keep',
    seccomp: false,
    onExit: 'closed',
  };
}
