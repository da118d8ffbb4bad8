/** Of the limits (limits.ts), what concerns the injector of Kubernetes. */

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const DAY_MS = 24 * 60 * MINUTE_MS;

// --- Profiles ----------------------------------------------------------------------------------

/** Bytes of one profile; all of a ConfigMap are at most 1 MiB. */
export const PROFILE_MAX_BYTES: number = 256 * KIB;

/** Profiles that are read. */
export const PROFILES_MAX = 100;

// --- Admission ---------------------------------------------------------------------------------

/** Bytes of one request: kube-apiserver takes objects of 3 MiB, and adds who asked, and how. */
export const REVIEW_MAX_BYTES: number = 4 * MIB;

/** Bytes of all requests that are being received; one that goes beyond is answered 503. */
export const REVIEWS_MAX_BYTES: number = 32 * MIB;

/** Connections at once. An API server has one for each request that it waits for. */
export const REVIEW_CONNECTIONS_MAX = 256;

/** Milliseconds for the TLS handshake, and for a request to have come whole. The API server gives up after at most 30 s. */
export const REVIEW_HANDSHAKE_DEADLINE_MS: number = 5 * SECOND_MS;
export const REVIEW_REQUEST_DEADLINE_MS: number = 10 * SECOND_MS;

/** Milliseconds between looks for requests that are late. */
export const REVIEW_CHECK_MS: number = 1 * SECOND_MS;

/** Milliseconds that an idle connection is kept: longer than the 90 s of Go's HTTP client, so that it is the client
 * that ends it and no request meets a connection that is being closed. */
export const REVIEW_IDLE_MS: number = 2 * MINUTE_MS;

/** Connections to health and metrics at once, and the milliseconds for one request. */
export const PROBE_CONNECTIONS_MAX = 64;
export const PROBE_REQUEST_DEADLINE_MS: number = 5 * SECOND_MS;

/** Milliseconds between SIGTERM and the end of listening: endpoints take that long to be gone from every node. */
export const INJECTOR_DRAIN_MS: number = 8 * SECOND_MS;

/** Milliseconds after that for requests under way; with the drain, less than the 30 s that Kubernetes gives. */
export const INJECTOR_CLOSE_DEADLINE_MS: number = 5 * SECOND_MS;

// --- Certificates ------------------------------------------------------------------------------

/** Milliseconds that a certificate and its authority hold, and how long before the end they are renewed. */
export const TLS_LIFETIME_MS: number = 90 * DAY_MS;
export const TLS_RENEW_BEFORE_MS: number = 30 * DAY_MS;

/** Milliseconds by which clocks may differ: certificates begin that much earlier, and one that ends that soon is over. */
export const TLS_CLOCK_SKEW_MS: number = 60 * MINUTE_MS;

/** Milliseconds for which a new authority stands in the webhook configuration before its certificate is served:
 * every API server has seen it by then. */
export const TLS_SETTLE_MS: number = 30 * SECOND_MS;

/** Milliseconds between looks at the Secret and the webhook configuration. */
export const TLS_SYNC_MS: number = 5 * SECOND_MS;

/** Attempts to write the Secret in one look, each after somebody else wrote it. */
export const TLS_WRITES_MAX = 5;

// --- Kubernetes API ----------------------------------------------------------------------------

/** Milliseconds for an answer of the API server. */
export const API_DEADLINE_MS: number = 10 * SECOND_MS;

/** Bytes of one answer; a node is 50 KiB at most, most of that a list of its images. */
export const API_ANSWER_MAX_BYTES: number = 16 * MIB;

/** Objects of one page of a list, and pages. */
export const API_PAGE = 100;
export const API_PAGES_MAX = 100;

/** Milliseconds between looks for networks of the cluster, and between attempts until the first went well. */
export const NETWORKS_REFRESH_MS: number = MINUTE_MS;
export const NETWORKS_RETRY_MS: number = 2 * SECOND_MS;

/** Networks of a cluster, after neighbours were joined: each is a route in every pod. */
export const NETWORKS_MAX = 256;
