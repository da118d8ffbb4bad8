/** Events of the engine: JSON, one after the other, of a connection that stays open. */
import { ENGINE_EVENT_MAX_BYTES } from '../core/limits.ts';

export interface EngineEvent {
  readonly action: string;
  readonly id: string;
  /** Of the container. */
  readonly name: string;
}

/**
 * The events in `stream`, which are on a line each. What is no event is passed over. Throws when the stream does, or
 * a line does not end.
 */
export async function* readEvents(
  stream: AsyncIterable<Uint8Array | string>,
): AsyncGenerator<EngineEvent, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > ENGINE_EVENT_MAX_BYTES) throw new Error('an event of the engine does not end');
    for (const line of lines) {
      const event = readEvent(line);
      if (event !== undefined) yield event;
    }
  }
  const last = readEvent(rest);
  if (last !== undefined) yield last;
}

function readEvent(line: string): EngineEvent | undefined {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    return undefined;
  }
  const { Action: action, Actor: actor } = (event ?? {}) as { Action?: unknown; Actor?: unknown };
  const { ID: id, Attributes: attributes } = (actor ?? {}) as { ID?: unknown; Attributes?: unknown };
  const { name } = (attributes ?? {}) as { name?: unknown };
  if (typeof action !== 'string' || typeof id !== 'string') return undefined;
  return { action, id, name: typeof name === 'string' ? name : '' };
}
