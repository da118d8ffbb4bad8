/** Gives back the memory that only the start needed: parsed sources, the handshake's buffers, code that ran once. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Native } from '../core/native.ts';

/**
 * Blocks for about 30 ms, so call it before applications are told to go on. V8 collects by itself only when
 * there is something to allocate, which an idle sidecar may not have for hours; and there is one for each pod.
 */
export function releaseStartMemory(native: Pick<Native, 'releaseStartMemory'>): void {
  // The one way to a collection without a flag on the command line; the flag acts on new contexts only.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: { type: 'major'; flavor: 'last-resort' }) => void;
  setFlagsFromString('--no-expose-gc');
  collect({ type: 'major', flavor: 'last-resort' });
  native.releaseStartMemory();
}
