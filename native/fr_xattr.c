/* Extended attributes that only the host's root may set: security.*, trusted.*, system.posix_acl_*.
 * They live in the table; the rest is the kernel's. The file itself is copied up, so that the layer has it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fr_super.h"

enum { SET, GET, LIST, REMOVE };

/* One call of the family, whichever of its forms it came in. */
struct request {
    int what;
    int dirfd;
    uint64_t path; /* 0: dirfd itself */
    unsigned flags;
    uint64_t name, value, size;
    int set_flags;
};

struct xattr_args { /* setxattrat(2), getxattrat(2) */
    uint64_t value;
    uint32_t size;
    uint32_t flags;
};

static int what_of(enum fr_op op)
{
    if (op <= OP_SETXATTRAT)
        return SET;
    if (op <= OP_GETXATTRAT)
        return GET;
    return op <= OP_LISTXATTRAT ? LIST : REMOVE;
}

static bool is_set(enum fr_op op, enum fr_op a, enum fr_op b, enum fr_op c, enum fr_op d)
{
    return op == a || op == b || op == c || op == d;
}

static int read_at_request(const struct fr_call *call, struct request *request)
{
    const uint64_t *a = call->args;
    struct xattr_args args;

    request->dirfd = (int)a[0];
    request->path = a[1];
    request->flags = (a[2] & FR_AT_SYMLINK_NOFOLLOW ? 0 : FR_FOLLOW) | (a[2] & FR_AT_EMPTY_PATH ? FR_EMPTY_OK : 0);
    request->name = a[3];
    if (request->what == LIST) {
        request->value = a[3];
        request->size = a[4];
    } else if (request->what != REMOVE) {
        if (a[5] < sizeof args || fr_read(call, a[4], &args, sizeof args) < 0)
            return -EFAULT;
        request->value = args.value;
        request->size = args.size;
        request->set_flags = (int)args.flags;
    }
    return 0;
}

static int read_request(const struct fr_call *call, struct request *request)
{
    const uint64_t *a = call->args;
    enum fr_op op = call->op;

    memset(request, 0, sizeof *request);
    request->what = what_of(op);
    if (is_set(op, OP_SETXATTRAT, OP_GETXATTRAT, OP_LISTXATTRAT, OP_REMOVEXATTRAT))
        return read_at_request(call, request);
    request->dirfd = AT_FDCWD;
    if (is_set(op, OP_FSETXATTR, OP_FGETXATTR, OP_FLISTXATTR, OP_FREMOVEXATTR)) {
        request->dirfd = (int)a[0];
        request->flags = FR_EMPTY_OK;
    } else {
        request->path = a[0];
        request->flags = is_set(op, OP_SETXATTR, OP_GETXATTR, OP_LISTXATTR, OP_REMOVEXATTR) ? FR_FOLLOW : 0;
    }
    request->name = a[1];
    request->value = a[request->what == LIST ? 1 : 2];
    request->size = a[request->what == LIST ? 2 : 3];
    request->set_flags = (int)a[4];
    return 0;
}

static bool is_privileged(const char *name)
{
    return strncmp(name, "security.", 9) == 0 || strncmp(name, "trusted.", 8) == 0 || strcmp(name, FR_ACL_ACCESS) == 0 ||
           strcmp(name, FR_ACL_DEFAULT) == 0;
}

static int open_request(struct fr_call *call, const struct request *request)
{
    const char *text = "";
    long error;

    if (request->path == 0 && (request->flags & FR_EMPTY_OK))
        return fr_open_fd(call, request->dirfd);
    text = fr_path(call, request->path, 0, &error);
    return text != NULL ? fr_open_path(call, request->dirfd, text, request->flags) : (int)error;
}

/* --- set and remove --- */

static long may_set(const struct fr_cred *cred, const struct fr_seen *seen, const char *name)
{
    if (strcmp(name, FR_CAPABILITY) == 0)
        return fr_cred_has(cred, FR_CAP_SETFCAP) ? 0 : -EPERM;
    if (strncmp(name, "system.", 7) == 0)
        return cred->fsuid == seen->uid || fr_cred_has(cred, FR_CAP_FOWNER) ? 0 : -EPERM;
    return fr_cred_has(cred, FR_CAP_SYS_ADMIN) ? 0 : -EPERM;
}

/* struct vfs_cap_data, revision 2 or 3 (kernel: cap_convert_nscap) */
static bool is_capability(const unsigned char *value, size_t length)
{
    return (length == 20 && value[3] == 2) || (length == 24 && value[3] == 3);
}

/* Gives the file an entry (also a default one, for its xattrs to hang on) and sets or removes there. */
static long store(struct fr_super *super, const struct stat *st, const struct fr_seen *seen, const char *name,
                  const void *value, size_t length)
{
    int dev = ot_device(&super->table, st->st_dev, true), rc = 0;
    struct ot_entry *entry = fr_entry(super, st);
    struct ot_entry fresh = {.ino = st->st_ino, .dev = (uint16_t)dev, .uid = seen->uid, .gid = seen->gid,
                             .rdev = seen->rdev, .mode = seen->mode, .flags = entry != NULL ? entry->flags : 0};

    if (st->st_nlink == 0)
        fresh.flags |= OT_DEAD; /* as in fr_record */
    if (dev < 0 || (rc = ot_put(&super->table, &fresh)) < 0)
        return rc < 0 ? rc : -ENOSPC;
    entry = fr_entry(super, st);
    if (entry == NULL)
        return -EIO;
    if (value != NULL)
        rc = ot_xattr_set(&super->table, entry, name, value, length);
    else
        rc = ot_xattr_remove(&super->table, entry, name);
    if (entry->xattrs == 0)
        fr_record(super, st, seen); /* may be the default again */
    return rc;
}

static long set_acl(struct fr_call *call, int fd, struct fr_seen *seen, const char *name, const void *value,
                    size_t length, bool *plain)
{
    bool access = strcmp(name, FR_ACL_ACCESS) == 0, extended;
    uint32_t mode = seen->mode;
    char path[32];
    int rc = fr_acl_mode(value, length, &mode, &extended);

    if (rc < 0)
        return rc;
    if (!access) {
        call->super->default_acls = true;
        fr_publish(call->super);
        return S_ISDIR(seen->mode) ? 0 : -EACCES;
    }
    *plain = !extended; /* what the mode can say is said by the mode */
    seen->mode = (uint16_t)mode;
    if (fchmodat(call->super->proc_fd, fr_self_path(fd, path), fr_disk_mode(mode), 0) < 0)
        return -errno;
    return 0;
}

/* The new value, read from the caller and looked at; NULL with *error set. */
static unsigned char *read_value(struct fr_call *call, const struct request *request, const char *name, long *error)
{
    size_t length = (size_t)request->size;
    unsigned char *value;

    *error = -E2BIG;
    if (request->size > OT_XATTR_VALUE_MAX)
        return NULL;
    value = calloc(1, length + 24);
    *error = value != NULL ? 0 : -ENOMEM;
    if (*error == 0 && length != 0)
        *error = fr_read(call, request->value, value, length);
    if (*error == 0 && strcmp(name, FR_CAPABILITY) == 0 && !is_capability(value, length))
        *error = -EINVAL;
    if (*error == 0 && !fr_still_there(call))
        *error = -ESRCH;
    if (*error < 0) {
        free(value);
        return NULL;
    }
    return value;
}

/* XATTR_CREATE, XATTR_REPLACE, and whether the caller may */
static long check_set(struct fr_call *call, const struct request *request, const struct stat *st, const char *name)
{
    struct fr_super *super = call->super;
    const struct ot_entry *entry = fr_entry(super, st);
    struct fr_seen seen;
    size_t length;
    bool has = entry != NULL && ot_xattr_get(&super->table, entry, name, &length) != NULL;

    if (request->set_flags & ~(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    if (S_ISLNK(st->st_mode) && strncmp(name, "system.", 7) == 0)
        return -EOPNOTSUPP;
    if (has && (request->set_flags & XATTR_CREATE))
        return -EEXIST;
    if (!has && (request->set_flags & XATTR_REPLACE))
        return -ENODATA;
    fr_see(super, st, &seen);
    return may_set(fr_caller(call), &seen, name);
}

static long set(struct fr_call *call, const struct request *request, int fd, const char *name)
{
    struct fr_super *super = call->super;
    unsigned char *value;
    struct fr_seen seen;
    bool plain = false, is_new;
    struct stat st;
    long rc = fr_stat_fd(fd, &st);

    if (rc == 0)
        rc = check_set(call, request, &st, name);
    value = rc == 0 ? read_value(call, request, name, &rc) : NULL;
    if (value == NULL)
        return rc;
    fr_see(super, &st, &seen);
    rc = fr_copy_up(super, fd, &st);
    if (rc == 0 && strncmp(name, "system.", 7) == 0)
        rc = set_acl(call, fd, &seen, name, value, (size_t)request->size, &plain);
    if (rc == 0)
        rc = fr_stat_fd(fd, &st);
    is_new = rc == 0 && fr_entry(super, &st) == NULL;
    if (rc == 0)
        rc = store(super, &st, &seen, name, plain ? NULL : value, (size_t)request->size);
    if (is_new)
        fr_watch_first(super, fd, &st);
    if (rc == 0 && strcmp(name, FR_CAPABILITY) == 0)
        fr_mark(super, fd, fr_entry(super, &st)); /* somebody may have it open for writing already */
    free(value);
    return plain && rc == -ENODATA ? 0 : rc;
}

static long remove_one(struct fr_call *call, int fd, const char *name)
{
    struct fr_super *super = call->super;
    struct fr_seen seen;
    struct stat st;
    size_t length;
    long rc = fr_stat_fd(fd, &st);

    if (rc < 0)
        return rc;
    if (fr_entry(super, &st) == NULL || ot_xattr_get(&super->table, fr_entry(super, &st), name, &length) == NULL)
        return FR_CONTINUE; /* the disk may have it; if not, the kernel says ENODATA */
    fr_see(super, &st, &seen);
    rc = may_set(fr_caller(call), &seen, name);
    if (rc == 0 && strcmp(name, FR_CAPABILITY) == 0)
        fr_unmark(super, fd, fr_entry(super, &st));
    if (rc == 0)
        rc = fr_copy_up(super, fd, &st);
    return rc < 0 ? rc : store(super, &st, &seen, name, NULL, 0);
}

/* --- get and list --- */

static long get(struct fr_call *call, const struct request *request, int fd, const char *name)
{
    const struct ot_entry *entry;
    struct stat st;
    const void *value;
    size_t length;
    long rc = fr_stat_fd(fd, &st);

    if (rc < 0)
        return rc;
    entry = fr_entry(call->super, &st);
    value = entry != NULL ? ot_xattr_get(&call->super->table, entry, name, &length) : NULL;
    if (value == NULL)
        return FR_CONTINUE;
    if (strncmp(name, "trusted.", 8) == 0 && !fr_cred_has(fr_caller(call), FR_CAP_SYS_ADMIN))
        return -ENODATA;
    if (request->size == 0)
        return (long)length;
    if (request->size < length)
        return -ERANGE;
    rc = fr_write(call, request->value, value, length);
    return rc < 0 ? rc : (long)length;
}

/* The list of names without the mark: capabilities are in the table's. */
static ssize_t without_mark(char *names, ssize_t length)
{
    const ssize_t size = sizeof FR_CAPABILITY;

    for (ssize_t at = 0; at + size <= length; at += (ssize_t)strlen(names + at) + 1)
        if (strcmp(names + at, FR_CAPABILITY) == 0) {
            memmove(names + at, names + at + size, (size_t)(length - at - size));
            return length - size;
        }
    return length;
}

static long list(struct fr_call *call, const struct request *request, int fd)
{
    struct fr_super *super = call->super;
    const struct ot_entry *entry;
    char path[32], *names;
    struct stat st;
    ssize_t disk = 0;
    size_t ours;
    long rc = fr_stat_fd(fd, &st);

    if (rc < 0)
        return rc;
    entry = fr_entry(super, &st);
    ours = entry != NULL ? ot_xattr_names(&super->table, entry, NULL, 0) : 0;
    if (ours == 0)
        return FR_CONTINUE;
    names = malloc(OT_XATTR_VALUE_MAX + ours);
    if (names == NULL)
        return -ENOMEM;
    if (!S_ISLNK(st.st_mode))
        disk = listxattr(fr_self_path(fd, path), names, OT_XATTR_VALUE_MAX);
    if (disk < 0)
        disk = 0;
    if (entry->flags & OT_MARKED)
        disk = without_mark(names, disk);
    ours = ot_xattr_names(&super->table, entry, names + disk, ours);
    rc = disk + (long)ours;
    if (request->size != 0 && request->size < (uint64_t)rc)
        rc = -ERANGE;
    else if (request->size != 0 && fr_write(call, request->value, names, (size_t)rc) < 0)
        rc = -EFAULT;
    free(names);
    return rc;
}

static long perform(struct fr_call *call, const struct request *request, const char *name, int fd)
{
    struct ot_entry *entry;
    struct stat st;

    if (fr_stat_fd(fd, &st) == 0 && (entry = fr_entry(call->super, &st)) != NULL)
        fr_check_mark(call->super, fd, entry); /* somebody may have written */
    switch (request->what) {
    case SET:
        return set(call, request, fd, name);
    case GET:
        return get(call, request, fd, name);
    case LIST:
        return list(call, request, fd);
    default:
        return remove_one(call, fd, name);
    }
}

/* user.* on a lower file: its copy-up must not lose the entry. */
static void keep_entry(struct fr_call *call, const struct request *request)
{
    const char *text = "";
    long error;

    if (!call->super->overlay || (request->what != SET && request->what != REMOVE))
        return;
    if (request->path != 0 || !(request->flags & FR_EMPTY_OK))
        text = fr_path(call, request->path, 0, &error);
    if (text != NULL)
        fr_copy_up_known(call, request->dirfd, text, request->flags);
}

long fr_do_xattr(struct fr_call *call)
{
    struct request request;
    char name[OT_XATTR_NAME_MAX + 2] = "";
    long rc = read_request(call, &request);
    int fd;

    if (rc < 0)
        return rc;
    if (request.what != LIST && fr_read_string(call, request.name, name, sizeof name) < 0)
        return FR_CONTINUE;
    if (!fr_still_there(call))
        return -ESRCH;
    if (request.what != LIST && !is_privileged(name)) {
        keep_entry(call, &request);
        return FR_CONTINUE;
    }
    if (request.what != SET && call->super->table.xattr_count == 0)
        return FR_CONTINUE;
    fd = open_request(call, &request);
    if (fd < 0) /* reading: the kernel knows the error best */
        return request.what == SET || request.what == REMOVE ? fd : FR_CONTINUE;
    rc = perform(call, &request, name, fd);
    close(fd);
    return rc;
}
