/**
 * The composition root: the one file that knows every part, in packet order. What each command does is
 * written here; how a command line becomes a call is written in src/cli.
 */
import type { Commands, Io } from './cli/commands.ts';
import type { Job } from './cli/job.ts';
import type { Config, HostConfig } from './config/config.ts';
import type { Environment } from './config/environment.ts';
import type { Surveyed } from './containers/survey.ts';
import { isListenedAt } from './control/listener.ts';
import { Operations } from './control/operations.ts';
import { Readiness } from './control/readiness.ts';
import { Reload, type ConfigSource } from './control/reload.ts';
import { socketPaths } from './control/socket-path.ts';
import { parseDestination } from './core/destination.ts';
import type { Dialer } from './core/dialer.ts';
import { NetproxyError, ProblemsError } from './core/errors.ts';
import { HeldAddresses } from './core/held-addresses.ts';
import { OwnSockets } from './core/own-sockets.ts';
import { DRAIN_DEADLINE_MS, DRAIN_POLL_MS, FWMARK } from './core/limits.ts';
import type { Watching } from './exec.ts';
import type { NameOf } from './job/seen.ts';
import { loadNative, type Native, type TunDevice } from './core/native.ts';
import { directDialer } from './direct/dialer.ts';
import { DirectPing } from './direct/ping.ts';
import { DirectUdp } from './direct/udp.ts';
import { lookup } from './dns/own/lookup.ts';
import { Dns } from './dns/dns.ts';
import { Engine } from './engine/engine.ts';
import { FakeGuard, namedDialer } from './forward/fake-guard.ts';
import { dialerOf, Forwarder } from './forward/forwarder.ts';
import { Ping } from './forward/ping.ts';
import { PingForwarder } from './forward/pings.ts';
import { UdpForwarder } from './forward/udp.ts';
import { readNetworks } from './netns/facts.ts';
import { diagnoseTun } from './netns/diagnose.ts';
import { describe } from './netns/describe.ts';
import type { TakeOverInput } from './netns/desired.ts';
import { Keeper } from './netns/keeper.ts';
import { here } from './netns/place.ts';
import type { Place } from './netns/place.ts';
import { planTakeOver, release } from './netns/takeover.ts';
import { netCommands } from './netns/runner.ts';
import { proveRoutes } from './netns/self-test.ts';
import { SocketOwners } from './owner/owners.ts';
import { LoopGuard } from './policy/loop.ts';
import { asksForProcess } from './policy/rule.ts';
import { kernelRules } from './policy/kernel.ts';
import { namedRules } from './policy/named-rules.ts';
import { rulesPolicy, type Policy } from './policy/policy.ts';
import { releaseStartMemory } from './process/memory.ts';
import { reducePrivileges } from './process/privileges.ts';
import { Relays } from './relay/carrier.ts';
import { assertNativeCrypto } from './ssh/ssh2.ts';
import { judgeBastion, judgeBastions } from './upstreams/judge.ts';
import { Upstreams } from './upstreams/upstreams.ts';

function openTun(native: Native, name: string): TunDevice {
  try {
    return native.openTun(name);
  } catch (error) {
    throw diagnoseTun(error as NodeJS.ErrnoException);
  }
}

/** What dials show of the far end, DNS wants to know; and it knows the names that addresses stand for. */
function watchedDialer(name: string, dialer: Dialer | undefined, dns: Dns): Dialer | undefined {
  return dialer === undefined ? undefined : namedDialer(dns.watch(name, dialer), dns.fakes);
}

/** Settings by which names may come to have other addresses. */
const LOOKUPS = /^((dns|local|groups)\b|bastions(\[\d+\](\.(name|host|port|jump))?)?$)/;

async function run(
  config: Config,
  io: Io,
  ready: (line: string) => void,
  source: ConfigSource,
): Promise<void> {
  const native = loadNative();
  await forward(config, io, { ready, source, native, place: here(native) });
}

/** Runs a command in a namespace of its own; gives its exit code. */
async function execJob(config: Config, io: Io, job: Job, source: ConfigSource): Promise<number> {
  const native = loadNative();
  const { exec } = await import('./exec.ts');
  return exec({
    ...{ config, io, job, native, environment: process.env },
    forward: (its, stop, place, watching) =>
      forward(its, { ...io, stop }, { ready: () => {}, source, native, place, watching }),
  });
}

/** What a run has beside its configuration. */
interface Surroundings {
  /** Called when a bastion is connected, with the line to print; `proved` resolves when all is ready. */
  readonly ready: (line: string, proved: () => Promise<void>) => void;
  readonly source: ConfigSource;
  readonly native: Native;
  readonly place: Place;
  readonly watching?: Watching;
}

/** Forwards the traffic of a place until `io.stop`. */
async function forward(
  config: Config,
  io: Io,
  { ready, source, native, place, watching }: Surroundings,
): Promise<void> {
  const { log, stop } = io;
  const started = performance.now();
  assertNativeCrypto();
  const problems = await judgeBastions(config);
  if (problems.length > 0) throw new ProblemsError(problems);

  // No connection is ready before this turn is over, in which the engine is made.
  const held = new HeldAddresses();
  const own = new OwnSockets();
  const upstreams = await Upstreams.create(config, {
    // The addresses of another namespace are no concern of theirs.
    ...{ native: place.own, log, held: place.shared ? held : new HeldAddresses(), own },
    engine: () => engine.native,
    lookup: (name) => lookup(name, { native: place.own, own }),
    onRoundTrip: (bastion, ms) => operations.metrics.roundTrip(bastion, ms),
    onAddresses: (found) => {
      prove(found).catch((error: Error) => {
        const { code, hint } = error as Partial<NetproxyError>;
        log.error({ code, hint }, error.message);
      });
    },
  });
  const { dialers } = upstreams;
  let { dialTimeout } = config;
  const direct = directDialer({ native: place.near, own, mark: FWMARK, timeoutMs: () => dialTimeout });
  let named = namedRules(config.rules, upstreams.lastResort);
  const dns = new Dns({
    isFaked: (name) => named.isFaked(name),
    ...{ settings: config.dns, networks: config.local, tun: config.tun.name, log },
    ...{ sockets: { native: place.near, own }, listen: place.data },
    ...{ resolvConf: place.resolvConf, self: place.resolver },
    ownNetworks: place.ownNetworks && (() => held.networks),
    upstreams: {
      lastResort: () => upstreams.lastResort,
      upstreamOf: (name) => named.upstreamOf(name),
      dialer: (name) => dialers.get(name),
      readFile: (name, path, maxBytes) => upstreams.readFile(name, path, maxBytes),
    },
  });
  const owners = new SocketOwners({ native: place.data, device: config.tun.name, log });
  const facts = { names: dns.names, owners };
  const policyOf = (of: Config): Policy => rulesPolicy(of.rules, upstreams.lastResort, facts);
  let rules = policyOf(config);
  const guarded = new FakeGuard({ decide: (flow) => rules.decide(flow) }, dns.fakes);
  const nameOf: NameOf = ({ name, destination }) => name ?? dns.names.namesOf(destination.address)[0];
  const policy = new LoopGuard(
    watching?.policy(guarded, nameOf, facts) ?? guarded,
    (flow) => place.shared && own.has(flow),
    log,
  );
  const watched = { get: (name: string) => watchedDialer(name, dialers.get(name), dns) };
  const carriers = { upstreams: watched, direct };
  const now = (): number => performance.now();
  const operations = new Operations({
    ...{ config, log, recent: io.recent, version: io.version, now },
    nameOf: (address) => dns.names.namesOf(address)[0],
    ownerOf: (tuple) => owners.shown(tuple),
    told: {
      upstreams: () => upstreams.states,
      farEnds: () => dns.farEnds,
      filter: () => keeper.counts(),
      counters: () => ({
        engine: engine.counters(),
        dns: dns.counters,
        relays: relay.counters,
        udpEvicted: udp.counters.evicted,
      }),
      config: () => source.describe(),
    },
  });
  watching?.health(operations.health);
  watching?.resolvers(() => Object.values(dns.counters.resolvers));
  const { flows } = operations;
  const forwarder = new Forwarder({ policy, ...carriers, dns, flows, now });
  const ping = new Ping((upstream) =>
    dialerOf(upstream === undefined ? { kind: 'direct' } : { kind: 'upstream', upstream }, carriers),
  );
  const relay = new Relays({
    ...{ upstreams: dialers, log, now },
    pingOtherwise: (request, upstream) => ping.accept(request, upstream),
  });
  const means = { native: place.near, mark: FWMARK, own };
  const directUdp = new DirectUdp(means);
  const directPing = new DirectPing({ ...means, log, now, otherwise: (request) => ping.accept(request) });
  const udp = new UdpForwarder({ policy, carriers: { dns, relay, direct: directUdp }, flows, now });
  const pings = new PingForwarder({ policy, relay, direct: directPing, probe: ping, log, flows, now });
  const device = openTun(place.data, config.tun.name);
  const lost = Promise.withResolvers<never>();
  const engine = new Engine(native, device, config.tun.mtu, {
    flow: (flow) => forwarder.accept(flow),
    datagram: (datagram) => {
      if (datagram.protocol === 'udp') udp.accept(datagram);
      else pings.accept(datagram);
    },
    deviceLost: () => lost.reject(new NetproxyError('TUN_LOST', `the TUN device ${device.name} was removed`)),
  });
  // Whoever awaits `lost` sees the rejection; one that comes before or after is no crash of its own.
  lost.promise.catch(() => {});
  place.lost?.catch((error: Error) => lost.reject(error));
  const stopped = new Promise<void>((resolve) => {
    if (stop.aborted) resolve();
    else stop.addEventListener('abort', () => resolve(), { once: true });
  });

  let { readyTarget } = config;
  const readiness = new Readiness({
    health: operations.health,
    bastions: () => upstreams.states,
    dialer: () => dialers.get(upstreams.lastResort),
    target: () => readyTarget,
  });

  // For a person or a test that asks a running netproxy what it holds.
  const tellState = (): void => {
    const memory = process.memoryUsage();
    const counters = {
      ...engine.counters(),
      ...memory,
      udp: { ...udp.counters, direct: directUdp.counters },
      directPings: directPing.sockets,
      relays: relay.counters,
      dns: dns.counters,
      loops: policy.count,
      upstreams: upstreams.states,
      timers: process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length,
    };
    const tell = (counts?: object): void => log.warn({ ...counters, ...counts }, 'state');
    keeper.counts().then(tell, () => tell());
  };
  process.on('SIGUSR2', tellState);

  const inputOf = (of: Config): TakeOverInput => hostInput(of, device.name, place.uplinks);
  const keeper = new Keeper(inputOf(config), place.runner, place.data.watchNamespace, held, log);
  let onExit = config.onExit;
  // Without the routes it is somebody else who leads traffic to the TUN.
  const prove = async (addresses: readonly string[]): Promise<void> => {
    if (!config.layers.includes('routes')) return;
    const { warnings } = await proveRoutes(place.shared ? addresses : [], device.name, place.runner);
    for (const warning of warnings) log.warn({}, warning);
    log.info({ bastions: addresses }, 'self-test: own traffic leaves by the uplink, and no other');
  };
  const reload = new Reload({
    ...{ config, source, log },
    judge: judgeBastions,
    apply: async (next, changed) => {
      const touches = (keys: RegExp): boolean => changed.some((key) => keys.test(key));
      await upstreams.follow(next);
      rules = policyOf(next);
      named = namedRules(next.rules, upstreams.lastResort);
      ({ dialTimeout, readyTarget } = next);
      if (touches(LOOKUPS)) dns.follow(next.dns, next.local);
      if (touches(/^(local|captured|rules|metadata|strict)\b/)) {
        const { steps, direct } = await keeper.follow(inputOf(next));
        log.info({ steps: steps.length, networks: direct }, 'the namespace follows the new settings');
      }
      operations.follow(next);
      io.logLevel(next.log.level);
      onExit = next.onExit;
    },
  });

  try {
    // The marked socket leaves by the uplink before the takeover as well as after it, so the two need
    // not wait for each other; the ready line waits for both.
    upstreams.start();
    if (place.ownNetworks) held.tell(new Set(), await readNetworks(place.runner, device.name));
    await dns.start();
    held.listen(() => dns.networksChanged());
    if (watching === undefined) reload.start();
    await operations.listen(place.number);
    readiness.start();
    const taken = await keeper.start();
    log.info(
      { tun: device.name, segmentation: device.segmentation, steps: taken.steps.length },
      'the namespace is taken over',
    );
    log.info(
      { networks: taken.direct, exceptions: config.captured, metadata: config.metadata },
      'these networks stay direct',
    );
    await prove(upstreams.addresses);
    // Before this process becomes a user that may not read its own /proc/self/smaps. It takes 100 ms, which a command
    // would wait for.
    if (watching === undefined) releaseStartMemory(native);
    reducePrivileges({
      ...{ native, log, user: config.user, seccomp: config.seccomp, files: source.files },
      helper: !place.shared && !place.entering,
      entering: place.entering,
      agent: config.bastions.some(({ credentials }) => credentials.agentSocket !== undefined),
      tofu: config.bastions.some(({ tofu }) => tofu !== undefined),
      processes: config.rules.some(asksForProcess),
    });
    readiness.takenOver();
    const first = await Promise.race([upstreams.whenReady(), stopped, lost.promise]);
    if (first !== undefined) {
      const ms = Math.round(performance.now() - started);
      dns.warm();
      readiness.look();
      const line = `netproxy is ready: ${device.name} -> ${first} in ${ms} ms`;
      ready(line, () => operations.health.whenReady());
    }
    await Promise.race([stopped, lost.promise]);
    log.info({ signal: String(stop.reason), flows: engine.flows }, 'stopping');
    forwarder.stop();
    await drain(engine);
  } finally {
    process.off('SIGUSR2', tellState);
    reload.stop();
    readiness.stop();
    await operations.close();
    engine.abortAll();
    udp.close();
    pings.close();
    directPing.close();
    relay.close();
    await dns.close();
    await upstreams.stop();
    engine.close();
    await keeper.stop();
    if (onExit === 'open') await release(place.runner);
  }
}

/** Gives flows time to end in order: whoever stops a container wants its last requests answered. */
async function drain(engine: Engine): Promise<void> {
  const deadline = performance.now() + DRAIN_DEADLINE_MS;
  while (engine.flows > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
  }
}

/** Without uplinks nothing can be local to the kernel. */
function hostInput(config: HostConfig, tun: string = config.tun.name, uplinks = true): TakeOverInput {
  const { metadata, layers, strict, dns } = config;
  const { direct, captured: ruled } = kernelRules(config.rules);
  const local = uplinks ? [...config.local, ...direct] : [];
  const captured = config.captured.flatMap((text) => parseDestination(text) ?? []);
  const more = { metadata, layers, strict, dnsPort: dns.port };
  return { tun: { ...config.tun, name: tun }, local, captured, ruled, ...more };
}

async function plan(config: HostConfig, io: Io): Promise<void> {
  const steps = await planTakeOver(hostInput(config), netCommands);
  io.print(io.json ? `${JSON.stringify({ steps })}\n` : describe(steps));
}

async function releaseHost(_config: HostConfig, io: Io): Promise<void> {
  const steps = await release(netCommands);
  io.print(io.json ? `${JSON.stringify({ steps })}\n` : describe(steps));
}

async function surveyContainers(environment: Environment): Promise<readonly Surveyed[]> {
  const [{ ENABLE_LABEL }, { openEngine }, { namespaceOf }, { attachedOf, survey }] = await Promise.all([
    import('./config/labels.ts'),
    import('./containers/engine.ts'),
    import('./containers/namespace.ts'),
    import('./containers/survey.ts'),
  ]);
  const containers = await (await openEngine(environment)).containers();
  const attached = await attachedOf(containers, ENABLE_LABEL, namespaceOf, async (number) => {
    const paths = await socketPaths(undefined, number);
    const listened = await Promise.all(paths.map((path) => isListenedAt(path)));
    return listened.includes(true);
  });
  return survey(containers, ({ id }) => attached.has(id), namespaceOf);
}

// Parts that `run` and `exec` do without are loaded by the commands that need them.
export const commands: Commands = {
  run,
  exec: execJob,
  check: judgeBastions,
  judge: judgeBastion,
  keyscan: async (host, port, timeoutMs) =>
    (await import('./ssh/keyscan.ts')).scanHostKeys(host, port, timeoutMs),
  doctor: async (patient) => (await import('./doctor/doctor.ts')).examine(patient, netCommands),
  namespace: async () => (await import('./doctor/namespace.ts')).namespaceState(netCommands),
  plan,
  release: releaseHost,
  attach: async (input, io, ready) => (await import('./attach.ts')).attach(input, io, ready, forward),
  reattach: async ({ environment, ...rest }) => {
    const [{ openEngine }, { namespaceOf }, { reattach }] = await Promise.all([
      import('./containers/engine.ts'),
      import('./containers/namespace.ts'),
      import('./containers/reattach.ts'),
    ]);
    return reattach({ engine: await openEngine(environment), namespaceOf, ...rest });
  },
  containers: surveyContainers,
};
