/* The final table. The joined scan reads the overlay's upper directory, where a copied-up file has a number of its
 * own, while every process of the run saw the lower file's: so both trees are walked side by side for such pairs.
 * Where the overlay has forgotten what it was copied from, fr_upper.c has noted it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fr_super.h"

struct aliases {
    struct ot_alias *list;
    size_t count, capacity;
};

static int add_alias(struct aliases *aliases, uint64_t from, uint64_t to)
{
    if (aliases->count == aliases->capacity) {
        size_t capacity = aliases->capacity * 2 + 64;
        struct ot_alias *grown = realloc(aliases->list, capacity * sizeof *grown);

        if (grown == NULL)
            return -ENOMEM;
        aliases->list = grown;
        aliases->capacity = capacity;
    }
    aliases->list[aliases->count++] = (struct ot_alias){from, to};
    return 0;
}

static int by_numbers(const void *left, const void *right)
{
    const struct ot_alias *a = left, *b = right;

    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    return (a->to > b->to) - (a->to < b->to);
}

static bool locks_out(mode_t mode)
{
    return (S_ISREG(mode) && !(mode & 0400)) || (S_ISDIR(mode) && (mode & 0700) != 0700);
}

/* A file or folder that locks its owner out: the disk gets what the layer's writer and rm need, the table the truth. */
static int make_readable(struct fr_super *super, int upper, const char *name, const struct stat *up,
                         const struct stat *seen)
{
    struct fr_seen truth;

    fr_see(super, seen, &truth);
    if (fchmodat(upper, name, fr_disk_mode(up->st_mode), 0) < 0)
        return -errno;
    return fr_entry(super, seen) != NULL ? 0 : ot_put(&super->table, &(struct ot_entry){
        .ino = seen->st_ino, .uid = truth.uid, .gid = truth.gid, .rdev = truth.rdev, .mode = truth.mode});
}

/* One file that lies in the upper directory. 1: a folder to go into. */
static int compare(struct fr_super *super, int upper, int merged, const char *name, struct aliases *aliases)
{
    struct ot_entry *entry;
    struct stat up, seen;
    int fd;

    if (fstatat(upper, name, &up, AT_SYMLINK_NOFOLLOW) < 0 || fstatat(merged, name, &seen, AT_SYMLINK_NOFOLLOW) < 0)
        return 0; /* a whiteout */
    if (seen.st_dev != super->table.devs[0])
        return 0; /* something is mounted there */
    if (super->unreadable && locks_out(up.st_mode)) {
        int rc = make_readable(super, upper, name, &up, &seen);

        if (rc < 0)
            return rc;
    }
    entry = fr_entry(super, &seen);
    fd = entry != NULL && (entry->flags & OT_MARKED) ? openat(merged, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fr_unmark(super, fd, entry);
        close(fd);
    }
    if (up.st_ino != seen.st_ino && fr_entry(super, &seen) != NULL) {
        int rc = add_alias(aliases, seen.st_ino, up.st_ino);

        if (rc < 0)
            return rc;
    }
    return S_ISDIR(up.st_mode);
}

/* Takes both fds over. */
static int walk(struct fr_super *super, int upper, int merged, struct aliases *aliases)
{
    DIR *dir = fdopendir(upper);
    const struct dirent *item;
    int rc = 0;

    if (dir == NULL) {
        rc = -errno;
        close(upper);
        close(merged);
        return rc;
    }
    while (rc >= 0 && (item = readdir(dir)) != NULL) {
        int next_upper, next_merged;

        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        rc = compare(super, dirfd(dir), merged, item->d_name, aliases);
        if (rc != 1)
            continue;
        next_upper = openat(dirfd(dir), item->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        next_merged = openat(merged, item->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next_upper < 0 || next_merged < 0) {
            rc = -errno;
            if (next_upper >= 0)
                close(next_upper);
            if (next_merged >= 0)
                close(next_merged);
        } else {
            rc = walk(super, next_upper, next_merged, aliases);
        }
    }
    closedir(dir);
    close(merged);
    return rc < 0 ? rc : 0;
}

int fr_export(struct fr_super *super, void **out, size_t *length)
{
    struct aliases aliases = {NULL, 0, 0};
    struct stat up, seen;
    int rc = 0;

    fr_end_watch(super);
    if (super->upper_fd >= 0 && (super->table.count != 0 || super->unreadable)) {
        int upper = openat(super->upper_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int merged = fcntl(super->root_fd, F_DUPFD_CLOEXEC, 0);

        if (upper < 0 || merged < 0 || fstat(upper, &up) < 0 || fstat(merged, &seen) < 0)
            return -errno;
        if (up.st_ino != seen.st_ino)
            rc = add_alias(&aliases, seen.st_ino, up.st_ino);
        if (rc == 0)
            rc = walk(super, upper, merged, &aliases);
        if (aliases.count != 0)
            qsort(aliases.list, aliases.count, sizeof *aliases.list, by_numbers);
    }
    if (rc == 0)
        rc = ot_store(&super->table, 0, aliases.list, aliases.count, out, length);
    free(aliases.list);
    return rc;
}

int fr_export_mount(struct fr_super *super, size_t index, void **out, size_t *length)
{
    return ot_store(&super->table, super->mount_devs[index], NULL, 0, out, length);
}
