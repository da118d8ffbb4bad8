// Every buffer, queue, timer and limit of the native engine, with unit and reason.
// The TypeScript side's own are in src/core/limits.ts.
#pragma once

#include <cstddef>
#include <cstdint>

namespace netproxy::limits {

// Bytes. One read of the TUN with offloads gives at most one 64 KiB packet (IP total length is 16
// bits); the slab is a little larger so that headers and payload always fit.
inline constexpr size_t kSlabBytes = 64 * 1024 + 512;

// Slabs. 256 of 64 KiB are eight flows' full receive windows; beyond that payloads are copied into
// blocks of their exact size, which costs time but not correctness.
inline constexpr size_t kSlabs = 256;

// Bytes. A payload at least this large keeps the slab that it was read into (no copy); a smaller one
// is copied out, so that an idle flow with a few bytes does not pin 64 KiB.
inline constexpr size_t kKeepSlabBytes = 16 * 1024;

// Bytes. What one take() may gather from small payloads: one full SSH channel packet.
inline constexpr size_t kStagingBytes = 64 * 1024;

// Bytes. Receive window of a flow, towards the application: about 1 ms at 1 GB/s, the time that a
// busy JavaScript turn may take before it pulls again.
inline constexpr uint32_t kReceiveWindow = 1024 * 1024;

// Bits. Window scale that we announce; 65535 << 6 is 4 MiB, above kReceiveWindow.
inline constexpr uint8_t kWindowScale = 6;

// Bytes held for all flows together above which a flow is offered only kReceiveReserve, so that many
// stalled uploads cannot take the container's memory. Windows promised before stay promised (RFC 9293,
// 3.8.6), but what comes in them is dropped, to be sent again, once the flow has its reserve.
inline constexpr size_t kReceiveTotalBytes = 192 * 1024 * 1024;

// Bytes that every flow may hold even then: flows whose upstream takes its bytes go on.
inline constexpr uint32_t kReceiveReserve = 16 * 1024;

// Bytes queued towards the application above which the upstream should stop, and below which it is
// told to go on. FLOW_SEND_HIGH_WATER_BYTES in src/core/limits.ts is the same number.
inline constexpr size_t kSendHighWater = 1024 * 1024;
inline constexpr size_t kSendLowWater = 256 * 1024;

// Bytes. Memory unit of the send queue: one GSO segment.
inline constexpr size_t kBlockBytes = 64 * 1024;

// Blocks kept for reuse instead of being given back to the allocator (4 MiB).
inline constexpr size_t kFreeBlocks = 64;

// Bytes. While a flow's queue is no longer than this, a write is sent by the calling thread at once: an echo
// saves a thread switch. Larger ones go to the engine thread, which joins them.
inline constexpr size_t kInlineWriteBytes = 8 * 1024;

// Flows at once. 16,384 is more than a bastion's file descriptors carry.
inline constexpr uint32_t kFlows = 16 * 1024;

// Flows at once that wait for the far end's answer. More SYNs are dropped: the application's kernel
// sends them again after a second.
inline constexpr uint32_t kPendingDials = 8 * 1024;

// Of these, to one address and port: a black hole cannot take the places of all others.
inline constexpr uint32_t kPendingDialsPerTarget = 1024;

// Flow slots made before a closed one is used again, oldest first: at 5,000 connects a second the number
// of a closed flow stays unused for almost two hours (512 slots of 65,535 generations each).
inline constexpr uint32_t kSlotsBeforeReuse = 512;

// Packets handled in one turn before output is flushed.
inline constexpr int kReadBatch = 16;

// Segments gathered under the lock before they are written without it.
inline constexpr int kWriteBatch = 8;

// Control packets (RST, ICMP errors) that may wait; more are dropped, as a router would.
inline constexpr size_t kControlQueue = 512;

// Datagrams that wait for JavaScript, and their bytes: a stub resolver sends again, so the newest is
// dropped when either is reached.
inline constexpr size_t kDatagramQueue = 1024;
inline constexpr size_t kDatagramQueueBytes = 1024 * 1024;

// Bytes of datagrams copied to JavaScript at once; room for the largest.
inline constexpr size_t kDatagramBatchBytes = 128 * 1024;

// Events that may wait for JavaScript before new connects are dropped: a flow has at most four, so only
// connects that come faster than they are looked at can make more.
inline constexpr size_t kEventsWaiting = 4 * kFlows;

// Events copied to JavaScript in one poll.
inline constexpr size_t kEventBatch = 512;

// Microseconds. The peer is the kernel of the same machine, its answer takes microseconds; 200 ms
// is Linux's own TCP_RTO_MIN. Doubles up to the maximum. Zero-window probes keep the same times.
inline constexpr uint64_t kRetransmitFirstUs = 200'000;
inline constexpr uint64_t kRetransmitLastUs = 15'000'000;

// Retransmissions and probes in a row that go unanswered before the flow is given up: about two
// minutes. A peer that answers is never given up, however long its window stays shut.
inline constexpr uint8_t kRetransmits = 12;

// Microseconds that a flow which we closed first is remembered, so that a repeated FIN is answered
// (TIME-WAIT). The link is a queue in memory: nothing older than this can be under way.
inline constexpr uint64_t kTimeWaitUs = 1'000'000;

// Microseconds. Linux repeats a SYN after 1 s, then at most doubles the wait. When the next repeat is
// overdue by this much, the application has given up: close(2) in SYN-SENT sends nothing at all.
inline constexpr uint64_t kSynFirstGapUs = 1'000'000;
inline constexpr uint64_t kSynSlackUs = 1'500'000;

// Microseconds. A flow whose peer said nothing for this long is asked whether it is still there: a local
// kernel says so when a socket closes, so silence means that its namespace or its TUN route is gone.
// Linux asks after two hours and lets nobody hold state for a shorter time than the application wants;
// an answer costs one packet. Asked again with each sweep, and given up after kKeepaliveProbes.
inline constexpr uint64_t kKeepaliveIdleUs = 3'600'000'000;
inline constexpr uint64_t kKeepaliveSweepUs = 60'000'000;
inline constexpr uint8_t kKeepaliveProbes = 5;

// Microseconds that a lone small segment waits to be acknowledged by data of ours: in a dialogue the
// answer is under way, and an acknowledgement of its own costs two system calls' worth of work. A
// sender with Nagle's algorithm waits as long for its second small piece.
inline constexpr uint64_t kAckDelayUs = 1'000;

// Challenge ACKs a second for all flows (RFC 5961, section 7).
inline constexpr uint32_t kChallengeAcksPerSecond = 1000;

// Pieces out of order that one flow may hold; they don't overlap, so its receive window bounds the bytes.
inline constexpr size_t kOutOfOrderPieces = 256;

}  // namespace netproxy::limits
