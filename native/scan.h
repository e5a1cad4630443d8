/* Every path below a folder with its lstat, sorted; and what differs between two such snapshots (diff.c).
 *
 * A survey is a scan that keeps what COPY needs besides: where symlinks lead, what is in the way of packing it whole. */
#ifndef LC_SCAN_H
#define LC_SCAN_H

#include "lc_common.h"

struct lc_record {
    uint64_t path;         /* offset in `paths` */
    uint32_t path_length;
    uint32_t mode, uid, gid;
    int64_t size, mtime_ns, ctime_ns;
    uint64_t dev, ino, nlink, rdev;
    uint64_t target;       /* of a symlink in a survey: offset in `paths` */
    uint32_t target_length;
};

/* Canonical order: by path component, bytewise, a folder before what it holds. */
struct lc_snapshot {
    struct lc_record *records;
    size_t count, capacity;
    char *paths;
    size_t paths_used, paths_capacity;
    uint64_t files, bytes; /* regular files, and what they hold */
    int odd;               /* a survey: something that lc_pack cannot take (survey.h) */
};

/* What a survey looks at. names: those of the folder itself, sorted, or NULL for all; skipped: paths that are left
 * out, in canonical order. */
struct lc_survey {
    const struct lc_text *names, *skipped;
    size_t name_count, skipped_count;
};

int lc_path_order(const char *a, size_t a_length, const char *b, size_t b_length);

/* Fills an all-zero snapshot; lc_snapshot_free is due in any case. Depth costs no descriptors. */
int lc_scan(int root_fd, struct lc_snapshot *snapshot, struct lc_error *error);
int lc_scan_survey(int root_fd, const struct lc_survey *survey, struct lc_snapshot *snapshot, struct lc_error *error);
void lc_snapshot_free(struct lc_snapshot *snapshot);

const struct lc_record *lc_snapshot_find(const struct lc_snapshot *snapshot, const char *path, size_t length);

static inline const char *lc_record_path(const struct lc_snapshot *snapshot, const struct lc_record *record)
{
    return snapshot->paths + record->path;
}

#endif
