/* Views: the stat and access families. What the table does not know, the kernel answers itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fr_super.h"

/* i386: arch/x86/include/uapi/asm/stat.h */
struct stat64_i386 {
    uint64_t dev;
    uint8_t pad0[4];
    uint32_t short_ino, mode, nlink, uid, gid;
    uint64_t rdev;
    uint8_t pad3[4];
    int64_t size;
    uint32_t blksize;
    uint64_t blocks;
    uint32_t atime, atime_nsec, mtime, mtime_nsec, ctime, ctime_nsec;
    uint64_t ino;
} __attribute__((packed));

struct stat32_i386 {
    uint32_t dev, ino;
    uint16_t mode, nlink, uid, gid;
    uint32_t rdev, size, blksize, blocks, atime, atime_nsec, mtime, mtime_nsec, ctime, ctime_nsec, unused[2];
};

struct oldstat_i386 {
    uint16_t dev, ino, mode, nlink, uid, gid, rdev;
    uint16_t pad;
    uint32_t size, atime, mtime, ctime;
};

_Static_assert(sizeof(struct stat64_i386) == 96, "i386 struct stat64");
_Static_assert(sizeof(struct stat32_i386) == 64, "i386 struct stat");
_Static_assert(sizeof(struct oldstat_i386) == 32, "i386 struct __old_kernel_stat");

/* Where a stat-like call looks: dirfd, address of the path (0: none), flags of fr_stat_path. */
struct target {
    int dirfd;
    uint64_t path;
    unsigned flags;
    uint64_t buffer;
};

static bool is_valid_at_flags(uint64_t flags)
{
    return (flags & ~(uint64_t)(FR_AT_EMPTY_PATH | FR_AT_SYMLINK_NOFOLLOW | FR_AT_NO_AUTOMOUNT | 0x6000)) == 0;
}

static struct target target_of(const struct fr_call *call)
{
    const uint64_t *a = call->args;
    unsigned at = (unsigned)a[call->op == OP_STATX ? 2 : 3];

    switch (call->op) {
    case OP_STAT:
        return (struct target){AT_FDCWD, a[0], FR_FOLLOW, a[1]};
    case OP_LSTAT:
        return (struct target){AT_FDCWD, a[0], 0, a[1]};
    case OP_FSTAT:
        return (struct target){(int)a[0], 0, FR_EMPTY_OK, a[1]};
    default:
        return (struct target){(int)a[0], a[1],
                               (at & FR_AT_SYMLINK_NOFOLLOW ? 0 : FR_FOLLOW) | (at & FR_AT_EMPTY_PATH ? FR_EMPTY_OK : 0),
                               a[call->op == OP_STATX ? 4 : 2]};
    }
}

/* Finds the file; true when the table knows it. */
static bool look(struct fr_call *call, const struct target *target, struct stat *st)
{
    const char *text = "";
    long error;
    int rc;

    if (call->op == OP_FSTAT && target->dirfd < 0)
        return false;
    if (target->path != 0) {
        text = fr_path(call, target->path, 0, &error);
        if (text == NULL)
            return false;
    } else if (!(target->flags & FR_EMPTY_OK)) {
        return false;
    }
    if (fr_stat_path(call, target->dirfd, text, target->flags, st) < 0 || fr_entry(call->super, st) == NULL)
        return false;
    if (!call->super->self_is_ours)
        return true;
    rc = fr_open_path(call, target->dirfd, text, target->flags);
    if (rc >= 0)
        close(rc);
    return rc >= 0;
}

static long put_stat64(struct fr_call *call, uint64_t to, const struct stat *st)
{
    struct stat64_i386 out = {
        .dev = st->st_dev,
        .short_ino = (uint32_t)st->st_ino,
        .mode = st->st_mode,
        .nlink = (uint32_t)st->st_nlink,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .rdev = st->st_rdev,
        .size = st->st_size,
        .blksize = (uint32_t)st->st_blksize,
        .blocks = (uint64_t)st->st_blocks,
        .atime = (uint32_t)st->st_atim.tv_sec,
        .atime_nsec = (uint32_t)st->st_atim.tv_nsec,
        .mtime = (uint32_t)st->st_mtim.tv_sec,
        .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
        .ctime = (uint32_t)st->st_ctim.tv_sec,
        .ctime_nsec = (uint32_t)st->st_ctim.tv_nsec,
        .ino = st->st_ino,
    };

    return fr_write(call, to, &out, sizeof out);
}

static uint16_t id16(uint32_t id) { return id > UINT16_MAX ? 65534 : (uint16_t)id; }

static long put_stat32(struct fr_call *call, uint64_t to, const struct stat *st)
{
    struct stat32_i386 out = {
        .dev = (uint32_t)st->st_dev,
        .ino = (uint32_t)st->st_ino,
        .mode = (uint16_t)st->st_mode,
        .nlink = (uint16_t)st->st_nlink,
        .uid = id16(st->st_uid),
        .gid = id16(st->st_gid),
        .rdev = (uint32_t)st->st_rdev,
        .size = (uint32_t)st->st_size,
        .blksize = (uint32_t)st->st_blksize,
        .blocks = (uint32_t)st->st_blocks,
        .atime = (uint32_t)st->st_atim.tv_sec,
        .atime_nsec = (uint32_t)st->st_atim.tv_nsec,
        .mtime = (uint32_t)st->st_mtim.tv_sec,
        .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
        .ctime = (uint32_t)st->st_ctim.tv_sec,
        .ctime_nsec = (uint32_t)st->st_ctim.tv_nsec,
    };

    if (st->st_ino > UINT32_MAX || st->st_size > INT32_MAX || st->st_nlink > UINT16_MAX)
        return -EOVERFLOW;
    return fr_write(call, to, &out, sizeof out);
}

static long put_oldstat(struct fr_call *call, uint64_t to, const struct stat *st)
{
    struct oldstat_i386 out = {
        .dev = (uint16_t)st->st_dev,
        .ino = (uint16_t)st->st_ino,
        .mode = (uint16_t)st->st_mode,
        .nlink = (uint16_t)st->st_nlink,
        .uid = id16(st->st_uid),
        .gid = id16(st->st_gid),
        .rdev = (uint16_t)st->st_rdev,
        .size = (uint32_t)st->st_size,
        .atime = (uint32_t)st->st_atim.tv_sec,
        .mtime = (uint32_t)st->st_mtim.tv_sec,
        .ctime = (uint32_t)st->st_ctim.tv_sec,
    };

    if (st->st_ino > UINT16_MAX || st->st_size > INT32_MAX || st->st_nlink > UINT16_MAX)
        return -EOVERFLOW;
    return fr_write(call, to, &out, sizeof out);
}

long fr_do_stat(struct fr_call *call)
{
    struct target target = target_of(call);
    struct fr_seen seen;
    struct stat st;

    if (call->op == OP_FSTATAT && !is_valid_at_flags(call->args[3]))
        return FR_CONTINUE;
    if (!look(call, &target, &st))
        return FR_CONTINUE;
    fr_see(call->super, &st, &seen);
    st.st_uid = seen.uid;
    st.st_gid = seen.gid;
    st.st_mode = seen.mode;
    st.st_rdev = seen.rdev;
    if (S_ISCHR(seen.mode) || S_ISBLK(seen.mode))
        st.st_size = st.st_blocks = 0;
    if (!fr_still_there(call))
        return -ESRCH;
    switch (call->form) {
    case FORM_STAT64:
        return put_stat64(call, target.buffer, &st);
    case FORM_STAT32:
        return put_stat32(call, target.buffer, &st);
    case FORM_OLDSTAT:
        return put_oldstat(call, target.buffer, &st);
    default:
        return fr_write(call, target.buffer, &st, sizeof st);
    }
}

long fr_do_statx(struct fr_call *call)
{
    struct target target = target_of(call);
    unsigned mask = (unsigned)call->args[3] | FR_STATX_BASIC;
    struct fr_statx stx;
    struct fr_seen seen;
    struct stat st;
    int fd, rc;

    if (!is_valid_at_flags(call->args[2]) || (mask & 0x80000000U) || !look(call, &target, &st))
        return FR_CONTINUE;
    fd = target.path != 0 ? fr_open_path(call, target.dirfd, call->super->text[0], target.flags)
                          : fr_open_fd(call, target.dirfd);
    if (fd < 0)
        return FR_CONTINUE;
    memset(&stx, 0, sizeof stx);
    rc = (int)syscall(SYS_statx, fd, "", FR_AT_EMPTY_PATH | (call->args[2] & 0x6000), mask, &stx);
    close(fd);
    if (rc < 0)
        return FR_CONTINUE;
    fr_see(call->super, &st, &seen);
    stx.uid = seen.uid;
    stx.gid = seen.gid;
    stx.mode = seen.mode;
    if (S_ISCHR(seen.mode) || S_ISBLK(seen.mode)) {
        stx.rdev_major = ot_rdev_major(seen.rdev);
        stx.rdev_minor = ot_rdev_minor(seen.rdev);
        stx.size = stx.blocks = 0;
    }
    if (!fr_still_there(call))
        return -ESRCH;
    return fr_write(call, target.buffer, &stx, sizeof stx);
}

/* access(2) of a process that is not plain root, by the owner and mode that the image says. */
long fr_do_access(struct fr_call *call)
{
    bool at = call->op != OP_ACCESS;
    int dirfd = at ? (int)call->args[0] : AT_FDCWD, mask = (int)call->args[at ? 2 : 1];
    unsigned flags = call->op == OP_FACCESSAT2 ? (unsigned)call->args[3] : 0;
    const struct fr_cred *cred = fr_caller(call);
    bool effective = (flags & FR_AT_EACCESS) != 0, privileged;
    unsigned how = (flags & FR_AT_SYMLINK_NOFOLLOW ? 0 : FR_FOLLOW) | (flags & FR_AT_EMPTY_PATH ? FR_EMPTY_OK : 0);
    struct fr_seen seen;
    struct stat st;
    const char *text;
    long error;

    if (mask == R_OK && fr_lend(call))
        return 0;
    if (fr_is_plain(call, cred) || (mask & ~7) != 0)
        return FR_CONTINUE;
    text = fr_path(call, call->args[at ? 1 : 0], 0, &error);
    if (text == NULL || fr_stat_path(call, dirfd, text, how, &st) < 0)
        return FR_CONTINUE;
    if (effective)
        privileged = fr_cred_has(cred, FR_CAP_DAC_OVERRIDE);
    else /* the real ids, with the capabilities that root would have by them */
        privileged = cred->ruid == 0 && (cred->permitted & FR_CAP_BIT(FR_CAP_DAC_OVERRIDE));
    fr_see(call->super, &st, &seen);
    if (!fr_cred_may(cred, effective ? cred->fsuid : cred->ruid, effective ? cred->fsgid : cred->rgid, privileged,
                     seen.mode, seen.uid, seen.gid, mask))
        return -EACCES;
    return FR_CONTINUE;
}
