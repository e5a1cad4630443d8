/* One record of layer/index.py, RECORD: "<IIIqQQI". */
#ifndef LC_INDEX_H
#define LC_INDEX_H

#include "bytes.h"

#define LC_INDEX_RECORD 40

enum lc_index_kind { /* as index.py numbers them */
    LC_INDEX_REMOVE, LC_INDEX_OPAQUE, LC_INDEX_FILE, LC_INDEX_SPARSE, LC_INDEX_LINK, LC_INDEX_DIRECTORY,
    LC_INDEX_SYMLINK, LC_INDEX_DEVICE
};

struct lc_index_record {
    uint32_t kind, mode, uid, gid; /* mode: at most 0xFFFF */
    int64_t mtime_ns;
    uint64_t first, second; /* of a file: size, offset */
    uint32_t attributes;
};

static inline void lc_little(uint8_t *to, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static inline uint64_t lc_from_little(const uint8_t *from, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value |= (uint64_t)from[i] << 8 * i;
    return value;
}

/* 0, or -1 where there is no memory. */
static inline int lc_index_add(struct lc_bytes *records, const struct lc_index_record *record)
{
    uint8_t packed[LC_INDEX_RECORD];
    lc_little(packed, record->kind << 16 | record->mode, 4);
    lc_little(packed + 4, record->uid, 4);
    lc_little(packed + 8, record->gid, 4);
    lc_little(packed + 12, (uint64_t)record->mtime_ns, 8);
    lc_little(packed + 20, record->first, 8);
    lc_little(packed + 28, record->second, 8);
    lc_little(packed + 36, record->attributes, 4);
    return lc_bytes_add(records, packed, sizeof packed);
}

static inline struct lc_index_record lc_index_get(const uint8_t *packed)
{
    uint32_t kind_mode = (uint32_t)lc_from_little(packed, 4);
    return (struct lc_index_record){
        .kind = kind_mode >> 16, .mode = kind_mode & 0xFFFF, .uid = (uint32_t)lc_from_little(packed + 4, 4),
        .gid = (uint32_t)lc_from_little(packed + 8, 4), .mtime_ns = (int64_t)lc_from_little(packed + 12, 8),
        .first = lc_from_little(packed + 20, 8), .second = lc_from_little(packed + 28, 8),
        .attributes = (uint32_t)lc_from_little(packed + 36, 4)};
}

#endif
