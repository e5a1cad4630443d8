/* Owners and modes: the kernel does what it can (copy-up, times, set-id bits off), the table keeps what was meant. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fr_super.h"

/* The O_PATH fd of a call that names its file by path or by descriptor. */
static int open_target(struct fr_call *call, int dirfd, uint64_t path, unsigned flags)
{
    const char *text;
    long error;
    int fd;

    if (path == 0 && (flags & FR_EMPTY_OK)) {
        fd = fr_open_fd(call, dirfd);
    } else {
        text = fr_path(call, path, 0, &error);
        if (text == NULL)
            return (int)error;
        fd = fr_open_path(call, dirfd, text, flags);
    }
    return fd;
}

/* Is it a file that the table does not know, named by plain root? Then the kernel's own act may be the whole of it.
 * Leaves the path, when there is one, in text[0]. */
static bool is_unknown(struct fr_call *call, int dirfd, uint64_t path, unsigned flags, struct stat *st)
{
    const char *text = "";
    long error;

    if (!fr_is_plain(call, fr_caller(call)))
        return false;
    if (path != 0 || !(flags & FR_EMPTY_OK))
        text = fr_path(call, path, 0, &error);
    return text != NULL && !call->super->self_is_ours && fr_stat_path(call, dirfd, text, flags, st) == 0 &&
           fr_entry(call->super, st) == NULL;
}

/* chown(2): who may give a file to whom (kernel: chown_ok, chgrp_ok). */
static bool may_chown(const struct fr_cred *cred, const struct fr_seen *seen, uint32_t uid, uint32_t gid)
{
    bool owner = cred->fsuid == seen->uid;

    if (fr_cred_has(cred, FR_CAP_CHOWN))
        return true;
    if (uid != FR_NO_ID && !(owner && uid == seen->uid))
        return false;
    if (gid != FR_NO_ID && !(owner && (gid == seen->gid || fr_cred_in_group(cred, gid))))
        return false;
    /* changing nothing is the owner's right too */
    return owner || (uid == FR_NO_ID && gid == FR_NO_ID);
}

/* What a change of owner does to the file besides (kernel: setattr_should_drop_suidgid, cap_inode_killpriv). */
static void drop_privileges(const struct fr_cred *cred, struct fr_seen *seen)
{
    if (S_ISDIR(seen->mode))
        return;
    seen->mode &= (uint16_t)~S_ISUID;
    if ((seen->mode & S_IXGRP) || (!fr_cred_has(cred, FR_CAP_FSETID) && !fr_cred_in_group(cred, seen->gid)))
        seen->mode &= (uint16_t)~S_ISGID;
}

static long change_owner(struct fr_call *call, int fd, uint32_t uid, uint32_t gid)
{
    const struct fr_cred *cred = fr_caller(call);
    struct fr_super *super = call->super;
    struct ot_entry *entry;
    struct fr_seen seen;
    struct stat st;
    int rc = fr_stat_fd(fd, &st);

    if (rc < 0)
        return rc;
    fr_see(super, &st, &seen);
    if (!may_chown(cred, &seen, uid, gid))
        return -EPERM;
    if (super->table.linked != 0 && (rc = fr_copy_up(super, fd, &st)) < 0)
        return rc;
    /* our one id: the kernel copies up, stamps ctime and drops what chown drops, and refuses what it must */
    if (fchownat(fd, "", uid == FR_NO_ID ? (uid_t)-1 : 0, gid == FR_NO_ID ? (gid_t)-1 : 0, AT_EMPTY_PATH) < 0)
        return -errno;
    rc = fr_stat_fd(fd, &st);
    if (rc < 0)
        return rc;
    entry = fr_entry(super, &st);
    if (entry != NULL && !S_ISDIR(entry->mode)) {
        fr_unmark(super, fd, entry);
        ot_xattr_remove(&super->table, entry, FR_CAPABILITY);
    }
    drop_privileges(cred, &seen);
    if (uid != FR_NO_ID)
        seen.uid = uid;
    if (gid != FR_NO_ID)
        seen.gid = gid;
    rc = fr_record(super, &st, &seen);
    fr_note_upper(super, fd, &st);
    if (entry == NULL)
        fr_watch_first(super, fd, &st);
    return rc;
}

long fr_do_chown(struct fr_call *call)
{
    const uint64_t *a = call->args;
    bool at = call->op == OP_FCHOWNAT;
    int dirfd = at || call->op == OP_FCHOWN ? (int)a[0] : AT_FDCWD;
    uint32_t uid = (uint32_t)a[at ? 2 : 1], gid = (uint32_t)a[at ? 3 : 2];
    unsigned flags = call->op == OP_LCHOWN ? 0 : FR_FOLLOW;
    uint64_t path = call->op == OP_FCHOWN ? 0 : a[at ? 1 : 0];
    struct stat st;
    long rc;
    int fd;

    if (at) {
        if (a[4] & ~(uint64_t)(FR_AT_SYMLINK_NOFOLLOW | FR_AT_EMPTY_PATH))
            return -EINVAL;
        flags = (a[4] & FR_AT_SYMLINK_NOFOLLOW ? 0 : FR_FOLLOW) | (a[4] & FR_AT_EMPTY_PATH ? FR_EMPTY_OK : 0);
    }
    if (call->op == OP_FCHOWN)
        flags = FR_EMPTY_OK;
    if (call->form == FORM_ID16) {
        uid = (uint16_t)uid == UINT16_MAX ? FR_NO_ID : (uint16_t)uid;
        gid = (uint16_t)gid == UINT16_MAX ? FR_NO_ID : (uint16_t)gid;
    }
    if ((uid == 0 || uid == FR_NO_ID) && (gid == 0 || gid == FR_NO_ID) &&
        is_unknown(call, dirfd, path, flags, &st))
        return FR_CONTINUE;
    fd = open_target(call, dirfd, path, flags);
    if (fd < 0)
        return fd;
    rc = fr_still_there(call) ? change_owner(call, fd, uid, gid) : -ESRCH;
    close(fd);
    return rc;
}

/* --- modes --- */

/* mode: its permissions. The disk's and the record's change as one to who looks by himself (fr_shared.h). */
static int set_mode(struct fr_super *super, int fd, uint32_t mode, const struct fr_seen *seen, struct stat *st)
{
    char path[32];
    int rc = 0;

    ot_begin_change(&super->table);
    if (fchmodat(super->proc_fd, fr_self_path(fd, path), fr_disk_mode((st->st_mode & S_IFMT) | mode), 0) < 0)
        rc = -errno;
    if (rc == 0)
        rc = fr_stat_fd(fd, st);
    if (rc == 0)
        rc = fr_record(super, st, seen);
    ot_end_change(&super->table);
    return rc;
}

static long change_mode(struct fr_call *call, int fd, uint32_t mode)
{
    const struct fr_cred *cred = fr_caller(call);
    struct fr_super *super = call->super;
    struct ot_entry *entry;
    struct fr_seen seen;
    bool is_new;
    struct stat st;
    int rc = fr_stat_fd(fd, &st);

    if (rc < 0)
        return rc;
    if (S_ISLNK(st.st_mode))
        return -EOPNOTSUPP;
    fr_see(super, &st, &seen);
    if (cred->fsuid != seen.uid && !fr_cred_has(cred, FR_CAP_FOWNER))
        return -EPERM;
    if (!fr_cred_has(cred, FR_CAP_FSETID) && !fr_cred_in_group(cred, seen.gid))
        mode &= ~(uint32_t)S_ISGID;
    if (super->table.linked != 0 && (rc = fr_copy_up(super, fd, &st)) < 0)
        return rc;
    seen.mode = (uint16_t)((seen.mode & S_IFMT) | (mode & 07777));
    is_new = fr_entry(super, &st) == NULL;
    rc = set_mode(super, fd, mode & 07777, &seen, &st);
    if (rc < 0)
        return rc;
    fr_note_upper(super, fd, &st);
    if (is_new)
        fr_watch_first(super, fd, &st);
    if ((entry = fr_entry(super, &st)) != NULL && entry->xattrs != 0)
        fr_acl_chmod(super, entry, mode);
    return 0;
}

long fr_do_chmod(struct fr_call *call)
{
    const uint64_t *a = call->args;
    bool at = call->op == OP_FCHMODAT || call->op == OP_FCHMODAT2;
    int dirfd = at || call->op == OP_FCHMOD ? (int)a[0] : AT_FDCWD;
    uint32_t mode = (uint32_t)a[at ? 2 : 1];
    uint64_t path = call->op == OP_FCHMOD ? 0 : a[at ? 1 : 0];
    unsigned flags = FR_FOLLOW;
    struct stat st;
    long rc;
    int fd;

    if (call->op == OP_FCHMODAT2) {
        if (a[3] & ~(uint64_t)(FR_AT_SYMLINK_NOFOLLOW | FR_AT_EMPTY_PATH))
            return -EINVAL;
        flags = (a[3] & FR_AT_SYMLINK_NOFOLLOW ? 0 : FR_FOLLOW) | (a[3] & FR_AT_EMPTY_PATH ? FR_EMPTY_OK : 0);
    }
    if (call->op == OP_FCHMOD)
        flags = FR_EMPTY_OK;
    if (is_unknown(call, dirfd, path, flags, &st) &&
        fr_disk_mode((st.st_mode & S_IFMT) | (mode & 07777)) == (mode & 07777))
        return FR_CONTINUE;
    fd = open_target(call, dirfd, path, flags);
    if (fd < 0)
        return fd;
    rc = fr_still_there(call) ? change_mode(call, fd, mode) : -ESRCH;
    close(fd);
    return rc;
}
