/* What stands before a file's content in a tar: layer/header.py in C, byte for byte, for what a folder can hold.
 *
 * A PAX header only where the ustar block does not hold the value (POSIX.1-2017 pax, "ustar Interchange Format"). */
#ifndef LC_HEADER_H
#define LC_HEADER_H

#include "lc_common.h"

#define LC_BLOCK 512

struct lc_header {
    const char *name, *target; /* a folder's name ends with "/"; target: of a symlink, else NULL */
    size_t name_length, target_length;
    char type;                 /* '0' file, '2' symlink, '5' folder */
    uint32_t mode, uid, gid;
    uint64_t size;
    int64_t mtime_ns;
};

/* An upper limit of what lc_header_write writes. */
size_t lc_header_room(const struct lc_header *header);

/* → bytes written, a multiple of LC_BLOCK. */
size_t lc_header_write(const struct lc_header *header, uint8_t *to);

#endif
