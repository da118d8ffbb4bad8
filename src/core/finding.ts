/** What an examination found: one line of `netproxy doctor`. */
export interface Finding {
  /** What was looked at, in few words. */
  readonly check: string;
  /** `skipped`: it could not be looked at, or was not to be. */
  readonly status: 'ok' | 'warn' | 'fail' | 'skipped';
  /** What was found. Never holds a secret. */
  readonly found: string;
  /** What mends it, to the line to add. */
  readonly fix?: string;
}

/** The same line for those who write containers in each of these ways. */
export function containerLines(compose: string, kubernetes: string, run: string): string {
  return `Compose, below the service:
    ${compose}
Kubernetes:
    ${kubernetes.replaceAll('\n', '\n    ')}
docker run: ${run}`;
}
