/**
 * The composition root: the one file that knows every part, in packet order. What each command does is
 * written here; how a command line becomes a call is written in src/cli.
 */
import type { Commands, Io } from './cli/commands.ts';
import type { Config, HostConfig } from './config/config.ts';
import type { JudgedBastion } from './config/load.ts';
import { Reload, type ConfigSource } from './control/reload.ts';
import { NetproxyError, ProblemsError, type Problem } from './core/errors.ts';
import type { Endpoint } from './core/flow.ts';
import { DRAIN_DEADLINE_MS, DRAIN_POLL_MS, FWMARK } from './core/limits.ts';
import type { Log } from './core/log.ts';
import { loadNative, type Native, type NativeEngine, type TunDevice } from './core/native.ts';
import { DnsRelay } from './dns/relay.ts';
import { Engine } from './engine/engine.ts';
import { policyDialer } from './forward/dialer.ts';
import { Forwarder } from './forward/forwarder.ts';
import { Ping } from './forward/ping.ts';
import { UdpForwarder } from './forward/udp.ts';
import { diagnoseTun } from './netns/diagnose.ts';
import { describe } from './netns/describe.ts';
import { planTakeOver, release, takeOver } from './netns/takeover.ts';
import { ipCommand } from './netns/ip.ts';
import { defaultPolicy } from './policy/policy.ts';
import type { BastionOptions } from './ssh/bastion.ts';
import { KnownHosts } from './ssh/known-hosts.ts';
import { checkAgent, loadLogin, type Login, type Wrong } from './ssh/login.ts';
import { markedSockets } from './ssh/marked-socket.ts';
import { resolveBastion } from './ssh/resolve.ts';
import { Succession } from './ssh/succession.ts';
import { assertNativeCrypto } from './ssh/ssh2.ts';
import { processTerminal } from './ssh/terminal.ts';

function loginOf(bastion: JudgedBastion, wrong: Wrong): Login {
  return loadLogin({ ...bastion.credentials, auth: bastion.auth }, processTerminal(), wrong);
}

function knownHostsOf(bastion: JudgedBastion): KnownHosts {
  return KnownHosts.parse(bastion.credentials.knownHosts, bastion.knownHostsFile);
}

function openTun(native: Native, name: string): TunDevice {
  try {
    return native.openTun(name);
  } catch (error) {
    throw diagnoseTun(error as NodeJS.ErrnoException);
  }
}

async function run(
  config: Config,
  io: Io,
  ready: (line: string) => void,
  source: ConfigSource,
): Promise<void> {
  const { log, stop } = io;
  const started = performance.now();
  const native = loadNative();
  assertNativeCrypto();
  const settings = config.bastions[0]!;
  const problems = await check(config);
  if (problems.length > 0) throw new ProblemsError(problems);
  let addresses = await resolveBastion(settings.host, settings.port);

  // No connection is ready before this turn is over, in which the engine is made.
  const connection = { native, log, engine: () => engine.native };
  const bastion = new Succession(bastionOptions(config, addresses, connection));
  const policy = defaultPolicy(settings.name);
  const upstreams = new Map([[settings.name, bastion]]);
  const forwarder = new Forwarder({ policy, upstreams, log, now: () => performance.now() });
  const dns = new DnsRelay(policyDialer(policy, upstreams));
  const ping = new Ping(policyDialer(policy, upstreams));
  const udp = new UdpForwarder({ policy, carriers: { dns }, log, now: () => performance.now() });
  const device = openTun(native, config.tun.name);
  const lost = Promise.withResolvers<never>();
  const engine = new Engine(native, device, config.tun.mtu, {
    flow: (flow) => forwarder.accept(flow),
    datagram: (datagram) => {
      if (datagram.protocol === 'udp') udp.accept(datagram);
      else ping.accept(datagram);
    },
    deviceLost: () => lost.reject(new NetproxyError('TUN_LOST', `the TUN device ${device.name} was removed`)),
  });
  // Whoever awaits `lost` sees the rejection; one that comes before or after is no crash of its own.
  lost.promise.catch(() => {});
  const stopped = new Promise<void>((resolve) => {
    if (stop.aborted) resolve();
    else stop.addEventListener('abort', () => resolve(), { once: true });
  });

  // For a person or a test that asks a running netproxy what it holds.
  const tellState = (): void => {
    const memory = process.memoryUsage();
    log.warn(
      {
        ...engine.counters(),
        ...memory,
        udp: udp.counters,
        bastion: bastion.status.state,
        channels: bastion.size,
      },
      'state',
    );
  };
  process.on('SIGUSR2', tellState);

  let onExit = config.onExit;
  const reload = new Reload({
    ...{ config, source, log },
    judge: check,
    apply: async (next, changed) => {
      const touches = (keys: RegExp): boolean => changed.some((key) => keys.test(key));
      if (touches(CONNECTION)) {
        const { host, port } = next.bastions[0]!;
        const moved = touches(/^bastions\[0\]\.(host|port)$/);
        const found = moved ? await resolveBastion(host, port) : addresses;
        bastion.replace(bastionOptions(next, found, connection), touches(TRUST));
        addresses = found;
      }
      if (touches(/^local$|^local\[/)) {
        const input = { tun: { ...config.tun, name: device.name }, local: next.local };
        const { steps } = await takeOver(input, ipCommand);
        log.info({ steps: steps.length }, 'the routes follow the new list of local networks');
      }
      bastion.adjust({ connectHoldMs: next.connectHold, dialTimeoutMs: next.dialTimeout });
      io.logLevel(next.log.level);
      onExit = next.onExit;
    },
  });

  try {
    // The marked socket leaves by the uplink before the takeover as well as after it, so the two need
    // not wait for each other; the ready line waits for both.
    bastion.start();
    reload.start();
    const taken = await takeOver(
      { ...hostInput(config), tun: { ...config.tun, name: device.name } },
      ipCommand,
    );
    for (const warning of taken.warnings) log.warn({}, warning);
    log.info(
      { tun: device.name, segmentation: device.segmentation, steps: taken.steps.length },
      'the namespace is taken over',
    );
    const first = await Promise.race([
      bastion.whenReady().then(() => 'ready' as const),
      stopped,
      lost.promise,
    ]);
    if (first === 'ready') {
      const ms = Math.round(performance.now() - started);
      ready(`netproxy is ready: ${device.name} -> ${settings.name} (${bastion.status.reason}) in ${ms} ms`);
    }
    await Promise.race([stopped, lost.promise]);
    log.info({ signal: String(stop.reason), flows: engine.flows }, 'stopping');
    forwarder.stop();
    await drain(engine);
  } finally {
    process.off('SIGUSR2', tellState);
    reload.stop();
    engine.abortAll();
    udp.close();
    dns.close();
    await bastion.stop();
    engine.close();
    if (onExit === 'open') await release(ipCommand);
  }
}

/** What every connection to a bastion needs of the process. */
interface Connection {
  readonly native: Native;
  readonly log: Log;
  readonly engine: () => NativeEngine;
}

function bastionOptions(
  config: Config,
  addresses: readonly Endpoint[],
  { native, log, engine }: Connection,
): BastionOptions {
  const settings = config.bastions[0]!;
  return {
    name: settings.name,
    endpoints: () => addresses,
    hostName: settings.host,
    port: settings.port,
    user: settings.user,
    login: loginOf(settings, (_key, error) => {
      throw error;
    }),
    knownHosts: knownHostsOf(settings),
    socketFactory: markedSockets(native, FWMARK, config.keepAlive * config.keepAliveMisses),
    engine,
    log,
    connectHoldMs: config.connectHold,
    dialTimeoutMs: config.dialTimeout,
    keepAliveMs: config.keepAlive,
    keepAliveMisses: config.keepAliveMisses,
    handshakeTimeoutMs: config.handshakeTimeout,
  };
}

/** Settings that a connection is made with, and among them those that say which server is the right one. */
const CONNECTION = /^(bastions\[0\]\.(?!name$)|keepAlive|handshakeTimeout)/;
const TRUST = /^bastions\[0\]\.(host|port|knownHostsFile)$/;

/** Gives flows time to end in order: whoever stops a container wants its last requests answered. */
async function drain(engine: Engine): Promise<void> {
  const deadline = performance.now() + DRAIN_DEADLINE_MS;
  while (engine.flows > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
  }
}

function hostInput(config: HostConfig): { tun: HostConfig['tun']; local: readonly string[] } {
  return { tun: config.tun, local: config.local };
}

async function check(config: Config): Promise<readonly Problem[]> {
  const found = config.bastions.map(async (bastion, index) =>
    (await judge(bastion)).map((problem) => ({ ...problem, where: `bastions[${index}].${problem.where}` })),
  );
  return (await Promise.all(found)).flat();
}

async function judge(bastion: JudgedBastion): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  const wrong: Wrong = (key, { code, message, hint }) => {
    problems.push({ code, where: key, message, hint });
  };
  await checkAgent(loginOf(bastion, wrong), wrong);
  try {
    knownHostsOf(bastion);
  } catch (error) {
    if (!(error instanceof NetproxyError)) throw error;
    wrong('knownHostsFile', error);
  }
  return problems;
}

async function plan(config: HostConfig, io: Io): Promise<void> {
  const steps = await planTakeOver(hostInput(config), ipCommand);
  io.print(io.json ? `${JSON.stringify({ steps })}\n` : describe(steps));
}

async function releaseHost(_config: HostConfig, io: Io): Promise<void> {
  const steps = await release(ipCommand);
  io.print(io.json ? `${JSON.stringify({ steps })}\n` : describe(steps));
}

export const commands: Commands = { run, check, judge, plan, release: releaseHost };
