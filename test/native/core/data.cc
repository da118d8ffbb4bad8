// Bytes both ways: order, overlap, windows.
#include <algorithm>

#include "script.h"

using namespace netproxy;
using namespace netproxy::test;

TEST_CASE("bytes are acknowledged as they come and read in order") {
  Script s;
  s.establish();
  s.inject({.flags = "PA", .seq = 1, .ack = 1, .data = "hello "});
  s.inject({.flags = "PA", .seq = 7, .ack = 1, .data = "world"});
  s.expect({.flags = "A", .seq = 1, .ack = 12});
  s.silent();
  CHECK(s.count(Seen::Kind::kReadable) == 1);
  CHECK(s.take() == "hello world");
  s.inject({.flags = "PA", .seq = 12, .ack = 1, .data = "!"});
  CHECK(s.count(Seen::Kind::kReadable) == 2);
}

TEST_CASE("segments out of order are kept, acknowledged at the gap, and joined") {
  Script s;
  s.establish();
  s.inject({.flags = "A", .seq = 7, .ack = 1, .data = "ghi"});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
  s.inject({.flags = "A", .seq = 4, .ack = 1, .data = "def"});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
  CHECK(s.count(Seen::Kind::kReadable) == 0);
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = "abc"});
  s.expect({.flags = "A", .seq = 1, .ack = 10});
  CHECK(s.take() == "abcdefghi");
}

TEST_CASE("overlapping segments give each byte once") {
  Script s;
  s.establish();
  s.inject({.flags = "A", .seq = 3, .ack = 1, .data = "cde"});
  s.inject({.flags = "A", .seq = 4, .ack = 1, .data = "defg"});
  s.inject({.flags = "A", .seq = 2, .ack = 1, .data = "bcdef"});
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = "ab"});
  CHECK(s.take() == "abcdefg");
  s.inject({.flags = "A", .seq = 5, .ack = 1, .data = "efgh"});
  CHECK(s.take() == "h");
  s.expect({.flags = "A", .seq = 1, .ack = 9});
  CHECK(s.host.stack.received_bytes() == 0);
}

TEST_CASE("copies that start one byte later each don't hold more than the window") {
  Script s;
  s.establish();
  const std::string piece(20'000, 'x');
  for (uint32_t i = 0; i < 1000; ++i) s.inject({.flags = "A", .seq = 3 + i, .ack = 1, .data = piece});
  CHECK(s.host.stack.received_bytes() <= limits::kReceiveWindow);
  CHECK(s.host.stack.received_bytes() == 20'999);
}

TEST_CASE("pieces out of order are bounded in number") {
  Script s;
  s.establish();
  for (uint32_t i = 0; i < 2 * limits::kOutOfOrderPieces; ++i) {
    s.inject({.flags = "A", .seq = 3 + 2 * i, .ack = 1, .data = "x"});
  }
  CHECK(s.host.stack.received_bytes() == limits::kOutOfOrderPieces);
}

TEST_CASE("numbers wrap around in both directions") {
  Script s(4, 0xffffffff - 5);
  s.establish();
  s.inject({.flags = "A", .seq = 9, .ack = 1, .data = "ijkl"});
  s.inject({.flags = "A", .seq = 5, .ack = 1, .data = "efgh"});
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = "abcd"});
  s.expect({.flags = "A", .seq = 1, .ack = 13});
  CHECK(s.take() == "abcdefghijkl");

  // Our own number is a clock's: wait until it is close to the end.
  Script t;
  const tcp::FlowKey key = t.key;
  const uint32_t start = tcp::initial_sequence({1, 2}, key, t.host.now);
  t.host.now += tcp::Time{4} * (0xfffffff0u - start);
  t.establish();
  REQUIRE(t.iss > 0xffffff00u);
  t.write(std::string(1000, 'x'));
  t.expect({.flags = "A", .seq = 1, .ack = 1, .data = std::string(1000, 'x')});
  t.inject({.flags = "A", .seq = 1, .ack = 501});
  t.advance(limits::kRetransmitFirstUs);
  t.expect({.flags = "A", .seq = 501, .ack = 1, .data = std::string(500, 'x')});
  t.inject({.flags = "A", .seq = 1, .ack = 1001});
  t.silent();
}

TEST_CASE("an urgent pointer is ignored, and its bytes are bytes like others") {
  Script s;
  s.establish();
  s.inject({.flags = "PAU", .seq = 1, .ack = 1, .data = "ab!cd", .urgent = 3});
  s.inject({.flags = "AU", .seq = 6, .ack = 1, .urgent = 0xffff});
  s.expect({.flags = "A", .seq = 1, .ack = 6});
  CHECK(s.take() == "ab!cd");
}

TEST_CASE("what lies beyond the window is cut off, what lies before it is known") {
  Script s;
  s.establish();  // 65535 bytes have been offered
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = std::string(60'000, 'x')});
  s.inject({.flags = "A", .seq = 50'001, .ack = 1, .data = std::string(15'534, 'y') + "zzzz"});
  CHECK(s.take().size() == 65'535);
  s.expect({.flags = "A", .seq = 1, .ack = 65'536});
  s.inject({.flags = "A", .seq = 60'000, .ack = 1, .data = "old"});
  s.expect({.flags = "A", .seq = 1, .ack = 65'536});
  s.inject({.flags = "A", .seq = 60'000'000, .ack = 1, .data = "far"});
  s.expect({.flags = "A", .seq = 1, .ack = 65'536});
  CHECK(s.take().empty());
}

TEST_CASE("the window's right edge never moves back, whatever the reader does") {
  Script s;
  s.establish();
  uint32_t seq = 1;
  uint32_t edge = 0;
  uint32_t state = 7;
  for (int i = 0; i < 3000; ++i) {
    state = state * 1664525 + 1013904223;
    const uint32_t room = edge > seq ? edge - seq : (i == 0 ? 1000 : 0);
    const uint32_t length = std::min({room, state >> 16, 60'000u});
    if (length > 0) s.inject({.flags = "A", .seq = seq, .ack = 1, .data = std::string(length, 'x')});
    if (length == 0) s.inject({.flags = "A", .seq = seq - 1, .ack = 1});  // a zero-window probe
    seq += length;
    Received got;
    while (s.host.next(got)) {
      const uint32_t told = got.segment.acknowledgement - s.isn + s.window_of(got);
      // Told in steps of 64 bytes; all that was ever told is accepted (RFC 7323, 2.4).
      CHECK(told + 63 >= edge);
      edge = std::max(edge, told);
    }
    s.take(state % 7 == 0 ? 1'000'000 : state >> 20);
  }
  CHECK(seq > 1'000'000);
}

TEST_CASE("silly window, receiving: a shut window is opened by a step worth a packet") {
  Script s;
  s.establish();
  uint32_t seq = 1;
  for (uint32_t room = 1000; room > 0;) {
    s.inject({.flags = "A", .seq = seq, .ack = 1, .data = std::string(std::min(room, 60'000u), 'x')});
    seq += std::min(room, 60'000u);
    Received got;
    REQUIRE(s.host.next(got));
    room = s.window_of(got);
  }
  CHECK(seq > limits::kReceiveWindow - 1460);
  s.take(100);
  s.silent();
  s.inject({.flags = "A", .seq = seq - 1, .ack = 1});
  s.expect({.flags = "A", .seq = 1, .ack = seq, .window = 0});
  s.take(limits::kReceiveWindow / 4);
  Received got;
  REQUIRE(s.host.next(got));
  CHECK(s.window_of(got) >= limits::kReceiveWindow / 4);
}

TEST_CASE("silly window, sending: a piece that a small window would cut waits for a better one") {
  Script s;
  s.establish({.flags = "S", .window = 20'000, .mss = 1460});
  s.write(std::string(40'000, 'x'));
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = std::string(18'980, 'x')});
  s.silent();
  s.inject({.flags = "A", .seq = 1, .ack = 18'981, .window = 300});
  s.silent();
  s.inject({.flags = "A", .seq = 1, .ack = 18'981, .window = 1460});
  s.expect({.flags = "A", .seq = 18'981, .ack = 1, .data = std::string(1460, 'x')});
}

TEST_CASE("a small window that stays small is filled after a while") {
  Script s;
  s.establish({.flags = "S", .window = 20'000, .mss = 1460});
  s.write(std::string(18'980, 'x'));
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = std::string(18'980, 'x')});
  s.inject({.flags = "A", .seq = 1, .ack = 18'981, .window = 300});
  s.write(std::string(1000, 'y'));
  s.silent();
  CHECK(s.until_deadline() <= limits::kRetransmitFirstUs);
  s.expect({.flags = "A", .seq = 18'981, .ack = 1, .data = std::string(300, 'y')});
  s.silent();
  CHECK(s.count(Seen::Kind::kClosed) == 0);
}

TEST_CASE("what the far end sent is not held back for being small") {
  Script s;
  s.establish();
  s.write("a");
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "a"});
  s.write("b");
  s.expect({.flags = "A", .seq = 2, .ack = 1, .data = "b"});
}

TEST_CASE("a packet carries no more than an IP length can say, cut to whole segments") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    Script s(family, 1, 65'520);
    s.establish({.flags = "S", .window = 1u << 20, .mss = 65'000, .scale = 7});
    s.write(std::string(200'000, 'x'));
    s.expect({.flags = "A", .seq = 1, .ack = 1, .data = std::string(65'000, 'x')});
  }
}

TEST_CASE("the upstream is told when a long queue has drained, once") {
  Script s;
  s.establish({.flags = "S", .window = 4u << 20, .mss = 1460, .scale = 7});
  s.write(std::string(limits::kSendHighWater + 1, 'x'));
  s.drain();
  s.inject({.flags = "A", .seq = 1, .ack = 1 + limits::kSendHighWater / 2, .window = 4u << 20});
  CHECK(s.count(Seen::Kind::kDrained) == 0);
  s.inject({.flags = "A", .seq = 1, .ack = 2 + limits::kSendHighWater, .window = 4u << 20});
  CHECK(s.count(Seen::Kind::kDrained) == 1);
  CHECK(s.host.stack.blocks_in_use() == 0);
}
