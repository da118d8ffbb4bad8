#include "process/filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <iterator>
#include <system_error>
#include <vector>

namespace netproxy::process {

namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
// Numbers from here on are those of the x32 ABI (seccomp(2), NOTES).
constexpr uint32_t kFirstForeign = 0x40000000;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
constexpr uint32_t kFirstForeign = UINT32_MAX;
#else
#error "no filter of system calls for this processor"
#endif

// Not in the headers of all systems that this is built on; numbers from 424 on are the same everywhere.
constexpr uint32_t kOpenTree = 428, kMoveMount = 429, kFsopen = 430, kFsconfig = 431, kFsmount = 432,
                   kFspick = 433, kClone3 = 435, kPidfdGetfd = 438, kMountSetattr = 442, kIoUringSetup = 425;

constexpr uint32_t kRefused[] = {
    // Other processes, and their memory.
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    kPidfdGetfd,
    // File systems and namespaces.
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    kOpenTree,
    kMoveMount,
    kFsopen,
    kFsconfig,
    kFsmount,
    kFspick,
    kMountSetattr,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_mknodat,
    SYS_quotactl,
    SYS_fanotify_init,
    SYS_swapon,
    SYS_swapoff,
    // The kernel itself.
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_reboot,
    SYS_acct,
    SYS_syslog,
    SYS_personality,
    // Where most holes of late were; libuv has its threads without it.
    kIoUringSetup,
    // Keys of the kernel.
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    // The machine's clock and names.
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_vhangup,
#if defined(__x86_64__)
    SYS_mknod,
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
};

// Families of sockets that there is a use for: ours, and those of `ip` and `nft`.
constexpr uint32_t kFamilies[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

// CLONE_NEW*: a thread or process in namespaces of its own.
constexpr uint32_t kCloneNew = 0x7e020000;

constexpr uint32_t low_word(size_t argument) {
  // Both processors are little-endian.
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + argument * sizeof(uint64_t));
}

sock_filter load(uint32_t offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset); }
sock_filter give(uint32_t action) { return BPF_STMT(BPF_RET | BPF_K, action); }
// Skips `skip` instructions unless the comparison holds.
sock_filter unless(uint16_t comparison, uint32_t value, uint8_t skip) {
  return BPF_JUMP(static_cast<uint16_t>(BPF_JMP | comparison | BPF_K), value, 0, skip);
}

std::vector<sock_filter> program() {
  constexpr uint32_t kRefuse = SECCOMP_RET_ERRNO | EPERM;
  std::vector<sock_filter> code{
      load(offsetof(seccomp_data, arch)),
      // The numbers of another processor mean other calls.
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      give(kRefuse),
      load(offsetof(seccomp_data, nr)),
      unless(BPF_JGE, kFirstForeign, 1),
      give(kRefuse),
      // Its flags lie in memory, which no filter can see; glibc takes clone(2) when there is none.
      unless(BPF_JEQ, kClone3, 1),
      give(SECCOMP_RET_ERRNO | ENOSYS),
      unless(BPF_JEQ, SYS_clone, 4),
      load(low_word(0)),
      unless(BPF_JSET, kCloneNew, 1),
      give(kRefuse),
      give(SECCOMP_RET_ALLOW),
      unless(BPF_JEQ, SYS_socket, static_cast<uint8_t>(2 * std::size(kFamilies) + 2)),
      load(low_word(0)),
  };
  for (const uint32_t family : kFamilies) {
    code.push_back(unless(BPF_JEQ, family, 1));
    code.push_back(give(SECCOMP_RET_ALLOW));
  }
  code.push_back(give(kRefuse));
  for (const uint32_t call : kRefused) {
    code.push_back(unless(BPF_JEQ, call, 1));
    code.push_back(give(kRefuse));
  }
  code.push_back(give(SECCOMP_RET_ALLOW));
  return code;
}

}  // namespace

size_t filter_system_calls() {
  auto code = program();
  const sock_fprog whole{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    throw std::system_error(errno, std::generic_category(), "PR_SET_NO_NEW_PRIVS");
  // With LOG the kernel's audit log names each refusal; kernels before 4.14 do not know it.
  constexpr unsigned kFlags[] = {SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG,
                                 SECCOMP_FILTER_FLAG_TSYNC};
  for (const unsigned flags : kFlags) {
    const long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &whole);
    if (result == 0) return std::size(kRefused);
    // The number of a thread that cannot follow, as one that somebody else gave a filter of its own.
    if (result > 0) errno = ESRCH;
    if (errno != EINVAL) break;
  }
  throw std::system_error(errno, std::generic_category(), "seccomp");
}

}  // namespace netproxy::process
