/* faults.so, for LD_PRELOAD: at the Nth call that changes a file system, end the process (or its whole group), or let
 * the call fail as a full or broken disk would.
 *
 * The counter is shared by every process of a command through FAULTS, a file of struct plan. Only calls on files
 * count: writes to pipes, sockets and terminals pass. Test code; not part of the product.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { COUNT, KILL_SELF, KILL_GROUP, FAIL_ONCE, FAIL_ON };

struct plan {
    uint64_t count;  /* calls so far */
    uint64_t at;     /* which one is hit; from 1 */
    uint64_t mode;
    uint64_t error;  /* an errno, for FAIL_*, and for COUNT of what can fail so */
    uint64_t hit;    /* how many were */
};

static struct plan *plan;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) plan = at;
    close(fd);
}

/* grows: the call needs room on the disk; no other can fail for want of it, so no other is counted then. Returns an
 * errno, or 0. */
static int strike(int grows) {
    if (!plan || (!grows && (plan->error == ENOSPC || plan->error == EDQUOT))) return 0;
    uint64_t number = __atomic_add_fetch(&plan->count, 1, __ATOMIC_SEQ_CST);
    if (plan->mode == COUNT || number < plan->at) return 0;
    if (plan->mode == KILL_SELF || plan->mode == KILL_GROUP) {
        if (number != plan->at) return 0;
        plan->hit++;
        kill(plan->mode == KILL_GROUP ? 0 : getpid(), SIGKILL);
        return 0;
    }
    if (plan->mode == FAIL_ONCE && plan->hit) return 0;
    plan->hit++;
    return (int)plan->error;
}

static int on_disk(int fd) {
    struct stat status;
    int kept = errno, found = fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
    errno = kept;
    return found;
}

#define NEXT(name) static __typeof__(&name) next; if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAIL(grows) do { int error = strike(grows); if (error) { errno = error; return -1; } } while (0)
#define CALL(type, name, grows, params, args) \
    type name params { NEXT(name); FAIL(grows); return next args; }
#define ON_FD(type, name, fd, grows, params, args) \
    type name params { NEXT(name); if (on_disk(fd)) FAIL(grows); return next args; }
#define OPENS(name, first, args) \
    int name first { \
        NEXT(name); mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); } \
        if (flags & (O_CREAT | O_TRUNC)) FAIL(1); \
        return next args; \
    }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
OPENS(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
ON_FD(ssize_t, write, fd, 1, (int fd, const void *data, size_t size), (fd, data, size))
ON_FD(ssize_t, pwrite64, fd, 1, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
ON_FD(ssize_t, copy_file_range, to, 1,
      (int from, off64_t *start, int to, off64_t *at, size_t size, unsigned flags), (from, start, to, at, size, flags))
ON_FD(ssize_t, sendfile64, to, 1, (int to, int from, off64_t *at, size_t size), (to, from, at, size))
ON_FD(int, ftruncate64, fd, 1, (int fd, off64_t size), (fd, size))
ON_FD(int, ftruncate, fd, 1, (int fd, off_t size), (fd, size))
ON_FD(ssize_t, pwrite, fd, 1, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
ON_FD(ssize_t, writev, fd, 1, (int fd, const struct iovec *parts, int count), (fd, parts, count))
ON_FD(int, fdatasync, fd, 1, (int fd), (fd))
ON_FD(int, fsync, fd, 1, (int fd), (fd))
CALL(int, rename, 1, (const char *from, const char *to), (from, to))
CALL(int, renameat, 1, (int a, const char *from, int b, const char *to), (a, from, b, to))
CALL(int, mkdir, 1, (const char *path, mode_t mode), (path, mode))
CALL(int, mkdirat, 1, (int dir, const char *path, mode_t mode), (dir, path, mode))
CALL(int, symlink, 1, (const char *target, const char *path), (target, path))
CALL(int, symlinkat, 1, (const char *target, int dir, const char *path), (target, dir, path))
CALL(int, link, 1, (const char *from, const char *to), (from, to))
CALL(int, linkat, 1, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
CALL(int, unlink, 0, (const char *path), (path))
CALL(int, unlinkat, 0, (int dir, const char *path, int flags), (dir, path, flags))
CALL(int, rmdir, 0, (const char *path), (path))
CALL(int, mkfifo, 1, (const char *path, mode_t mode), (path, mode))
CALL(int, mknod, 1, (const char *path, mode_t mode, dev_t device), (path, mode, device))
CALL(int, setxattr, 1, (const char *path, const char *name, const void *value, size_t size, int flags),
     (path, name, value, size, flags))
CALL(int, lsetxattr, 1, (const char *path, const char *name, const void *value, size_t size, int flags),
     (path, name, value, size, flags))
ON_FD(int, fsetxattr, fd, 1, (int fd, const char *name, const void *value, size_t size, int flags),
      (fd, name, value, size, flags))
ON_FD(int, fchmod, fd, 0, (int fd, mode_t mode), (fd, mode))
CALL(int, chmod, 0, (const char *path, mode_t mode), (path, mode))
CALL(int, fchmodat, 0, (int dir, const char *path, mode_t mode, int flags), (dir, path, mode, flags))
CALL(int, utimensat, 0, (int dir, const char *path, const struct timespec times[2], int flags),
     (dir, path, times, flags))

/* The C extension makes calls that glibc has no function for. */
long syscall(long number, ...) {
    NEXT(syscall);
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_copy_file_range || number == SYS_renameat2) FAIL(1);
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
