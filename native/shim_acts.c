/* The preloaded view, the calls that change files: those that the supervisor would leave to the kernel are marked, and
 * pass the filter. That is so where the process is plain root and the table knows none of the files named. Everything
 * else is made as it came.
 *
 * Whether its process is plain root, with a harmless umask, only the supervisor knows. It is asked once, and again when any
 * process has changed its credentials since (cred_epoch), however it did that.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>

#include "shim.h"

#define PATH_ROOM 4096
#define NO_ID UINT32_MAX
#define S_LINK 0120000U
#define S_DIR 0040000U
#define S_SGID 02000U

extern int __open64(const char *path, int flags, ...) __attribute__((weak)); /* glibc's own: a cancellation point */

/* --- what is asked of the supervisor, and of the table --- */

static bool is_plain(void)
{
    static uint64_t told; /* epoch << 1 | plain; a process that asks once only does not ask */
    static bool used;     /* (nothing is added to by an atomic: on aarch64 that is a call into libgcc) */
    uint64_t epoch, now;

    if (table == NULL || !__atomic_load_n(&table->open, __ATOMIC_ACQUIRE))
        return 0;
    epoch = __atomic_load_n(&table->cred_epoch, __ATOMIC_ACQUIRE);
    now = __atomic_load_n(&told, __ATOMIC_RELAXED);
    if (now >> 1 == epoch)
        return (now & 1) != 0;
    if (!__atomic_load_n(&used, __ATOMIC_RELAXED)) {
        __atomic_store_n(&used, true, __ATOMIC_RELAXED);
        return 0;
    }
    now = epoch << 1 | (call_marked(NR_PRLIMIT, 0, FR_RLIMIT_LOCKS, 0, 0, 0) == 1);
    __atomic_store_n(&told, now, __ATOMIC_RELAXED);
    return (now & 1) != 0;
}

enum known { MISSING, UNKNOWN, KNOWN, DOUBTFUL };

static enum known known(long rc, const struct view *st, struct ot_entry *entry)
{
    if (rc < 0)
        return rc == -NOT_FOUND ? MISSING : DOUBTFUL;
    switch (look(st->dev, st->ino, st->nlink, st->mode, entry)) {
    case NO_RECORD:
        return UNKNOWN;
    case RECORD:
        return KNOWN;
    default:
        return DOUBTFUL;
    }
}

static enum known find_path(int dir, const char *path, int flags, struct view *st)
{
    struct ot_entry entry;

    return known(call_marked(NR_FSTATAT, dir, (long)path, (long)st, flags, 0), st, &entry);
}

static enum known find_fd(int fd, struct view *st)
{
    struct ot_entry entry;

    return known(call_marked(NR_FSTAT, fd, (long)st, 0, 0, 0), st, &entry);
}

/* Does the folder that holds `path` hand nothing on to what is made in it? */
static bool is_plain_folder(int dir, const char *path, struct view *st)
{
    char folder[PATH_ROOM];
    size_t length = 0, end = 0;
    struct ot_entry entry;
    enum known found;

    for (; path[length] != 0; length++) {
        if (length == PATH_ROOM - 2)
            return 0;
        folder[length] = path[length];
        if (path[length] == '/')
            end = length + 1;
    }
    if (end == length) /* nothing, or a slash at the end */
        return 0;
    folder[end] = '.';
    folder[end + 1] = 0;
    found = known(call_marked(NR_FSTATAT, dir, (long)folder, (long)st, 0, 0), st, &entry);
    return found == UNKNOWN || (found == KNOWN && !(entry.mode & S_SGID));
}

/* May it be made by the kernel alone, once it is known not to be there? needed: rights the disk must have. */
static bool is_plain_birth(int dir, const char *path, unsigned mode, unsigned needed, bool mended)
{
    struct view folder;

    if (table->default_acls || !is_plain_folder(dir, path, &folder))
        return 0;
    return (mode & needed) == needed || (mended && table->mends && folder.dev == table->devs[0]);
}

/* --- open --- */

static bool mark_for_open(int dir, const char *path, int flags, unsigned mode)
{
    struct view st;
    enum known found;

    if (!(flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC)) || (flags & (FR_O_TMPFILE | 010000000 /* O_PATH */)) ||
        !is_plain())
        return false;
    if (!(flags & O_CREAT))
        return find_path(dir, path, flags & O_NOFOLLOW ? FR_AT_SYMLINK_NOFOLLOW : 0, &st) == UNKNOWN;
    if (!(flags & O_EXCL)) {
        found = find_path(dir, path, FR_AT_SYMLINK_NOFOLLOW, &st);
        if (found == UNKNOWN && (st.mode & S_FMT) != S_LINK)
            return true;
        if (found != MISSING)
            return false;
    }
    return is_plain_birth(dir, path, mode, 0400, true);
}

static int open_any(int dir, const char *path, int flags, unsigned mode)
{
    bool mark = mark_for_open(dir, path, flags, mode);

    if (!mark && dir == AT_CWD && __open64 != NULL)
        return __open64(path, flags, mode);
    return (int)answer(call(NR_OPENAT, dir, (long)path, flags, mode, 0, mark));
}

static unsigned mode_of(int flags, va_list rest)
{
    return flags & (O_CREAT | FR_O_TMPFILE) ? va_arg(rest, unsigned) : 0;
}

EXPORT int view_open(const char *path, int flags, ...) __asm__("open");
EXPORT int view_openat(int dir, const char *path, int flags, ...) __asm__("openat");
EXPORT int view_creat(const char *path, unsigned mode) __asm__("creat");

int view_open(const char *path, int flags, ...)
{
    va_list rest;
    unsigned mode;

    va_start(rest, flags);
    mode = mode_of(flags, rest);
    va_end(rest);
    return open_any(AT_CWD, path, flags, mode);
}

int view_openat(int dir, const char *path, int flags, ...)
{
    va_list rest;
    unsigned mode;

    va_start(rest, flags);
    mode = mode_of(flags, rest);
    va_end(rest);
    return open_any(dir, path, flags, mode);
}

int view_creat(const char *path, unsigned mode) { return open_any(AT_CWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int view_open64(const char *, int, ...) __asm__("open64") ALIAS(open);
int view_openat64(int, const char *, int, ...) __asm__("openat64") ALIAS(openat);
int view_creat64(const char *, unsigned) __asm__("creat64") ALIAS(creat);

/* --- names --- */

/* A name that goes, for which the supervisor has nothing to do. */
static bool mark_for_removal(int dir, const char *path)
{
    struct view st;
    enum known found;

    if (table == NULL)
        return false;
    found = find_path(dir, path, FR_AT_SYMLINK_NOFOLLOW, &st);
    return found == MISSING || (found == UNKNOWN && is_plain());
}

EXPORT int rename(const char *from, const char *to)
{
    bool mark = mark_for_removal(AT_CWD, from);
    struct view st;

    if (mark && find_path(AT_CWD, to, FR_AT_SYMLINK_NOFOLLOW, &st) > UNKNOWN)
        mark = false;
#ifdef NR_RENAME
    return (int)answer(call(NR_RENAME, (long)from, (long)to, 0, 0, 0, mark));
#else
    return (int)answer(call(NR_RENAMEAT, AT_CWD, (long)from, AT_CWD, (long)to, 0, mark));
#endif
}

EXPORT int unlinkat(int dir, const char *path, int flags)
{
    return (int)answer(call(NR_UNLINKAT, dir, (long)path, flags, 0, 0, mark_for_removal(dir, path)));
}

EXPORT int rmdir(const char *path)
{
#ifdef NR_RMDIR
    return (int)answer(call(NR_RMDIR, (long)path, 0, 0, 0, 0, mark_for_removal(AT_CWD, path)));
#else
    return unlinkat(AT_CWD, path, FR_AT_REMOVEDIR);
#endif
}

EXPORT int unlink(const char *path)
{
#ifdef NR_UNLINK
    return (int)answer(call(NR_UNLINK, (long)path, 0, 0, 0, 0, mark_for_removal(AT_CWD, path)));
#else
    return unlinkat(AT_CWD, path, 0);
#endif
}

EXPORT int mkdir(const char *path, unsigned mode)
{
    struct view st;
    enum known found;
    bool mark = false;

    if (is_plain()) {
        found = find_path(AT_CWD, path, FR_AT_SYMLINK_NOFOLLOW, &st);
        if (found == UNKNOWN || found == KNOWN || (found == MISSING && is_plain_birth(AT_CWD, path, mode, 0700, false)))
            mark = true;
    }
#ifdef NR_MKDIR
    return (int)answer(call(NR_MKDIR, (long)path, mode, 0, 0, 0, mark));
#else
    return (int)answer(call(NR_MKDIRAT, AT_CWD, (long)path, mode, 0, 0, mark));
#endif
}

/* --- owners, modes, times --- */

static bool is_root_or_none(uint32_t id) { return id == 0 || id == NO_ID; }

static bool mark_for_chown(int dir, const char *path, uint32_t uid, uint32_t gid, int flags)
{
    struct view st;

    return is_root_or_none(uid) && is_root_or_none(gid) && is_plain() &&
                   (path != NULL ? find_path(dir, path, flags, &st) : find_fd(dir, &st)) == UNKNOWN;
}

EXPORT int fchownat(int dir, const char *path, uint32_t uid, uint32_t gid, int flags)
{
    bool mark = (flags & ~(FR_AT_SYMLINK_NOFOLLOW | FR_AT_EMPTY_PATH)) == 0 && path != NULL &&
                mark_for_chown(dir, path, uid, gid, flags);

    return (int)answer(call(NR_FCHOWNAT, dir, (long)path, uid, gid, flags, mark));
}

EXPORT int chown(const char *path, uint32_t uid, uint32_t gid)
{
#ifdef NR_CHOWN
    return (int)answer(call(NR_CHOWN, (long)path, uid, gid, 0, 0, mark_for_chown(AT_CWD, path, uid, gid, 0)));
#else
    return fchownat(AT_CWD, path, uid, gid, 0);
#endif
}

EXPORT int lchown(const char *path, uint32_t uid, uint32_t gid)
{
#ifdef NR_LCHOWN
    return (int)answer(call(NR_LCHOWN, (long)path, uid, gid, 0, 0,
                             mark_for_chown(AT_CWD, path, uid, gid, FR_AT_SYMLINK_NOFOLLOW)));
#else
    return fchownat(AT_CWD, path, uid, gid, FR_AT_SYMLINK_NOFOLLOW);
#endif
}

EXPORT int fchown(int fd, uint32_t uid, uint32_t gid)
{
    return (int)answer(call(NR_FCHOWN, fd, uid, gid, 0, 0, mark_for_chown(fd, NULL, uid, gid, 0)));
}

/* Is it a mode that the disk can have (fr_disk_mode)? */
static bool mark_for_chmod(enum known found, const struct view *st, unsigned mode)
{
    if (found != UNKNOWN || (mode & ~07777U) != 0)
        return false;
    if ((st->mode & S_FMT) == S_DIR)
        return (mode & 0700) == 0700;
    return (mode & ~01777U) == 0 && (mode & 0400);
}

EXPORT int fchmod(int fd, unsigned mode)
{
    struct view st;

    return (int)answer(call(NR_FCHMOD, fd, mode, 0, 0, 0, is_plain() && mark_for_chmod(find_fd(fd, &st), &st, mode)));
}

EXPORT int chmod(const char *path, unsigned mode)
{
    struct view st;
    bool mark = is_plain() && mark_for_chmod(find_path(AT_CWD, path, 0, &st), &st, mode);

#ifdef NR_CHMOD
    return (int)answer(call(NR_CHMOD, (long)path, mode, 0, 0, 0, mark));
#else
    return (int)answer(call(NR_FCHMODAT, AT_CWD, (long)path, mode, 0, 0, mark));
#endif
}

struct moment { /* struct timespec, struct timeval */
    int64_t seconds, part;
};

/* Times are the kernel's to set, whoever asks; the supervisor wants to know of a copy-up of what it knows. */
static int set_times(int dir, const char *path, const struct moment times[2], int flags)
{
    struct view st;
    enum known found = DOUBTFUL;

    if (table != NULL)
        found = path != NULL ? find_path(dir, path, flags, &st) : find_fd(dir, &st);
    return (int)answer(call(NR_UTIMENSAT, dir, (long)path, (long)times, flags, 0, found <= UNKNOWN));
}

EXPORT int utimensat(int dir, const char *path, const struct moment times[2], int flags)
{
    return path == NULL ? (int)answer(-BAD_VALUE) : set_times(dir, path, times, flags);
}

EXPORT int futimens(int fd, const struct moment times[2]) { return set_times(fd, NULL, times, 0); }

static int set_micro(const char *path, const struct moment times[2], int flags)
{
    struct moment fine[2];

    for (int i = 0; times != NULL && i < 2; i++) {
        if (times[i].part < 0 || times[i].part >= 1000000)
            return (int)answer(-BAD_VALUE);
        fine[i].seconds = times[i].seconds;
        fine[i].part = times[i].part * 1000;
    }
    return set_times(AT_CWD, path, times != NULL ? fine : NULL, flags);
}

EXPORT int utimes(const char *path, const struct moment times[2])
{
    return path == NULL ? (int)answer(-14 /* EFAULT */) : set_micro(path, times, 0);
}

EXPORT int lutimes(const char *path, const struct moment times[2])
{
    return path == NULL ? (int)answer(-14) : set_micro(path, times, FR_AT_SYMLINK_NOFOLLOW);
}
