/* Kernel ABI of the fakeroot supervisor, defined here: build headers may be older than the running kernel.
 *
 * Sources: seccomp(2), seccomp_unotify(2), openat2(2), pidfd_getfd(2), capabilities(7) and the uapi headers they name.
 */
#ifndef IECHOR_FAKEROOT_ABI_H
#define IECHOR_FAKEROOT_ABI_H

#include <stdint.h>
#include <sys/ioctl.h>

/* --- seccomp --- */
#define FR_SECCOMP_SET_MODE_FILTER 1U
#define FR_SECCOMP_GET_ACTION_AVAIL 2U
#define FR_SECCOMP_GET_NOTIF_SIZES 3U
#define FR_FILTER_NEW_LISTENER (1UL << 3)
#define FR_FILTER_WAIT_KILLABLE_RECV (1UL << 5) /* 5.19 */

#define FR_RET_KILL_PROCESS 0x80000000U
#define FR_RET_ERRNO 0x00050000U
#define FR_RET_USER_NOTIF 0x7fc00000U
#define FR_RET_ALLOW 0x7fff0000U

struct fr_seccomp_data {
    int32_t nr;
    uint32_t arch;
    uint64_t instruction_pointer;
    uint64_t args[6];
};

struct fr_notif {
    uint64_t id;
    uint32_t pid;
    uint32_t flags;
    struct fr_seccomp_data data;
};

struct fr_notif_resp {
    uint64_t id;
    int64_t val;
    int32_t error;
    uint32_t flags;
};

struct fr_notif_addfd {
    uint64_t id;
    uint32_t flags;
    uint32_t srcfd;
    uint32_t newfd;
    uint32_t newfd_flags;
};

struct fr_notif_sizes {
    uint16_t notif;
    uint16_t resp;
    uint16_t data;
};

#define FR_RESP_CONTINUE 1U
#define FR_ADDFD_SEND 2U       /* 5.14 */
#define FR_FD_SYNC_WAKE_UP 1UL /* 6.6 */

#define FR_IOCTL_RECV _IOWR('!', 0, struct fr_notif)
#define FR_IOCTL_SEND _IOWR('!', 1, struct fr_notif_resp)
#define FR_IOCTL_ID_VALID _IOW('!', 2, uint64_t)
#define FR_IOCTL_ADDFD _IOW('!', 3, struct fr_notif_addfd)
#define FR_IOCTL_SET_FLAGS _IOW('!', 4, uint64_t)

#define FR_ARCH_X86_64 0xc000003eU
#define FR_ARCH_I386 0x40000003U
#define FR_ARCH_AARCH64 0xc00000b7U
#define FR_X32_BIT 0x40000000U

struct fr_bpf_insn {
    uint16_t code;
    uint8_t jt;
    uint8_t jf;
    uint32_t k;
};

struct fr_bpf_prog {
    uint16_t len;
    struct fr_bpf_insn *filter;
};

/* --- openat2(2), pidfd, prlimit, statx --- */
#define FR_NR_OPENAT2 437
#define FR_NR_PIDFD_OPEN 434
#define FR_NR_PIDFD_GETFD 438
#define FR_NR_FACCESSAT2 439
#define FR_RESOLVE_NO_MAGICLINKS 0x02U

struct fr_open_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

struct fr_rlimit64 {
    uint64_t cur;
    uint64_t max;
};

struct fr_statx_time {
    int64_t sec;
    uint32_t nsec;
    int32_t pad;
};

struct fr_statx {
    uint32_t mask;
    uint32_t blksize;
    uint64_t attributes;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint16_t mode;
    uint16_t pad0;
    uint64_t ino;
    uint64_t size;
    uint64_t blocks;
    uint64_t attributes_mask;
    struct fr_statx_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor;
    uint32_t dev_major, dev_minor;
    uint64_t mnt_id;
    uint64_t spare[13];
};

_Static_assert(sizeof(struct fr_notif) == 80, "struct seccomp_notif");
_Static_assert(sizeof(struct fr_notif_resp) == 24, "struct seccomp_notif_resp");
_Static_assert(sizeof(struct fr_notif_addfd) == 24, "struct seccomp_notif_addfd");
_Static_assert(sizeof(struct fr_statx) == 256, "struct statx");

#define FR_STATX_TYPE 0x001U
#define FR_STATX_MODE 0x002U
#define FR_STATX_NLINK 0x004U
#define FR_STATX_UID 0x008U
#define FR_STATX_GID 0x010U
#define FR_STATX_INO 0x100U
#define FR_STATX_BASIC 0x7ffU
#define FR_STATX_MNT_ID 0x1000U

#define FR_O_TMPFILE 020000000 /* __O_TMPFILE; without O_DIRECTORY it is not valid */
#define FR_AT_EMPTY_PATH 0x1000
#define FR_IOC_SETFLAGS 0x40086602U
#define FR_IOC32_SETFLAGS 0x40046602U
#define FR_IOC_FSSETXATTR 0x401c5820U
#define FR_AT_SYMLINK_NOFOLLOW 0x100
#define FR_AT_SYMLINK_FOLLOW 0x400
#define FR_AT_REMOVEDIR 0x200
#define FR_AT_EACCESS 0x200
#define FR_AT_NO_AUTOMOUNT 0x800
#define FR_PROC_SUPER_MAGIC 0x9fa0

/* --- capabilities(7) --- */
#define FR_CAP_CHOWN 0
#define FR_CAP_DAC_OVERRIDE 1
#define FR_CAP_DAC_READ_SEARCH 2
#define FR_CAP_FOWNER 3
#define FR_CAP_FSETID 4
#define FR_CAP_SETGID 6
#define FR_CAP_SETUID 7
#define FR_CAP_SETPCAP 8
#define FR_CAP_LINUX_IMMUTABLE 9
#define FR_CAP_SYS_CHROOT 18
#define FR_CAP_SYS_ADMIN 21
#define FR_CAP_MKNOD 27
#define FR_CAP_SETFCAP 31
#define FR_CAP_MAC_OVERRIDE 32

#define FR_CAP_BIT(cap) (1ULL << (cap))
/* the capabilities that follow the file system uid (setfsuid(2)) */
#define FR_CAP_FS_MASK                                                                                                 \
    (FR_CAP_BIT(FR_CAP_CHOWN) | FR_CAP_BIT(FR_CAP_MKNOD) | FR_CAP_BIT(FR_CAP_DAC_OVERRIDE) |                           \
     FR_CAP_BIT(FR_CAP_DAC_READ_SEARCH) | FR_CAP_BIT(FR_CAP_FOWNER) | FR_CAP_BIT(FR_CAP_FSETID) |                      \
     FR_CAP_BIT(FR_CAP_LINUX_IMMUTABLE) | FR_CAP_BIT(FR_CAP_MAC_OVERRIDE))

#define FR_SECBIT_NOROOT (1U << 0)
#define FR_SECBIT_NO_SETUID_FIXUP (1U << 2)
#define FR_SECBIT_KEEP_CAPS (1U << 4)

#define FR_PR_GET_KEEPCAPS 7
#define FR_PR_SET_KEEPCAPS 8
#define FR_PR_CAPBSET_READ 23
#define FR_PR_CAPBSET_DROP 24
#define FR_PR_GET_SECUREBITS 27
#define FR_PR_SET_SECUREBITS 28
#define FR_PR_CAP_AMBIENT 47

#define FR_RLIMIT_LOCKS 10 /* no kernel since 2.4 acts on it; see fr_creds.h for what it carries here */

#define FR_SO_PEERCRED 17
#define FR_SO_PEERGROUPS 59

#endif
