/* The owner table joined to what the disk says. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fr_super.h"

#define DEAD_MAX 65536

static bool same_kind(uint32_t entry_mode, uint32_t disk_mode)
{
    if (S_ISCHR(entry_mode) || S_ISBLK(entry_mode))
        return S_ISREG(disk_mode) || (entry_mode & S_IFMT) == (disk_mode & S_IFMT);
    return (entry_mode & S_IFMT) == (disk_mode & S_IFMT);
}

/* A chmod that was the kernel's to do, since the table did not know the file yet, has come after our record. */
static void adopt_mode(struct fr_super *super, const struct ot_entry *entry, uint32_t mode)
{
    struct ot_entry changed = *entry;

    changed.mode = (uint16_t)((entry->mode & S_IFMT) | (mode & 07777));
    ot_put(&super->table, &changed); /* in its place: there is room */
}

struct ot_entry *fr_entry(struct fr_super *super, const struct stat *st)
{
    int dev = ot_device(&super->table, st->st_dev, false);
    struct ot_entry *entry = ot_find(&super->table, dev, st->st_ino);

    if (entry == NULL)
        return NULL;
    /* the number was used again after its last name had gone */
    if (((entry->flags & OT_DEAD) && st->st_nlink > 0) || !same_kind(entry->mode, st->st_mode)) {
        ot_remove(&super->table, dev, st->st_ino);
        return NULL;
    }
    if ((entry->flags & OT_HELD) && ((fr_disk_mode(entry->mode) ^ st->st_mode) & 01777)) /* set-id bits may be refused */
        adopt_mode(super, entry, st->st_mode);
    return entry;
}

void fr_see(struct fr_super *super, const struct stat *st, struct fr_seen *seen)
{
    const struct ot_entry *entry = fr_entry(super, st);

    if (entry != NULL)
        *seen = (struct fr_seen){entry->uid, entry->gid, entry->rdev, entry->mode};
    else
        *seen = (struct fr_seen){st->st_uid, st->st_gid, (uint32_t)st->st_rdev, (uint16_t)st->st_mode};
}

int fr_record(struct fr_super *super, const struct stat *st, const struct fr_seen *seen)
{
    const struct ot_entry *old = fr_entry(super, st);
    int dev = ot_device(&super->table, st->st_dev, true);
    struct ot_entry entry = {
        .ino = st->st_ino,
        .uid = seen->uid,
        .gid = seen->gid,
        .rdev = seen->rdev,
        .mode = seen->mode,
        .dev = (uint16_t)dev,
        .flags = old != NULL ? old->flags : 0,
    };

    if (dev < 0)
        return -ENOSPC;
    if (st->st_nlink == 0) /* no name (yet): when it is closed, its number is free (fr_do_link) */
        entry.flags |= OT_DEAD;
    if (seen->uid == st->st_uid && seen->gid == st->st_gid && seen->mode == st->st_mode &&
        (old == NULL || old->xattrs == 0)) {
        if (old != NULL)
            ot_remove(&super->table, dev, old->ino);
        return 0;
    }
    return ot_put(&super->table, &entry);
}

/* Gone by our own doing: its disk space shall be free at once. */
static void release(struct fr_super *super, const struct stat *st)
{
    for (size_t i = 0; i < FR_WATCHED; i++) {
        struct fr_watched *watched = &super->watched[i];

        if (watched->fd != 0 && watched->ino == st->st_ino && watched->dev == st->st_dev) {
            close(watched->fd);
            watched->fd = 0;
        }
    }
}

void fr_forget_gone(struct fr_super *super, int fd, const struct stat *before)
{
    const struct ot_entry *entry;
    struct ot_entry dead;
    struct stat st;

    if (fr_stat_fd(fd, &st) < 0) { /* FUSE does not know a file without a name */
        st = *before;
        st.st_nlink = 0;
    }
    if (st.st_nlink != 0)
        return;
    entry = fr_entry(super, &st);
    release(super, &st);
    if (entry == NULL)
        return;
    dead = *entry;
    dead.flags |= OT_DEAD; /* files still open keep their owner for fstat */
    ot_put(&super->table, &dead);
    if (super->table.dead > DEAD_MAX)
        ot_drop_dead(&super->table);
}

static void look_again(struct fr_super *super, struct fr_watched *watched)
{
    struct stat st, before = {.st_dev = watched->dev, .st_ino = watched->ino, .st_mode = watched->mode};
    int fd = watched->fd;
    struct ot_entry *entry;

    watched->fd = 0;
    if (fd == 0)
        return;
    if (fr_stat_fd(fd, &st) == 0 && (entry = fr_entry(super, &st)) != NULL)
        entry->flags &= ~OT_HELD;
    fr_forget_gone(super, fd, &before);
    close(fd);
}

/* Who removes a file that the table does not know asks nobody, or was told to go on, and so was who removes a name that
 * was not there: between its look and its act comes our record or another's rename, of which it knows nothing; and the
 * next file with that number would have the record. As long as we hold the file, its number is not given out again. */
void fr_watch(struct fr_super *super, int fd)
{
    struct fr_watched *watched = &super->watched[super->next_watched++ % FR_WATCHED];
    const struct ot_entry *entry;
    struct stat st;

    look_again(super, watched);
    if (fd < 0)
        return;
    if (fr_stat_fd(fd, &st) < 0 || (entry = fr_entry(super, &st)) == NULL || (entry->flags & OT_DEAD)) {
        close(fd);
        return;
    }
    *watched = (struct fr_watched){fd, st.st_mode, st.st_dev, st.st_ino};
}

void fr_watch_first(struct fr_super *super, int fd, const struct stat *st)
{
    struct ot_entry *entry = fr_entry(super, st);

    if (entry == NULL)
        return;
    entry->flags |= OT_HELD;
    fr_watch(super, fcntl(fd, F_DUPFD_CLOEXEC, 1));
}

void fr_end_watch(struct fr_super *super)
{
    for (size_t i = 0; i < FR_WATCHED; i++)
        look_again(super, &super->watched[i]);
}

const char *fr_self_path(int fd, char *buffer)
{
    snprintf(buffer, 32, "self/fd/%d", fd);
    return buffer;
}

/* Lower files with several names get a new inode number when they are copied up: their entry follows. */
static int follow_number(struct fr_super *super, const struct stat *before, const struct stat *after)
{
    const struct ot_entry *old;
    struct ot_entry copy;
    int dev, rc;

    if (before->st_ino == after->st_ino && before->st_dev == after->st_dev)
        return 0;
    old = fr_entry(super, before);
    if (old == NULL)
        return 0;
    dev = ot_device(&super->table, after->st_dev, true);
    if (dev < 0)
        return -ENOSPC;
    copy = *old;
    copy.ino = after->st_ino;
    copy.dev = (uint16_t)dev;
    copy.flags = 0; /* not OT_LINKED: the upper file's own */
    copy.xattrs = 0;
    rc = ot_put(&super->table, &copy);
    if (rc < 0)
        return rc;
    old = fr_entry(super, before);
    return old != NULL ? ot_xattr_copy(&super->table, old, ot_find(&super->table, dev, copy.ino)) : 0;
}

static int copy_up(struct fr_super *super, int fd, struct stat *st)
{
    struct stat before;
    char path[32];
    int rc = fr_stat_fd(fd, &before);

    if (rc < 0)
        return rc;
    if (S_ISLNK(before.st_mode)) {
        if (fchownat(fd, "", (uid_t)-1, (gid_t)-1, AT_EMPTY_PATH) < 0)
            return -errno;
    } else if (fchmodat(super->proc_fd, fr_self_path(fd, path), before.st_mode & 07777, 0) < 0) {
        return -errno;
    }
    rc = fr_stat_fd(fd, st);
    if (rc == 0)
        rc = follow_number(super, &before, st);
    if (rc == 0)
        fr_note_upper(super, fd, st);
    return rc;
}

int fr_copy_up(struct fr_super *super, int fd, struct stat *st)
{
    int rc;

    ot_begin_change(&super->table);
    rc = copy_up(super, fd, st);
    ot_end_change(&super->table);
    return rc;
}

bool fr_may(struct fr_call *call, const struct stat *st, int mask)
{
    const struct fr_cred *cred = fr_caller(call);
    const struct ot_entry *entry;
    struct fr_seen seen;
    size_t length;

    if (fr_cred_has(cred, FR_CAP_DAC_OVERRIDE))
        return true;
    entry = fr_entry(call->super, st);
    if (entry != NULL && ot_xattr_get(&call->super->table, entry, FR_ACL_ACCESS, &length) != NULL)
        return true; /* ACLs are kept, not enforced */
    fr_see(call->super, st, &seen);
    return fr_cred_may(cred, cred->fsuid, cred->fsgid, false, seen.mode, seen.uid, seen.gid, mask);
}

uint32_t fr_disk_mode(uint32_t mode)
{
    uint32_t bits = mode & 07777;

    if (S_ISDIR(mode))
        return bits | 0700; /* rm -rf by the plain user */
    /* A write takes set-id bits off the disk, since we are not the host's root; the table keeps them. */
    return (bits & 01777) | 0400;
}
