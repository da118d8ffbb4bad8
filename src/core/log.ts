/** What the parts of netproxy log through: the subset of pino that they need. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The same log, with these fields in every line. */
export function withFields(log: Log, more: object): Log {
  return {
    debug: (fields, message) => log.debug({ ...fields, ...more }, message),
    info: (fields, message) => log.info({ ...fields, ...more }, message),
    warn: (fields, message) => log.warn({ ...fields, ...more }, message),
    error: (fields, message) => log.error({ ...fields, ...more }, message),
  };
}
