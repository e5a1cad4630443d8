/* One inode, two numbers. While an overlay's file that was copied up stays in the cache it shows the lower file's
 * number; thrown out and looked up again it shows the upper's (to find its origin again takes a capability of the
 * first user namespace). So a record must be found by both, from the copy-up on: the file is looked up below the upper
 * directory by the path of its fd, and its number there made another name of the record's (ot_also).
 * Afterwards nothing tells: without that capability, user.overlay.origin is written empty.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fr_super.h"

#define TRIES 3

/* struct vfs_cap_data, revision 2, that gives nothing */
static const unsigned char MARK[20] = {[3] = 2};

/* The path of an fd as the container's root has it, which is not our root while a process has another one. */
static ssize_t path_of(const struct fr_super *super, int fd, char *path, size_t room)
{
    char name[32];
    ssize_t length = -1;
    int here;

    if (!super->roots_vary)
        return readlinkat(super->proc_fd, fr_self_path(fd, name), path, room);
    here = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (here < 0)
        return -1;
    if (fchdir(super->root_fd) == 0 && chroot(".") == 0) {
        length = readlinkat(super->proc_fd, fr_self_path(fd, name), path, room);
        if (fchdir(here) < 0 || chroot(".") < 0)
            length = -1;
    }
    if (fchdir(super->proc_fd) < 0)
        length = -1;
    close(here);
    return length;
}

/* The upper directory's own view of an fd's file. Names may change while we look: what is found must have the same
 * times and size, which the overlay shows as the upper has them. */
static int stat_upper(const struct fr_super *super, int fd, struct stat *up)
{
    char path[FR_PATH_MAX + 1];

    for (int i = 0; i < TRIES; i++) {
        ssize_t length = path_of(super, fd, path, FR_PATH_MAX);
        struct stat st;

        if (length <= 1 || length == FR_PATH_MAX || path[0] != '/')
            return -ENOENT;
        path[length] = 0;
        if (fstatat(super->upper_fd, path + 1, up, AT_SYMLINK_NOFOLLOW) < 0 || fr_stat_fd(fd, &st) < 0)
            return -errno;
        if (up->st_ctim.tv_sec == st.st_ctim.tv_sec && up->st_ctim.tv_nsec == st.st_ctim.tv_nsec &&
            up->st_mode == st.st_mode && up->st_size == st.st_size)
            return 0;
    }
    return -ENOENT;
}

void fr_note_upper(struct fr_super *super, int fd, const struct stat *st)
{
    struct ot_entry *entry = fr_entry(super, st);
    struct stat up;

    /* a folder is looked up in all layers, and keeps its number */
    if (!super->overlay || st->st_dev != super->table.devs[0] || S_ISDIR(st->st_mode) || st->st_nlink == 0 ||
        (entry != NULL && (entry->flags & OT_UPPER)))
        return;
    if (super->upper_fd >= 0 && (stat_upper(super, fd, &up) < 0 || ot_also(&super->table, st->st_ino, up.st_ino) < 0))
        return;
    entry = fr_entry(super, st);
    if (entry != NULL)
        entry->flags |= OT_UPPER;
}

void fr_copy_up_known(struct fr_call *call, int dirfd, const char *text, unsigned flags)
{
    struct fr_super *super = call->super;
    const struct ot_entry *entry;
    struct stat st;
    int fd;

    if (!super->overlay || super->table.count == 0 || fr_stat_path(call, dirfd, text, flags, &st) < 0)
        return;
    entry = fr_entry(super, &st);
    if (entry == NULL || S_ISDIR(st.st_mode) || (entry->flags & (OT_UPPER | OT_DEAD)) ||
        st.st_dev != super->table.devs[0])
        return;
    fd = fr_open_path(call, dirfd, text, flags);
    if (fd < 0)
        return;
    if (fr_still_there(call))
        fr_copy_up(super, fd, &st);
    close(fd);
}

int fr_mark(struct fr_super *super, int fd, struct ot_entry *entry)
{
    char path[32];

    if (!super->overlay || super->upper_fd < 0 || entry->dev != 0)
        return -EOPNOTSUPP; /* nobody would take it off at the end */
    if (!(entry->flags & OT_MARKED) && setxattr(fr_self_path(fd, path), FR_CAPABILITY, MARK, sizeof MARK, 0) < 0)
        return -errno;
    entry->flags |= OT_MARKED;
    return 0;
}

void fr_check_mark(struct fr_super *super, int fd, struct ot_entry *entry)
{
    char path[32];

    if (!(entry->flags & OT_MARKED) || getxattr(fr_self_path(fd, path), FR_CAPABILITY, NULL, 0) >= 0 || errno != ENODATA)
        return;
    entry->flags &= ~OT_MARKED;
    ot_xattr_remove(&super->table, entry, FR_CAPABILITY);
}

void fr_unmark(struct fr_super *super, int fd, struct ot_entry *entry)
{
    char path[32];

    fr_check_mark(super, fd, entry);
    if (entry->flags & OT_MARKED)
        removexattr(fr_self_path(fd, path), FR_CAPABILITY);
    entry->flags &= ~OT_MARKED;
}
