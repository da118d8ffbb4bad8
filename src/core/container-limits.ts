/** Of the limits (limits.ts), what concerns containers. */

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND_MS = 1000;

/** Milliseconds for an answer of the container engine, beside the time that a container is given to stop. */
export const ENGINE_ANSWER_DEADLINE_MS: number = 30 * SECOND_MS;

/** Seconds that the engine gives a container to stop when that says nothing itself (Docker's default). */
export const ENGINE_STOP_S = 10;

/** Milliseconds between attempts to reach an engine that is away, doubling from the first to the last. */
export const ENGINE_RETRY_FIRST_MS = 250;
export const ENGINE_RETRY_LAST_MS: number = 5 * SECOND_MS;

/** Bytes of one event of the engine; its labels are the longest part. */
export const ENGINE_EVENT_MAX_BYTES: number = 1 * MIB;

/** Containers that are inspected at once. */
export const CONTAINERS_INSPECTED_AT_ONCE = 8;

/** Containers that one netproxy is attached to at once; each has an engine thread and connections to its bastions. */
export const ATTACHED_MAX = 64;

/** Attachments that are begun at once: each logs in, and sshd by default turns logins away from the eleventh
 * on that has not ended (MaxStartups). */
export const ATTACH_AT_ONCE = 4;

/** Milliseconds for which one that has not come to an end counts as begun: its bastion may be away for hours. */
export const ATTACH_TURN_MS: number = 10 * SECOND_MS;

/** Milliseconds between attempts to attach to a container where it failed, doubling from the first to the last. */
export const ATTACH_RETRY_FIRST_MS: number = 2 * SECOND_MS;
export const ATTACH_RETRY_LAST_MS: number = 60 * SECOND_MS;

/** Times that "reattach" looks again at what it has done: a dependent may be the provider of others. */
export const REATTACH_ROUNDS = 4;
