// anchor: owns a network namespace, and with it the addresses and published ports of a container, and does
// nothing else, so that netproxy in the same namespace can crash, be upgraded and be made anew. Before it
// sleeps it closes the namespace where it may (CAP_NET_ADMIN): the default routes move to the table that only
// netproxy's marked sockets use (src/netns/ids.ts), where netproxy finds them. An application that is started
// before netproxy, as engines do after a reboot, so gets ENETUNREACH and leaks nothing.
//
//   anchor            close the namespace if that is allowed, then sleep until SIGTERM or SIGINT
//
// rtnetlink(7): a dump of the routes of a family answers with RTM_NEWROUTE messages
//   struct nlmsghdr | struct rtmsg | struct rtattr...
// each of which, with its table changed, is also the request that makes the route there.
#include <asm/types.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// UPLINK_TABLE of src/netns/ids.ts; a test holds the two against each other.
enum { kUplinkTable = 28272 };
// Routes of one family that are looked at: a container has one default, a router with a full table is no
// place for us.
enum { kDefaultsMax = 16 };
enum { kMessageMax = 2048, kDumpBytes = 65536 };

union message {
  struct nlmsghdr header;
  char bytes[kMessageMax];
};

static union message defaults[kDefaultsMax];
static char dump[kDumpBytes];

static int fail(const char* what) {
  fprintf(stderr, "netproxy anchor: %s: %s\n", what, strerror(errno));
  return -1;
}

// Collects the unicast defaults of the main table. Gives their number, or -1.
static int collect(int fd, unsigned char family) {
  struct {
    struct nlmsghdr header;
    struct rtmsg route;
  } request = {
      .header = {.nlmsg_len = sizeof request,
                 .nlmsg_type = RTM_GETROUTE,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
      .route = {.rtm_family = family, .rtm_table = RT_TABLE_MAIN},
  };
  if (send(fd, &request, sizeof request, 0) < 0) return fail("asking for routes");
  int found = 0;
  for (;;) {
    ssize_t got = recv(fd, dump, sizeof dump, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail("reading routes");
    int left = (int)got;
    for (struct nlmsghdr* header = (struct nlmsghdr*)dump; NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) return found;
      if (header->nlmsg_type == NLMSG_ERROR) {
        errno = -((struct nlmsgerr*)NLMSG_DATA(header))->error;
        // A kernel without IPv6 has no routes of it.
        return errno == EOPNOTSUPP || errno == EAFNOSUPPORT ? 0 : fail("reading routes");
      }
      const struct rtmsg* route = NLMSG_DATA(header);
      if (header->nlmsg_type != RTM_NEWROUTE || route->rtm_table != RT_TABLE_MAIN) continue;
      if (route->rtm_dst_len != 0 || route->rtm_type != RTN_UNICAST || route->rtm_family != family) continue;
      if (found == kDefaultsMax || header->nlmsg_len + RTA_SPACE(4) > kMessageMax) continue;
      memcpy(&defaults[found++], header, header->nlmsg_len);
    }
  }
}

// Sends one request and waits for its verdict: 0, or -1 with errno.
static int request(int fd, union message* message) {
  if (send(fd, message, message->header.nlmsg_len, 0) < 0) return -1;
  char answer[kMessageMax + sizeof(struct nlmsgerr)];
  ssize_t got;
  do got = recv(fd, answer, sizeof answer, 0);
  while (got < 0 && errno == EINTR);
  const struct nlmsghdr* header = (const struct nlmsghdr*)answer;
  if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) || header->nlmsg_type != NLMSG_ERROR) {
    errno = EPROTO;
    return -1;
  }
  errno = -((const struct nlmsgerr*)NLMSG_DATA(header))->error;
  return errno == 0 ? 0 : -1;
}

// A number of a table above 255 stands in an attribute, and the header says 0 (RT_TABLE_UNSPEC).
static void move_to(union message* message, __u32 table) {
  struct rtmsg* route = NLMSG_DATA(&message->header);
  route->rtm_table = RT_TABLE_UNSPEC;
  route->rtm_flags = 0;
  int left = (int)RTM_PAYLOAD(&message->header);
  for (struct rtattr* attribute = RTM_RTA(route); RTA_OK(attribute, left);
       attribute = RTA_NEXT(attribute, left)) {
    if (attribute->rta_type == RTA_TABLE) {
      memcpy(RTA_DATA(attribute), &table, sizeof table);
      return;
    }
  }
  struct rtattr* added = (struct rtattr*)(message->bytes + NLMSG_ALIGN(message->header.nlmsg_len));
  added->rta_type = RTA_TABLE;
  added->rta_len = RTA_LENGTH(sizeof table);
  memcpy(RTA_DATA(added), &table, sizeof table);
  message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len) + RTA_SPACE(sizeof table);
}

// The copy comes first: killed in between, the namespace is as open as it was, and nothing is lost.
static int close_family(int fd, unsigned char family) {
  int found = collect(fd, family);
  for (int at = 0; at < found; at++) {
    union message original = defaults[at];
    union message copy = defaults[at];
    copy.header.nlmsg_type = RTM_NEWROUTE;
    copy.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    move_to(&copy, kUplinkTable);
    if (request(fd, &copy) < 0) return fail("keeping a default route");
    original.header.nlmsg_type = RTM_DELROUTE;
    original.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    if (request(fd, &original) < 0) return fail("taking a default route away");
  }
  return found;
}

static void close_namespace(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) {
    fail("netlink");
    return;
  }
  int v4 = close_family(fd, AF_INET);
  int v6 = close_family(fd, AF_INET6);
  close(fd);
  if (v4 >= 0 && v6 >= 0)
    fprintf(stderr, "netproxy anchor: closed until netproxy runs (%d default routes)\n", v4 + v6);
  else
    fprintf(stderr,
            "netproxy anchor: the namespace is open until netproxy runs; cap_add: [NET_ADMIN] closes it\n");
}

int main(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  close_namespace();
  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    // As the first process of a shared process namespace it is the parent of orphans.
    if (signal == SIGCHLD) {
      while (waitpid(-1, NULL, WNOHANG) > 0) {
      }
      continue;
    }
    return 0;
  }
}
