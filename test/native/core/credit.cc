// How much a channel may have under way, and how far it may be invited: native/ssh/credit.h, window.h.
#include "ssh/credit.h"

#include <doctest/doctest.h>

#include <cstdint>

#include "ssh/window.h"

using netproxy::ssh::Credit;
using netproxy::ssh::ReceiveWindow;
namespace limits = netproxy::limits;

namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kWindow = 2 * kMiB;

// A round: fills what may be sent, and has it taken after `delay` microseconds. Gives what was sent.
uint64_t round(Credit& credit, uint64_t delay, uint64_t& now) {
  const uint64_t sent = credit.available(true);
  credit.use(sent, true, true, now);
  now += delay;
  credit.adjusted(sent, now);
  return sent;
}

}  // namespace

TEST_CASE("alone on its connection a channel has the server's window") {
  Credit credit(kWindow);
  CHECK(credit.available(false) == kWindow);
  credit.use(kWindow, true, false, 0);
  CHECK(credit.available(false) == 0);
  credit.adjusted(100, 10);
  CHECK(credit.available(false) == 100);
}

TEST_CASE("beside others it starts at the floor, and a window below it holds") {
  CHECK(Credit(kWindow).available(true) == limits::kInFlightFloor);
  CHECK(Credit(1000).available(true) == 1000);
}

TEST_CASE("the limit grows while the way takes as long as ever, up to the window") {
  Credit credit(kWindow);
  uint64_t now = 0;
  uint64_t last = round(credit, 20'000, now);
  for (int i = 0; i < 10; ++i) {
    const uint64_t sent = round(credit, 20'000, now);
    CHECK(sent >= last);
    last = sent;
  }
  CHECK(last == kWindow);
}

TEST_CASE("a queue shrinks it, but never below the floor") {
  Credit credit(kWindow);
  uint64_t now = 0;
  for (int i = 0; i < 10; ++i) round(credit, 1000, now);
  const uint64_t before = credit.available(true);
  round(credit, 1000 + limits::kQueueDelayUs + 1000 / 8 + 1, now);
  CHECK(credit.available(true) < before);
  for (int i = 0; i < 40; ++i) round(credit, 50'000, now);
  CHECK(credit.available(true) == limits::kInFlightFloor);
}

TEST_CASE("the shortest way is forgotten: a path that became longer is filled again") {
  Credit credit(kWindow);
  uint64_t now = 0;
  round(credit, 1000, now);
  for (int i = 0; i < 40; ++i) round(credit, 40'000, now);
  CHECK(credit.available(true) == limits::kInFlightFloor);
  now += limits::kQueueDelayPeriodUs;
  for (int i = 0; i < 10; ++i) round(credit, 40'000, now);
  CHECK(credit.available(true) == kWindow);
}

TEST_CASE("a server that takes larger steps than the limit gets them, once it was waited for") {
  Credit credit(kWindow);
  uint64_t now = 0;
  const auto send = [&] {
    const uint64_t bytes = credit.available(true);
    credit.use(bytes, true, true, now);
    return bytes;
  };
  uint64_t flying = send();
  CHECK(flying == limits::kInFlightFloor);
  CHECK_FALSE(credit.lift());
  CHECK(credit.lift());
  flying += send();
  CHECK(flying == kWindow);
  CHECK_FALSE(credit.lift());  // the window itself is used up
  // From now on a step of 1 MiB never waits for us, however long the way becomes.
  for (int i = 0; i < 40; ++i) {
    now += 50'000 * (i + 1);
    credit.adjusted(kMiB, now);
    flying += send() - kMiB;
    CHECK(flying > kMiB);
  }
}

TEST_CASE("a far end that takes little at a time is not mistaken for one that waits") {
  Credit credit(kWindow);
  for (uint64_t now = 0; now < 10; ++now) {
    credit.use(credit.available(true), true, true, now);
    CHECK_FALSE(credit.lift());
    credit.adjusted(1000, now);
  }
}

TEST_CASE("a sender that pauses learns nothing") {
  Credit credit(kWindow);
  uint64_t now = 0;
  for (int i = 0; i < 20; ++i) {
    const uint64_t sent = credit.available(true);
    credit.use(sent, false, true, now);
    now += 1000;
    credit.adjusted(sent, now);
  }
  CHECK(credit.available(true) == limits::kInFlightFloor);
}

TEST_CASE("a server that invites more than it may is held to what a window can be (RFC 4254, 5.2)") {
  Credit credit(UINT32_MAX);
  credit.adjusted(UINT32_MAX, 1);
  CHECK(credit.available(false) == UINT32_MAX);
}

TEST_CASE("a receive window is topped up once enough of it is used") {
  ReceiveWindow window;
  CHECK(window.top_up(limits::kChannelWindowMax) == 0);
  CHECK(window.use(1));
  CHECK(window.top_up(limits::kChannelWindowMax) == 0);
  CHECK(window.use(limits::kChannelWindow / limits::kTopUpDivisor));
  CHECK(window.top_up(limits::kChannelWindowMax) == limits::kChannelWindow / limits::kTopUpDivisor + 1);
}

TEST_CASE("it doubles each time it was filled while the reader kept up, to its limit and no further") {
  ReceiveWindow window;
  uint64_t target = limits::kChannelWindow;
  while (target < limits::kChannelWindowMax) {
    CHECK(window.use(target));
    CHECK(window.top_up(limits::kChannelWindowMax) == target * 2);
    target *= 2;
  }
  CHECK(window.use(target));
  CHECK(window.top_up(limits::kChannelWindowMax) == target);
}

TEST_CASE("a reader that lags gets no more than at the start") {
  ReceiveWindow window;
  CHECK(window.use(limits::kChannelWindow));
  CHECK(window.top_up(limits::kChannelWindowMax) == 2 * limits::kChannelWindow);
  window.lag();
  CHECK(window.use(limits::kChannelWindow - 1));
  CHECK(window.top_up(limits::kChannelWindowMax) == 0);
}

TEST_CASE(
    "a short way is invited no further than its round trip is worth, once what was invited before is used") {
  ReceiveWindow window;
  constexpr uint64_t kMost = limits::kChannelWindowShort;
  CHECK(window.use(limits::kChannelWindow - kMost));
  CHECK(window.top_up(kMost) == 0);
  CHECK(window.use(kMost));
  CHECK(window.top_up(kMost) == kMost);
  CHECK(window.use(kMost));
  CHECK(window.top_up(kMost) == kMost);
}

TEST_CASE("more than was invited is told") {
  ReceiveWindow window;
  CHECK(!window.use(limits::kChannelWindow + 1));
  CHECK(window.use(limits::kChannelWindow));
  CHECK(!window.use(1));
}
