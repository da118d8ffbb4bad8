import crypto from 'node:crypto';

/** Bytes. Random bytes fetched at once for packet padding and key exchange cookies. */
const POOL_BYTES = 64 * 1024;

/**
 * A `randomFillSync` that fetches its bytes in blocks. ssh2 asks for 4 to 19 bytes of padding with
 * every packet, and a call of the system's generator each time cost 10 % of an upload. No byte is
 * ever given out twice.
 */
export function pooledRandomFill(): typeof crypto.randomFillSync {
  const original = crypto.randomFillSync;
  const pool = Buffer.allocUnsafeSlow(POOL_BYTES);
  let next = POOL_BYTES;

  const fill = (
    target: NodeJS.ArrayBufferView,
    offset = 0,
    size = target.byteLength - offset,
  ): NodeJS.ArrayBufferView => {
    if (!(target instanceof Uint8Array) || size > POOL_BYTES / 4) return original(target, offset, size);
    if (next + size > POOL_BYTES) {
      original(pool);
      next = 0;
    }
    for (let i = 0; i < size; i++) target[offset + i] = pool[next + i]!;
    next += size;
    return target;
  };
  return fill as typeof crypto.randomFillSync;
}
