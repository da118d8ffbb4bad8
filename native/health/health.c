// health [SOCKET]: exit 0 when netproxy says that it is ready, 1 when it says that it is not or cannot be
// asked, with the reason on standard output. For HEALTHCHECK and exec probes, which run every few seconds and
// must not start Node each time. Asks `GET /readyz` of the control socket: SOCKET, else
// NETPROXY_CONTROL_SOCKET, else the places that src/control/socket-path.ts names, with the number of the
// network namespace in them.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static const char* const kFolders[] = {"/run/netproxy", "/dev/shm/netproxy"};
static const char kRequest[] = "GET /readyz HTTP/1.0\r\nHost: netproxy\r\n\r\n";
// Shorter than Docker's and Kubernetes' usual patience, so that the reason is told rather than a time-out.
enum { kDeadlineSeconds = 2, kAnswerMaxBytes = 4096 };

static int fail(const char* what) {
  printf("%s: %s\n", what, strerror(errno));
  return -1;
}

// Connects and asks. Gives the connection, or -1 with errno.
static int ask(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  struct timeval deadline = {.tv_sec = kDeadlineSeconds};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
  if (connect(fd, (struct sockaddr*)&address, sizeof address) < 0 ||
      send(fd, kRequest, sizeof kRequest - 1, MSG_NOSIGNAL) < 0) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

// Asks at the usual places. The link reads "net:[4026531840]" (namespaces(7)).
static int ask_default(void) {
  char link[64] = "";
  if (readlink("/proc/self/ns/net", link, sizeof link - 1) < 0) return fail("/proc/self/ns/net");
  unsigned long number = 0;
  if (sscanf(link, "net:[%lu]", &number) != 1) return fail(link);
  char path[108];
  for (size_t at = 0; at < sizeof kFolders / sizeof *kFolders; at++) {
    snprintf(path, sizeof path, "%s/%lu.sock", kFolders[at], number);
    int fd = ask(path);
    if (fd >= 0) return fd;
  }
  return fail(path);
}

int main(int argc, char** argv) {
  const char* path = argc > 1 ? argv[1] : getenv("NETPROXY_CONTROL_SOCKET");
  const int given = path != NULL && *path != '\0';
  int fd = given ? ask(path) : ask_default();
  if (fd < 0) {
    if (given) fail(path);
    return 1;
  }
  char answer[kAnswerMaxBytes + 1];
  size_t length = 0;
  while (length < kAnswerMaxBytes) {
    ssize_t got = recv(fd, answer + length, kAnswerMaxBytes - length, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      fail("reading the answer");
      return 1;
    }
    if (got == 0) break;
    length += (size_t)got;
  }
  answer[length] = '\0';
  const char* body = strstr(answer, "\r\n\r\n");
  int status = 0;
  if (body == NULL || sscanf(answer, "HTTP/1.%*1d %3d", &status) != 1) {
    printf("no answer of HTTP\n");
    return 1;
  }
  printf("%s", body + 4);
  return status == 200 ? 0 : 1;
}
