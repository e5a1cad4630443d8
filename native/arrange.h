/* Rows of a tar, in its order → an index, in canonical order; where sorting is all that this takes. */
#ifndef LC_ARRANGE_H
#define LC_ARRANGE_H

#include "bytes.h"

/* records: of layer/index.py, but that a hard link has a target among the texts; texts end with NUL, one path for each
 * record, one target for each symlink and hard link. attributes: how many sets of extended attributes there are. */
struct lc_arrangement {
    struct lc_text records, paths, targets;
    uint32_t attributes;
};

/* As Packer (layer/index.py) makes it. order: numbers (u32) of the sets of attributes, in their new order. */
struct lc_arranged {
    struct lc_bytes records, paths, targets, order;
};

/* → 1, or 0: it takes more thought (a path twice, something below what is no folder, a hard link to what is not before
 * it, a sparse file, perhaps more than `most` entries), or -1: EINVAL, ENOMEM. What was allocated is the caller's. */
int lc_arrange(const struct lc_arrangement *rows, uint64_t most, struct lc_arranged *out, struct lc_error *error);

#endif
