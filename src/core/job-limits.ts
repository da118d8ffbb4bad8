/** Of the limits of limits.ts, those of `exec` and `record`. */

/** Milliseconds that `exec` waits for a bastion and a channel before it gives up; as long as `netproxy wait`. */
export const JOB_READY_DEADLINE_MS = 60_000;

/** Connections through one published port at once. */
export const PUBLISHED_CONNECTIONS_MAX = 1024;

/** Destinations that are remembered for a report; of more only the number is told. */
export const SEEN_DESTINATIONS_MAX = 10_000;
