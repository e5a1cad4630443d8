/* The table of intercepted system calls; numbers for x86-64, i386 and aarch64 (their uapi asm/unistd headers).
 * Rows of one number are tried in order; a call that no row matches goes to the kernel.
 */
#define _GNU_SOURCE
#include "fr_calls.h"

#include <fcntl.h>
#include <sched.h>

#include "fakeroot_abi.h"

const struct fr_call_rule fr_call_rules[] = {
    /* views */
    {OP_STAT, FORM_NATIVE, RULE_UNMARKED, 0, 0, {4, -1, -1}}, /* stat */
    {OP_STAT, FORM_STAT32, RULE_NOTIFY, 0, 0, {-1, 106, -1}}, /* stat */
    {OP_LSTAT, FORM_NATIVE, RULE_UNMARKED, 0, 0, {6, -1, -1}}, /* lstat */
    {OP_LSTAT, FORM_STAT32, RULE_NOTIFY, 0, 0, {-1, 107, -1}}, /* lstat */
    {OP_FSTAT, FORM_NATIVE, RULE_UNMARKED, 0, 0, {5, -1, 80}}, /* fstat */
    {OP_FSTAT, FORM_STAT32, RULE_NOTIFY, 0, 0, {-1, 108, -1}}, /* fstat */
    {OP_FSTATAT, FORM_NATIVE, RULE_UNMARKED, 0, 0, {262, -1, 79}}, /* newfstatat */
    {OP_STATX, FORM_NATIVE, RULE_UNMARKED, 0, 0, {332, 383, 291}}, /* statx */
    {OP_STAT, FORM_STAT64, RULE_NOTIFY, 0, 0, {-1, 195, -1}}, /* stat64 */
    {OP_STAT, FORM_OLDSTAT, RULE_NOTIFY, 0, 0, {-1, 18, -1}}, /* oldstat */
    {OP_LSTAT, FORM_STAT64, RULE_NOTIFY, 0, 0, {-1, 196, -1}}, /* lstat64 */
    {OP_LSTAT, FORM_OLDSTAT, RULE_NOTIFY, 0, 0, {-1, 84, -1}}, /* oldlstat */
    {OP_FSTAT, FORM_STAT64, RULE_NOTIFY, 0, 0, {-1, 197, -1}}, /* fstat64 */
    {OP_FSTAT, FORM_OLDSTAT, RULE_NOTIFY, 0, 0, {-1, 28, -1}}, /* oldfstat */
    {OP_FSTATAT, FORM_STAT64, RULE_NOTIFY, 0, 0, {-1, 300, -1}}, /* fstatat64 */
    {OP_ACCESS, FORM_NATIVE, RULE_NOTIFY, 0, 0, {21, 33, -1}}, /* access */
    {OP_FACCESSAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {269, 307, 48}}, /* faccessat */
    {OP_FACCESSAT2, FORM_NATIVE, RULE_NOTIFY, 0, 0, {439, 439, 439}}, /* faccessat2 */
    /* owners and modes */
    {OP_CHOWN, FORM_NATIVE, RULE_UNMARKED, 0, 0, {92, -1, -1}}, /* chown */
    {OP_CHOWN, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 182, -1}}, /* chown */
    {OP_CHOWN, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 212, -1}}, /* chown32 */
    {OP_LCHOWN, FORM_NATIVE, RULE_UNMARKED, 0, 0, {94, -1, -1}}, /* lchown */
    {OP_LCHOWN, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 16, -1}}, /* lchown */
    {OP_LCHOWN, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 198, -1}}, /* lchown32 */
    {OP_FCHOWN, FORM_NATIVE, RULE_UNMARKED, 0, 0, {93, -1, 55}}, /* fchown */
    {OP_FCHOWN, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 95, -1}}, /* fchown */
    {OP_FCHOWN, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 207, -1}}, /* fchown32 */
    {OP_FCHOWNAT, FORM_NATIVE, RULE_UNMARKED, 0, 0, {260, 298, 54}}, /* fchownat */
    {OP_CHMOD, FORM_NATIVE, RULE_UNMARKED, 0, 0, {90, 15, -1}}, /* chmod */
    {OP_FCHMOD, FORM_NATIVE, RULE_UNMARKED, 0, 0, {91, 94, 52}}, /* fchmod */
    {OP_FCHMODAT, FORM_NATIVE, RULE_UNMARKED, 0, 0, {268, 306, 53}}, /* fchmodat */
    {OP_FCHMODAT2, FORM_NATIVE, RULE_NOTIFY, 0, 0, {452, 452, 452}}, /* fchmodat2 */
    /* extended attributes */
    {OP_SETXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {188, 226, 5}}, /* setxattr */
    {OP_LSETXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {189, 227, 6}}, /* lsetxattr */
    {OP_FSETXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {190, 228, 7}}, /* fsetxattr */
    {OP_SETXATTRAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {463, 463, 463}}, /* setxattrat */
    {OP_GETXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {191, 229, 8}}, /* getxattr */
    {OP_LGETXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {192, 230, 9}}, /* lgetxattr */
    {OP_FGETXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {193, 231, 10}}, /* fgetxattr */
    {OP_GETXATTRAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {464, 464, 464}}, /* getxattrat */
    {OP_LISTXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {194, 232, 11}}, /* listxattr */
    {OP_LLISTXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {195, 233, 12}}, /* llistxattr */
    {OP_FLISTXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {196, 234, 13}}, /* flistxattr */
    {OP_LISTXATTRAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {465, 465, 465}}, /* listxattrat */
    {OP_REMOVEXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {197, 235, 14}}, /* removexattr */
    {OP_LREMOVEXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {198, 236, 15}}, /* lremovexattr */
    {OP_FREMOVEXATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {199, 237, 16}}, /* fremovexattr */
    {OP_REMOVEXATTRAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {466, 466, 466}}, /* removexattrat */
    /* creation and removal; an open for writing copies up */
    {OP_OPEN, FORM_NATIVE, RULE_BITS_UNMARKED, 1, O_CREAT | O_WRONLY | O_RDWR | O_TRUNC | FR_O_TMPFILE, {2, 5, -1}}, /* open */
    {OP_OPENAT, FORM_NATIVE, RULE_BITS_UNMARKED, 2, O_CREAT | O_WRONLY | O_RDWR | O_TRUNC | FR_O_TMPFILE, {257, 295, 56}}, /* openat */
    {OP_OPENAT2, FORM_NATIVE, RULE_NOTIFY, 0, 0, {437, 437, 437}}, /* openat2 */
    {OP_CREAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {85, 8, -1}}, /* creat */
    {OP_TRUNCATE, FORM_NATIVE, RULE_NOTIFY, 0, 0, {76, 92, 45}}, /* truncate */
    {OP_MKNOD, FORM_NATIVE, RULE_NOTIFY, 0, 0, {133, 14, -1}}, /* mknod */
    {OP_MKNODAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {259, 297, 33}}, /* mknodat */
    {OP_MKDIR, FORM_NATIVE, RULE_UNMARKED, 0, 0, {83, 39, -1}}, /* mkdir */
    {OP_MKDIRAT, FORM_NATIVE, RULE_UNMARKED, 0, 0, {258, 296, 34}}, /* mkdirat */
    {OP_SYMLINK, FORM_NATIVE, RULE_NOTIFY, 0, 0, {88, 83, -1}}, /* symlink */
    {OP_SYMLINKAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {266, 304, 36}}, /* symlinkat */
    {OP_LINK, FORM_NATIVE, RULE_NOTIFY, 0, 0, {86, 9, -1}}, /* link */
    {OP_LINKAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {265, 303, 37}}, /* linkat */
    {OP_UNLINK, FORM_NATIVE, RULE_UNMARKED, 0, 0, {87, 10, -1}}, /* unlink */
    {OP_UNLINKAT, FORM_NATIVE, RULE_UNMARKED, 0, 0, {263, 301, 35}}, /* unlinkat */
    {OP_RMDIR, FORM_NATIVE, RULE_UNMARKED, 0, 0, {84, 40, -1}}, /* rmdir */
    {OP_RENAME, FORM_NATIVE, RULE_UNMARKED, 0, 0, {82, 38, -1}}, /* rename */
    {OP_RENAMEAT, FORM_NATIVE, RULE_UNMARKED, 0, 0, {264, 302, 38}}, /* renameat */
    {OP_RENAMEAT2, FORM_NATIVE, RULE_UNMARKED, 0, 0, {316, 353, 276}}, /* renameat2 */
    {OP_UNMOUNT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 22, -1}}, /* umount */
    {OP_UNMOUNT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {166, 52, 39}}, /* umount2 */
    {OP_TRUNCATE, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 193, -1}}, /* truncate64 */
    {OP_UTIME, FORM_NATIVE, RULE_NOTIFY, 0, 0, {132, 30, -1}}, /* utime */
    {OP_UTIMES, FORM_NATIVE, RULE_NOTIFY, 0, 0, {235, 271, -1}}, /* utimes */
    {OP_FUTIMESAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {261, 299, -1}}, /* futimesat */
    {OP_UTIMENSAT, FORM_NATIVE, RULE_UNMARKED, 0, 0, {280, 320, 88}}, /* utimensat */
    {OP_UTIMENSAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 412, -1}}, /* utimensat_time64 */
    {OP_FILE_SETATTR, FORM_NATIVE, RULE_NOTIFY, 0, 0, {469, 469, 469}}, /* file_setattr */
    {OP_SET_FLAGS, FORM_NATIVE, RULE_EQUAL, 1, FR_IOC_SETFLAGS, {16, -1, 29}}, /* ioctl */
    {OP_SET_FLAGS, FORM_NATIVE, RULE_EQUAL, 1, FR_IOC32_SETFLAGS, {-1, 54, -1}}, /* ioctl */
    {OP_SET_FLAGS, FORM_NATIVE, RULE_EQUAL, 1, FR_IOC_FSSETXATTR, {16, 54, 29}}, /* ioctl */
    {OP_BIND, FORM_NATIVE, RULE_NOTIFY, 0, 0, {49, 361, 200}}, /* bind */
    {OP_SOCKETCALL, FORM_NATIVE, RULE_EQUAL, 0, 2 /* SYS_BIND */, {-1, 102, -1}}, /* socketcall */
    {OP_SOCKETCALL, FORM_NATIVE, RULE_EQUAL, 0, 15 /* SYS_GETSOCKOPT */, {-1, 102, -1}}, /* socketcall */
    {OP_GETSOCKOPT, FORM_NATIVE, RULE_SOCKOPT, 0, FR_SO_PEERCRED, {55, 365, 209}}, /* getsockopt */
    {OP_GETSOCKOPT, FORM_NATIVE, RULE_SOCKOPT, 0, FR_SO_PEERGROUPS, {55, 365, 209}}, /* getsockopt */
    /* credentials */
    {OP_GETUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {102, -1, 174}}, /* getuid */
    {OP_GETUID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 24, -1}}, /* getuid */
    {OP_GETUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 199, -1}}, /* getuid32 */
    {OP_GETEUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {107, -1, 175}}, /* geteuid */
    {OP_GETEUID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 49, -1}}, /* geteuid */
    {OP_GETEUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 201, -1}}, /* geteuid32 */
    {OP_GETGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {104, -1, 176}}, /* getgid */
    {OP_GETGID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 47, -1}}, /* getgid */
    {OP_GETGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 200, -1}}, /* getgid32 */
    {OP_GETEGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {108, -1, 177}}, /* getegid */
    {OP_GETEGID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 50, -1}}, /* getegid */
    {OP_GETEGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 202, -1}}, /* getegid32 */
    {OP_GETRESUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {118, -1, 148}}, /* getresuid */
    {OP_GETRESUID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 165, -1}}, /* getresuid */
    {OP_GETRESUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 209, -1}}, /* getresuid32 */
    {OP_GETRESGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {120, -1, 150}}, /* getresgid */
    {OP_GETRESGID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 171, -1}}, /* getresgid */
    {OP_GETRESGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 211, -1}}, /* getresgid32 */
    {OP_GETGROUPS, FORM_NATIVE, RULE_NOTIFY, 0, 0, {115, -1, 158}}, /* getgroups */
    {OP_GETGROUPS, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 80, -1}}, /* getgroups */
    {OP_GETGROUPS, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 205, -1}}, /* getgroups32 */
    {OP_SETUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {105, -1, 146}}, /* setuid */
    {OP_SETUID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 23, -1}}, /* setuid */
    {OP_SETUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 213, -1}}, /* setuid32 */
    {OP_SETGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {106, -1, 144}}, /* setgid */
    {OP_SETGID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 46, -1}}, /* setgid */
    {OP_SETGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 214, -1}}, /* setgid32 */
    {OP_SETREUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {113, -1, 145}}, /* setreuid */
    {OP_SETREUID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 70, -1}}, /* setreuid */
    {OP_SETREUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 203, -1}}, /* setreuid32 */
    {OP_SETREGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {114, -1, 143}}, /* setregid */
    {OP_SETREGID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 71, -1}}, /* setregid */
    {OP_SETREGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 204, -1}}, /* setregid32 */
    {OP_SETRESUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {117, -1, 147}}, /* setresuid */
    {OP_SETRESUID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 164, -1}}, /* setresuid */
    {OP_SETRESUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 208, -1}}, /* setresuid32 */
    {OP_SETRESGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {119, -1, 149}}, /* setresgid */
    {OP_SETRESGID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 170, -1}}, /* setresgid */
    {OP_SETRESGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 210, -1}}, /* setresgid32 */
    {OP_SETFSUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {122, -1, 151}}, /* setfsuid */
    {OP_SETFSUID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 138, -1}}, /* setfsuid */
    {OP_SETFSUID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 215, -1}}, /* setfsuid32 */
    {OP_SETFSGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {123, -1, 152}}, /* setfsgid */
    {OP_SETFSGID, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 139, -1}}, /* setfsgid */
    {OP_SETFSGID, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 216, -1}}, /* setfsgid32 */
    {OP_SETGROUPS, FORM_NATIVE, RULE_NOTIFY, 0, 0, {116, -1, 159}}, /* setgroups */
    {OP_SETGROUPS, FORM_ID16, RULE_NOTIFY, 0, 0, {-1, 81, -1}}, /* setgroups */
    {OP_SETGROUPS, FORM_NATIVE, RULE_NOTIFY, 0, 0, {-1, 206, -1}}, /* setgroups32 */
    {OP_CAPGET, FORM_NATIVE, RULE_NOTIFY, 0, 0, {125, 184, 90}}, /* capget */
    {OP_CAPSET, FORM_NATIVE, RULE_NOTIFY, 0, 0, {126, 185, 91}}, /* capset */
    {OP_UMASK, FORM_NATIVE, RULE_NOTIFY, 0, 0, {95, 60, 166}}, /* umask */
    {OP_EXECVE, FORM_NATIVE, RULE_NOTIFY, 0, 0, {59, 11, 221}}, /* execve */
    {OP_EXECVEAT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {322, 358, 281}}, /* execveat */
    {OP_PRCTL, FORM_NATIVE, RULE_EQUAL, 0, FR_PR_GET_KEEPCAPS, {157, 172, 167}}, /* prctl */
    {OP_PRCTL, FORM_NATIVE, RULE_EQUAL, 0, FR_PR_SET_KEEPCAPS, {157, 172, 167}}, /* prctl */
    {OP_PRCTL, FORM_NATIVE, RULE_EQUAL, 0, FR_PR_GET_SECUREBITS, {157, 172, 167}}, /* prctl */
    {OP_PRCTL, FORM_NATIVE, RULE_EQUAL, 0, FR_PR_SET_SECUREBITS, {157, 172, 167}}, /* prctl */
    {OP_PRCTL, FORM_NATIVE, RULE_EQUAL, 0, FR_PR_CAPBSET_DROP, {157, 172, 167}}, /* prctl */
    {OP_PRCTL, FORM_NATIVE, RULE_EQUAL, 0, FR_PR_CAP_AMBIENT, {157, 172, 167}}, /* prctl */
    /* roots: from then on each caller's root is looked at; clone3 hides its flags, programs fall back to clone */
    {OP_CHROOT, FORM_NATIVE, RULE_NOTIFY, 0, 0, {161, 61, 51}}, /* chroot */
    {OP_ROOT_CHANGE, FORM_NATIVE, RULE_NOTIFY, 0, 0, {155, 217, 41}}, /* pivot_root */
    {OP_ROOT_CHANGE, FORM_NATIVE, RULE_NOTIFY, 0, 0, {308, 346, 268}}, /* setns */
    {OP_ROOT_CHANGE, FORM_NATIVE, RULE_BITS, 0, CLONE_NEWNS, {272, 310, 97}}, /* unshare */
    {OP_ROOT_CHANGE, FORM_NATIVE, RULE_BITS, 0, CLONE_NEWNS, {56, 120, 220}}, /* clone */
    {OP_NONE, FORM_NATIVE, RULE_NO_CALL, 0, 0, {435, 435, 435}}, /* clone3 */
    /* the resource limit that carries the credentials */
    {OP_PRLIMIT, FORM_NATIVE, RULE_EQUAL, 1, FR_RLIMIT_LOCKS, {302, 340, 261}}, /* prlimit64 */
    {OP_GETRLIMIT, FORM_NATIVE, RULE_EQUAL, 0, FR_RLIMIT_LOCKS, {97, 76, 163}}, /* getrlimit */
    {OP_GETRLIMIT, FORM_NATIVE, RULE_EQUAL, 0, FR_RLIMIT_LOCKS, {-1, 191, -1}}, /* ugetrlimit */
    {OP_NONE, FORM_NATIVE, RULE_ANSWER_ZERO, 0, FR_RLIMIT_LOCKS, {160, 75, 164}}, /* setrlimit */
    /* durability: a step is committed or thrown away whole */
    {OP_NONE, FORM_NATIVE, RULE_DURABLE, 0, 0, {74, 118, 82}}, /* fsync */
    {OP_NONE, FORM_NATIVE, RULE_DURABLE, 0, 0, {75, 148, 83}}, /* fdatasync */
    {OP_NONE, FORM_NATIVE, RULE_DURABLE, 0, 0, {162, 36, 81}}, /* sync */
    {OP_NONE, FORM_NATIVE, RULE_DURABLE, 0, 0, {306, 344, 267}}, /* syncfs */
    {OP_NONE, FORM_NATIVE, RULE_DURABLE, 0, 0, {277, 314, 84}}, /* sync_file_range */
    {OP_NONE, FORM_NATIVE, RULE_DURABLE, 2, 4 /* MS_SYNC; MS_ASYNC is how programs ask if memory is mapped */, {26, 144, 227}}, /* msync */
    /* calls that would act behind the filter's back */
    {OP_NONE, FORM_NATIVE, RULE_NO_CALL, 0, 0, {425, 425, 425}}, /* io_uring_setup */
    {OP_NONE, FORM_NATIVE, RULE_NO_CALL, 0, 0, {426, 426, 426}}, /* io_uring_enter */
    {OP_NONE, FORM_NATIVE, RULE_NO_CALL, 0, 0, {427, 427, 427}}, /* io_uring_register */
};

const size_t fr_call_rule_count = sizeof fr_call_rules / sizeof fr_call_rules[0];
