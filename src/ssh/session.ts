import type { Algorithms } from '../core/algorithms.ts';
import type { Endpoint } from '../core/flow.ts';
import {
  SSH_CLOSE_DEADLINE_MS,
  SSH_GREETING_DEADLINE_MS,
  SSH_HANDSHAKE_DEADLINE_MS,
  SSH_PERSON_DEADLINE_MS,
  SSH_REKEY_INTERVAL_MS,
} from '../core/limits.ts';
import { loadNative } from '../core/native.ts';
import type { NativeEngine } from '../core/native.ts';
import { offer } from './algorithms.ts';
import { Authenticator } from './auth.ts';
import { ChannelTable } from './channel-table.ts';
import type { RefusalHandler } from './channel-table.ts';
import type { PendingDial } from './dial.ts';
import { judgeHostKey } from './host-key-error.ts';
import { Keepalive } from './keepalive.ts';
import type { HostTrust } from './host-trust.ts';
import { Link } from './link.ts';
import type { Login } from './login.ts';
import type { Protocol } from './protocol.ts';
import { Rekey } from './rekey.ts';
import { readRemoteFile } from './remote-file.ts';
import { Scheduler } from './scheduler.ts';
import {
  assertNativeCrypto,
  createClient,
  dispatch,
  keyExchangeRuns,
  linkConnection,
  privateSurface,
  routeAuth,
  routeChannels,
  routeReplies,
  sendAuth,
  sessionId,
  takeCertificates,
} from './ssh2.ts';
import type { Client } from './ssh2.ts';
import type { OpenOutcomes } from './targets.ts';
import { Transport } from './transport.ts';
import type { SocketFactory } from './transport.ts';
import { TurnedAway } from './turned-away.ts';

/**
 * OpenSSH invites more after 96 KiB at most, well below the limit on bytes under way (send-credit.ts). Another server
 * may wait until half of its window is used, which a limit below that never lets happen.
 */
const INVITES_OFTEN = /^SSH-2\.0-OpenSSH_/;

export interface SessionOptions {
  /** The bastion's name in the configuration. */
  readonly name?: string;
  /** The address to connect to. */
  readonly endpoint: Endpoint;
  /** The name and port under which known_hosts has the server. */
  readonly hostName: string;
  readonly port: number;
  readonly user: string;
  readonly login: Login;
  readonly knownHosts: HostTrust;
  /** Unset: the usual. */
  readonly algorithms?: Algorithms;
  readonly socketFactory: SocketFactory;
  /** The engine whose flows the connection carries; without one, JavaScript moves the bytes. */
  engine?(): NativeEngine | undefined;
  /** Milliseconds between keepalives, and how many in a row may go unanswered. */
  readonly keepAliveMs?: number;
  readonly keepAliveMisses?: number;
  /** Milliseconds from connect(2) to the end of the login. */
  readonly handshakeTimeoutMs?: number;
  /** Milliseconds after which it gets new keys; 0 for never by the clock. */
  readonly rekeyIntervalMs?: number;
  /** Told of what becomes of each open. */
  readonly outcomes?: OpenOutcomes;
  /** Told of the milliseconds of each round trip of a keepalive. */
  onRoundTrip?(ms: number): void;
}

/** One SSH connection as it is now. */
export interface ConnectionTraffic {
  /** Bytes that its socket took and gave, since it was connected. */
  readonly sent: number;
  readonly received: number;
  /** Bytes that the socket has not taken yet. */
  readonly queued: number;
  /** Channels and opens, and among them those whose open waits for its turn. */
  readonly channels: number;
  readonly opensWaiting: number;
}

export interface SessionEvents {
  /** Authenticated: channels may be opened. */
  ready(): void;
  /** As `RefusalHandler`. */
  refused?: RefusalHandler;
  /** Over, at any stage, once. `unanswered` are the dials that may be dialled elsewhere. */
  ended(error: Error, unanswered: PendingDial[]): void;
}

/** Errors of a socket that was connected, and whose other end is there and wants no more of it. */
const CLOSED_BY_SERVER: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE']);

/** One SSH connection, from connect(2) to its end. */
export class Session {
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #client: Client;
  readonly #transport: Transport;
  readonly #table: ChannelTable;
  readonly #authenticator: Authenticator;
  readonly #scheduler: Scheduler;
  #deadline: NodeJS.Timeout | undefined;
  #greetingDeadline: NodeJS.Timeout | undefined;
  #isReady = false;
  #runsCommands: boolean | undefined;
  #hostKey: Buffer | undefined;
  /** The host key is that of a first contact. */
  #unremembered = false;
  #keepalive: Keepalive | undefined;
  #rekey: Rekey | undefined;
  /** The first thing that went wrong: what follows from it says less. */
  #cause: Error | undefined;
  #ended = false;
  readonly #over = Promise.withResolvers<void>();

  constructor(options: SessionOptions, events: SessionEvents) {
    assertNativeCrypto();
    this.#options = options;
    this.#events = events;
    this.#client = createClient();
    this.#transport = new Transport(options.socketFactory, options.endpoint);
    const handshakeMs = options.handshakeTimeoutMs ?? SSH_HANDSHAKE_DEADLINE_MS;
    this.#within(handshakeMs);
    if (handshakeMs > SSH_GREETING_DEADLINE_MS) {
      this.#greetingDeadline = setTimeout(() => {
        if (!this.#transport.greeted) this.#late(SSH_GREETING_DEADLINE_MS);
      }, SSH_GREETING_DEADLINE_MS);
    }
    this.#client.on('error', (error) => {
      this.#cause ??= this.#explain(error);
    });
    // Ahead of ssh2, which then says only that there was no handshake.
    this.#transport.socket.on('end', () => {
      if (!this.#isReady) this.#cause ??= this.#turnedAway();
    });
    // In a turn of its own: the read that brought this is over, and all that came with it is parsed.
    this.#client.on('ready', () => setImmediate(() => this.#ready()));
    this.#transport.socket.on('close', () => this.#end());
    const protocol = this.#connect();
    const scheduler = new Scheduler(this.#transport, protocol);
    this.#scheduler = scheduler;
    this.#table = new ChannelTable(protocol, scheduler, options.outcomes, events.refused, options.name);
    routeChannels(protocol, this.#table);
    this.#authenticator = this.#logIn(protocol);
    // Also at the end of every later key exchange, during which nothing was sent.
    this.#client.on('handshake', () => {
      this.#remember();
      this.#rekey?.done();
      scheduler.run();
    });
  }

  /** The host key that was accepted. */
  get hostKey(): Buffer | undefined {
    return this.#hostKey;
  }

  /** Channels and opens under way. */
  get size(): number {
    return this.#table.size;
  }

  /** Smoothed, of keepalives, in milliseconds; undefined before the first. */
  get roundTripMs(): number | undefined {
    return this.#keepalive?.roundTripMs;
  }

  /** What it carries, and what waits for it. */
  get traffic(): ConnectionTraffic {
    const { sent, received, queued } = this.#transport;
    return { sent, received, queued, channels: this.#table.size, opensWaiting: this.#table.waiting };
  }

  open(dial: PendingDial): void {
    this.#table.open(dial);
  }

  /** As `PooledSession`. */
  get commands(): number {
    return this.#table.commands;
  }

  retire(): void {
    this.#table.retire();
  }

  /** The first bytes of a file of the server's. Once it is ready. */
  readFile(path: string, maxBytes: number): Promise<Buffer> {
    return readRemoteFile(this.#client, path, maxBytes);
  }

  /** As `Transport.identification`. */
  get identification(): string {
    return this.#transport.identification;
  }

  /** Whether the account may run commands; undefined before it was tried. */
  get runsCommands(): boolean | undefined {
    return this.#runsCommands;
  }

  /** A person was asked at the terminal to log in. */
  get attended(): boolean {
    return this.#authenticator.attended;
  }

  /** Says goodbye and closes. Resolves when it is over, in bounded time. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#cause ??= new Error('closed by us');
    this.#client.end();
    const timer = setTimeout(() => this.#transport.destroy(), SSH_CLOSE_DEADLINE_MS);
    await this.#over.promise;
    clearTimeout(timer);
  }

  /** Closes without a word. */
  destroy(cause: Error): void {
    this.#cause ??= cause;
    this.#transport.destroy();
  }

  /** Starts the handshake. Should ssh2 refuse, nothing is left behind. */
  #connect(): Protocol {
    try {
      this.#handshake();
      const protocol = privateSurface(this.#client);
      takeCertificates(protocol);
      return protocol;
    } catch (error) {
      this.#ended = true;
      clearTimeout(this.#deadline);
      clearTimeout(this.#greetingDeadline);
      this.#transport.socket.destroy();
      throw error;
    }
  }

  #handshake(): void {
    const { hostName, port, user, knownHosts, algorithms } = this.#options;
    const { ciphers, macs, kex, hostKeys } = offer(algorithms, knownHosts.wanted(hostName, port));
    this.#client.connect({
      sock: this.#transport.socket,
      username: user,
      // Ours covers connect(2) as well.
      readyTimeout: 0,
      keepaliveInterval: 0,
      algorithms: {
        cipher: [...ciphers],
        hmac: [...macs],
        kex: [...kex],
        serverHostKey: [...hostKeys],
        compress: ['none'],
      } as never,
      hostVerifier: (blob: Buffer): boolean => this.#verify(blob),
    });
  }

  /** Called in every key exchange; what was accepted once stays so, also when its certificate expires. */
  #verify(blob: Buffer): boolean {
    if (this.#hostKey?.equals(blob) === true) return true;
    const { hostName, port, knownHosts } = this.#options;
    const { error, first } = judgeHostKey(knownHosts, hostName, port, blob);
    this.#cause ??= error;
    this.#hostKey = error === undefined ? Buffer.from(blob) : undefined;
    this.#unremembered = first;
    return error === undefined;
  }

  /** After the signature of a key exchange was verified, and before anything of the login is sent. */
  #remember(): void {
    if (!this.#unremembered || this.#hostKey === undefined) return;
    this.#unremembered = false;
    const { hostName, port, knownHosts } = this.#options;
    try {
      knownHosts.remember?.(hostName, port, this.#hostKey);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #within(ms: number): void {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#late(ms), ms);
  }

  #late(ms: number): void {
    const what = this.#transport.greeted ? 'did not let us in' : 'did not identify itself';
    this.destroy(new Error(`the bastion ${what} within ${ms / 1000} s`));
  }

  #logIn(protocol: Protocol): Authenticator {
    const { hostName: host, user, login } = this.#options;
    const authenticator = new Authenticator({
      ...{ host, user, login },
      send: (method, payload) => sendAuth(protocol, method, payload),
      sessionId: () => sessionId(protocol),
      waiting: (person) =>
        this.#within(
          person ? SSH_PERSON_DEADLINE_MS : (this.#options.handshakeTimeoutMs ?? SSH_HANDSHAKE_DEADLINE_MS),
        ),
      failed: (error) => {
        this.#cause ??= error;
        this.#client.end();
      },
    });
    routeAuth(protocol, authenticator);
    return authenticator;
  }

  #ready(): void {
    clearTimeout(this.#deadline);
    if (this.#ended) return;
    this.#isReady = true;
    const protocol = this.#table.protocol;
    this.#transport.receiveInPlace(protocol);
    this.#link(protocol);
    if (!INVITES_OFTEN.test(this.identification)) this.#table.keepToWindows();
    const keepalive = new Keepalive(
      () => this.#transport.received,
      () => protocol.ping(),
      () => this.destroy(new Error('the bastion does not answer')),
      this.#options.keepAliveMs,
      this.#options.keepAliveMisses,
      (ms) => {
        this.#table.link?.native.roundTrip(Math.ceil(ms * 1000));
        this.#options.onRoundTrip?.(ms);
      },
    );
    routeReplies(protocol, () => keepalive.answered());
    this.#keepalive = keepalive;
    this.#rekey = new Rekey(
      {
        bytes: () => this.#transport.sent + this.#transport.received,
        running: () => keyExchangeRuns(protocol),
        begin: () => protocol.rekey(),
        stuck: () => this.destroy(new Error('the bastion does not end the exchange of keys')),
      },
      this.#options.rekeyIntervalMs ?? SSH_REKEY_INTERVAL_MS,
    );
    this.#cureNagle();
    this.#events.ready();
  }

  /** From here on native code has the socket. */
  #link(protocol: Protocol): void {
    const engine = this.#options.engine?.();
    if (engine === undefined) return;
    const table = this.#table;
    table.link = linkConnection(protocol, (keys, base) =>
      this.#transport.linkBy(
        (fd) =>
          new Link(loadNative(), engine, fd, base, keys, {
            message: (payload) => dispatch(protocol, payload),
            ended: (id) => table.sourceEnded(id),
            overrun: (id) => table.overrun(id),
            drained: () => this.#scheduler.drained(),
            failed: (error) => this.destroy(error),
          }),
      ),
    );
  }

  /**
   * sshd sets TCP_NODELAY only once a session channel runs something; until then its Nagle algorithm
   * meets our delayed ACK, and opens stall for 40 ms. An account that may not run anything is left so.
   */
  #cureNagle(): void {
    try {
      this.#client.exec('true', (error, channel) => {
        this.#runsCommands = error === undefined;
        if (error !== undefined) return;
        channel.on('error', () => {});
        channel.resume();
        channel.stderr.resume();
        channel.end();
      });
    } catch {
      // ssh2 throws where the socket was closed in the turn of the login, be it by us; its end is told elsewhere.
    }
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#deadline);
    clearTimeout(this.#greetingDeadline);
    this.#keepalive?.stop();
    this.#rekey?.stop();
    this.#authenticator.close();
    const closed = this.#isReady ? new Error('the bastion closed the connection') : this.#turnedAway();
    this.#events.ended(this.#cause ?? closed, this.#table.lost());
    this.#over.resolve();
  }

  #turnedAway(): TurnedAway {
    return new TurnedAway(this.#transport.greeted, this.#transport.greeting);
  }

  /** A server that closes the connection while we log in has refused us; ssh2 gives its reason a code. */
  #explain(error: Error & { code?: unknown }): Error {
    if (!this.#isReady && CLOSED_BY_SERVER.has(error.code)) return this.#turnedAway();
    if (typeof error.code !== 'number') return error;
    return this.#authenticator.disconnected(error.message) ?? error;
  }
}
