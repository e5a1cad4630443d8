/* What differs between two snapshots. */
#ifndef LC_DIFF_H
#define LC_DIFF_H

#include "scan.h"

enum lc_change_kind { LC_ADDED = 1, LC_CHANGED = 2, LC_REMOVED = 3 };

struct lc_change {
    enum lc_change_kind kind;
    const struct lc_record *record; /* in `before` if removed, else in `after` */
};

struct lc_changes {
    struct lc_change *list;
    size_t count;
};

/* Canonical order. What was below a removed or replaced folder is not told again. `changes->list` is to be freed. */
int lc_diff(const struct lc_snapshot *before, const struct lc_snapshot *after, struct lc_changes *changes,
            struct lc_error *error);

#endif
