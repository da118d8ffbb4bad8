/** The shape of ssh2's protocol object, as far as ssh2.ts, which checks it, relies on it. */

/** What CHANNEL_OPEN_CONFIRMATION says. */
export interface OpenConfirmation {
  readonly recipient: number;
  readonly sender: number;
  readonly window: number;
  readonly packetSize: number;
}

/** ssh2's table of message handlers, as far as channels need it. */
export interface Handlers {
  CHANNEL_OPEN_CONFIRMATION: (p: Protocol, info: OpenConfirmation) => void;
  CHANNEL_OPEN_FAILURE: (p: Protocol, recipient: number, reason: number, description: string) => void;
  CHANNEL_DATA: (p: Protocol, recipient: number, data: Buffer) => void;
  CHANNEL_EXTENDED_DATA: (p: Protocol, recipient: number, data: Buffer, type: number) => void;
  CHANNEL_WINDOW_ADJUST: (p: Protocol, recipient: number, amount: number) => void;
  CHANNEL_EOF: (p: Protocol, recipient: number) => void;
  CHANNEL_CLOSE: (p: Protocol, recipient: number) => void;
  CHANNEL_SUCCESS: (p: Protocol, recipient: number) => void;
  CHANNEL_FAILURE: (p: Protocol, recipient: number) => void;
  CHANNEL_REQUEST: (p: Protocol, recipient: number, type: string, wantReply: boolean, data: unknown) => void;
  GLOBAL_REQUEST: (p: Protocol, name: string, wantReply: boolean, data: unknown) => void;
  REQUEST_SUCCESS: (p: Protocol, data: unknown) => void;
  REQUEST_FAILURE: (p: Protocol) => void;
  SERVICE_ACCEPT: (p: Protocol, name: string) => void;
  EXT_INFO: (p: Protocol, extensions: readonly { name: string; algs?: string[] }[]) => void;
  USERAUTH_FAILURE: (p: Protocol, methods: string[], partial: boolean) => void;
  USERAUTH_SUCCESS: (p: Protocol) => void;
  USERAUTH_PASSWD_CHANGEREQ: (p: Protocol, prompt: string) => void;
  USERAUTH_PK_OK: (p: Protocol) => void;
  USERAUTH_INFO_REQUEST: (p: Protocol, name: string, text: string, prompts?: Question[]) => void;
}

/** A question of keyboard-interactive (RFC 4256 section 3.2). */
export interface Question {
  readonly prompt: string;
  /** False when the answer must not be seen. */
  readonly echo: boolean;
}

/** ssh2's protocol engine: the methods that send, and the fields that we read. */
export interface Protocol {
  directTcpip(
    id: number,
    window: number,
    packetSize: number,
    to: { srcIP: string; srcPort: number; dstIP: string; dstPort: number },
  ): void;
  session(id: number, window: number, packetSize: number): void;
  exec(remoteId: number, command: string, wantReply: boolean): void;
  channelData(remoteId: number, data: Buffer): void;
  channelEOF(remoteId: number): void;
  channelClose(remoteId: number): void;
  channelWindowAdjust(remoteId: number, amount: number): void;
  channelFailure(remoteId: number): void;
  requestFailure(): void;
  ping(): void;
  /** Begins an exchange of keys, unless one runs. */
  rekey(): void;
  _handlers: Handlers;
  _kexinit: Buffer | undefined;
  _kex:
    | {
        _remoteKexinit: Buffer | undefined;
        sessionID?: Buffer;
        /** What both sides agreed on. */
        readonly negotiated: { serverHostKey: string };
      }
    | undefined;
  /** Gives its answer to the function, when it can. */
  _hostVerifier: ((blob: Buffer, answer: (permitted: boolean) => void) => unknown) | undefined;
  /** The method under way: what a message of type 60 means depends on it. */
  _authsQueue: string[];
  _packetRW: {
    write: { allocStart: number; alloc(size: number): Buffer; finalize(packet: Buffer): Buffer };
  };
  _cipher: object;
  _onWrite: (packet: Buffer) => void;
  _decipher: { _packet: Uint8Array | null; _onPayload: (payload: Buffer) => unknown };
}

/** What our channels are told, by our own channel number. */
export interface ChannelEvents {
  confirmed(id: number, info: OpenConfirmation): void;
  refused(id: number, reason: number, description: string): void;
  data(id: number, data: Buffer): void;
  /** Of a command: what it printed to stderr; a view, as the data is. */
  errors(id: number, data: Buffer): void;
  /** The server answered a request of ours on the channel. */
  answered(id: number, done: boolean): void;
  /** Of a command: it ended. */
  exited(id: number, status: number): void;
  adjusted(id: number, bytes: number): void;
  eof(id: number): void;
  closed(id: number): void;
  /** The remote number of the channel, for the answer to a request that wants one. */
  remoteId(id: number): number | undefined;
}
