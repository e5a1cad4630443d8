#include "bytes.h"

#include <stdlib.h>

int lc_bytes_reserve(struct lc_bytes *bytes, size_t capacity)
{
    if (capacity <= bytes->capacity)
        return 0;
    capacity += capacity / 2 + 4096;
    uint8_t *grown = realloc(bytes->data, capacity);
    if (grown == NULL)
        return -1;
    bytes->data = grown;
    bytes->capacity = capacity;
    return 0;
}

int lc_bytes_add(struct lc_bytes *bytes, const void *data, size_t size)
{
    size_t wanted;
    if (__builtin_add_overflow(bytes->used, size, &wanted) || lc_bytes_reserve(bytes, wanted) < 0)
        return -1;
    if (size > 0)
        memcpy(bytes->data + bytes->used, data, size);
    bytes->used = wanted;
    return 0;
}
