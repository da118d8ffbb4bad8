// The ends of conversations: halves, in every order.
#include "script.h"

using namespace netproxy;
using namespace netproxy::test;

TEST_CASE("the application closes first") {
  Script s;
  s.establish();
  s.inject({.flags = "FA", .seq = 1, .ack = 1});
  s.expect({.flags = "A", .seq = 1, .ack = 2});
  CHECK(s.take().empty());
  CHECK(s.host.stack.ended(s.flow));
  // Its half is closed, ours goes on.
  s.write("rest");
  s.expect({.flags = "A", .seq = 1, .ack = 2, .data = "rest"});
  s.inject({.flags = "A", .seq = 2, .ack = 5});
  s.host.stack.end(s.flow);
  s.expect({.flags = "FA", .seq = 5, .ack = 2});
  s.silent();
  s.inject({.flags = "A", .seq = 2, .ack = 6});
  CHECK(s.was_closed(tcp::End::kFinished));
  s.silent();
  CHECK(s.host.clean());
}

TEST_CASE("the far end closes first, the application goes on sending, TIME-WAIT lingers") {
  Script s;
  s.establish();
  s.host.stack.end(s.flow);
  s.expect({.flags = "FA", .seq = 1, .ack = 1});
  s.inject({.flags = "A", .seq = 1, .ack = 2});
  s.silent();
  s.inject({.flags = "A", .seq = 1, .ack = 2, .data = "still here"});
  s.expect({.flags = "A", .seq = 2, .ack = 11});
  CHECK(s.take() == "still here");
  s.inject({.flags = "FA", .seq = 11, .ack = 2});
  s.expect({.flags = "A", .seq = 2, .ack = 12});
  CHECK(s.was_closed(tcp::End::kFinished));
  CHECK(s.host.stack.flows() == 1);
  s.inject({.flags = "FA", .seq = 11, .ack = 2});  // our acknowledgement was lost
  s.expect({.flags = "A", .seq = 2, .ack = 12});
  s.advance(limits::kTimeWaitUs);
  CHECK(s.count(Seen::Kind::kClosed) == 1);
  CHECK(s.host.clean());
}

TEST_CASE("both close at once") {
  Script s;
  s.establish();
  s.host.stack.end(s.flow);
  s.expect({.flags = "FA", .seq = 1, .ack = 1});
  s.inject({.flags = "FA", .seq = 1, .ack = 1});
  s.expect({.flags = "A", .seq = 2, .ack = 2});
  CHECK(s.count(Seen::Kind::kClosed) == 0);
  s.inject({.flags = "A", .seq = 2, .ack = 2});
  CHECK(s.was_closed(tcp::End::kFinished));
  s.finish_clean();
}

TEST_CASE("a FIN that acknowledges ours") {
  Script s;
  s.establish();
  s.host.stack.end(s.flow);
  s.expect({.flags = "FA", .seq = 1, .ack = 1});
  s.inject({.flags = "FA", .seq = 1, .ack = 2});
  s.expect({.flags = "A", .seq = 2, .ack = 2});
  CHECK(s.was_closed(tcp::End::kFinished));
  s.finish_clean();
}

TEST_CASE("a FIN with data; data after a FIN is ignored") {
  Script s;
  s.establish();
  s.inject({.flags = "FA", .seq = 1, .ack = 1, .data = "last"});
  s.expect({.flags = "A", .seq = 1, .ack = 6});
  s.inject({.flags = "A", .seq = 6, .ack = 1, .data = "more"});
  s.expect({.flags = "A", .seq = 1, .ack = 6});
  s.inject({.flags = "FA", .seq = 1, .ack = 1, .data = "last"});
  s.expect({.flags = "A", .seq = 1, .ack = 6});
  CHECK(s.take() == "last");
  CHECK(s.host.stack.ended(s.flow));
}

TEST_CASE("a FIN out of order waits for what is missing") {
  Script s;
  s.establish();
  s.inject({.flags = "FA", .seq = 4, .ack = 1, .data = "def"});
  s.expect({.flags = "A", .seq = 1, .ack = 1});
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = "abc"});
  s.expect({.flags = "A", .seq = 1, .ack = 7});
  CHECK_FALSE(s.host.stack.ended(s.flow));
  s.inject({.flags = "FA", .seq = 4, .ack = 1, .data = "def"});
  s.expect({.flags = "A", .seq = 1, .ack = 8});
  CHECK(s.take() == "abcdef");
  CHECK(s.host.stack.ended(s.flow));
}

TEST_CASE("a FIN just behind a full window") {
  Script s;
  s.establish();  // 65535 bytes have been offered
  s.inject({.flags = "A", .seq = 1, .ack = 1, .data = std::string(60'000, 'x')});
  s.inject({.flags = "FA", .seq = 60'001, .ack = 1, .data = std::string(5'535, 'y')});
  s.inject({.flags = "A", .seq = 70'000, .ack = 1, .data = "beyond"});
  s.expect({.flags = "A", .seq = 1, .ack = 65'537});
  CHECK(s.take().size() == 65'535);
}

TEST_CASE("our FIN is sent again, alone and with the data before it") {
  Script s;
  s.establish();
  s.write("bye");
  s.host.stack.end(s.flow);
  s.expect({.flags = "FA", .seq = 1, .ack = 1, .data = "bye"});
  s.until_deadline();
  s.expect({.flags = "FA", .seq = 1, .ack = 1, .data = "bye"});
  s.inject({.flags = "A", .seq = 1, .ack = 4});
  s.silent();
  s.until_deadline();
  s.expect({.flags = "FA", .seq = 4, .ack = 1});
  s.silent();
  s.inject({.flags = "A", .seq = 1, .ack = 5});
  s.silent();
  CHECK(s.host.stack.blocks_in_use() == 0);
}

TEST_CASE("our FIN is lost together with data, and duplicates tell") {
  Script s;
  s.establish();
  s.write("one");
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "one"});
  s.write("two");
  s.host.stack.end(s.flow);
  s.expect({.flags = "FA", .seq = 4, .ack = 1, .data = "two"});
  for (int i = 0; i < 3; ++i) s.inject({.flags = "A", .seq = 1, .ack = 1});
  s.expect({.flags = "FA", .seq = 1, .ack = 1, .data = "onetwo"});
  s.silent();
  s.inject({.flags = "A", .seq = 1, .ack = 7});  // all but the FIN
  s.expect({.flags = "FA", .seq = 7, .ack = 1});
  s.silent();
}

TEST_CASE("end() with bytes that the window holds back: the FIN follows them") {
  Script s;
  s.establish();
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = 0});
  s.write("held");
  s.host.stack.end(s.flow);
  s.silent();
  s.inject({.flags = "A", .seq = 1, .ack = 1, .window = 1024});
  s.expect({.flags = "FA", .seq = 1, .ack = 1, .data = "held"});
}

TEST_CASE("nothing is queued behind an end") {
  Script s;
  s.establish();
  s.host.stack.end(s.flow);
  s.write("late");
  s.host.stack.end(s.flow);
  s.expect({.flags = "FA", .seq = 1, .ack = 1});
  s.silent();
}

TEST_CASE("bytes that nobody has taken yet outlive both FINs, a repeated FIN, resets and the port's reuse") {
  SUBCASE("the application closed first") {
    Script s;
    s.establish();
    s.inject({.flags = "FA", .seq = 1, .ack = 1, .data = "keep me"});
    s.expect({.flags = "A", .seq = 1, .ack = 9});
    s.host.stack.end(s.flow);
    s.expect({.flags = "FA", .seq = 1, .ack = 9});
    s.inject({.flags = "A", .seq = 9, .ack = 2});
    s.silent();  // no second FIN
    const tcp::FlowId flow = s.flow;
    s.inject({.flags = "FA", .seq = 8, .ack = 2});
    s.expect({.flags = "A", .seq = 2, .ack = 9});
    s.inject({.flags = "R", .seq = 9});
    s.inject({.flags = "S", .seq = 500'000});
    CHECK(s.count(Seen::Kind::kClosed) == 0);
    CHECK(s.host.take(flow) == Bytes{'k', 'e', 'e', 'p', ' ', 'm', 'e'});
    CHECK(s.was_closed(tcp::End::kFinished));
    s.finish_clean();
  }
  SUBCASE("the far end closed first") {
    Script s;
    s.establish();
    s.host.stack.end(s.flow);
    s.expect({.flags = "FA", .seq = 1, .ack = 1});
    s.inject({.flags = "FA", .seq = 1, .ack = 2, .data = "keep me"});
    s.expect({.flags = "A", .seq = 2, .ack = 9});
    s.inject({.flags = "R", .seq = 9});
    s.inject({.flags = "S", .seq = 500'000});
    s.advance(10 * limits::kTimeWaitUs);
    CHECK(s.count(Seen::Kind::kClosed) == 0);
    CHECK(s.take() == "keep me");
    CHECK(s.was_closed(tcp::End::kFinished));
    s.finish_clean();
  }
}

TEST_CASE("a SYN with a higher number ends TIME-WAIT") {
  Script s;
  s.establish();
  s.host.stack.end(s.flow);
  s.drain();
  s.inject({.flags = "FA", .seq = 1, .ack = 2});
  s.drain();
  const tcp::FlowId first = s.flow;
  s.inject({.flags = "S", .seq = 1});  // not higher: asked about
  s.expect({.flags = "A", .seq = 2, .ack = 2});
  CHECK(s.flow == first);
  s.inject({.flags = "S", .seq = 1000});
  CHECK(s.flow != first);
  CHECK(s.count(Seen::Kind::kOpened) == 2);
  CHECK(s.count(Seen::Kind::kClosed) == 1);
  s.host.stack.accept(s.flow);
  s.expect({.flags = "SA", .seq = 0, .ack = 1001});
}

TEST_CASE("a reset ends TIME-WAIT") {
  Script s;
  s.establish();
  s.host.stack.end(s.flow);
  s.drain();
  s.inject({.flags = "FA", .seq = 1, .ack = 2});
  s.drain();
  s.inject({.flags = "R", .seq = 2});
  CHECK(s.count(Seen::Kind::kClosed) == 1);
  CHECK(s.host.clean());
}

TEST_CASE("an abort resets at a number that the application's kernel takes") {
  Script s;
  s.establish();
  s.write("flying");
  s.expect({.flags = "A", .seq = 1, .ack = 1, .data = "flying"});
  s.host.stack.abort(s.flow);
  s.expect({.flags = "RA", .seq = 7, .ack = 1});
  CHECK(s.was_closed(tcp::End::kAborted));
  CHECK(s.host.clean());
}

TEST_CASE("an abort after both FINs says nothing to a kernel that has forgotten the flow") {
  Script s;
  s.establish();
  s.inject({.flags = "FA", .seq = 1, .ack = 1, .data = "x"});
  s.host.stack.end(s.flow);
  s.expect({.flags = "FA", .seq = 1, .ack = 3});
  s.inject({.flags = "A", .seq = 3, .ack = 2});
  s.host.stack.abort(s.flow);
  s.silent();
  CHECK(s.host.clean());
}
