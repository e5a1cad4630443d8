/* open(2) and its family: new files of a dropped process or in a special folder are made here and handed over open;
 * what is there already is the kernel's to open, after a look at what writing does to its entry.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fr_birth.h"

struct opening {
    int dirfd;
    uint64_t path;
    uint64_t flags;
    uint32_t mode;
    uint64_t resolve; /* openat2(2): RESOLVE_BENEATH and its like */
};

static int read_opening(struct fr_call *call, struct opening *opening)
{
    const uint64_t *a = call->args;
    struct fr_open_how how = {0, 0, 0};
    size_t size;

    switch (call->op) {
    case OP_OPEN:
        *opening = (struct opening){AT_FDCWD, a[0], (uint32_t)a[1], (uint32_t)a[2], 0};
        return 0;
    case OP_CREAT:
        *opening = (struct opening){AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, (uint32_t)a[1], 0};
        return 0;
    case OP_OPENAT:
        *opening = (struct opening){(int)a[0], a[1], (uint32_t)a[2], (uint32_t)a[3], 0};
        return 0;
    default:
        size = a[3] < sizeof how ? (size_t)a[3] : sizeof how;
        if (a[3] < sizeof how || fr_read(call, a[2], &how, size) < 0)
            return -EINVAL;
        *opening = (struct opening){(int)a[0], a[1], how.flags, (uint32_t)how.mode, how.resolve};
        return 0;
    }
}

/* What writing to a file does to its entry: a lower one gets another number at copy-up, and file capabilities go, as
 * do set-id bits where the writer is no root. The write itself is not seen: bits go at the open, for capabilities the
 * kernel is given a mark to take away. */
static void before_write(struct fr_call *call, int dirfd, const char *text, unsigned flags)
{
    struct fr_super *super = call->super;
    struct ot_entry *entry;
    struct fr_seen seen;
    struct stat st;
    size_t length;
    int fd;

    if (fr_stat_path(call, dirfd, text, flags, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    entry = fr_entry(super, &st);
    if (entry == NULL || S_ISCHR(entry->mode) || S_ISBLK(entry->mode))
        return;
    if (super->overlay && !(entry->flags & OT_UPPER)) {
        fr_copy_up_known(call, dirfd, text, flags);
        if (fr_stat_path(call, dirfd, text, flags, &st) < 0 || (entry = fr_entry(super, &st)) == NULL)
            return;
    }
    if (ot_xattr_get(&super->table, entry, FR_CAPABILITY, &length) != NULL) {
        fd = fr_open_path(call, dirfd, text, flags);
        if (fd < 0 || !fr_still_there(call) || fr_mark(super, fd, entry) < 0)
            ot_xattr_remove(&super->table, entry, FR_CAPABILITY);
        if (fd >= 0)
            close(fd);
    }
    if ((entry->mode & (S_ISUID | S_ISGID)) && !fr_cred_has(fr_caller(call), FR_CAP_FSETID)) {
        fr_see(super, &st, &seen);
        seen.mode &= (uint16_t)~(S_ISUID | (seen.mode & S_IXGRP ? S_ISGID : 0));
        fr_record(super, &st, &seen);
    }
}

static bool is_writing_watched(struct fr_call *call)
{
    return (call->super->overlay && call->super->table.count != 0) || call->super->table.xattr_count != 0 ||
           call->super->table.devices != 0 || !fr_cred_has(fr_caller(call), FR_CAP_FSETID);
}

/* Is it a device node of ours? Opening one is refused, as the root's nodev refuses it for a real one: what is written
 * would lie in a plain file. */
static bool is_device(struct fr_call *call, const struct stat *st)
{
    const struct ot_entry *entry = fr_entry(call->super, st);

    return entry != NULL && (S_ISCHR(entry->mode) || S_ISBLK(entry->mode)) && S_ISREG(st->st_mode);
}

/* An open of what is there already (or of what the kernel makes as it should be). */
static long open_old(struct fr_call *call, const struct opening *opening, const char *text)
{
    unsigned flags = opening->flags & O_NOFOLLOW ? 0 : FR_FOLLOW;
    struct stat st;

    if (!(opening->flags & (O_ACCMODE | O_TRUNC)) || !is_writing_watched(call))
        return FR_CONTINUE;
    if ((opening->flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return FR_CONTINUE; /* made, or refused */
    if (fr_stat_path(call, opening->dirfd, text, flags, &st) < 0 || !S_ISREG(st.st_mode))
        return FR_CONTINUE;
    if (fr_entry(call->super, &st) == NULL && fr_is_plain(call, fr_caller(call)))
        return FR_CONTINUE; /* most are such */
    if (is_device(call, &st) || !fr_may(call, &st, W_OK | ((opening->flags & O_ACCMODE) == O_RDWR ? R_OK : 0)))
        return -EACCES;
    before_write(call, opening->dirfd, text, flags);
    return FR_CONTINUE;
}

static long hand_over(struct fr_call *call, int fd, uint64_t flags)
{
    long rc = fr_send_fd(call, fd, (flags & O_CLOEXEC) != 0);

    close(fd);
    return rc;
}

/* Makes a file and its record as one; its fd, -errno. */
static int make_file(struct fr_call *call, int dir, const char *name, int flags, uint32_t mode, uint32_t asked,
                     struct birth *birth)
{
    int fd, rc;

    ot_begin_change(&call->super->table);
    fd = openat(dir, name, flags | O_CLOEXEC, fr_disk_mode(mode));
    rc = fd < 0 ? -errno : fr_record_new(call, fd, "", birth, mode, asked);
    ot_end_change(&call->super->table);
    if (rc == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return rc;
}

static long open_nameless(struct fr_call *call, int dir, const struct opening *opening, struct birth *birth)
{
    uint32_t mode = S_IFREG | fr_born_mode(call, birth, opening->mode);
    char path[32];
    int fd = make_file(call, call->super->proc_fd, fr_self_path(dir, path), (int)opening->flags, mode, opening->mode,
                       birth);

    return fd < 0 ? fd : hand_over(call, fd, opening->flags);
}

/* A new file at place: made here, recorded, handed over open. EEXIST: another was quicker. */
static long open_new(struct fr_call *call, const struct fr_place *place, const struct opening *opening,
                     struct birth *birth)
{
    uint32_t mode = S_IFREG | fr_born_mode(call, birth, opening->mode);
    int flags = (int)(opening->flags | O_CREAT | O_EXCL | O_NOCTTY);
    int fd = make_file(call, place->dir, place->name, flags, mode, opening->mode, birth);

    return fd < 0 ? fd : hand_over(call, fd, opening->flags);
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

/* openat2(2) with restrictions: its folder under the same ones. Only a name that is not there yet is made here. */
static long find_restricted(struct fr_call *call, const struct opening *opening, const char *text,
                            struct fr_place *place)
{
    struct fr_open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = opening->resolve};
    char *folder = call->super->text[1];
    const char *slash = strrchr(text, '/'), *name = slash != NULL ? slash + 1 : text;
    struct stat st;
    int base;

    if (*name == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strlen(name) > NAME_MAX)
        return FR_CONTINUE;
    memcpy(folder, text, (size_t)(name - text));
    folder[name - text] = 0;
    base = fr_open_path(call, opening->dirfd, ".", FR_FOLLOW);
    if (base < 0)
        return FR_CONTINUE;
    place->dir = (int)syscall(FR_NR_OPENAT2, base, name == text ? "." : folder, &how, sizeof how);
    close(base);
    if (place->dir < 0 || fstatat(place->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return FR_CONTINUE;
    memcpy(place->name, name, strlen(name) + 1);
    return fr_still_there(call) ? 0 : -ESRCH;
}

static long open_tmpfile(struct fr_call *call, const struct opening *opening, const char *text)
{
    int dir = fr_open_path(call, opening->dirfd, text, FR_FOLLOW);
    struct birth birth;
    long rc;

    if (dir < 0)
        return FR_CONTINUE;
    rc = fr_still_there(call) ? fr_begin(call, dir, 0400, &birth) : -ESRCH;
    if (rc == 0)
        rc = open_nameless(call, dir, opening, &birth);
    close(dir);
    return rc;
}

/* Plain root makes a file in a folder that hands nothing on: most of all opens that create, and the kernel's to do.
 * Two looks at most, against the six calls of find_new and fr_begin. */
static bool is_plain_birth(struct fr_call *call, const struct opening *opening, const char *text)
{
    struct fr_super *super = call->super;
    const char *slash = strrchr(text, '/');
    const struct ot_entry *entry;
    char *folder = super->text[1];
    struct stat st;

    if (!fr_is_plain(call, fr_caller(call)) || (call->harsh_umask & 0400) || super->default_acls ||
        opening->resolve != 0 || (opening->flags & FR_O_TMPFILE) || *text == 0 || (slash != NULL && slash[1] == 0))
        return false;
    if (!(opening->flags & O_EXCL) && fr_stat_path(call, opening->dirfd, text, 0, &st) != -ENOENT)
        return false;
    memcpy(folder, text, slash != NULL ? (size_t)(slash - text) + 1 : 0);
    memcpy(folder + (slash != NULL ? slash - text + 1 : 0), ".", 2);
    if (fr_stat_path(call, opening->dirfd, folder, FR_FOLLOW, &st) < 0)
        return false;
    entry = fr_entry(super, &st);
    if (entry != NULL && (entry->mode & S_ISGID))
        return false;
    if (opening->mode & 0400)
        return true;
    /* dpkg: mode 0, until it is written. What stays so is mended at the end, where the upper directory is walked. */
    if (!super->overlay || super->upper_fd < 0 || st.st_dev != super->table.devs[0])
        return false;
    super->unreadable = true;
    return true;
}

long fr_do_open(struct fr_call *call)
{
    struct opening opening;
    struct fr_place place = {.dir = -1};
    struct birth birth;
    const char *text;
    bool creates;
    long rc;

    if (read_opening(call, &opening) < 0 || (opening.flags & O_PATH))
        return FR_CONTINUE;
    creates = (opening.flags & (O_CREAT | FR_O_TMPFILE)) && fr_is_looked_at(call, opening.mode, 0400);
    if (!creates && !is_writing_watched(call))
        return FR_CONTINUE;
    text = fr_path(call, opening.path, 0, &rc);
    if (text == NULL || (creates && is_plain_birth(call, &opening, text)))
        return FR_CONTINUE;
    if (creates && (opening.flags & FR_O_TMPFILE))
        return open_tmpfile(call, &opening, text);
    rc = FR_CONTINUE;
    if (creates)
        rc = opening.resolve != 0 ? find_restricted(call, &opening, text, &place)
                                  : find_new(call, &opening, text, &place);
    if (rc == 0)
        rc = fr_begin(call, place.dir, 0400, &birth);
    else if (rc == FR_CONTINUE)
        rc = open_old(call, &opening, text);
    else
        rc = FR_CONTINUE; /* the kernel says it best */
    if (rc == 0)
        rc = birth.differs || !(opening.mode & 0400) ? open_new(call, &place, &opening, &birth) : FR_CONTINUE;
    if (rc == -EEXIST && !(opening.flags & O_EXCL))
        rc = FR_CONTINUE;
    if (place.dir >= 0)
        close(place.dir);
    return rc;
}

long fr_do_truncate(struct fr_call *call)
{
    const char *text;
    long error;

    if (is_writing_watched(call) && (text = fr_path(call, call->args[0], 0, &error)) != NULL)
        before_write(call, AT_FDCWD, text, FR_FOLLOW);
    return FR_CONTINUE;
}

/* Times and flags (chattr) are the kernel's to set; but a lower file is copied up for them. */
long fr_do_utimes(struct fr_call *call)
{
    bool at = call->op != OP_UTIME && call->op != OP_UTIMES;
    int dirfd = at ? (int)call->args[0] : AT_FDCWD;
    uint64_t path = call->op == OP_SET_FLAGS ? 0 : call->args[at ? 1 : 0];
    uint64_t how = call->op == OP_UTIMENSAT ? call->args[3] : call->op == OP_FILE_SETATTR ? call->args[4] : 0;
    unsigned flags = (how & FR_AT_SYMLINK_NOFOLLOW ? 0 : FR_FOLLOW) | (how & FR_AT_EMPTY_PATH ? FR_EMPTY_OK : 0);
    const char *text = "";
    long error;

    if (!call->super->overlay || call->super->table.count == 0 || (path == 0 && !at))
        return FR_CONTINUE;
    if (path == 0)
        flags = FR_EMPTY_OK; /* dirfd itself */
    else
        text = fr_path(call, path, 0, &error);
    if (text != NULL)
        fr_copy_up_known(call, dirfd, text, flags);
    return FR_CONTINUE;
}
