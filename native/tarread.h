/* The ordinary entries of a tar that nobody vouches for, as rows of layer/index.py.
 *
 * Nothing is refused here. An entry is taken when layer/archive.py and layer/reader.py would find nothing to say about it;
 * any other (damaged, sparse, a device, an extended attribute, a deletion, a path that leaves the root, over a limit) is
 * left where it is, for them to judge. */
#ifndef LC_TARREAD_H
#define LC_TARREAD_H

#include "bytes.h"

/* A stretch of a tar: `size` bytes, the first of them at `position` of the stream. limit: bytes, of the stream and of all
 * files taken together. */
struct lc_tar_part {
    const uint8_t *data;
    size_t size;
    uint64_t position, limit;
};

/* Files, folders, symlinks and hard links, in the order of the tar; texts end with NUL. targets: of symlinks as they are,
 * of hard links as paths. */
struct lc_tar_rows {
    struct lc_bytes records, paths, targets;
    uint64_t files; /* bytes of all files so far */
    uint64_t end;   /* where in the part the next entry begins, or would, beyond it */
    uint32_t spare; /* of the bytes before `end`: padding */
};

/* All there is from rows->end on, up to the first entry that is left, or not whole: its headers that is; the content of
 * the last one may reach beyond. → 0, or -1 where there is no memory. */
int lc_tar_read(const struct lc_tar_part *part, struct lc_tar_rows *rows);

#endif
