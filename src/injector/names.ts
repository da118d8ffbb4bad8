/** Names in objects of the cluster, which are promises once released. */

/** Label of the pods that the API server asks about, and its value. */
export const INJECT_LABEL = 'netproxy.io/inject';
export const INJECT_VALUE = 'true';

/** Annotations of a pod: the profile it wants, networks that stay direct beside the cluster's, and what was injected. */
export const PROFILE_ANNOTATION = 'netproxy.io/profile';
export const LOCAL_ANNOTATION = 'netproxy.io/local';
export const INJECTED_ANNOTATION = 'netproxy.io/injected';

/** The profile of pods that name none. */
export const DEFAULT_PROFILE = 'default';

/** Of the sidecar, and how names of its volumes begin. */
export const CONTAINER = 'netproxy';
export const VOLUME_PREFIX = 'netproxy-';

/** The variable of the sidecar that networks go to. */
export const LOCAL_VARIABLE = 'NETPROXY_LOCAL';

/** The webhook within its configuration, and the path that it is asked at. */
export const WEBHOOK = 'inject.netproxy.io';
export const INJECT_PATH = '/inject';
