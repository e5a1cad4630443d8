/* Removal: ext4 gives an inode number out again at once, so the table must hear when a file's last name goes.
 * Files that it does not know are the kernel's to remove (and see fr_watch). What it knows is removed here, be it the
 * last name or not: two names may go at once. The file is held meanwhile, so that its number is not given out before
 * the table knows.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fr_super.h"

#define MOVE_EXCHANGE 2U /* RENAME_EXCHANGE */
#define MOVE_WHITEOUT 4U /* RENAME_WHITEOUT */

/* May the caller take this name out of its folder, or (puts) put one in? 0, -EACCES, -EPERM: unlink(2), rename(2). */
static long may_change(struct fr_call *call, int dirfd, const char *text, bool puts)
{
    const struct fr_cred *cred = fr_caller(call);
    struct fr_seen folder, file;
    struct fr_place place;
    struct stat st;
    long rc = 0;

    if (fr_cred_has(cred, FR_CAP_DAC_OVERRIDE) || fr_open_parent(call, dirfd, text, &place) != 0)
        return 0;
    if (fr_stat_fd(place.dir, &st) == 0) {
        rc = fr_may(call, &st, W_OK | X_OK) ? 0 : -EACCES;
        fr_see(call->super, &st, &folder);
        if (fstatat(place.dir, place.name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            rc = puts ? rc : 0; /* nothing to take: ENOENT comes first */
        } else if (rc == 0 && (folder.mode & S_ISVTX) && cred->fsuid != folder.uid &&
                   !fr_cred_has(cred, FR_CAP_FOWNER)) {
            fr_see(call->super, &st, &file);
            rc = cred->fsuid == file.uid ? 0 : -EPERM;
        }
    }
    close(place.dir);
    return rc;
}

long fr_do_unlink(struct fr_call *call)
{
    bool at = call->op == OP_UNLINKAT;
    int dirfd = at ? (int)call->args[0] : AT_FDCWD, flags = at ? (int)call->args[2] : 0;
    struct fr_place place;
    const char *text;
    struct stat st;
    long rc;
    int fd;

    if (call->op == OP_RMDIR)
        flags = FR_AT_REMOVEDIR;
    if ((call->super->table.count == 0 && fr_is_plain(call, fr_caller(call))) || (flags & ~FR_AT_REMOVEDIR))
        return FR_CONTINUE;
    text = fr_path(call, call->args[at ? 1 : 0], 0, &rc);
    if (text != NULL && (rc = may_change(call, dirfd, text, false)) < 0)
        return rc;
    if (text == NULL || fr_stat_path(call, dirfd, text, 0, &st) < 0 || fr_entry(call->super, &st) == NULL)
        return FR_CONTINUE;
    rc = fr_open_parent(call, dirfd, text, &place);
    if (rc != 0)
        return FR_CONTINUE;
    fd = openat(place.dir, place.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if ((place.slash && flags == 0) || fd < 0 || fr_stat_fd(fd, &st) < 0) {
        rc = FR_CONTINUE; /* ENOTDIR, EISDIR: the kernel tells them apart */
    } else {
        rc = unlinkat(place.dir, place.name, flags) < 0 ? -errno : 0;
        if (rc == 0)
            fr_forget_gone(call->super, fd, &st);
    }
    if (fd >= 0)
        close(fd);
    close(place.dir);
    return rc;
}

struct move {
    int old_dirfd, new_dirfd;
    uint64_t old_path, new_path;
    unsigned flags;
};

static struct move move_of(const struct fr_call *call)
{
    const uint64_t *a = call->args;

    if (call->op == OP_RENAME)
        return (struct move){AT_FDCWD, AT_FDCWD, a[0], a[1], 0};
    return (struct move){(int)a[0], (int)a[2], a[1], a[3], call->op == OP_RENAMEAT2 ? (unsigned)a[4] : 0};
}

/* Renames over a file whose entry must go. */
static long rename_over(struct fr_call *call, const struct move *move, const char *from, const char *to)
{
    struct fr_place old, new;
    struct stat st, same;
    long rc = fr_open_parent(call, move->old_dirfd, from, &old);
    int fd;

    if (rc != 0)
        return FR_CONTINUE;
    rc = fr_open_parent(call, move->new_dirfd, to, &new);
    if (rc != 0) {
        close(old.dir);
        return FR_CONTINUE;
    }
    fd = openat(new.dir, new.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (old.slash || new.slash || fd < 0 || fr_stat_fd(fd, &st) < 0 ||
        fstatat(old.dir, old.name, &same, AT_SYMLINK_NOFOLLOW) < 0 ||
        (same.st_ino == st.st_ino && same.st_dev == st.st_dev)) {
        rc = FR_CONTINUE; /* two names of one file: nothing happens */
    } else {
        rc = syscall(SYS_renameat2, old.dir, old.name, new.dir, new.name, move->flags) < 0 ? -errno : 0;
        if (rc == 0)
            fr_forget_gone(call->super, fd, &st);
    }
    if (fd >= 0)
        close(fd);
    close(old.dir);
    close(new.dir);
    return rc;
}

/* It comes to be where it is not expected: who is about to remove that name has looked at it already. */
static void watch_known(struct fr_call *call, int dirfd, const char *text)
{
    struct stat st;

    if (fr_stat_path(call, dirfd, text, 0, &st) == 0 && fr_entry(call->super, &st) != NULL)
        fr_watch(call->super, fr_open_path(call, dirfd, text, 0));
}

long fr_do_rename(struct fr_call *call)
{
    struct move move = move_of(call);
    struct fr_super *super = call->super;
    const char *from, *to;
    struct stat st;
    long error;

    if (super->table.count == 0 && fr_is_plain(call, fr_caller(call)))
        return FR_CONTINUE;
    to = fr_path(call, move.new_path, 1, &error);
    from = to != NULL ? fr_path(call, move.old_path, 0, &error) : NULL;
    if (from == NULL)
        return FR_CONTINUE;
    error = may_change(call, move.old_dirfd, from, false);
    if (error == 0)
        error = may_change(call, move.new_dirfd, to, true);
    if (error < 0)
        return error;
    fr_copy_up_known(call, move.old_dirfd, from, 0);
    watch_known(call, move.old_dirfd, from);
    if (move.flags & MOVE_EXCHANGE) {
        fr_copy_up_known(call, move.new_dirfd, to, 0);
        watch_known(call, move.new_dirfd, to);
    }
    if (move.flags & ~MOVE_WHITEOUT)
        return FR_CONTINUE; /* exchanged or never replaced: no name goes */
    if (fr_stat_path(call, move.new_dirfd, to, 0, &st) < 0 || fr_entry(super, &st) == NULL)
        return FR_CONTINUE;
    return rename_over(call, &move, from, to);
}

/* What we hold would keep it busy. */
long fr_do_unmount(struct fr_call *call)
{
    fr_end_watch(call->super);
    return FR_CONTINUE;
}
