/* The preloaded view, shared by shim.c and shim_acts.c: system calls, and what it asks of the table. */
#ifndef IECHOR_SHIM_H
#define IECHOR_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#include "fakeroot_abi.h"
#include "view_look.h"

#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name) __attribute__((visibility("default"), alias(#name)))

#define NOT_FOUND 2 /* ENOENT */
#define BAD_VALUE 22 /* EINVAL */
#define AT_CWD (-100)

#if defined(__x86_64__)
#define NR_STAT 4
#define NR_FSTAT 5
#define NR_LSTAT 6
#define NR_CLOSE 3
#define NR_RENAME 82
#define NR_MKDIR 83
#define NR_RMDIR 84
#define NR_UNLINK 87
#define NR_CHMOD 90
#define NR_FCHMOD 91
#define NR_CHOWN 92
#define NR_FCHOWN 93
#define NR_LCHOWN 94
#define NR_OPENAT 257
#define NR_FCHOWNAT 260
#define NR_FSTATAT 262
#define NR_UNLINKAT 263
#define NR_FCHMODAT 268
#define NR_UTIMENSAT 280
#define NR_SCHED_YIELD 24
#define NR_PRLIMIT 302
#define NR_STATX 332

struct view { /* struct stat */
    uint64_t dev, ino, nlink;
    uint32_t mode, uid, gid, pad;
    uint64_t rdev;
    int64_t size, blksize, blocks;
    int64_t rest[9];
};

/* The mark is in its register during the call and never else, which is why it is no variable: the program's next call,
 * which does not set that register, would pass by it. */
static inline long call_marked(long nr, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long answer;

    __asm__ volatile("movabsq %7, %%r9\n\tsyscall\n\txorl %%r9d, %%r9d"
                     : "=a"(answer)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "i"(FR_MARKED)
                     : "rcx", "r9", "r11", "memory");
    return answer;
}

static inline long call_plain(long nr, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long answer;

    __asm__ volatile("xorl %%r9d, %%r9d\n\tsyscall"
                     : "=a"(answer)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r9", "r11", "memory");
    return answer;
}
#elif defined(__aarch64__)
#define NR_MKDIRAT 34
#define NR_UNLINKAT 35
#define NR_RENAMEAT 38
#define NR_FCHMOD 52
#define NR_FCHMODAT 53
#define NR_FCHOWNAT 54
#define NR_FCHOWN 55
#define NR_OPENAT 56
#define NR_CLOSE 57
#define NR_FSTATAT 79
#define NR_FSTAT 80
#define NR_UTIMENSAT 88
#define NR_SCHED_YIELD 124
#define NR_PRLIMIT 261
#define NR_STATX 291

struct view {
    uint64_t dev, ino;
    uint32_t mode, nlink, uid, gid;
    uint64_t rdev, pad;
    int64_t size;
    int32_t blksize, pad2;
    int64_t blocks;
    int64_t rest[7];
};

static inline long call_marked(long nr, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;

    __asm__ volatile("ldr x5, =%c6\n\tsvc 0\n\tmov x5, xzr"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "i"(FR_MARKED)
                     : "x5", "memory");
    return x0;
}

static inline long call_plain(long nr, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;

    __asm__ volatile("mov x5, xzr\n\tsvc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
                     : "x5", "memory");
    return x0;
}
#endif

extern int *__errno_location(void) __attribute__((weak));

static inline long call(long nr, long a, long b, long c, long d, long e, bool marked)
{
    return marked ? call_marked(nr, a, b, c, d, e) : call_plain(nr, a, b, c, d, e);
}

static inline long answer(long rc)
{
    if (rc >= 0 || rc < -4095)
        return rc;
    if (__errno_location != 0)
        *__errno_location() = (int)-rc;
    return -1;
}

#endif
