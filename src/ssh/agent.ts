/** An SSH agent (draft-miller-ssh-agent): keys that another process holds and signs with. */
import net from 'node:net';
import { NetproxyError } from '../core/errors.ts';
import {
  AGENT_ANSWER_MAX_BYTES,
  AGENT_KEYS_MAX,
  AGENT_LIST_DEADLINE_MS,
  SSH_PERSON_DEADLINE_MS,
} from '../core/limits.ts';
import { blobType } from './fingerprint.ts';
import { WireReader, wireString, wireUint32 } from './wire.ts';

const FAILURE = 5;
const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const SIGN_REQUEST = 13;
const SIGN_RESPONSE = 14;

/** Without a flag an agent signs by RSA with SHA-1. */
const RSA_FLAGS: Readonly<Record<string, number>> = { 'rsa-sha2-256': 2, 'rsa-sha2-512': 4 };

export interface AgentKey {
  /** A public key or a certificate. */
  readonly blob: Buffer;
  readonly comment: string;
}

/** The agent behind a socket. Each request has a connection of its own, so an agent may be restarted. */
export class Agent {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async list(): Promise<readonly AgentKey[]> {
    const answer = await this.#ask(Buffer.of(REQUEST_IDENTITIES), IDENTITIES_ANSWER, AGENT_LIST_DEADLINE_MS);
    try {
      const count = Math.min(answer.uint32(), AGENT_KEYS_MAX);
      const keys: AgentKey[] = [];
      for (let i = 0; i < count; i++) keys.push({ blob: answer.string(), comment: answer.text() });
      return keys.filter(({ blob }) => blobType(blob) !== undefined);
    } catch (cause) {
      throw this.#failed('it sent a list of keys that is cut short', cause);
    }
  }

  /** Signs with the key or certificate `blob`. A person may have to confirm, hence the long deadline. */
  async sign(blob: Buffer, data: Buffer, algorithm: string): Promise<Buffer> {
    const request = [wireString(blob), wireString(data), wireUint32(RSA_FLAGS[algorithm] ?? 0)];
    const answer = await this.#ask(
      Buffer.concat([Buffer.of(SIGN_REQUEST), ...request]),
      SIGN_RESPONSE,
      SSH_PERSON_DEADLINE_MS,
    );
    const signature = answer.string();
    const used = new WireReader(signature).text();
    if (used !== algorithm) throw this.#failed(`it signed by ${used} where ${algorithm} was asked for`);
    return signature;
  }

  #ask(message: Buffer, expected: number, deadlineMs: number): Promise<WireReader> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const socket = net.connect(this.path);
      const fail = (why: string, cause?: unknown): void => {
        clearTimeout(timer);
        socket.destroy();
        reject(this.#failed(why, cause));
      };
      const timer = setTimeout(() => fail(`no answer within ${deadlineMs / 1000} s`), deadlineMs);
      socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message, error));
      socket.on('close', () => fail('it closed the connection'));
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length < 4) return;
        const data = chunks.length === 1 ? chunk : Buffer.concat(chunks);
        const wanted = data.readUInt32BE();
        if (wanted < 1 || wanted > AGENT_ANSWER_MAX_BYTES)
          return fail('it does not speak the agent protocol');
        if (length < 4 + wanted) return;
        clearTimeout(timer);
        socket.removeAllListeners('close');
        socket.destroy();
        const answer = new WireReader(data.subarray(4, 4 + wanted));
        const type = answer.byte();
        if (type === expected) resolve(answer);
        else if (type === FAILURE) reject(this.#failed('it refused'));
        else reject(this.#failed(`it answered with message ${type}`));
      });
      // Not ended: OpenSSH's agent takes that for the end of the conversation.
      socket.write(wireString(message));
    });
  }

  #failed(why: string, cause?: unknown): NetproxyError {
    return new NetproxyError('AGENT_FAILED', `The SSH agent at ${this.path} cannot be used: ${why}.`, {
      cause,
    });
  }
}
