/* Writes what is handed over, in order, by a thread of its own: while it is in write(2), the next bytes are read and
 * hashed. */
#ifndef LC_WRITER_H
#define LC_WRITER_H

#include "lc_common.h"

#define LC_BUFFER ((size_t)1 << 18) /* small enough to be hashed and written while it is in the cache */

/* `size` bytes to where the position of `fd` is; of a whole buffer of zeros the file gets a hole, if it may have one.
 * → 0, or errno. */
int lc_write_out(int fd, int leaves_holes, const uint8_t *data, size_t size);

struct lc_writer;

/* NULL where no thread is to be had. */
struct lc_writer *lc_writer_start(int fd, int leaves_holes);

/* Takes over the `size` bytes of the buffer it gave last (at first: of `data`, copied) → the next buffer, or NULL with
 * *err set when something could not be written. */
uint8_t *lc_writer_swap(struct lc_writer *writer, const uint8_t *data, size_t size, int *err);

/* Everything is written → 0, or errno of what was not. */
int lc_writer_end(struct lc_writer *writer);

#endif
