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

#include "fr_birth.h"

bool fr_is_looked_at(struct fr_call *call, uint32_t mode, uint32_t needed)
{
    const struct fr_cred *cred = fr_caller(call);

    return cred->fsuid != 0 || cred->fsgid != 0 || call->super->table.sgid_dirs != 0 || (call->harsh_umask & needed) ||
           call->super->default_acls || (mode & needed) != needed;
}

long fr_begin(struct fr_call *call, int dir, uint32_t needed, struct birth *birth)
{
    const struct fr_cred *cred = fr_caller(call);
    const struct ot_entry *entry;
    struct fr_seen parent;
    const void *acl = NULL;
    struct stat st;
    int rc = fr_stat_fd(dir, &st);

    if (rc < 0)
        return rc;
    if (!fr_may(call, &st, W_OK | X_OK))
        return -EACCES;
    fr_see(call->super, &st, &parent);
    birth->owner = (struct fr_seen){.uid = cred->fsuid, .gid = cred->fsgid};
    birth->set_gid = (parent.mode & S_ISGID) != 0;
    birth->acl_length = 0;
    if (birth->set_gid)
        birth->owner.gid = parent.gid;
    entry = fr_entry(call->super, &st);
    if (entry != NULL && call->super->default_acls)
        acl = ot_xattr_get(&call->super->table, entry, FR_ACL_DEFAULT, &birth->acl_length);
    if (acl == NULL || birth->acl_length > sizeof birth->acl)
        birth->acl_length = 0;
    if (birth->acl_length != 0)
        memcpy(birth->acl, acl, birth->acl_length);
    birth->differs =
        birth->owner.uid != 0 || birth->owner.gid != 0 || birth->acl_length != 0 || (call->harsh_umask & needed);
    return 0;
}

uint32_t fr_born_mode(struct fr_call *call, struct birth *birth, uint32_t asked)
{
    unsigned char acl[FR_ACL_MAX];

    asked &= 07777;
    if (birth->acl_length == 0)
        return asked & 0777 ? asked & ~fr_umask(call) : asked; /* dpkg makes its folders with no rights at all */
    memcpy(acl, birth->acl, birth->acl_length);
    return fr_acl_born(acl, birth->acl_length, asked);
}

static void inherit_acl(struct fr_super *super, const struct stat *st, const struct birth *birth, uint32_t asked)
{
    unsigned char acl[FR_ACL_MAX];
    struct ot_entry *entry, fresh;
    int dev = ot_device(&super->table, st->st_dev, true);

    memcpy(acl, birth->acl, birth->acl_length);
    fr_acl_born(acl, birth->acl_length, asked);
    if (dev < 0 || (!S_ISDIR(st->st_mode) && !fr_acl_is_extended(acl, birth->acl_length)))
        return;
    if (fr_entry(super, st) == NULL) { /* a default one, for the ACLs to hang on */
        fresh = (struct ot_entry){.ino = st->st_ino, .dev = (uint16_t)dev, .mode = birth->owner.mode,
                                  .uid = birth->owner.uid, .gid = birth->owner.gid, .rdev = birth->owner.rdev,
                                  .flags = st->st_nlink == 0 ? OT_DEAD : 0};
        if (ot_put(&super->table, &fresh) < 0)
            return;
    }
    entry = fr_entry(super, st);
    if (fr_acl_is_extended(acl, birth->acl_length))
        ot_xattr_set(&super->table, entry, FR_ACL_ACCESS, acl, birth->acl_length);
    if (S_ISDIR(st->st_mode))
        ot_xattr_set(&super->table, entry, FR_ACL_DEFAULT, birth->acl, birth->acl_length);
}

static int record(struct fr_super *super, int fd, struct birth *birth, uint32_t mode, uint32_t asked)
{
    struct stat st;
    int rc = fr_stat_fd(fd, &st);

    if (rc < 0)
        return rc;
    birth->owner.mode = (uint16_t)mode;
    if (!S_ISCHR(mode) && !S_ISBLK(mode))
        birth->owner.rdev = (uint32_t)st.st_rdev;
    ot_remove(&super->table, ot_device(&super->table, st.st_dev, false), st.st_ino);
    rc = fr_record(super, &st, &birth->owner);
    if (rc == 0 && birth->acl_length != 0 && !S_ISLNK(mode))
        inherit_acl(super, &st, birth, asked);
    return rc;
}

int fr_record_new(struct fr_call *call, int dir, const char *name, struct birth *birth, uint32_t mode, uint32_t asked)
{
    struct fr_super *super = call->super;
    char path[32];
    int fd, rc;

    if (name[0] != 0)
        fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    else
        fd = openat(super->proc_fd, fr_self_path(dir, path), O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = record(super, fd, birth, mode, asked);
    fr_watch(super, fd);
    return rc;
}

/* --- folders, nodes, symlinks --- */

/* Where it will be, and how it begins; FR_CONTINUE where the kernel's own act (or error) is right. */
static long prepare(struct fr_call *call, int dirfd, uint64_t path, uint32_t needed, struct fr_place *place,
                    struct birth *birth)
{
    const char *text;
    struct stat st;
    long rc;

    /* for -fanalyzer, which cannot see that fr_begin fills them; not the ACL, which is large */
    birth->owner = (struct fr_seen){0};
    birth->set_gid = birth->differs = false;
    birth->acl_length = 0;
    text = fr_path(call, path, 0, &rc);
    if (text == NULL)
        return rc;
    rc = fr_open_parent(call, dirfd, text, place);
    if (rc != 0)
        return rc;
    rc = fr_begin(call, place->dir, needed, birth);
    if (rc == -EACCES && fstatat(place->dir, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        rc = -EEXIST;
    if (rc != 0)
        close(place->dir);
    return rc;
}

long fr_do_mkdir(struct fr_call *call)
{
    bool at = call->op == OP_MKDIRAT;
    int dirfd = at ? (int)call->args[0] : AT_FDCWD;
    uint32_t asked = (uint32_t)call->args[at ? 2 : 1] & 01777, mode;
    struct fr_place place;
    struct birth birth;
    const char *text;
    struct stat st;
    long rc;

    if (!fr_is_looked_at(call, asked, 0700) || (text = fr_path(call, call->args[at ? 1 : 0], 0, &rc)) == NULL ||
        fr_stat_path(call, dirfd, text, 0, &st) == 0) /* EEXIST: programs try without asking */
        return FR_CONTINUE;
    rc = prepare(call, dirfd, call->args[at ? 1 : 0], 0700, &place, &birth);
    if (rc != 0)
        return rc;
    if (!birth.differs && (asked & 0700) == 0700) {
        rc = FR_CONTINUE;
    } else {
        mode = S_IFDIR | fr_born_mode(call, &birth, asked) | (birth.set_gid ? S_ISGID : 0);
        ot_begin_change(&call->super->table); /* whoever sees it sees whose it is */
        rc = mkdirat(place.dir, place.name, fr_disk_mode(mode)) < 0 ? -errno : 0;
        if (rc == 0)
            rc = fr_record_new(call, place.dir, place.name, &birth, mode, asked);
        ot_end_change(&call->super->table);
    }
    close(place.dir);
    return rc;
}

/* Makes the node, or a file that stands for it. */
static long make_node(struct fr_call *call, const struct fr_place *place, struct birth *birth, uint32_t asked,
                      uint32_t dev)
{
    bool device = S_ISCHR(asked) || S_ISBLK(asked);
    uint32_t mode = (asked & S_IFMT) | fr_born_mode(call, birth, asked);
    long rc;

    if (!birth->differs && !device && (asked & 0400))
        return FR_CONTINUE;
    if (place->slash)
        return -ENOENT;
    birth->owner.rdev = device ? dev : 0;
    ot_begin_change(&call->super->table);
    if (mknodat(place->dir, place->name, (device ? S_IFREG : asked & S_IFMT) | fr_disk_mode(mode & 07777), 0) < 0)
        rc = -errno;
    else
        rc = fr_record_new(call, place->dir, place->name, birth, mode, asked);
    ot_end_change(&call->super->table);
    return rc;
}

long fr_do_mknod(struct fr_call *call)
{
    bool at = call->op == OP_MKNODAT;
    uint32_t asked = (uint32_t)call->args[at ? 2 : 1] & 0177777, dev = (uint32_t)call->args[at ? 3 : 2];
    bool device = S_ISCHR(asked) || S_ISBLK(asked);
    struct fr_place place;
    struct birth birth;
    long rc;

    if ((asked & S_IFMT) == 0)
        asked |= S_IFREG;
    if (!device && !S_ISREG(asked) && !S_ISFIFO(asked) && !S_ISSOCK(asked))
        return FR_CONTINUE;
    if (device && !fr_cred_has(fr_caller(call), FR_CAP_MKNOD) && !(S_ISCHR(asked) && dev == 0))
        return -EPERM;
    if (!device && !fr_is_looked_at(call, asked, 0400))
        return FR_CONTINUE;
    rc = prepare(call, at ? (int)call->args[0] : AT_FDCWD, call->args[at ? 1 : 0], 0400, &place, &birth);
    if (rc != 0)
        return rc == FR_CONTINUE && device ? -EEXIST : rc;
    rc = make_node(call, &place, &birth, asked, dev);
    close(place.dir);
    return rc;
}

static long make_symlink(struct fr_call *call, const char *target, const struct fr_place *place, struct birth *birth)
{
    long rc;

    if (!fr_still_there(call))
        return -ESRCH;
    ot_begin_change(&call->super->table);
    if (symlinkat(target, place->dir, place->name) < 0)
        rc = -errno;
    else
        rc = fr_record_new(call, place->dir, place->name, birth, S_IFLNK | 0777, 0777);
    ot_end_change(&call->super->table);
    return rc;
}

long fr_do_symlink(struct fr_call *call)
{
    bool at = call->op == OP_SYMLINKAT;
    struct fr_place place;
    struct birth birth;
    const char *target;
    long rc;

    if (!fr_is_looked_at(call, 0, 0))
        return FR_CONTINUE;
    rc = prepare(call, at ? (int)call->args[1] : AT_FDCWD, call->args[at ? 2 : 1], 0, &place, &birth);
    if (rc != 0)
        return rc;
    if ((birth.owner.uid == 0 && birth.owner.gid == 0) || place.slash)
        rc = FR_CONTINUE;
    else if ((target = fr_path(call, call->args[0], 1, &rc)) != NULL)
        rc = make_symlink(call, target, &place, &birth);
    close(place.dir);
    return rc;
}

/* A further name changes no owner; but it copies a lower file up, and brings one without a name to life. */
long fr_do_link(struct fr_call *call)
{
    bool at = call->op == OP_LINKAT;
    struct fr_super *super = call->super;
    int dirfd = at ? (int)call->args[0] : AT_FDCWD;
    unsigned flags = at && (call->args[4] & FR_AT_SYMLINK_FOLLOW) ? FR_FOLLOW : 0;
    struct ot_entry *entry, alive;
    const char *text;
    struct stat st;
    long error;

    if (at && (call->args[4] & FR_AT_EMPTY_PATH))
        flags |= FR_EMPTY_OK;
    if (super->table.count == 0 || (text = fr_path(call, call->args[at ? 1 : 0], 0, &error)) == NULL ||
        fr_stat_path(call, dirfd, text, flags, &st) < 0 || (entry = fr_entry(super, &st)) == NULL)
        return FR_CONTINUE;
    if (entry->flags & OT_DEAD) {
        alive = *entry;
        alive.flags &= ~OT_DEAD;
        ot_put(&super->table, &alive);
    } else {
        fr_copy_up_known(call, dirfd, text, flags);
    }
    fr_watch(super, fr_open_path(call, dirfd, text, flags));
    return FR_CONTINUE;
}
