/* A tar on its way out: headers as given, content copied from descriptors and padded, all of it hashed. */
#ifndef LC_TAR_H
#define LC_TAR_H

#include "lc_common.h"
#include "hints.h"
#include "sha256.h"
#include "writer.h"

struct lc_sink {
    int out_fd;        /* -1: hash only; never closed here */
    int leaves_holes;  /* a long run of zeros need not be written */
    struct lc_sha256 hash;
    uint64_t length;   /* bytes given so far */
    size_t waiting;    /* of them, in the buffer */
    size_t hashed;     /* of those, hashed already */
    size_t flushed;    /* buffers */
    uint8_t *own;      /* the buffer before there is a writer */
    uint8_t *buffer;   /* being filled: our own, or one of the writer's */
    struct lc_writer *writer;
};

struct lc_entry {
    const uint8_t *header;
    size_t header_size;
    const char *path;  /* NULL: no content */
    size_t path_length;
    uint64_t size;
};

int lc_sink_open(struct lc_sink *sink, int out_fd, const struct lc_sha256_kernel *kernel);
void lc_sink_close(struct lc_sink *sink);

int lc_sink_put(struct lc_sink *sink, const void *data, size_t size, struct lc_error *error);

/* Zeros up to a whole block after `size` bytes of content. */
int lc_sink_pad(struct lc_sink *sink, uint64_t size, struct lc_error *error);

/* `size` bytes of `fd` from `offset`, padded; fewer are ESTALE. path: for errors, may be NULL. */
int lc_sink_copy(struct lc_sink *sink, int fd, uint64_t offset, uint64_t size, const char *path, size_t path_length,
                 struct lc_error *error);

/* Who else is to see a file's content as it passes. */
struct lc_onlooker {
    struct lc_sha256 hash;
    const struct lc_hints *hints; /* or NULL */
    int has_hint;                 /* out: it holds one of them, or may (it did not pass in one piece) */
};

/* All of `fd`, a file of `size` bytes read from its start, padded. A longer or shorter one is ESTALE. */
int lc_sink_copy_watched(struct lc_sink *sink, int fd, uint64_t size, struct lc_onlooker *onlooker, const char *path,
                         size_t path_length, struct lc_error *error);

/* Header and content of each; a file that is not of its entry's size is ESTALE. */
int lc_sink_add(struct lc_sink *sink, int dir_fd, const struct lc_entry *entries, size_t count,
                struct lc_error *error);

/* The two blocks that end an archive. */
int lc_sink_finish(struct lc_sink *sink, uint8_t digest[LC_SHA256_SIZE], struct lc_error *error);

/* The regular file `path` below `dir_fd`, opened for reading without following any symlink; ".." is EXDEV. → a
 * descriptor, or -1. path must end with a NUL. */
int lc_open_beneath(int dir_fd, const char *path, size_t path_length, struct lc_error *error);

/* The folder `path` below `dir_fd`, no symlink followed: a descriptor for openat, or -1 with errno. */
int lc_open_folder_beneath(int dir_fd, const char *path);

#define LC_HASH_BUFFER ((size_t)1 << 18)

/* SHA-256 of what `fd` holds from its position on; buffer: of LC_HASH_BUFFER bytes. path: for errors. */
int lc_hash_open_file(int fd, uint8_t *buffer, uint8_t digest[LC_SHA256_SIZE], const char *path, size_t path_length,
                      struct lc_error *error);

/* SHA-256 of files of `dir_fd`, from paths[*done] on, until some `budget` of bytes is used up. */
int lc_hash_files(int dir_fd, const struct lc_entry *files, size_t count, size_t *done, uint64_t budget,
                  uint8_t (*digests)[LC_SHA256_SIZE], struct lc_error *error);

#endif
