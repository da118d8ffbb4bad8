/**
 * The only file that loads ssh2 and the only one that touches its private fields. ssh2 does the
 * handshake, authentication and packet protection; channels are ours (`channel.ts`), on top of its
 * `Protocol` object. The version is pinned, and `privateSurface` fails loudly when it changes.
 */
import crypto from 'node:crypto';
import { createRequire } from 'node:module';
import type { Client as Ssh2Client, ParsedKey } from 'ssh2';
import { CERTIFICATE_HOST_KEYS } from '../core/algorithms.ts';
import { NetproxyError } from '../core/errors.ts';
import { loadNative } from '../core/native.ts';
import type { PacketOpener, PacketSealer } from '../core/native.ts';
import { CERTIFICATE_SUFFIX, isCertificate, parseCertificate } from './certificate.ts';
import type { Link } from './link.ts';
import { NativeCipher, NativeDecipher } from './packet-cipher.ts';
import type { InboundKeys, OutboundKeys } from './packet-cipher.ts';
import { pooledRandomFill } from './padding.ts';
import { WireReader, wireString } from './wire.ts';

import type { ChannelEvents, Handlers, Protocol, Question } from './protocol.ts';

export type { ParsedKey } from 'ssh2';
export type Client = Ssh2Client;

interface KeyParser {
  /** `data` follows the type in a blob; kex.js takes the function out of this module as it is loaded. */
  parseDERKey: (data: Buffer, type: string) => unknown;
  readonly parseKey: (data: Buffer | string, passphrase?: Buffer | string) => ParsedKey | ParsedKey[] | Error;
}

interface Ssh2Module {
  readonly Client: new () => Ssh2Client;
  readonly utils: KeyParser;
  readonly nativeCrypto: boolean;
}

const require = createRequire(import.meta.url);

const { sendPacket } = require('ssh2/lib/protocol/utils.js') as {
  readonly sendPacket: (protocol: object, packet: Buffer) => void;
};

/** ssh2's factories of packet ciphers; kex.js takes them out of this module as it is loaded. */
interface Ssh2Crypto {
  readonly bindingAvailable: boolean;
  createCipher: (config: { outbound: OutboundKeys & { cipherInfo: { sslName: string } } }) => unknown;
  createDecipher: (config: {
    inbound: InboundKeys & { decipherInfo: { sslName: string } };
    outbound: OutboundKeys;
  }) => unknown;
}

/** Names of OpenSSL, as ssh2 has them. */
const OWN_CIPHERS: ReadonlySet<string> = new Set(['aes-128-gcm', 'aes-256-gcm', 'chacha20']);

/** Our channel numbers start here, far from those that ssh2's own channel manager counts up from 0. */
const CHANNEL_ID_BASE = 0x1000_0000;

/** The links of connections, by the function that ssh2 gives every cipher of one connection. */
const links = new WeakMap<object, Link>();

const { Client: ClientClass, utils, nativeCrypto } = loadSsh2();

/**
 * Without ssh2's own entry, which loads its server and HTTP with it (4 MB).
 *
 * ssh2 takes `randomFillSync` out of node:crypto as it is loaded, so the pooled one stands there
 * just that long.
 */
function loadSsh2(): Ssh2Module {
  const original = crypto.randomFillSync;
  const fillRandom = pooledRandomFill();
  crypto.randomFillSync = fillRandom;
  try {
    const ciphers = require('ssh2/lib/protocol/crypto.js') as Ssh2Crypto;
    const utils = require('ssh2/lib/protocol/keyParser.js') as KeyParser;
    useOwnCiphers(ciphers, fillRandom);
    useCertificates(utils, require('ssh2/lib/protocol/constants.js') as Ssh2Constants);
    return {
      Client: require('ssh2/lib/client.js') as Ssh2Module['Client'],
      utils,
      nativeCrypto: ciphers.bindingAvailable,
    };
  } finally {
    crypto.randomFillSync = original;
  }
}

/**
 * Has AES-GCM and chacha20-poly1305 done by our own native code, which can pass data on without JavaScript;
 * ssh2's own of the second fails with OpenSSL 3.5.
 */
function useOwnCiphers(ciphers: Ssh2Crypto, fillRandom: typeof crypto.randomFillSync): void {
  const { createCipher, createDecipher } = ciphers;
  ciphers.createCipher = (config) => {
    const { outbound } = config;
    const link = links.get(outbound.onWrite);
    if (OWN_CIPHERS.has(outbound.cipherInfo.sslName)) {
      return new NativeCipher(loadNative(), outbound, fillRandom, link);
    }
    if (link !== undefined) throw changed();
    return createCipher(config);
  };
  ciphers.createDecipher = (config) => {
    const link = links.get(config.outbound.onWrite);
    if (OWN_CIPHERS.has(config.inbound.decipherInfo.sslName)) {
      return new NativeDecipher(loadNative(), config.inbound, link);
    }
    if (link !== undefined) throw changed();
    return createDecipher(config);
  };
}

/** Names of algorithms, which client.js holds ours against. */
interface Ssh2Constants {
  readonly SUPPORTED_SERVER_HOST_KEY: string[];
}

/** The key of a certificate is the one that the exchange was signed with. */
function useCertificates(utils: KeyParser, { SUPPORTED_SERVER_HOST_KEY: supported }: Ssh2Constants): void {
  supported.push(...CERTIFICATE_HOST_KEYS);
  const { parseDERKey } = utils;
  utils.parseDERKey = (data, type) => {
    const blob = Buffer.concat([wireString(type), data]);
    if (!isCertificate(blob)) return parseDERKey(data, type);
    try {
      const { keyBlob, keyType } = parseCertificate(blob);
      return parseDERKey(keyBlob.subarray(wireString(keyType).length), keyType);
    } catch (error) {
      return error;
    }
  };
}

/**
 * Has a key exchange go through in which the server shows a certificate. ssh2 holds one name against two: the
 * type of what the server showed, and, after the verifier was asked, the algorithm of the signature. Without
 * certificates these are the same but for RSA. So the name is the one until then, and the other afterwards.
 */
export function takeCertificates(protocol: Protocol): void {
  const { _hostVerifier: verify } = protocol;
  let exchange = protocol._kex;
  let signature: string | undefined;
  Object.defineProperty(protocol, '_kex', {
    configurable: true,
    enumerable: true,
    get: () => exchange,
    set: (next: NonNullable<Protocol['_kex']>) => {
      exchange = next;
      const { negotiated } = next;
      const agreed = CERTIFICATE_HOST_KEYS.find((name) => name === negotiated.serverHostKey);
      signature = agreed?.replace(CERTIFICATE_SUFFIX, '');
      if (agreed?.startsWith('rsa-') === true) negotiated.serverHostKey = `ssh-rsa${CERTIFICATE_SUFFIX}`;
    },
  });
  protocol._hostVerifier = (blob, answer) => {
    if (signature !== undefined) exchange!.negotiated.serverHostKey = signature;
    return verify?.(blob, answer);
  };
}

/** Host key algorithms of the server, of the key exchange under way. */
export function offeredHostKeys(protocol: Protocol): readonly string[] {
  // A byte of type and a cookie of 16 stand before the lists (RFC 4253 section 7.1).
  const reader = new WireReader(protocol._kex!._remoteKexinit!.subarray(17));
  reader.string();
  return reader.text().split(',');
}

/** A link has the socket, and knows these ciphers only. */
function changed(): Error {
  return new Error('the server changed to a cipher of another kind');
}

/**
 * Gives the connection to the link that `make` returns: it sends and receives all that follows. Undefined,
 * and nothing is changed, with ciphers that are not ours and while keys are exchanged.
 */
export function linkConnection(
  protocol: Protocol,
  make: (
    keys: { readonly sealer: PacketSealer; readonly opener: PacketOpener },
    base: number,
  ) => Link | undefined,
): Link | undefined {
  const { _cipher: cipher, _decipher: decipher } = protocol;
  if (!(cipher instanceof NativeCipher) || !(decipher instanceof NativeDecipher)) return undefined;
  if (keyExchangeRuns(protocol)) return undefined;
  const link = make({ sealer: cipher.sealer, opener: decipher.opener }, CHANNEL_ID_BASE);
  if (link === undefined) return undefined;
  cipher.link = link;
  links.set(protocol._onWrite, link);
  return link;
}

/** Has ssh2 deal with a message that the link received. */
export function dispatch(protocol: Protocol, payload: Buffer): void {
  protocol._decipher._onPayload(payload);
}

/** Throws when ssh2 would fall back to its far slower ciphers in JavaScript. */
export function assertNativeCrypto(): void {
  if (!nativeCrypto) {
    throw new NetproxyError(
      'SSH_CRYPTO_MISSING',
      'The native crypto of ssh2 (sshcrypto.node) could not be loaded.',
    );
  }
}

export function createClient(): Client {
  return new ClientClass();
}

export function parseKey(data: Buffer | string, passphrase?: Buffer | string): ParsedKey | Error {
  const parsed = utils.parseKey(data, passphrase);
  return Array.isArray(parsed) ? (parsed[0] ?? new Error('No key found')) : parsed;
}

/** Fields and methods of ssh2 that this file relies on; checked on every connection. */
const PROTOCOL_METHODS = [
  'directTcpip',
  'session',
  'exec',
  'channelData',
  'channelEOF',
  'channelClose',
  'channelWindowAdjust',
  'channelFailure',
  'requestFailure',
  'ping',
  'rekey',
] as const satisfies readonly (keyof Protocol)[];

const HANDLER_NAMES = [
  'CHANNEL_OPEN_CONFIRMATION',
  'CHANNEL_OPEN_FAILURE',
  'CHANNEL_DATA',
  'CHANNEL_EXTENDED_DATA',
  'CHANNEL_WINDOW_ADJUST',
  'CHANNEL_EOF',
  'CHANNEL_CLOSE',
  'CHANNEL_SUCCESS',
  'CHANNEL_FAILURE',
  'CHANNEL_REQUEST',
  'GLOBAL_REQUEST',
  'REQUEST_SUCCESS',
  'REQUEST_FAILURE',
  'SERVICE_ACCEPT',
  'EXT_INFO',
  'USERAUTH_FAILURE',
  'USERAUTH_SUCCESS',
  'USERAUTH_PASSWD_CHANGEREQ',
  'USERAUTH_PK_OK',
  'USERAUTH_INFO_REQUEST',
] as const satisfies readonly (keyof Handlers)[];

/** The protocol object of a client whose `connect` was called. Throws when ssh2 is not as we know it. */
export function privateSurface(client: Client): Protocol {
  const protocol = (client as unknown as { _protocol?: Protocol })._protocol;
  const missing: string[] = [];
  if (protocol === undefined) throw new Error('ssh2 has no Client._protocol: this version is not supported');
  for (const name of PROTOCOL_METHODS) if (typeof protocol[name] !== 'function') missing.push(name);
  for (const name of HANDLER_NAMES) {
    if (typeof protocol._handlers?.[name] !== 'function') missing.push(`_handlers.${name}`);
  }
  for (const name of [
    '_kexinit',
    '_kex',
    '_hostVerifier',
    '_cipher',
    '_decipher',
    '_onWrite',
    '_authsQueue',
    '_packetRW',
  ] as const)
    if (!(name in protocol)) missing.push(name);
  if (missing.length > 0) throw new Error(`ssh2 lacks ${missing.join(', ')}: this version is not supported`);
  return protocol;
}

/** Sends a CHANNEL_OPEN for `direct-tcpip`, under our number `id` (counted from 0). */
export function openDirect(
  protocol: Protocol,
  id: number,
  window: number,
  packetSize: number,
  origin: { readonly address: string; readonly port: number },
  target: { readonly address: string; readonly port: number },
): void {
  protocol.directTcpip(CHANNEL_ID_BASE + id, window, packetSize, {
    srcIP: origin.address,
    srcPort: origin.port,
    dstIP: target.address,
    dstPort: target.port,
  });
}

/** Sends a CHANNEL_OPEN for `session`, in which a command can be run, under our number `id`. */
export function openSession(protocol: Protocol, id: number, window: number, packetSize: number): void {
  protocol.session(CHANNEL_ID_BASE + id, window, packetSize);
}

/** Sends a chunk. ssh2 takes anything but a Buffer for a string. */
export function sendData(protocol: Protocol, remoteId: number, chunk: Uint8Array): void {
  protocol.channelData(
    remoteId,
    Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength),
  );
}

/** True between the first packet of a key exchange and its end; ssh2 then queues all we send, unbounded. */
export function keyExchangeRuns(protocol: Protocol): boolean {
  return protocol._kexinit !== undefined;
}

/** Sends messages for our channels to `events`; all others go on to ssh2's own handlers. */
export function routeChannels(protocol: Protocol, events: ChannelEvents): void {
  const handlers = protocol._handlers;
  const own = { ...handlers };
  handlers.CHANNEL_OPEN_CONFIRMATION = (p, info) => {
    if (info.recipient >= CHANNEL_ID_BASE) events.confirmed(info.recipient - CHANNEL_ID_BASE, info);
    else own.CHANNEL_OPEN_CONFIRMATION(p, info);
  };
  handlers.CHANNEL_OPEN_FAILURE = (p, id, reason, description) => {
    if (id >= CHANNEL_ID_BASE) events.refused(id - CHANNEL_ID_BASE, reason, description);
    else own.CHANNEL_OPEN_FAILURE(p, id, reason, description);
  };
  handlers.CHANNEL_DATA = (p, id, data) => {
    if (id >= CHANNEL_ID_BASE) events.data(id - CHANNEL_ID_BASE, data);
    // ssh2's streams may keep the data, whose memory is the receive buffer.
    else own.CHANNEL_DATA(p, id, Buffer.from(data));
  };
  handlers.CHANNEL_EXTENDED_DATA = (p, id, data, type) => {
    if (id >= CHANNEL_ID_BASE) events.errors(id - CHANNEL_ID_BASE, data);
    else own.CHANNEL_EXTENDED_DATA(p, id, Buffer.from(data), type);
  };
  handlers.CHANNEL_SUCCESS = (p, id) => {
    if (id >= CHANNEL_ID_BASE) events.answered(id - CHANNEL_ID_BASE, true);
    else own.CHANNEL_SUCCESS(p, id);
  };
  handlers.CHANNEL_FAILURE = (p, id) => {
    if (id >= CHANNEL_ID_BASE) events.answered(id - CHANNEL_ID_BASE, false);
    else own.CHANNEL_FAILURE(p, id);
  };
  handlers.CHANNEL_WINDOW_ADJUST = (p, id, bytes) => {
    if (id >= CHANNEL_ID_BASE) events.adjusted(id - CHANNEL_ID_BASE, bytes);
    else own.CHANNEL_WINDOW_ADJUST(p, id, bytes);
  };
  handlers.CHANNEL_EOF = (p, id) => {
    if (id >= CHANNEL_ID_BASE) events.eof(id - CHANNEL_ID_BASE);
    else own.CHANNEL_EOF(p, id);
  };
  handlers.CHANNEL_CLOSE = (p, id) => {
    if (id >= CHANNEL_ID_BASE) events.closed(id - CHANNEL_ID_BASE);
    else own.CHANNEL_CLOSE(p, id);
  };
  handlers.CHANNEL_REQUEST = (p, id, type, wantReply, data) => {
    if (id < CHANNEL_ID_BASE) return own.CHANNEL_REQUEST(p, id, type, wantReply, data);
    if (type === 'exit-status') events.exited(id - CHANNEL_ID_BASE, Number(data));
    // sshd asks this way whether we live (ClientAliveInterval); any answer will do.
    const remote = events.remoteId(id - CHANNEL_ID_BASE);
    if (wantReply && remote !== undefined) p.channelFailure(remote);
  };
  // ssh2 would make the server prove further host keys; known_hosts alone says what we trust.
  handlers.GLOBAL_REQUEST = (p, _name, wantReply) => {
    if (wantReply) p.requestFailure();
  };
}

/** Tells of each answer to a global request; ours are keepalives only. */
export function routeReplies(protocol: Protocol, answered: () => void): void {
  protocol._handlers.REQUEST_SUCCESS = answered;
  protocol._handlers.REQUEST_FAILURE = answered;
}

/** What happens while we log in. */
export interface AuthEvents {
  /** The keys are agreed on and the host key is trusted: the first request may be made. */
  begin(): void;
  /** Signature algorithms that the server takes (RFC 8308 section 3.1). */
  takes(algorithms: readonly string[]): void;
  refused(methods: readonly string[], partial: boolean): void;
  /** The server would take a signature by the key that was asked for. */
  keyAccepted(): void;
  asked(name: string, instructions: string, questions: readonly Question[]): void;
  passwordExpired(): void;
  succeeded(): void;
}

/** Has us log in by ourselves: ssh2 knows neither certificates nor what was tried. */
export function routeAuth(protocol: Protocol, events: AuthEvents): void {
  const handlers = protocol._handlers;
  const own = { ...handlers };
  handlers.SERVICE_ACCEPT = (p, name) => {
    if (name === 'ssh-userauth') events.begin();
    else own.SERVICE_ACCEPT(p, name);
  };
  handlers.EXT_INFO = (p, extensions) => {
    const algorithms = extensions.find(({ name }) => name === 'server-sig-algs')?.algs;
    if (algorithms !== undefined) events.takes(algorithms);
    own.EXT_INFO(p, extensions);
  };
  handlers.USERAUTH_FAILURE = (_, methods, partial) => events.refused(methods, partial);
  handlers.USERAUTH_PK_OK = () => events.keyAccepted();
  handlers.USERAUTH_INFO_REQUEST = (_, name, text, questions) => events.asked(name, text, questions ?? []);
  handlers.USERAUTH_PASSWD_CHANGEREQ = () => events.passwordExpired();
  handlers.USERAUTH_SUCCESS = (p) => {
    events.succeeded();
    own.USERAUTH_SUCCESS(p);
  };
}

/** Sends a message of `method` while we log in. */
export function sendAuth(protocol: Protocol, method: string, payload: Buffer): void {
  protocol._authsQueue.splice(0, Infinity, method);
  const { write } = protocol._packetRW;
  const start = write.allocStart;
  const packet = write.alloc(payload.length);
  packet.set(payload, start);
  sendPacket(protocol, write.finalize(packet));
}

/** What signatures are bound to (RFC 4253 section 7.2). */
export function sessionId(protocol: Protocol): Buffer {
  const id = protocol._kex?.sessionID;
  if (id === undefined) throw new Error('ssh2 lacks _kex.sessionID: this version is not supported');
  return id;
}

/**
 * Called after each read that ssh2 parsed in place, before `memory` is used again. Of what it read,
 * ssh2 copies a packet that is split over reads, with two exceptions: a packet that is whole but for
 * its authentication tag, and the other side's KEXINIT, which goes into the exchange hash later.
 */
export function detachFrom(memory: ArrayBufferLike, protocol: Protocol): void {
  const decipher = protocol._decipher;
  const packet = decipher._packet;
  if (packet !== null && packet.buffer === memory) decipher._packet = Buffer.from(packet);
  if (protocol._kexinit !== undefined) {
    const kex = protocol._kex;
    const kexinit = kex?._remoteKexinit;
    if (kex !== undefined && kexinit?.buffer === memory) kex._remoteKexinit = Buffer.from(kexinit);
  }
}
