import { NetproxyError } from '../core/errors.ts';
import type { Endpoint } from '../core/flow.ts';
import { SSH_HANDSHAKE_DEADLINE_MS } from '../core/limits.ts';
import { CIPHERS, KEY_EXCHANGES, MACS, hostKeyAlgorithms } from './algorithms.ts';
import { ChannelTable } from './channel-table.ts';
import type { PendingDial } from './dial.ts';
import { hostKeyError } from './host-key-error.ts';
import type { Identity } from './identity.ts';
import { Keepalive } from './keepalive.ts';
import type { KnownHosts } from './known-hosts.ts';
import { Scheduler } from './scheduler.ts';
import { SendRing } from './send-ring.ts';
import {
  assertNativeCrypto,
  createClient,
  deliverNatively,
  onAuthFailure,
  privateSurface,
  routeChannels,
} from './ssh2.ts';
import type { Client, Protocol } from './ssh2.ts';
import { Transport } from './transport.ts';
import type { SocketFactory } from './transport.ts';

export interface SessionOptions {
  /** The address to connect to. */
  readonly endpoint: Endpoint;
  /** The name and port under which known_hosts has the server. */
  readonly hostName: string;
  readonly port: number;
  readonly user: string;
  readonly identity: Identity;
  readonly knownHosts: KnownHosts;
  readonly socketFactory: SocketFactory;
}

export interface SessionEvents {
  /** Authenticated: channels may be opened. */
  ready(): void;
  /** Over, at any stage, once. `unanswered` are the dials that may be dialled elsewhere. */
  ended(error: Error, unanswered: PendingDial[]): void;
}

/** One SSH connection, from connect(2) to its end. */
export class Session {
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #client: Client;
  readonly #transport: Transport;
  readonly #table: ChannelTable;
  readonly #deadline: NodeJS.Timeout;
  #keepalive: Keepalive | undefined;
  #allowedMethods: readonly string[] = [];
  /** The first thing that went wrong: what follows from it says less. */
  #cause: Error | undefined;
  #ended = false;

  constructor(options: SessionOptions, events: SessionEvents) {
    assertNativeCrypto();
    this.#options = options;
    this.#events = events;
    this.#client = createClient();
    this.#transport = new Transport(options.socketFactory, options.endpoint);
    this.#deadline = setTimeout(
      () => this.destroy(new Error(`no SSH connection within ${SSH_HANDSHAKE_DEADLINE_MS / 1000} s`)),
      SSH_HANDSHAKE_DEADLINE_MS,
    );
    this.#client.on('error', (error) => {
      this.#cause ??= this.#explain(error);
    });
    this.#client.on('ready', () => this.#ready());
    this.#transport.socket.on('close', () => this.#end());
    const protocol = this.#connect();
    const scheduler = new Scheduler(this.#transport, protocol);
    this.#table = new ChannelTable(protocol, scheduler, new SendRing(this.#transport.socket));
    routeChannels(protocol, this.#table);
    onAuthFailure(protocol, (methods) => {
      this.#allowedMethods = methods;
    });
    // Also at the end of every later key exchange, during which nothing was sent.
    this.#client.on('handshake', () => {
      deliverNatively(protocol, this.#table);
      scheduler.run();
    });
  }

  /** Channels and opens under way. */
  get size(): number {
    return this.#table.size;
  }

  open(dial: PendingDial): void {
    this.#table.open(dial);
  }

  /** Says goodbye and closes. */
  close(): void {
    this.#cause ??= new Error('closed by us');
    this.#client.end();
  }

  /** Closes without a word. */
  destroy(cause: Error): void {
    this.#cause ??= cause;
    this.#transport.socket.destroy();
  }

  /** Starts the handshake. Should ssh2 refuse, nothing is left behind. */
  #connect(): Protocol {
    try {
      this.#handshake();
      return privateSurface(this.#client);
    } catch (error) {
      this.#ended = true;
      clearTimeout(this.#deadline);
      this.#transport.socket.destroy();
      throw error;
    }
  }

  #handshake(): void {
    const { hostName, port, user, identity, knownHosts } = this.#options;
    this.#client.connect({
      sock: this.#transport.socket,
      username: user,
      // Ours covers connect(2) as well.
      readyTimeout: 0,
      keepaliveInterval: 0,
      algorithms: {
        cipher: [...CIPHERS],
        hmac: [...MACS],
        kex: [...KEY_EXCHANGES],
        serverHostKey: hostKeyAlgorithms(knownHosts.types(hostName, port)),
        compress: ['none'],
      } as never,
      hostVerifier: (blob: Buffer): boolean => {
        const error = hostKeyError(knownHosts.check(hostName, port, blob), hostName, port, blob);
        this.#cause ??= error;
        return error === undefined;
      },
      // One key, one try; the first call has no methods.
      authHandler: (methods: readonly string[] | null) =>
        methods === null ? { type: 'publickey', username: user, key: identity.key } : false,
    });
  }

  #ready(): void {
    clearTimeout(this.#deadline);
    const protocol = this.#table.protocol;
    this.#transport.receiveInPlace(protocol);
    this.#keepalive = new Keepalive(
      () => this.#transport.received,
      () => protocol.ping(),
      () => this.destroy(new Error('the bastion does not answer')),
    );
    this.#cureNagle();
    this.#events.ready();
  }

  /**
   * sshd sets TCP_NODELAY only once a session channel runs something; until then its Nagle algorithm
   * meets our delayed ACK, and opens stall for 40 ms. An account that may not run anything is left so.
   */
  #cureNagle(): void {
    this.#client.exec('true', (error, channel) => {
      if (error !== undefined) return;
      channel.on('error', () => {});
      channel.resume();
      channel.stderr.resume();
      channel.end();
    });
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#deadline);
    this.#keepalive?.stop();
    this.#events.ended(this.#cause ?? new Error('the bastion closed the connection'), this.#table.lost());
  }

  #explain(error: Error & { level?: string }): Error {
    if (error.level !== 'client-authentication') return error;
    const { user, hostName, identity } = this.#options;
    const allowed = this.#allowedMethods.length > 0 ? this.#allowedMethods.join(', ') : 'none';
    return new NetproxyError(
      'SSH_AUTH_REFUSED',
      `${hostName} refused user "${user}": tried publickey with the ${identity.type} key ${identity.fingerprint}; ` +
        `the server allows: ${allowed}.`,
      { cause: error },
    );
  }
}
