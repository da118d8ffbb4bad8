/** Asks a running netproxy by its control socket. */

import { NetproxyError } from '../core/errors.ts';
import { CONTROL_ANSWER_DEADLINE_MS, CONTROL_ANSWER_MAX_BYTES } from '../core/limits.ts';
import { socketPaths } from './socket-path.ts';

// As in server.ts.
const { request } = process.getBuiltinModule('node:http');

export interface ControlAnswer {
  readonly status: number;
  readonly text: string;
}

export interface Question {
  readonly method?: 'GET' | 'DELETE';
  readonly path: string;
  /** Given what comes, in whole lines, until the answer ends or `stop`; the answer's text is empty then. */
  readonly lines?: (line: string) => void;
  readonly stop?: AbortSignal;
}

/**
 * Asks the netproxy of this network namespace, or the one at the socket `configured`. Throws NOT_RUNNING with
 * every place that was tried.
 */
export async function ask(question: Question, configured: string | undefined): Promise<ControlAnswer> {
  const refused: string[] = [];
  for (const socketPath of await socketPaths(configured)) {
    try {
      return await send(socketPath, question);
    } catch (error) {
      if (question.stop?.aborted === true) return { status: OK, text: '' };
      refused.push(`${socketPath}: ${(error as Error).message}`);
    }
  }
  throw new NetproxyError('NOT_RUNNING', `no netproxy answers: ${refused.join('; ')}`);
}

/** The same for an answer in JSON, whatever its status. */
export async function askStatus(
  question: Question,
  configured: string | undefined,
): Promise<{ readonly status: number; readonly body: object }> {
  const { status, text } = await ask(question, configured);
  const body = parsed(text);
  if (typeof body === 'object' && body !== null) return { status, body };
  throw new NetproxyError('NOT_RUNNING', `what answers is no netproxy: ${status}, and no JSON`);
}

/** The same where only a yes will do. Throws CONTROL_REFUSED when netproxy says no. */
export async function askJson<T>(question: Question, configured: string | undefined): Promise<T> {
  const { status, body } = await askStatus(question, configured);
  if (status === OK) return body as T;
  const { error = `status ${status}` } = body as { error?: string };
  throw new NetproxyError('CONTROL_REFUSED', error);
}

const OK = 200;

function send(socketPath: string, { method = 'GET', path, lines, stop }: Question): Promise<ControlAnswer> {
  return new Promise((resolve, reject) => {
    const options = { socketPath, path, method, ...(stop === undefined ? {} : { signal: stop }) };
    const asked = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        if (lines !== undefined) text = cut(text, lines);
        if (text.length > CONTROL_ANSWER_MAX_BYTES) asked.destroy(new Error('the answer does not end'));
      });
      response.once('error', reject).once('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    // One that follows is silent for as long as nothing happens.
    if (lines === undefined) {
      asked.setTimeout(CONTROL_ANSWER_DEADLINE_MS, () => asked.destroy(new Error('no answer in time')));
    }
    asked.once('error', reject).end();
  });
}

/** Passes whole lines on; gives what is left. */
function cut(text: string, lines: (line: string) => void): string {
  const parts = text.split('\n');
  const rest = parts.pop() ?? '';
  for (const part of parts) lines(part);
  return rest;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
