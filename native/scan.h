/* Every path below a folder with its lstat, sorted; and what differs between two such snapshots (diff.c). */
#ifndef LC_SCAN_H
#define LC_SCAN_H

#include "lc_common.h"

struct lc_record {
    uint64_t path;         /* offset in `paths` */
    uint32_t path_length;
    uint32_t mode, uid, gid;
    int64_t size, mtime_ns, ctime_ns;
    uint64_t dev, ino, nlink, rdev;
};

/* Canonical order: by path component, bytewise, a folder before what it holds. */
struct lc_snapshot {
    struct lc_record *records;
    size_t count, capacity;
    char *paths;
    size_t paths_used, paths_capacity;
};

int lc_path_order(const char *a, size_t a_length, const char *b, size_t b_length);

/* Fills an all-zero snapshot; lc_snapshot_free is due in any case. Depth costs no descriptors. */
int lc_scan(int root_fd, struct lc_snapshot *snapshot, struct lc_error *error);
void lc_snapshot_free(struct lc_snapshot *snapshot);

const struct lc_record *lc_snapshot_find(const struct lc_snapshot *snapshot, const char *path, size_t length);

static inline const char *lc_record_path(const struct lc_snapshot *snapshot, const struct lc_record *record)
{
    return snapshot->paths + record->path;
}

#endif
