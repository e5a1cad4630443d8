/* A folder of the host as COPY takes it: what of it is known from before, its digest, its layer.
 *
 * Beside a survey (scan.h) goes one digest for each record: of a regular file's content; 1, 0, 0… for anything else
 * that has been looked at; all zeros where nothing is known yet. "Looked at" means: no extended attributes of the
 * user's, which only layer/header.py can write. */
#ifndef LC_SURVEY_H
#define LC_SURVEY_H

#include "bytes.h"
#include "scan.h"
#include "tar.h"

typedef uint8_t lc_digest[LC_SHA256_SIZE];

/* What this memory says of the records that are as it knew them, into `digests`. What stays unknown is counted. */
struct lc_unknown {
    size_t records;
    uint64_t bytes;
};
struct lc_unknown lc_recall(const struct lc_snapshot *survey, const uint8_t *memory, size_t size, lc_digest *digests);

/* The memory of this survey, for lc_recall. An entry is settled, and will be believed, when its last change was before
 * `quiet` (nanoseconds), or when `before`, the memory of an earlier survey, knows it just so, settled or not. */
int lc_remember(const struct lc_snapshot *survey, const lc_digest *digests, const uint8_t *before, size_t before_size,
                int64_t quiet, struct lc_bytes *out, struct lc_error *error);

/* Looks at what is not known, from record *done on, until some `budget` of bytes is used up.
 * ENOTSUP: the user's extended attributes. */
int lc_learn(int root_fd, const struct lc_snapshot *survey, lc_digest *digests, size_t *done, uint64_t budget,
             struct lc_error *error);

/* The text that sources/selection.py hashes, of the records from `first` on, paths without their first `strip` bytes;
 * and the digests of the files among them. modes: what is told of each of 4096 modes. */
struct lc_telling {
    size_t first, strip;
    const uint32_t *modes;
};
int lc_tell(const struct lc_snapshot *survey, const lc_digest *digests, const struct lc_telling *how,
            struct lc_bytes *text, struct lc_bytes *contents, struct lc_error *error);

/* Packing: record `first` and those after it, at `prefix` instead of the first `strip` bytes of their paths. */
struct lc_pack_rules {
    size_t first, strip;
    const char *prefix;
    size_t prefix_length;
    uint32_t uid, gid;
    int64_t latest;        /* a later mtime becomes this one */
    const uint16_t *modes; /* NULL, or what each of 4096 modes becomes: of files, then of folders */
    const struct lc_hints *hints; /* NULL, or what to look for */
};

/* What was packed, as layer/index.py keeps it; hinted: numbers (u32) of the records that hold a hint. */
struct lc_packed {
    struct lc_bytes records, paths, targets, hinted;
};

struct lc_packer;

/* NULL where there is no memory. What is given must stay until lc_packer_end. */
struct lc_packer *lc_packer_start(struct lc_sink *sink, int root_fd, const struct lc_snapshot *survey,
                                  lc_digest *digests, const struct lc_pack_rules *rules);

/* Some `budget` of bytes more → 1: there is more, 0: that was all, -1: an error. */
int lc_packer_step(struct lc_packer *packer, uint64_t budget, struct lc_packed *packed, struct lc_error *error);

void lc_packer_end(struct lc_packer *packer);

#endif
