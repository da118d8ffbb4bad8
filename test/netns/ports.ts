/** Ports of the servers in target.ts; nothing listens on `closed`. */
export const PORTS = { digest: 9001, download: 9002, last: 9003, echo: 9004, closed: 9009 } as const;

export const DOWNLOAD_BYTES: number = 64 * 1024 * 1024;
