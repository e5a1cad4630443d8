/* Bytes that grow. */
#ifndef LC_BYTES_H
#define LC_BYTES_H

#include "lc_common.h"

struct lc_bytes {
    uint8_t *data;
    size_t used, capacity;
};

/* Both: 0, or -1 where there is no memory. */
int lc_bytes_reserve(struct lc_bytes *bytes, size_t capacity);
int lc_bytes_add(struct lc_bytes *bytes, const void *data, size_t size);

#endif
