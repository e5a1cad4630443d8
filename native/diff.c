#define _GNU_SOURCE
#include "diff.h"

#include <stdlib.h>
#include <sys/stat.h>

struct merge {
    const struct lc_snapshot *before, *after;
    size_t i, j;                  /* next record of each */
    const struct lc_record *gone; /* a folder of `before`: what was below it went with it */
};

static int is_gone(const struct merge *merge, const struct lc_record *record)
{
    const struct lc_record *gone = merge->gone;
    const char *path = lc_record_path(merge->before, record);
    return gone != NULL && record->path_length > gone->path_length && path[gone->path_length] == '/' &&
           memcmp(path, lc_record_path(merge->before, gone), gone->path_length) == 0;
}

static int same(const struct lc_record *a, const struct lc_record *b)
{
    return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->size == b->size &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns && a->dev == b->dev && a->ino == b->ino &&
           a->nlink == b->nlink && a->rdev == b->rdev;
}

static int order_of_next(const struct merge *merge)
{
    if (merge->i == merge->before->count)
        return 1;
    if (merge->j == merge->after->count)
        return -1;
    const struct lc_record *old = &merge->before->records[merge->i], *new = &merge->after->records[merge->j];
    return lc_path_order(lc_record_path(merge->before, old), old->path_length, lc_record_path(merge->after, new),
                         new->path_length);
}

/* The next difference → 1, or 0 at the end. */
static int next_change(struct merge *merge, struct lc_change *change)
{
    while (merge->i < merge->before->count || merge->j < merge->after->count) {
        const struct lc_record *old = &merge->before->records[merge->i];
        if (merge->i < merge->before->count && is_gone(merge, old)) {
            merge->i++;
            continue;
        }
        int order = order_of_next(merge);
        if (order < 0) {
            merge->i++;
            merge->gone = old;
            *change = (struct lc_change){LC_REMOVED, old};
            return 1;
        }
        const struct lc_record *new = &merge->after->records[merge->j++];
        if (order > 0) {
            *change = (struct lc_change){LC_ADDED, new};
            return 1;
        }
        merge->i++;
        if (same(old, new))
            continue;
        if (S_ISDIR(old->mode) && !S_ISDIR(new->mode))
            merge->gone = old;
        *change = (struct lc_change){LC_CHANGED, new};
        return 1;
    }
    return 0;
}

int lc_diff(const struct lc_snapshot *before, const struct lc_snapshot *after, struct lc_changes *changes,
            struct lc_error *error)
{
    struct merge merge = {.before = before, .after = after};
    struct lc_change change;
    size_t capacity = 0;
    while (next_change(&merge, &change)) {
        if (changes->count == capacity) {
            size_t wanted = capacity == 0 ? 64 : capacity, bytes;
            struct lc_change *grown = NULL;
            if (__builtin_add_overflow(wanted, capacity, &wanted) ||
                __builtin_mul_overflow(wanted, sizeof change, &bytes) ||
                (grown = realloc(changes->list, bytes)) == NULL)
                return lc_fail(error, ENOMEM, NULL, NULL, 0);
            changes->list = grown;
            capacity = wanted;
        }
        changes->list[changes->count++] = change;
    }
    return 0;
}
