/**
 * Hop 5 of 8 (docs/data-path.md): a dial becomes a channel of a live connection. Before it, src/forward
 * dialled; after it, channel.ts carries the bytes.
 */
import type { Algorithms } from '../core/algorithms.ts';
import type { CommandHandlers, Commander, Dial, DialFailure, DialHandlers, Dialer } from '../core/dialer.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Endpoint } from '../core/flow.ts';
import {
  CONNECT_HOLD_MS,
  POOL_CONNECTIONS_MAX,
  SSH_DEMAND_MS,
  SSH_DRAIN_DEADLINE_MS,
  SSH_DRAIN_POLL_MS,
  SSH_OPEN_DEADLINE_MS,
  SSH_RECONNECT_DEMAND_MS,
  SSH_STABLE_MS,
} from '../core/limits.ts';
import { withFields } from '../core/log.ts';
import type { Log } from '../core/log.ts';
import type { NativeEngine } from '../core/native.ts';
import { Backoff } from './backoff.ts';
import type { AttemptFailure } from './backoff.ts';
import { CertificateWatch } from './certificate-watch.ts';
import { PendingDial } from './dial.ts';
import type { DialTaker } from './dial.ts';
import { HeldDials } from './held.ts';
import { judgeHostKey } from './host-key-error.ts';
import type { HostTrust } from './host-trust.ts';
import type { Login } from './login.ts';
import { Pool } from './pool.ts';
import { Session } from './session.ts';
import type { ConnectionTraffic } from './session.ts';
import { Targets } from './targets.ts';
import type { SocketFactory } from './transport.ts';
import { attemptFailure } from './turned-away.ts';

/** `connecting` before the first connection; `down` when one was lost, or none can be had. */
export type BastionState = 'connecting' | 'ready' | 'down';

export interface BastionStatus {
  readonly state: BastionState;
  /** Why it is not ready, for people. */
  readonly reason: string;
  /** Set when no attempt succeeds without a change here or on the server. */
  readonly fatal?: NetproxyError;
}

/** A server as it has shown itself; what was not tried yet is undefined. */
export interface FarEnd {
  /** Its identification, such as `SSH-2.0-OpenSSH_10.0`. */
  readonly server?: string;
  /** Whether it opens channels to targets, and whether it runs commands. */
  readonly forwarding: boolean | undefined;
  readonly commands: boolean | undefined;
}

export interface NumberedTraffic extends ConnectionTraffic {
  readonly number: number;
}

export interface BastionOptions {
  /** The bastion's name in the configuration. */
  readonly name: string;
  /** The addresses to try, in order; asked again before every attempt. */
  endpoints(): readonly Endpoint[] | Promise<readonly Endpoint[]>;
  /** The name and port under which known_hosts has the server. */
  readonly hostName: string;
  readonly port: number;
  readonly user: string;
  readonly login: Login;
  readonly knownHosts: HostTrust;
  /** Unset: the usual. */
  readonly algorithms?: Algorithms;
  readonly socketFactory: SocketFactory;
  /** Name of the bastion that its connection goes through, if it does. */
  readonly through?: string;
  /** The engine whose flows are carried; without one, JavaScript moves the bytes. */
  engine?(): NativeEngine | undefined;
  readonly log: Log;
  /** Milliseconds that a connect waits for the bastion to come (back). */
  readonly connectHoldMs?: number;
  /** Milliseconds that the far end may take to answer. */
  readonly dialTimeoutMs?: number;
  /** Milliseconds between keepalives, and how many in a row may go unanswered. */
  readonly keepAliveMs?: number;
  readonly keepAliveMisses?: number;
  /** Milliseconds from connect(2) to the end of the login. */
  readonly handshakeTimeoutMs?: number;
  /** Milliseconds after which a connection gets new keys; 0 for never by the clock. */
  readonly rekeyIntervalMs?: number;
  /** Connections at once, at most. */
  readonly maxConnections?: number;
  /** Goes on trying also after an error that only a change can cure, be it one of the server's. */
  readonly persistent?: boolean;
  onState?(status: BastionStatus): void;
  /** Told of the milliseconds of each round trip of a keepalive. */
  onRoundTrip?(ms: number): void;
  /** Told when a connect waits for it: what it goes through is wanted too. */
  onWanted?(): void;
}

/** What may change without a new connection. */
export type Adjustable = Pick<BastionOptions, 'connectHoldMs' | 'dialTimeoutMs' | 'maxConnections'>;

/** Errors that no second attempt can cure. */
const FATAL_CODES: ReadonlySet<string> = new Set([
  'HOST_KEY_UNKNOWN',
  'HOST_KEY_MISMATCH',
  'HOST_KEY_REVOKED',
  'HOST_CERTIFICATE_REFUSED',
  'TOFU_UNWRITABLE',
  'KNOWN_HOSTS_UNREADABLE',
  'KNOWN_HOSTS_INVALID',
  'SSH_AUTH_REFUSED',
  'CERTIFICATE_EXPIRED',
  'SSH_CRYPTO_MISSING',
]);

const NO_ANSWER: DialFailure = { reason: 'host-unreachable', message: 'the target did not answer in time' };
const NO_BASTION: DialFailure = {
  reason: 'host-unreachable',
  message: 'the bastion is not connected',
  absent: true,
};
const STOPPED: DialFailure = {
  reason: 'network-unreachable',
  message: 'netproxy is stopping',
  absent: true,
};

/** A bastion: keeps an SSH connection up, more of them under load, and dials through them. */
export class Bastion implements Dialer, Commander {
  #options: BastionOptions;
  readonly #backoff = new Backoff();
  readonly #targets: Targets;
  readonly #held = new HeldDials();
  readonly #ready = Promise.withResolvers<void>();
  readonly #watch: CertificateWatch;
  readonly #pool: Pool<Session>;
  /** Being made while there is no other. */
  #session: Session | undefined;
  /** The address of the last connection that was made. */
  #endpoint: Endpoint | undefined;
  #status: BastionStatus = { state: 'connecting', reason: 'not started' };
  #everReady = false;
  #readySince = 0;
  /** Connections in a row that were lost before they counted as stable. */
  #brief = 0;
  /** When a connection was last made again that had been lost. */
  #backSince = -Infinity;
  #attempt = 0;
  #retry: { timer: NodeJS.Timeout; at: number; after: AttemptFailure } | undefined;
  #dialledAt = -Infinity;
  #stopped = false;
  /** Takes the dials over, once new flows do not come here any more. */
  #successor: DialTaker | undefined;
  #down: (() => void) | undefined;

  constructor(options: BastionOptions) {
    this.#options = options;
    this.#watch = new CertificateWatch(options.login.certificates, options.user, options.log);
    this.#targets = new Targets(options.log);
    this.#pool = new Pool({
      log: withFields(options.log, { bastion: options.name }),
      connect: () => this.#sessionTo(this.#endpoint!),
      send: (session, dial) => {
        dial.within(this.#options.dialTimeoutMs ?? SSH_OPEN_DEADLINE_MS, NO_ANSWER);
        session.open(dial);
      },
      holdMs: () => this.#options.connectHoldMs ?? CONNECT_HOLD_MS,
      most: () => this.#options.maxConnections ?? POOL_CONNECTIONS_MAX,
    });
    // Whoever wants to know asks `whenReady`; nobody asking is no error.
    this.#ready.promise.catch(() => {});
  }

  get status(): BastionStatus {
    return this.#status;
  }

  /** Channels and opens under way. */
  get size(): number {
    return this.#pool.size;
  }

  get connections(): number {
    return this.#pool.sessions.length;
  }

  /** Connects, and from then on reconnects whenever the connection is lost. */
  start(): void {
    this.#setState('connecting', 'first connection');
    this.#watch.start();
    void this.#connect();
  }

  /**
   * The first authenticated connection. Rejects when no attempt can succeed without a change of the
   * configuration; trouble of the network is retried for ever.
   */
  whenReady(): Promise<void> {
    return this.#ready.promise;
  }

  dial(target: Endpoint, origin: Endpoint, handlers: DialHandlers): Dial {
    const dial = new PendingDial(target, origin, handlers, () => {});
    this.adopt(dial);
    return dial;
  }

  exec(command: string, handlers: CommandHandlers): Dial {
    const dial = PendingDial.ofCommand(command, handlers);
    this.adopt(dial);
    return dial;
  }

  /** A connect waits that cannot be dialled here: an absent bastion is looked for more often. */
  want(): void {
    this.#dialledAt = performance.now();
    this.#hurry();
    this.#options.onWanted?.();
  }

  /** What kept it from connecting may be over: tries again at once, unless it is connected or trying. */
  wake(): void {
    if (this.#retry === undefined || this.#stopped || this.#successor !== undefined) return;
    clearTimeout(this.#retry.timer);
    void this.#connect();
  }

  /** The first bytes of a file of the server's. Rejects when it cannot be had. */
  async readFile(path: string, maxBytes: number): Promise<Buffer> {
    const [session] = this.#pool.sessions;
    if (session === undefined) throw new Error(NO_BASTION.message);
    return session.readFile(path, maxBytes);
  }

  /** Smoothed, of keepalives, in milliseconds; undefined before the first. */
  get roundTripMs(): number | undefined {
    return this.#pool.sessions[0]?.roundTripMs;
  }

  /** Each connection in use, by a number below that of connections at once that is given again. */
  get traffic(): readonly NumberedTraffic[] {
    return this.#pool.numbered.map(([number, session]) => ({ number, ...session.traffic }));
  }

  /** What the server has shown of itself so far. */
  get farEnd(): FarEnd {
    const [session] = this.#pool.sessions;
    const server = session?.identification ?? '';
    return {
      ...(server === '' ? {} : { server }),
      ...{ forwarding: this.#targets.forwarding, commands: session?.runsCommands },
    };
  }

  /** Since when it has been healthy (`Candidate`). What was never lost has been so always. */
  get healthySince(): number {
    return Math.max(this.#backSince, this.#targets.health.sickUntil);
  }

  /** New waits and bounds, from now on. */
  adjust(waits: Adjustable): void {
    this.#options = { ...this.#options, ...waits };
  }

  /** Whether the server would be accepted under other settings. True when there is none, or it is another. */
  trustedBy({ hostName, port, knownHosts }: BastionOptions): boolean {
    if (hostName !== this.#options.hostName || port !== this.#options.port) return true;
    return this.#pool.sessions.every(
      ({ hostKey: blob }) =>
        blob === undefined || judgeHostKey(knownHosts, hostName, port, blob).error === undefined,
    );
  }

  /** Calls `down`, once, when there is no connection: now, or when it is lost. */
  whenDown(down: () => void): void {
    this.#down = down;
    if (this.#status.state !== 'ready') process.nextTick(() => this.#tellDown());
  }

  /** Ends all connections at once. */
  cut(cause: Error): void {
    for (const session of this.#pool.sessions) session.destroy(cause);
  }

  /**
   * Nobody dials here any more: dials that wait go to `successor`, and the connection ends with its last
   * flow. Commands are told, since they would run for ever. Resolves when it has, in bounded time.
   */
  async retire(successor: DialTaker): Promise<void> {
    this.#successor = successor;
    clearTimeout(this.#retry?.timer);
    for (const dial of [...this.#held.release(), ...this.#pool.release()]) this.#passOn(dial, successor);
    for (const session of this.#pool.sessions) session.retire();
    const deadline = performance.now() + SSH_DRAIN_DEADLINE_MS;
    while (!this.#stopped && this.size > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, SSH_DRAIN_POLL_MS));
    }
    await this.stop();
  }

  /** Takes a dial over, new or from another bastion. */
  adopt(dial: PendingDial): void {
    if (dial.over) return;
    dial.handTo(() => {});
    this.#dialledAt = performance.now();
    if (this.#status.state === 'ready') this.#open(dial);
    else this.#hold(dial);
  }

  #tellDown(): void {
    const down = this.#down;
    this.#down = undefined;
    down?.();
  }

  /** Ends all connections in order. Held dials fail, channels end as `upstream-lost`. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#watch.stop();
    clearTimeout(this.#retry?.timer);
    for (const dial of [...this.#held.release(), ...this.#pool.release()]) dial.fail(STOPPED);
    await Promise.all([this.#session?.close(), this.#pool.close()]);
    this.#setState('down', 'stopped');
  }

  #open(dial: PendingDial): void {
    const known = dial.command === undefined ? this.#targets.known(dial.target) : undefined;
    if (known !== undefined) {
      process.nextTick(() => dial.fail(known));
      return;
    }
    this.#pool.open(dial);
  }

  #hold(dial: PendingDial): void {
    if (this.#stopped) {
      process.nextTick(() => dial.fail(STOPPED));
    } else if (dial.resort !== undefined) {
      dial.resort.adopt(dial);
    } else {
      const message = `${NO_BASTION.message}: ${this.#status.reason}`;
      this.#held.hold(dial, this.#options.connectHoldMs ?? CONNECT_HOLD_MS, { ...NO_BASTION, message });
      this.#hurry();
      this.#options.onWanted?.();
    }
  }

  /** Has another one take the dial over. */
  #passOn(dial: PendingDial, successor: DialTaker): void {
    (dial.resort ?? successor).adopt(dial);
  }

  async #connect(): Promise<void> {
    this.#retry = undefined;
    try {
      const endpoints = await this.#options.endpoints();
      if (this.#stopped || this.#successor !== undefined || this.connections > 0) return;
      const endpoint = endpoints[this.#attempt++ % Math.max(endpoints.length, 1)];
      if (endpoint === undefined) throw new Error(`${this.#options.hostName} has no address`);
      this.#session = this.#sessionTo(endpoint);
    } catch (error) {
      this.#failed(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #sessionTo(endpoint: Endpoint): Session {
    const session: Session = new Session(
      { ...this.#options, endpoint, outcomes: this.#targets },
      {
        ready: () => this.#connected(session, endpoint),
        refused: (dial, failure, used) => this.#pool.refused(dial, failure, used),
        ended: (error, unanswered) => this.#lost(session, error, unanswered),
      },
    );
    return session;
  }

  #connected(session: Session, endpoint: Endpoint): void {
    const first = this.connections === 0;
    if (this.#session === session) this.#session = undefined;
    this.#endpoint = endpoint;
    this.#pool.add(session);
    if (!first) return;
    clearTimeout(this.#retry?.timer);
    this.#retry = undefined;
    this.#readySince = performance.now();
    if (this.#everReady) this.#backSince = this.#readySince;
    this.#everReady = true;
    this.#targets.clear();
    const through = this.#options.through === undefined ? '' : ` through ${this.#options.through}`;
    this.#setState('ready', `connected to ${endpoint.address} port ${endpoint.port}${through}`);
    this.#ready.resolve();
    for (const dial of this.#held.release()) this.#open(dial);
  }

  #lost(session: Session, error: Error, unanswered: PendingDial[]): void {
    const making = this.#session === session;
    if (making) this.#session = undefined;
    const what = this.#pool.remove(session, error);
    if (this.#stopped) {
      for (const dial of unanswered) dial.fail(STOPPED);
      return;
    }
    // The other connections go on, and so does the bastion.
    if (this.connections > 0 || (!making && what !== 'used')) {
      if (what === 'used')
        this.#options.log.warn({ bastion: this.#options.name }, `a connection was lost: ${error.message}`);
      for (const dial of unanswered) {
        if (this.#successor === undefined) this.adopt(dial);
        else this.#passOn(dial, this.#successor);
      }
      return;
    }
    const wasReady = this.#status.state === 'ready';
    if (wasReady) this.#setState('down', error.message);
    this.#tellDown();
    if (this.#successor !== undefined) {
      for (const dial of unanswered) this.#passOn(dial, this.#successor);
      return;
    }
    for (const dial of [...unanswered, ...this.#pool.drain()]) this.#hold(dial);
    const stable = wasReady && performance.now() - this.#readySince >= SSH_STABLE_MS;
    if (stable) {
      this.#brief = 0;
      this.#backoff.reset();
      void this.#connect();
    } else if (wasReady && ++this.#brief > 1) {
      // A server that lets us in and throws us out, again and again, is not to be knocked at in a tight loop.
      this.#failed(error, 'turned-away');
    } else {
      this.#failed(error);
    }
  }

  /** An attempt failed. */
  #failed(error: Error, failure: AttemptFailure = attemptFailure(error)): void {
    if (this.#stopped || this.#successor !== undefined) return;
    this.#setState('down', error.message, error);
    const { fatal } = this.#status;
    if (!this.#everReady && this.#options.persistent !== true && fatal !== undefined) {
      this.#ready.reject(fatal);
      this.#stopped = true;
      for (const dial of this.#held.release()) dial.fail(NO_BASTION);
      return;
    }
    const wanted = this.#held.size > 0 || performance.now() - this.#dialledAt < SSH_DEMAND_MS;
    this.#retryIn(this.#backoff.delay(failure, wanted), failure);
  }

  #retryIn(ms: number, after: AttemptFailure): void {
    clearTimeout(this.#retry?.timer);
    this.#retry = { timer: setTimeout(() => void this.#connect(), ms), at: Date.now() + ms, after };
  }

  /** Somebody waits: the next attempt is not to be far off, unless the server wants us to keep away. */
  #hurry(): void {
    const retry = this.#retry;
    if (retry?.after === 'absent' && retry.at - Date.now() > SSH_RECONNECT_DEMAND_MS) {
      this.#retryIn(SSH_RECONNECT_DEMAND_MS, 'absent');
    }
  }

  /** Logs a change of state or of its reason, not every attempt. */
  #setState(state: BastionState, reason: string, error?: Error): void {
    if (this.#status.state === state && this.#status.reason === reason) return;
    const known = error instanceof NetproxyError ? error : undefined;
    const fatal = known !== undefined && FATAL_CODES.has(known.code) ? { fatal: known } : {};
    this.#status = { state, reason, ...fatal };
    const fields = {
      bastion: this.#options.name,
      state,
      ...(known === undefined ? {} : { code: known.code, hint: known.hint }),
    };
    if (state === 'down' && !this.#stopped) this.#options.log.warn(fields, `bastion is down: ${reason}`);
    else this.#options.log.info(fields, `bastion is ${state}: ${reason}`);
    this.#options.onState?.(this.#status);
  }
}
