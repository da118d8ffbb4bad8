/** Of the limits (limits.ts), what concerns SSH. */

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND_MS = 1000;

/** Bytes. Static receive buffer under ssh2: one is used for every read of a connection, because
 * allocating and collecting 64 KiB reads was most of the download cost. 1 MiB measured no better. */
export const SSH_RECEIVE_BUFFER_BYTES: number = 256 * KIB;

/** Bytes. Above this much in the SSH socket's queue no flow is given a turn, so that a small write
 * of one flow never waits behind megabytes of another (RTT p50 3.4 ms without, 0.58 ms with). */
export const SSH_SEND_QUEUE_MARK_BYTES: number = 256 * KIB;

/** Bytes. What one flow may hand over in a turn before the next flow has its turn. */
export const SSH_QUANTUM_BYTES: number = 128 * KIB;

/** Bytes of one channel that may always be on their way to its target. OpenSSH answers after every 96 KiB
 * taken, so less would stop and go; 600 MB/s need about this much on a path without delay. */
export const SSH_IN_FLIGHT_FLOOR_BYTES: number = 192 * KIB;

/** Milliseconds that a bulk upload may make the others on its connection wait, beside half the path's
 * own delay. */
export const SSH_QUEUE_DELAY_MS = 0.05;

/** Milliseconds for which a connection counts as shared after two channels took turns on it. */
export const SSH_SHARED_MS = 100;

/** Milliseconds after which the shortest delay seen is forgotten: paths change. */
export const SSH_QUEUE_DELAY_PERIOD_MS: number = 10 * SECOND_MS;

/** Bytes. Receive window of a channel at its opening; ssh2 and OpenSSH use the same. */
export const SSH_CHANNEL_WINDOW_INITIAL_BYTES: number = 2 * MIB;

/** Bytes. Receive window that a channel whose reader keeps up is topped up to; a window of W bytes
 * limits a download to W per round trip (8 MiB measured 2.5x `ssh -L` at 50 ms). */
export const SSH_CHANNEL_WINDOW_MAX_BYTES: number = 8 * MIB;

/** Bytes. Largest payload of a channel packet we accept; ssh2 refuses packets over 35,000 bytes. */
export const SSH_CHANNEL_PACKET_BYTES: number = 32 * KIB;

/** Milliseconds from the start of connect(2) to an authenticated connection. */
export const SSH_HANDSHAKE_DEADLINE_MS: number = 15 * SECOND_MS;

/** Requests to log in that one connection makes. sshd closes the connection at its sixth refusal
 * (MaxAuthTries), and counts each as a failure of the user. */
export const SSH_AUTH_TRIES_MAX = 6;

/** Rounds of questions that one keyboard-interactive login may have; a password and a code need two. */
export const SSH_AUTH_ROUNDS_MAX = 16;

/** Milliseconds for what a person does: answer a question, or confirm a signature to an agent. sshd
 * itself waits as long (LoginGraceTime). */
export const SSH_PERSON_DEADLINE_MS: number = 120 * SECOND_MS;

/** Milliseconds that an SSH agent may take to list its keys, which needs no person. */
export const AGENT_LIST_DEADLINE_MS: number = 5 * SECOND_MS;

/** Bytes. Longest answer of an SSH agent; OpenSSH's own agent and client have the same bound. */
export const AGENT_ANSWER_MAX_BYTES: number = 256 * KIB;

/** Keys of an agent that are looked at; OpenSSH refuses longer lists. */
export const AGENT_KEYS_MAX = 2048;

/** Part of a certificate's life, and milliseconds, at the end of which a warning is due: the shorter
 * of the two, so that certificates of an hour and of a year are both warned about in time. */
export const CERTIFICATE_WARNING_PART = 0.1;
export const CERTIFICATE_WARNING_MS: number = 7 * 24 * 3600 * SECOND_MS;

/** Milliseconds between looks at the certificates. Timers of Node hold no more than 24 days. */
export const CERTIFICATE_LOOK_MS: number = 60 * SECOND_MS;

/** Milliseconds between SSH keepalives, and how many in a row may go unanswered: a dead bastion is
 * noticed within 15 s even when nothing is sent (users of rivals wait for hours). */
export const SSH_KEEPALIVE_INTERVAL_MS: number = 5 * SECOND_MS;
export const SSH_KEEPALIVE_MISSES: number = 2;

/** Milliseconds after which a connection gets new keys (RFC 4253 section 9). */
export const SSH_REKEY_INTERVAL_MS: number = 3600 * SECOND_MS;

/** Bytes, both ways together, after which it gets new keys in any case: half of the 2^32 blocks after which
 * RFC 4344 section 3.2 wants them, and fewer than its 2^31 packets even if all were as small as can be. A
 * gigabyte, as RFC 4253 has it for older ciphers, would be every two seconds at full speed. */
export const SSH_REKEY_BYTES: number = 32 * 1024 * MIB;

/** Milliseconds between looks at that; at 1 GB/s that is 10 GB. */
export const SSH_REKEY_LOOK_MS: number = 10 * SECOND_MS;

/** Milliseconds that a key exchange on a live connection may take. On a slow link megabytes stand before it;
 * sshd gives a login as long (LoginGraceTime). */
export const SSH_REKEY_DEADLINE_MS: number = 120 * SECOND_MS;

/** Milliseconds that one channel open may take; sshd itself waits for the kernel's connect time-out,
 * about two minutes, which no application should have to. */
export const SSH_OPEN_DEADLINE_MS: number = 30 * SECOND_MS;

/** Milliseconds that reading a small file of the bastion's may take. */
export const SSH_FILE_DEADLINE_MS: number = 3 * SECOND_MS;

/** Milliseconds. Reconnect delays double from the first to the last, each with jitter, so that many
 * sidecars do not return to a restarted bastion in step. */
export const SSH_RECONNECT_FIRST_MS: number = 250;
export const SSH_RECONNECT_LAST_MS: number = 15 * SECOND_MS;

/** Milliseconds that a connect waits for a bastion to come (back) before it fails. */
export const CONNECT_HOLD_MS: number = 10 * SECOND_MS;

/** Connects that may wait for a bastion at once; more are answered host-unreachable at once. */
export const CONNECT_HOLD_MAX: number = 4096;

/** Opens under way at once on one connection. sshd has no limit of its own but its file descriptors
 * (about 1,000 a connection). */
export const SSH_OPENS_MAX: number = 512;

/** Opens under way at once to one address. sshd goes on trying for about two minutes after we gave up,
 * with a file descriptor each, so a target that never answers must not use them all up. */
export const SSH_OPENS_PER_TARGET_MAX: number = 128;

/** Milliseconds. Longest wait before the next attempt to reach a bastion that is away, while a connect is
 * held or was lately: it is found within two seconds of its return, and a refused connect costs nobody. */
export const SSH_RECONNECT_DEMAND_MS: number = 1 * SECOND_MS;

/** Milliseconds for which the pace stays that of a bastion in use after the last connect. */
export const SSH_DEMAND_MS: number = 60 * SECOND_MS;

/** Milliseconds. The same delays for a server that is there and turns us away. sshd's penalties are at
 * least 15 s and at most 10 min (PerSourcePenalties), and MaxStartups lets people in at random. */
export const SSH_TURNED_AWAY_FIRST_MS: number = 2 * SECOND_MS;
export const SSH_TURNED_AWAY_LAST_MS: number = 60 * SECOND_MS;

/** Milliseconds from the start of connect(2) to the server's identification, which sshd sends at once. The
 * kernel repeats a lost SYN after 1, 3 and 7 s, so a new attempt finds a bastion sooner that is back. */
export const SSH_GREETING_DEADLINE_MS: number = 5 * SECOND_MS;

/** Milliseconds after which a connection counts as having been stable: when it is lost, the next
 * attempt comes at once instead of after a delay. */
export const SSH_STABLE_MS: number = 5 * SECOND_MS;

/** Milliseconds that the bastion may take to close the connection after our goodbye. */
export const SSH_CLOSE_DEADLINE_MS: number = 1 * SECOND_MS;

/** Bytes. Longest text before and with a server's identification that is put together before parsing. */
export const SSH_GREETING_BYTES: number = 16 * KIB;

/** Milliseconds for which a target that the server's rules forbid is answered without asking again, and
 * targets that are remembered. sshd reads its rules anew for each connection only. */
export const REFUSAL_MS: number = 60 * SECOND_MS;
export const REFUSALS_MAX = 1024;

/** Milliseconds for which the one open that asks again holds back the others. */
export const REFUSAL_PROBE_MS: number = 2 * SECOND_MS;

/** Targets forbidden in a row, with none allowed, after which the log says what is likely the cause. */
export const REFUSED_TARGETS_WARNING = 3;

/** Opens in a row to one target that were given up unanswered before further ones fail at once, and
 * milliseconds that an open must have waited to count: an application that gives up at once proves nothing. */
export const BREAKER_UNANSWERED = 5;
export const BREAKER_WAIT_MS: number = 1 * SECOND_MS;

/** Milliseconds between opens that look whether a silent target is back; each holds a file descriptor of
 * sshd's for about two minutes, so at most about nine are held. */
export const BREAKER_PROBE_MS: number = 15 * SECOND_MS;

/** Silent targets that are remembered. */
export const BREAKER_TARGETS_MAX = 1024;

/** Milliseconds that a connection whose settings were replaced may go on for the flows on it, and such
 * connections at once; beyond that the oldest ends with its flows. Long transfers end within the hour. */
export const SSH_DRAIN_DEADLINE_MS: number = 3600 * SECOND_MS;
export const SSH_DRAINING_MAX = 4;

/** Milliseconds between looks at whether the last flow of such a connection has ended. */
export const SSH_DRAIN_POLL_MS: number = 500;

/** Channels of one connection above which another one is made, until the server shows that it allows fewer.
 * Each takes a file descriptor of sshd's, of which it has 1,024 by default, and three for what it runs. */
export const POOL_CHANNELS_MAX = 450;

/** Part of that limit at which the next connection is begun, so that it is there when the limit is reached. */
export const POOL_GROW_PART = 0.75;

/** Connections to one bastion; sshd lets ten log in at once (MaxStartups), from all of its clients. */
export const POOL_CONNECTIONS_MAX = 4;

/** Milliseconds without a channel after which a connection beside the first ends, and between looks at that. */
export const POOL_IDLE_MS: number = 60 * SECOND_MS;
export const POOL_SWEEP_MS: number = 5 * SECOND_MS;

/** Milliseconds between looks for room while opens wait for it. */
export const POOL_POLL_MS = 50;

/** Channels below which a refusal that sshd gives no reason for is no sign of a lack of file descriptors. */
export const SHORTAGE_CHANNELS_MIN = 32;

/** Channels that are left free below a number at which the server refused one, and the least that is kept to. */
export const SHORTAGE_MARGIN = 2;
export const SHORTAGE_FLOOR = 8;

/** Milliseconds that the names of further bastions may take at the start once one has an address: a resolver
 * that does not answer keeps getaddrinfo(3) for 10 s and more. */
export const RESOLVE_OTHERS_MS: number = 1 * SECOND_MS;

/** Milliseconds that a bastion of a group must have been healthy again before connects return to it from one
 * that comes after it: one that comes and goes would take its flows with it each time. */
export const GROUP_FAILBACK_MS: number = 10 * SECOND_MS;

/** By how much a round trip must be shorter, as part and in milliseconds, and milliseconds for how long,
 * before connects move to that bastion: smaller differences come and go with the load. */
export const GROUP_LATENCY_PART = 0.2;
export const GROUP_LATENCY_MS = 5;
export const GROUP_LATENCY_SETTLE_MS: number = 10 * SECOND_MS;

/** Opens in a row without any answer, to at least two hosts, after which a bastion of a group is taken as
 * sick, milliseconds that an open must have waited to count, and milliseconds for which it is left alone. */
export const HEALTH_UNANSWERED = 3;
export const HEALTH_WAIT_MS: number = 5 * SECOND_MS;
export const HEALTH_SICK_MS: number = 30 * SECOND_MS;

/** Weight of a new sample in the smoothed round trip: four samples (20 s) take over most of it. */
export const ROUND_TRIP_WEIGHT = 0.25;

/** Bytes of what a command prints to stderr that are kept, for the log. */
export const COMMAND_ERRORS_BYTES = 512;

/** Bytes read at once of a connection that goes through a jump host: as much as two packets of a channel. */
export const JUMP_BUFFER_BYTES: number = 64 * KIB;
