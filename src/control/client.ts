/** Asks a running netproxy by its control socket. */

import { NetproxyError } from '../core/errors.ts';
import { CONTROL_ANSWER_DEADLINE_MS, CONTROL_ANSWER_MAX_BYTES } from '../core/limits.ts';
import { socketPaths } from './socket-path.ts';

// As in server.ts.
const { request } = process.getBuiltinModule('node:http');

export interface ControlAnswer {
  readonly status: number;
  /** Parsed JSON. */
  readonly body: unknown;
}

/**
 * GETs `path` from the netproxy of this network namespace, or the one at the socket `configured`. Throws NOT_RUNNING
 * with every place that was tried.
 */
export async function ask(path: string, configured: string | undefined): Promise<ControlAnswer> {
  const refused: string[] = [];
  for (const socketPath of await socketPaths(configured)) {
    try {
      return await get(socketPath, path);
    } catch (error) {
      refused.push(`${socketPath}: ${(error as Error).message}`);
    }
  }
  throw new NetproxyError('NOT_RUNNING', `no netproxy answers: ${refused.join('; ')}`);
}

function get(socketPath: string, path: string): Promise<ControlAnswer> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, timeout: CONTROL_ANSWER_DEADLINE_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        if (text.length > CONTROL_ANSWER_MAX_BYTES) asked.destroy(new Error('the answer does not end'));
      });
      response.once('error', reject).once('end', () => {
        const body = parsed(text);
        if (body === undefined) reject(new Error('the answer is not JSON'));
        else resolve({ status: response.statusCode ?? 0, body });
      });
    });
    asked.once('timeout', () => asked.destroy(new Error('no answer in time')));
    asked.once('error', reject).end();
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
