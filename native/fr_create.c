/* Creation: what a dropped process makes belongs to its fake ids, what anyone makes in a set-gid folder to the
 * folder's group. Plain root elsewhere makes files the default illusion already shows right: the kernel does those.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fr_super.h"

/* Could what this caller makes differ from the default? (mode: what it asks for) */
static bool is_looked_at(struct fr_call *call, uint32_t mode, uint32_t needed)
{
    const struct fr_cred *cred = fr_caller(call);

    return cred->fsuid != 0 || cred->fsgid != 0 || call->super->table.sgid_dirs != 0 || call->super->harsh_umask ||
           (mode & needed) != needed;
}

/* The owner of a new file in this folder. Returns true when it is not what the disk will say. */
static bool owner_in(struct fr_call *call, int dir, struct fr_seen *owner, bool *inherits)
{
    const struct fr_cred *cred = fr_caller(call);
    struct fr_seen parent;
    struct stat st;

    *owner = (struct fr_seen){.uid = cred->fsuid, .gid = cred->fsgid};
    *inherits = false;
    if (fr_stat_fd(dir, &st) < 0)
        return false;
    fr_see(call->super, &st, &parent);
    if (parent.mode & S_ISGID) {
        owner->gid = parent.gid;
        *inherits = true;
    }
    return owner->uid != 0 || owner->gid != 0;
}

/* Records a file that we have just made. mode: as the image shall see it, with its type. */
static int record_new(struct fr_call *call, int dir, const char *name, struct fr_seen *owner, uint32_t mode)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | (name[0] == 0 ? AT_EMPTY_PATH : 0)) < 0)
        return -errno;
    owner->mode = (uint16_t)mode;
    if (!S_ISCHR(mode) && !S_ISBLK(mode))
        owner->rdev = (uint32_t)st.st_rdev;
    ot_remove(&call->super->table, ot_device(&call->super->table, st.st_dev, false), st.st_ino);
    return fr_record(call->super, &st, owner);
}

static uint32_t masked(struct fr_call *call, uint32_t mode) { return mode & ~fr_umask(call) & 07777; }

/* --- open --- */

struct opening {
    int dirfd;
    uint64_t path;
    uint64_t flags;
    uint32_t mode;
};

static int read_opening(struct fr_call *call, struct opening *opening)
{
    const uint64_t *a = call->args;
    struct fr_open_how how = {0, 0, 0};
    size_t size;

    switch (call->op) {
    case OP_OPEN:
        *opening = (struct opening){AT_FDCWD, a[0], (uint32_t)a[1], (uint32_t)a[2]};
        return 0;
    case OP_CREAT:
        *opening = (struct opening){AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, (uint32_t)a[1]};
        return 0;
    case OP_OPENAT:
        *opening = (struct opening){(int)a[0], a[1], (uint32_t)a[2], (uint32_t)a[3]};
        return 0;
    default:
        size = a[3] < sizeof how ? (size_t)a[3] : sizeof how;
        if (a[3] < sizeof how || fr_read(call, a[2], &how, size) < 0 || how.resolve != 0)
            return -EINVAL; /* restricted look-ups stay the kernel's */
        *opening = (struct opening){(int)a[0], a[1], how.flags, (uint32_t)how.mode};
        return 0;
    }
}

/* An open for writing copies a lower file up: if it has several names, its entry must follow to the new number. */
static void keep_entry(struct fr_call *call, int dirfd, const char *text, unsigned flags)
{
    struct stat st;
    int fd;

    if (call->super->table.linked == 0 || fr_stat_path(call, dirfd, text, flags, &st) < 0)
        return;
    if (fr_entry(call->super, &st) == NULL || !(fr_entry(call->super, &st)->flags & OT_LINKED))
        return;
    fd = fr_open_path(call, dirfd, text, flags);
    if (fd >= 0) {
        fr_copy_up(call->super, fd, &st);
        close(fd);
    }
}

static long hand_over(struct fr_call *call, int fd, uint64_t flags)
{
    long rc = fr_send_fd(call, fd, (flags & O_CLOEXEC) != 0);

    close(fd);
    return rc;
}

static long open_nameless(struct fr_call *call, int dir, const struct opening *opening, struct fr_seen *owner)
{
    uint32_t mode = S_IFREG | masked(call, opening->mode);
    char path[32];
    int fd, rc;

    fd = openat(call->super->proc_fd, fr_self_path(dir, path), (int)(opening->flags | O_CLOEXEC), fr_disk_mode(mode));
    if (fd < 0)
        return -errno;
    rc = record_new(call, fd, "", owner, mode);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return hand_over(call, fd, opening->flags);
}

/* A new file at place: made here, recorded, handed over open. EEXIST: another was quicker. */
static long open_new(struct fr_call *call, const struct fr_place *place, const struct opening *opening,
                     struct fr_seen *owner)
{
    uint32_t mode = S_IFREG | masked(call, opening->mode);
    int fd, rc, flags = (int)(opening->flags | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY);

    fd = openat(place->dir, place->name, flags, fr_disk_mode(mode));
    if (fd < 0)
        return -errno;
    rc = record_new(call, fd, "", owner, mode);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return hand_over(call, fd, opening->flags);
}

/* Follows dangling symlinks to where the new file will be; 0, FR_CONTINUE when something is there or must not be. */
static long find_new(struct fr_call *call, const struct opening *opening, const char *text, struct fr_place *place)
{
    long rc = fr_open_parent(call, opening->dirfd, text, place);
    char *link = call->super->text[1];
    struct stat st;

    for (int links = 0; rc == 0; links++) {
        struct fr_place next = {.dir = -1};
        ssize_t length;

        if (place->slash)
            return FR_CONTINUE; /* EISDIR */
        if (fstatat(place->dir, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENOENT ? 0 : -errno;
        if (!S_ISLNK(st.st_mode) || (opening->flags & (O_NOFOLLOW | O_EXCL)) || links > 40)
            return FR_CONTINUE;
        length = readlinkat(place->dir, place->name, link, FR_PATH_MAX);
        if (length <= 0)
            return FR_CONTINUE;
        link[length] = 0;
        /* the link's text starts from the folder that holds it */
        rc = fr_open_parent_from(call, place->dir, link, &next);
        close(place->dir);
        *place = next;
    }
    return rc;
}

long fr_do_open(struct fr_call *call)
{
    struct opening opening;
    struct fr_place place = {.dir = -1};
    struct fr_seen owner;
    bool inherits;
    const char *text;
    long rc;

    if (read_opening(call, &opening) < 0 || (opening.flags & O_PATH))
        return FR_CONTINUE;
    if (!(opening.flags & (O_CREAT | FR_O_TMPFILE)) || !is_looked_at(call, opening.mode, 0400)) {
        if (call->super->table.linked == 0 || (text = fr_path(call, opening.path, 0, &rc)) == NULL)
            return FR_CONTINUE;
        keep_entry(call, opening.dirfd, text, opening.flags & O_NOFOLLOW ? 0 : FR_FOLLOW);
        return FR_CONTINUE;
    }
    text = fr_path(call, opening.path, 0, &rc);
    if (text == NULL)
        return FR_CONTINUE;
    if (opening.flags & FR_O_TMPFILE) {
        int dir = fr_open_path(call, opening.dirfd, text, FR_FOLLOW);

        if (dir < 0)
            return FR_CONTINUE;
        owner_in(call, dir, &owner, &inherits);
        rc = open_nameless(call, dir, &opening, &owner);
        close(dir);
        return rc;
    }
    rc = find_new(call, &opening, text, &place);
    if (rc == 0) {
        bool differs = owner_in(call, place.dir, &owner, &inherits);

        rc = FR_CONTINUE;
        if (differs || call->super->harsh_umask || !(opening.mode & 0400))
            rc = open_new(call, &place, &opening, &owner);
        if (rc == -EEXIST && !(opening.flags & O_EXCL))
            rc = FR_CONTINUE;
    } else if (rc == FR_CONTINUE) {
        keep_entry(call, opening.dirfd, text, opening.flags & O_NOFOLLOW ? 0 : FR_FOLLOW);
    }
    if (place.dir >= 0)
        close(place.dir);
    return rc;
}

long fr_do_truncate(struct fr_call *call)
{
    const char *text;
    long error;

    if (call->super->table.linked != 0 && (text = fr_path(call, call->args[0], 0, &error)) != NULL)
        keep_entry(call, AT_FDCWD, text, FR_FOLLOW);
    return FR_CONTINUE;
}

/* --- folders, nodes, symlinks --- */

long fr_do_mkdir(struct fr_call *call)
{
    bool at = call->op == OP_MKDIRAT, inherits;
    uint32_t asked = (uint32_t)call->args[at ? 2 : 1], mode;
    struct fr_place place;
    struct fr_seen owner;
    const char *text;
    long rc;

    if (!is_looked_at(call, asked, 0700))
        return FR_CONTINUE;
    text = fr_path(call, call->args[at ? 1 : 0], 0, &rc);
    if (text == NULL)
        return rc;
    rc = fr_open_parent(call, at ? (int)call->args[0] : AT_FDCWD, text, &place);
    if (rc != 0)
        return rc;
    if (!owner_in(call, place.dir, &owner, &inherits) && !call->super->harsh_umask && (asked & 0700) == 0700) {
        rc = FR_CONTINUE;
    } else {
        mode = S_IFDIR | masked(call, asked & 01777) | (inherits ? S_ISGID : 0);
        rc = mkdirat(place.dir, place.name, fr_disk_mode(mode)) < 0 ? -errno : 0;
        if (rc == 0)
            rc = record_new(call, place.dir, place.name, &owner, mode);
    }
    close(place.dir);
    return rc;
}

/* Makes the node, or a file that stands for it. */
static long make_node(struct fr_call *call, const struct fr_place *place, uint32_t asked, uint32_t dev)
{
    bool device = S_ISCHR(asked) || S_ISBLK(asked), inherits;
    struct fr_seen owner;
    uint32_t mode;

    if (!owner_in(call, place->dir, &owner, &inherits) && !device && !call->super->harsh_umask && (asked & 0400))
        return FR_CONTINUE;
    mode = (asked & S_IFMT) | masked(call, asked & 07777);
    if (place->slash)
        return -ENOENT;
    if (mknodat(place->dir, place->name, (device ? S_IFREG : asked & S_IFMT) | fr_disk_mode(mode & 07777), 0) < 0)
        return -errno;
    owner.rdev = device ? dev : 0;
    return record_new(call, place->dir, place->name, &owner, mode);
}

long fr_do_mknod(struct fr_call *call)
{
    bool at = call->op == OP_MKNODAT;
    uint32_t asked = (uint32_t)call->args[at ? 2 : 1] & 0177777, dev = (uint32_t)call->args[at ? 3 : 2];
    bool device = S_ISCHR(asked) || S_ISBLK(asked);
    struct fr_place place;
    const char *text;
    long rc;

    if ((asked & S_IFMT) == 0)
        asked |= S_IFREG;
    if (!device && !S_ISREG(asked) && !S_ISFIFO(asked) && !S_ISSOCK(asked))
        return FR_CONTINUE;
    if (device && !fr_cred_has(fr_caller(call), FR_CAP_MKNOD) && !(S_ISCHR(asked) && dev == 0))
        return -EPERM;
    if (!device && !is_looked_at(call, asked, 0400))
        return FR_CONTINUE;
    text = fr_path(call, call->args[at ? 1 : 0], 0, &rc);
    if (text == NULL)
        return rc;
    rc = fr_open_parent(call, at ? (int)call->args[0] : AT_FDCWD, text, &place);
    if (rc != 0)
        return rc == FR_CONTINUE && device ? -EEXIST : rc;
    rc = make_node(call, &place, asked, dev);
    close(place.dir);
    return rc;
}

long fr_do_symlink(struct fr_call *call)
{
    bool at = call->op == OP_SYMLINKAT, inherits;
    struct fr_super *super = call->super;
    struct fr_place place;
    struct fr_seen owner;
    const char *text;
    long rc;

    if (!is_looked_at(call, 0, 0))
        return FR_CONTINUE;
    if (fr_path(call, call->args[0], 1, &rc) == NULL || (text = fr_path(call, call->args[at ? 2 : 1], 0, &rc)) == NULL)
        return rc;
    rc = fr_open_parent(call, at ? (int)call->args[1] : AT_FDCWD, text, &place);
    if (rc != 0)
        return rc;
    if (!owner_in(call, place.dir, &owner, &inherits) || place.slash)
        rc = FR_CONTINUE;
    else if (symlinkat(super->text[1], place.dir, place.name) < 0)
        rc = -errno;
    else
        rc = record_new(call, place.dir, place.name, &owner, S_IFLNK | 0777);
    close(place.dir);
    return rc;
}

/* A further name changes no owner; but it copies a lower file up. */
long fr_do_link(struct fr_call *call)
{
    bool at = call->op == OP_LINKAT;
    const char *text;
    long error;

    if (call->super->table.linked != 0 && (text = fr_path(call, call->args[at ? 1 : 0], 0, &error)) != NULL)
        keep_entry(call, at ? (int)call->args[0] : AT_FDCWD, text,
                   at && (call->args[4] & FR_AT_SYMLINK_FOLLOW) ? FR_FOLLOW : 0);
    return FR_CONTINUE;
}
