/** Of the limits (limits.ts), what concerns containers. */

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND_MS = 1000;

/** Milliseconds for an answer of the container engine, beside the time that a container is given to stop. */
export const ENGINE_ANSWER_DEADLINE_MS: number = 30 * SECOND_MS;

/** Seconds that the engine gives a container to stop when that says nothing itself (Docker's default). */
export const ENGINE_STOP_S = 10;

/** Bytes of one event of the engine; its labels are the longest part. */
export const ENGINE_EVENT_MAX_BYTES: number = 1 * MIB;

/** Containers that are inspected at once. */
export const CONTAINERS_INSPECTED_AT_ONCE = 8;

/** Times that "reattach" looks again at what it has done: a dependent may be the provider of others. */
export const REATTACH_ROUNDS = 4;
