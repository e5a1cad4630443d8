/* A caller's path, resolved exactly as the caller would.
 *
 * We stand in the container's mount namespace with the caller's root as our own, so absolute names, absolute symlinks
 * and ".." mean the same to us. Relative names start at /proc/TID/cwd or /proc/TID/fd/N of *our* procfs (proc_fd,
 * which is also our working directory). What differs is "self": in the container's /proc it names nobody, or us.
 * So the quick way refuses magic links, and when it fails the path is walked part by part, "self" becoming the caller.
 * No look-up may ever stand in proc_fd itself and go on with a caller's "..": that would lead to the host's root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fr_super.h"

#define LINKS_MAX 40 /* path_resolution(7) */
#define PROC_ROOT_INO 1

int fr_stat_fd(int fd, struct stat *st) { return fstatat(fd, "", st, AT_EMPTY_PATH) < 0 ? -errno : 0; }

static int root_id(int dir, const char *path, struct fr_root_id *id)
{
    struct fr_statx stx;

    if (syscall(SYS_statx, dir, path, 0, FR_STATX_INO | FR_STATX_MNT_ID, &stx) < 0)
        return -errno;
    id->dev = ((uint64_t)stx.dev_major << 32) | stx.dev_minor;
    id->ino = stx.ino;
    id->mount = stx.mask & FR_STATX_MNT_ID ? stx.mnt_id : 0;
    return 0;
}

int fr_find_home(struct fr_super *super) { return root_id(super->root_fd, ".", &super->home); }

bool fr_is_at_home(struct fr_call *call)
{
    struct fr_root_id id;
    char name[32];

    if (!call->super->roots_vary)
        return true;
    snprintf(name, sizeof name, "%d/root", call->tid);
    return root_id(call->super->proc_fd, name, &id) == 0 && memcmp(&id, &call->super->home, sizeof id) == 0;
}

int fr_enter_root(struct fr_call *call)
{
    struct fr_super *super = call->super;
    struct fr_root_id id;
    char name[32];
    int fd, rc;

    snprintf(name, sizeof name, "%d/root", call->tid);
    rc = root_id(super->proc_fd, name, &id);
    if (rc < 0 || memcmp(&id, &super->root, sizeof id) == 0)
        return rc;
    fd = openat(super->proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = fchdir(fd) < 0 || chroot(".") < 0 ? -errno : 0;
    if (fchdir(super->proc_fd) < 0)
        rc = -errno;
    if (rc == 0)
        super->root = id;
    close(fd);
    return rc;
}

static int open_base(struct fr_call *call, int dirfd)
{
    char name[64];
    int fd;

    if (dirfd == AT_FDCWD)
        snprintf(name, sizeof name, "%d/cwd", call->tid);
    else
        snprintf(name, sizeof name, "%d/fd/%d", call->tid, dirfd);
    if (dirfd != AT_FDCWD && dirfd < 0)
        return -EBADF;
    fd = openat(call->super->proc_fd, name, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT && dirfd != AT_FDCWD ? -EBADF : -errno;
    return fd;
}

int fr_open_fd(struct fr_call *call, int fd) { return open_base(call, fd); }

/* --- the walk --- */

struct walk {
    struct fr_call *call;
    int at;       /* where we are, O_PATH */
    char *rest;   /* what is left of the path */
    char *buffer; /* 2 * FR_PATH_MAX + 2 bytes, rest points into it */
    int links;
    bool follow;
};

static int step_to(struct walk *walk, int fd)
{
    if (fd < 0)
        return -errno;
    close(walk->at);
    walk->at = fd;
    return 0;
}

/* Puts a symlink's text before what is left. slash: one came after its name. */
static int prepend_link(struct walk *walk, int link, bool slash)
{
    char *text = walk->call->super->scratch;
    ssize_t length = readlinkat(link, "", text, FR_PATH_MAX);
    size_t left = strlen(walk->rest);

    if (length < 0)
        return -errno;
    if (length == 0)
        return -ENOENT;
    if ((size_t)length + 1 + left >= FR_PATH_MAX * 2)
        return -ENAMETOOLONG;
    memmove(walk->buffer + length + 1, walk->rest, left + 1);
    memcpy(walk->buffer, text, (size_t)length);
    walk->buffer[length] = '/';
    if (left == 0 && !slash) /* else a folder is demanded, and a symlink there is followed, too */
        walk->buffer[length] = 0;
    walk->rest = walk->buffer;
    return walk->buffer[0] == '/' ? step_to(walk, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) : 0;
}

/* "self" of the procfs we stand in: the caller's number there. It stays in that procfs, so that ".." leads where the
 * caller's would: our own proc_fd lies in another mount tree, whose ".." is the host. */
static int enter_self(struct walk *walk, bool thread)
{
    struct fr_super *super = walk->call->super;
    struct fr_status process, task;
    char target[64];
    pid_t tgid, tid;

    if (fr_status_of(super, walk->call->tid, &task) < 0 || fr_status_of(super, task.tgid, &process) < 0)
        return -ESRCH;
    tgid = super->self_is_ours ? task.tgid : process.inner_pid;
    tid = super->self_is_ours ? walk->call->tid : task.inner_pid;
    if (thread)
        snprintf(target, sizeof target, "%d/task/%d", tgid, tid);
    else
        snprintf(target, sizeof target, "%d", tgid);
    return step_to(walk, openat(walk->at, target, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* A symlink of a procfs: "self" is the caller, a link below a pid is magic, others are plain. */
static int follow_proc(struct walk *walk, const char *name, int link, bool slash)
{
    struct stat parent;

    if (fr_stat_fd(walk->at, &parent) < 0)
        return -ENOENT;
    if (parent.st_ino != PROC_ROOT_INO)
        return step_to(walk, openat(walk->at, name, O_PATH | O_CLOEXEC | (slash ? O_DIRECTORY : 0)));
    if (strcmp(name, "self") == 0 || strcmp(name, "thread-self") == 0)
        return enter_self(walk, name[0] == 't');
    return prepend_link(walk, link, slash);
}

static int follow_link(struct walk *walk, const char *name, int link, bool slash)
{
    struct statfs fs;

    if (++walk->links > LINKS_MAX)
        return -ELOOP;
    if (fstatfs(link, &fs) == 0 && fs.f_type == FR_PROC_SUPER_MAGIC)
        return follow_proc(walk, name, link, slash);
    return prepend_link(walk, link, slash);
}

/* One part of the path. */
static int step(struct walk *walk, const char *name, bool last, bool slash)
{
    struct stat st;
    int fd, rc;

    if (strcmp(name, ".") == 0)
        return step_to(walk, openat(walk->at, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (strcmp(name, "..") == 0) /* the kernel stops at our root, which is the caller's */
        return step_to(walk, openat(walk->at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    fd = openat(walk->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = fr_stat_fd(fd, &st);
    if (rc == 0 && S_ISLNK(st.st_mode) && (!last || walk->follow || slash)) {
        rc = follow_link(walk, name, fd, slash);
        close(fd);
        return rc;
    }
    if (rc == 0 && slash && !S_ISDIR(st.st_mode))
        rc = -ENOTDIR;
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return step_to(walk, fd);
}

static int walk_parts(struct walk *walk)
{
    int rc = 0;

    while (rc == 0) {
        char name[NAME_MAX + 1];
        size_t length;
        bool slash;

        while (*walk->rest == '/')
            walk->rest++;
        length = strcspn(walk->rest, "/");
        if (length == 0)
            return 0;
        if (length > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, walk->rest, length);
        name[length] = 0;
        walk->rest += length;
        slash = *walk->rest == '/';
        while (*walk->rest == '/')
            walk->rest++;
        rc = step(walk, name, *walk->rest == 0, slash);
    }
    return rc;
}

static int walk_from(struct fr_call *call, int base, const char *text, unsigned flags)
{
    struct walk walk = {.call = call, .follow = (flags & FR_FOLLOW) != 0};
    int rc;

    walk.at = text[0] == '/' ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) : fcntl(base, F_DUPFD_CLOEXEC, 0);
    if (walk.at < 0)
        return -errno;
    walk.buffer = malloc(FR_PATH_MAX * 2 + 2);
    if (walk.buffer == NULL) {
        close(walk.at);
        return -ENOMEM;
    }
    snprintf(walk.buffer, FR_PATH_MAX * 2, "%s", text);
    walk.rest = walk.buffer;
    rc = walk_parts(&walk);
    free(walk.buffer);
    if (rc < 0) {
        close(walk.at);
        return rc;
    }
    return walk.at;
}

/* --- opening --- */

int fr_open_from(struct fr_call *call, int base, const char *text, unsigned flags)
{
    struct fr_open_how how = {
        .flags = O_PATH | O_CLOEXEC | (flags & FR_FOLLOW ? 0 : O_NOFOLLOW),
        .resolve = FR_RESOLVE_NO_MAGICLINKS,
    };
    int fd;

    if (call->super->self_is_ours)
        return walk_from(call, base, text, flags);
    fd = (int)syscall(FR_NR_OPENAT2, base, text, &how, sizeof how);
    if (fd >= 0)
        return fd;
    if (errno == ENOENT || errno == ELOOP || errno == ENOSYS)
        return walk_from(call, base, text, flags);
    return -errno;
}

int fr_open_path(struct fr_call *call, int dirfd, const char *text, unsigned flags)
{
    int base, fd;

    if (text[0] == 0 && !(flags & FR_EMPTY_OK))
        return -ENOENT;
    if (text[0] == '/')
        return fr_open_from(call, -1, text, flags);
    base = open_base(call, dirfd);
    if (base < 0 || text[0] == 0)
        return base;
    fd = fr_open_from(call, base, text, flags);
    close(base);
    return fd;
}

/* Splits off the last part: its name goes into place, the length of what is before it is returned (or as below). */
static long split(const char *text, struct fr_place *place)
{
    size_t end = strlen(text), start;

    place->dir = -1;
    place->slash = end > 0 && text[end - 1] == '/';
    while (end > 0 && text[end - 1] == '/')
        end--;
    for (start = end; start > 0 && text[start - 1] != '/';)
        start--;
    if (end == start || strncmp(text + start, "..", end - start) == 0)
        return FR_CONTINUE; /* "", "/", ".", ".." */
    if (end - start > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(place->name, text + start, end - start);
    place->name[end - start] = 0;
    return (long)start;
}

long fr_open_parent_from(struct fr_call *call, int base, const char *text, struct fr_place *place)
{
    long start = split(text, place);
    char *folder;

    if (start < 0)
        return start;
    if (start == 0) {
        place->dir = fcntl(base, F_DUPFD_CLOEXEC, 0);
        return place->dir < 0 ? -errno : 0;
    }
    folder = strndup(text, (size_t)start);
    if (folder == NULL)
        return -ENOMEM;
    place->dir = fr_open_from(call, base, folder, FR_FOLLOW);
    free(folder);
    return place->dir < 0 ? place->dir : 0;
}

long fr_open_parent(struct fr_call *call, int dirfd, const char *text, struct fr_place *place)
{
    int base = -1;
    long rc;

    place->dir = -1;
    if (!fr_still_there(call))
        return -ESRCH;
    if (text[0] != '/') {
        base = open_base(call, dirfd);
        if (base < 0)
            return base;
    }
    rc = fr_open_parent_from(call, base, text, place);
    if (base >= 0)
        close(base);
    return rc;
}

/* --- the quick look --- */

/* ENOENT: is it sure that nothing is there, or could the path go through a "self" that we do not have? */
static bool surely_absent(struct fr_call *call, int base, const char *text, bool follow)
{
    struct stat st;
    const char *slash = strrchr(text, '/');
    char *folder = call->super->scratch;

    if (follow && fstatat(base, text, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return false; /* a link that dangles, for us */
    if (slash == NULL || slash == text)
        return true;
    if (folder != text) {
        memcpy(folder, text, (size_t)(slash - text));
        folder[slash - text] = 0;
    } else {
        folder[slash - text] = 0;
    }
    return fstatat(base, folder, &st, 0) == 0;
}

static int stat_slowly(struct fr_call *call, int dirfd, const char *text, unsigned flags, struct stat *st)
{
    int fd = fr_open_path(call, dirfd, text, flags), rc;

    if (fd < 0)
        return fd;
    rc = fr_stat_fd(fd, st);
    close(fd);
    return rc;
}

int fr_stat_path(struct fr_call *call, int dirfd, const char *text, unsigned flags, struct stat *st)
{
    char *full = call->super->scratch;
    int how = flags & FR_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW, length;
    const char *at = full;

    if (text[0] == 0 && !(flags & FR_EMPTY_OK))
        return -ENOENT;
    if (call->super->self_is_ours)
        return stat_slowly(call, dirfd, text, flags, st);
    if (text[0] == '/') {
        at = text;
    } else {
        if (dirfd != AT_FDCWD && dirfd < 0)
            return -EBADF;
        if (dirfd == AT_FDCWD)
            length = snprintf(full, sizeof call->super->scratch, "%d/cwd%s%s", call->tid, text[0] ? "/" : "", text);
        else
            length = snprintf(full, sizeof call->super->scratch, "%d/fd/%d%s%s", call->tid, dirfd,
                              text[0] ? "/" : "", text);
        if (length >= FR_PATH_MAX)
            return stat_slowly(call, dirfd, text, flags, st);
        if (text[0] == 0)
            how = 0; /* the magic link itself is always followed */
    }
    if (fstatat(call->super->proc_fd, at, st, how | AT_NO_AUTOMOUNT) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    if (text[0] == 0 || surely_absent(call, call->super->proc_fd, at, (flags & FR_FOLLOW) != 0))
        return -ENOENT;
    return stat_slowly(call, dirfd, text, flags, st);
}
