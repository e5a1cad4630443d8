/* The preloaded view: root's view of files without asking the supervisor. Lent to programs of glibc by fr_lend.c, which
 * puts the owner table behind this object in one file, so that ld.so itself maps it.
 *
 *   stat family ──▶ the same call, marked, which the filter lets pass ──▶ owner and mode from the table
 *                   the table is being changed, or closed, or in doubt ──▶ the call as it came: the supervisor answers
 *   what changes files: shim_acts.c
 *
 * Freestanding: no libc is linked, nothing is allocated, no lock is taken, no thread-local is touched; so it may be
 * called from signal handlers, after vfork, and before any constructor has run.
 */
#include "shim.h"

struct ot_shared *table;

/* --- the stat family --- */

static int view(long nr, long a, long b, long c, long d, struct view *st)
{
    struct ot_entry entry;
    long rc;

    if (table == 0)
        return (int)answer(call_plain(nr, a, b, c, d, 0));
    rc = call_marked(nr, a, b, c, d, 0);
    if (rc < 0)
        return (int)answer(rc);
    switch (look(st->dev, st->ino, st->nlink, st->mode, &entry)) {
    case ASK:
        return (int)answer(call_plain(nr, a, b, c, d, 0));
    case RECORD:
        st->mode = entry.mode;
        st->uid = entry.uid;
        st->gid = entry.gid;
        st->rdev = entry.rdev;
        if ((entry.mode & S_FMT) == S_CHAR || (entry.mode & S_FMT) == S_BLOCK)
            st->size = st->blocks = 0;
        break;
    default:
        break;
    }
    return 0;
}

EXPORT int fstatat(int dir, const char *path, struct view *st, int flags)
{
    return view(NR_FSTATAT, dir, (long)path, (long)st, flags, st);
}

EXPORT int stat(const char *path, struct view *st) { return fstatat(AT_CWD, path, st, 0); }

EXPORT int lstat(const char *path, struct view *st) { return fstatat(AT_CWD, path, st, FR_AT_SYMLINK_NOFOLLOW); }

EXPORT int fstat(int fd, struct view *st) { return view(NR_FSTAT, fd, (long)st, 0, 0, st); }

int fstatat64(int, const char *, struct view *, int) ALIAS(fstatat);
int stat64(const char *, struct view *) ALIAS(stat);
int lstat64(const char *, struct view *) ALIAS(lstat);
int fstat64(int, struct view *) ALIAS(fstat);

/* Before glibc 2.33. Versions 0 and 1 are the kernel's structure on these machines. */
EXPORT int __xstat(int version, const char *path, struct view *st)
{
    if (version != 0 && version != 1)
        return (int)answer(-BAD_VALUE);
#ifdef NR_STAT
    return view(NR_STAT, (long)path, (long)st, 0, 0, st);
#else
    return stat(path, st);
#endif
}

EXPORT int __lxstat(int version, const char *path, struct view *st)
{
    if (version != 0 && version != 1)
        return (int)answer(-BAD_VALUE);
#ifdef NR_LSTAT
    return view(NR_LSTAT, (long)path, (long)st, 0, 0, st);
#else
    return lstat(path, st);
#endif
}

EXPORT int __fxstat(int version, int fd, struct view *st)
{
    return version == 0 || version == 1 ? fstat(fd, st) : (int)answer(-BAD_VALUE);
}

EXPORT int __fxstatat(int version, int dir, const char *path, struct view *st, int flags)
{
    return version == 0 || version == 1 ? fstatat(dir, path, st, flags) : (int)answer(-BAD_VALUE);
}

int __xstat64(int, const char *, struct view *) ALIAS(__xstat);
int __lxstat64(int, const char *, struct view *) ALIAS(__lxstat);
int __fxstat64(int, int, struct view *) ALIAS(__fxstat);
int __fxstatat64(int, int, const char *, struct view *, int) ALIAS(__fxstatat);

EXPORT int statx(int dir, const char *path, int flags, unsigned mask, struct fr_statx *stx)
{
    unsigned more = table != 0 ? mask | FR_STATX_BASIC : mask;
    struct ot_entry entry;
    uint64_t dev;
    long rc = call(NR_STATX, dir, (long)path, flags, (long)more, (long)stx, table != 0);

    if (rc < 0 || table == 0)
        return (int)answer(rc);
    dev = ((uint64_t)stx->dev_minor & 0xff) | ((uint64_t)stx->dev_major << 8) |
          (((uint64_t)stx->dev_minor & ~0xffULL) << 12);
    switch (look(dev, stx->ino, stx->nlink, stx->mode, &entry)) {
    case ASK:
        return (int)answer(call_plain(NR_STATX, dir, (long)path, flags, (long)mask, (long)stx));
    case RECORD:
        stx->mode = entry.mode;
        stx->uid = entry.uid;
        stx->gid = entry.gid;
        if ((entry.mode & S_FMT) == S_CHAR || (entry.mode & S_FMT) == S_BLOCK) {
            stx->rdev_major = ot_rdev_major(entry.rdev);
            stx->rdev_minor = ot_rdev_minor(entry.rdev);
            stx->size = stx->blocks = 0;
        }
        break;
    default:
        break;
    }
    return 0;
}

/* --- the beginning --- */

extern const char image[] __asm__("__ehdr_start") __attribute__((visibility("hidden")));

struct link_map { /* link.h */
    uint64_t addr;
    const char *name;
    void *dynamic;
    struct link_map *next, *previous;
};

struct debug {
    int version;
    struct link_map *first;
};
extern struct debug _r_debug __attribute__((weak));

struct program_header { /* Elf64_Phdr */
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

static struct ot_shared *find_table(void)
{
    const struct program_header *headers = (const void *)(image + *(const uint64_t *)(const void *)(image + 32));
    unsigned count = *(const uint16_t *)(const void *)(image + 56);

    for (unsigned i = 0; i < count; i++)
        if (headers[i].type == 1 && headers[i].vaddr == SHARED_VADDR)
            return (struct ot_shared *)(void *)(uintptr_t)(image + SHARED_VADDR);
    return 0;
}

static void give_back(unsigned fd, uint64_t ino, const struct ot_shared *shared)
{
    struct view st;

    if (call_marked(NR_FSTAT, fd, (long)&st, 0, 0, 0) == 0 && st.dev == shared->lent_dev && st.ino == ino)
        call_plain(NR_CLOSE, fd, 0, 0, 0, 0);
}

/* "/proc/self/fd/N": the descriptors that carried us here are closed, before the program sees them. */
static void close_lent(const char *name, const struct ot_shared *shared)
{
    unsigned fd = 0;
    const char *at = name;

    while (*at != 0)
        at++;
    while (at > name && at[-1] >= '0' && at[-1] <= '9')
        at--;
    for (; *at != 0; at++)
        fd = fd * 10 + (unsigned)(*at - '0');
    if (fd >= SHARED_LISTS)
        return;
    for (unsigned list = fd + 1; list < fd + 8; list++)
        give_back(list, shared->list_inos[fd], shared);
    give_back(fd, shared->lent_ino, shared);
}

static void nothing(void) {}

/* Run by ld.so while it relocates us, before any constructor: so what looks for the first library of a program
 * (AddressSanitizer refuses to be the second) finds one without a name, which it passes over as it does the vDSO. */
static void (*begin(void))(void)
{
    struct ot_shared *shared = find_table();

    if (shared == 0 || &_r_debug == 0)
        return nothing;
    for (struct link_map *map = _r_debug.first; map != 0; map = map->next)
        if (map->addr == (uint64_t)(uintptr_t)image) {
            close_lent(map->name, shared);
            map->name = "";
        }
    table = shared;
    return nothing;
}

static void start(void) __attribute__((ifunc("begin")));
__attribute__((used)) static void (*const start_address)(void) = start; /* wants the resolver run at once */
