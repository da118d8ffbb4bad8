/** Of the limits (limits.ts), what concerns what operators see: flows, logs, metrics. */

const KIB = 1024;
const SECOND_MS = 1000;

/** Flows a second whose owner the kernel is asked for: of more, the owner stays unknown. An answer takes 10 us of a
 * quiet processor and 100 of a busy one; 500 a second were an eighth of the time that 2,000 connects a second take. */
export const FLOW_OWNER_LOOKUPS = 200;

/** Flows that an answer lists unless told otherwise, and milliseconds between looks of `--watch` and `top`. */
export const FLOWS_LISTED = 1000;
export const WATCH_INTERVAL_MS: number = 1 * SECOND_MS;

/** Milliseconds after a signal that is to stop "top", at which it looks whether it goes on all the same. */
export const SUSPEND_LOOK_MS = 100;

/** Connections that "top" asks for, those that have carried most. */
export const TOP_CONNECTIONS = 2000;

/** Lines of the log that are kept for "netproxy logs", and their characters. */
export const RECENT_LINES = 2000;
export const RECENT_CHARACTERS: number = 512 * KIB;

/** Characters that a line counts for which is not written yet: what it is made of takes about as much memory. */
export const RECENT_UNWRITTEN_CHARACTERS = 500;

/** Bytes that wait for a reader of "logs --follow" who does not keep up; lines beyond are left out. */
export const FOLLOWER_BYTES: number = 256 * KIB;

/** Combinations of labels of one metric; what comes on top is counted under "other". */
export const METRIC_SERIES_MAX = 1000;

/** Milliseconds between samples of the delay of the event loop, from the first scrape on. */
export const LOOP_DELAY_SAMPLE_MS = 20;

/** Characters. Shortest token for the control interface by TCP, which is not to be guessed. */
export const CONTROL_TOKEN_MIN = 16;
