/* Reads the small files of a survey ahead, by a few threads, in the order in which they will be packed: while one
 * waits for the disk or the kernel, another one hashes, and the packer writes. */
#ifndef LC_LOADER_H
#define LC_LOADER_H

#include "scan.h"
#include "sha256.h"
#include "tar.h"

#define LC_LOADED_SIZE ((uint64_t)1 << 16) /* larger files are left to the packer */

/* Files of a survey, opened one after the other: the folder of the last one stays open. */
struct lc_opener {
    int root_fd;
    const struct lc_snapshot *survey;
    int folder;           /* -1, or of the folder whose path is the first `folder_length` bytes of `path` */
    size_t folder_length;
    char *path;           /* of the last record, ended by NUL */
    size_t capacity;
};

void lc_opener_start(struct lc_opener *opener, int root_fd, const struct lc_snapshot *survey);
void lc_opener_end(struct lc_opener *opener);

/* The regular file or folder `record`, for reading, no symlink followed; one with attributes of the user's is ENOTSUP.
 * → a descriptor, or -1. */
int lc_opener_open(struct lc_opener *opener, const struct lc_record *record, struct lc_error *error);

/* One record as it was read: `data` holds its content, if it was loaded. */
struct lc_loaded {
    int done;             /* 0: not for the loader */
    int err;              /* errno, and what the kernel of the error says */
    const char *what;
    int has_hint;
    const uint8_t *data;
    uint8_t digest[LC_SHA256_SIZE];
};

struct lc_loader;

/* Begins with record `first`. NULL where threads are not worth it, or not to be had: everything is the packer's then. */
struct lc_loader *lc_loader_start(int root_fd, const struct lc_snapshot *survey, size_t first,
                                  const struct lc_hints *hints);

/* The next record, in order; what it points to holds until the next call. */
const struct lc_loaded *lc_loader_next(struct lc_loader *loader);

void lc_loader_end(struct lc_loader *loader);

#endif
