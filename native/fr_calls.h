/* Which system calls are intercepted, on each architecture, and what the filter does with them. */
#ifndef IECHOR_FR_CALLS_H
#define IECHOR_FR_CALLS_H

#include <stddef.h>
#include <stdint.h>

enum fr_arch { FR_X86_64, FR_I386, FR_AARCH64, FR_ARCHES };

enum fr_op {
    OP_NONE,
    OP_STAT, OP_LSTAT, OP_FSTAT, OP_FSTATAT, OP_STATX,
    OP_CHOWN, OP_LCHOWN, OP_FCHOWN, OP_FCHOWNAT,
    OP_CHMOD, OP_FCHMOD, OP_FCHMODAT, OP_FCHMODAT2,
    OP_MKNOD, OP_MKNODAT, OP_MKDIR, OP_MKDIRAT, OP_SYMLINK, OP_SYMLINKAT, OP_LINK, OP_LINKAT,
    OP_OPEN, OP_OPENAT, OP_OPENAT2, OP_CREAT, OP_TRUNCATE, OP_BIND, OP_SOCKETCALL,
    OP_UTIME, OP_UTIMES, OP_FUTIMESAT, OP_UTIMENSAT, OP_FILE_SETATTR, OP_SET_FLAGS,
    OP_UNLINK, OP_UNLINKAT, OP_RMDIR, OP_RENAME, OP_RENAMEAT, OP_RENAMEAT2, OP_UNMOUNT,
    OP_ACCESS, OP_FACCESSAT, OP_FACCESSAT2,
    OP_SETXATTR, OP_LSETXATTR, OP_FSETXATTR, OP_SETXATTRAT, OP_GETXATTR, OP_LGETXATTR, OP_FGETXATTR, OP_GETXATTRAT,
    OP_LISTXATTR, OP_LLISTXATTR, OP_FLISTXATTR, OP_LISTXATTRAT,
    OP_REMOVEXATTR, OP_LREMOVEXATTR, OP_FREMOVEXATTR, OP_REMOVEXATTRAT,
    OP_GETUID, OP_GETEUID, OP_GETGID, OP_GETEGID, OP_GETRESUID, OP_GETRESGID, OP_GETGROUPS,
    OP_SETUID, OP_SETGID, OP_SETREUID, OP_SETREGID, OP_SETRESUID, OP_SETRESGID, OP_SETFSUID, OP_SETFSGID, OP_SETGROUPS,
    OP_CAPGET, OP_CAPSET, OP_PRCTL, OP_UMASK, OP_EXECVE, OP_EXECVEAT,
    OP_GETSOCKOPT, OP_CHROOT, OP_ROOT_CHANGE, OP_GETRLIMIT, OP_PRLIMIT,
    OP_COUNT
};

/* How the call's structures look; 0 is the native form. */
enum fr_form {
    FORM_NATIVE,
    FORM_ID16,   /* i386: ids of 16 bits */
    FORM_STAT64, /* i386 struct stat64 */
    FORM_STAT32, /* i386 struct stat */
    FORM_OLDSTAT /* i386 struct __old_kernel_stat */
};

enum fr_rule {
    RULE_NOTIFY,     /* always */
    RULE_UNMARKED,   /* unless args[5] == FR_MARKED */
    RULE_BITS_UNMARKED, /* when args[arg] has one of value's bits, unless args[5] == FR_MARKED */
    RULE_BITS,       /* when args[arg] has one of value's bits */
    RULE_EQUAL,      /* when args[arg] == value */
    RULE_SOCKOPT,    /* when args[1] == SOL_SOCKET and args[2] == value */
    RULE_DURABLE,    /* answered 0 (unless --fsync), when args[arg] has one of value's bits; value 0: always */
    RULE_ANSWER_ZERO, /* answered 0 when args[arg] == value */
    RULE_NO_CALL     /* ENOSYS */
};

struct fr_call_rule {
    uint8_t op, form, rule, arg;
    uint32_t value;
    int16_t nr[FR_ARCHES]; /* -1: the architecture has no such call */
};

extern const struct fr_call_rule fr_call_rules[];
extern const size_t fr_call_rule_count;

#define FR_NR_MAX 512

#endif
