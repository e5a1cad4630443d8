#define _GNU_SOURCE
#include "header.h"

#include <stdio.h>

#define SECOND 1000000000
#define MAX_OCTAL_7 07777777u
#define MAX_OCTAL_11 077777777777

/* The fields of one ustar block that differ between entries. */
struct block {
    const char *name, *target, *prefix;
    size_t name_length, target_length, prefix_length;
    char type;
    uint32_t mode, uid, gid;
    uint64_t size, seconds;
};

static void octal(uint8_t *to, uint64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value >>= 3)
        to[i] = (uint8_t)('0' + (value & 7));
}

static void put_text(uint8_t *to, const char *text, size_t length)
{
    if (length > 0)
        memcpy(to, text, length);
}

static void write_block(const struct block *block, uint8_t *to)
{
    unsigned sum = 0;
    memset(to, 0, LC_BLOCK);
    put_text(to, block->name, block->name_length);
    octal(to + 100, block->mode, 7);
    octal(to + 108, block->uid, 7);
    octal(to + 116, block->gid, 7);
    octal(to + 124, block->size, 11);
    octal(to + 136, block->seconds, 11);
    memset(to + 148, ' ', 8);
    to[156] = (uint8_t)block->type;
    put_text(to + 157, block->target, block->target_length);
    memcpy(to + 257, "ustar\0" "00", 8);
    octal(to + 329, 0, 7);
    octal(to + 337, 0, 7);
    put_text(to + 345, block->prefix, block->prefix_length);
    for (size_t i = 0; i < LC_BLOCK; i++)
        sum += to[i];
    octal(to + 148, sum, 6);
    to[154] = '\0';
}

/* PAX records ─────────────────────────────────────────────────────────────────────────────────────────────────── */

static size_t digits_of(size_t value)
{
    size_t digits = 1;
    for (; value > 9; value /= 10)
        digits++;
    return digits;
}

/* "LENGTH KEY=VALUE\n", its own digits counted. */
static size_t write_record(uint8_t *to, const char *key, const char *value, size_t length)
{
    size_t rest = 3 + strlen(key) + length;
    size_t total = rest + digits_of(rest);
    total = rest + digits_of(total);
    int head = sprintf((char *)to, "%zu %s=", total, key);
    memcpy(to + head, value, length);
    to[total - 1] = '\n';
    return total;
}

static size_t write_number(uint8_t *to, const char *key, uint64_t value)
{
    char text[32];
    return write_record(to, key, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value));
}

static size_t write_time(uint8_t *to, int64_t mtime_ns)
{
    char text[48];
    uint64_t whole = mtime_ns < 0 ? -(uint64_t)mtime_ns : (uint64_t)mtime_ns;
    unsigned fraction = (unsigned)(whole % SECOND);
    int length = snprintf(text, sizeof text, "%s%llu", mtime_ns < 0 ? "-" : "", (unsigned long long)(whole / SECOND));
    if (fraction > 0) {
        length += snprintf(text + length, sizeof text - (size_t)length, ".%09u", fraction);
        while (text[length - 1] == '0')
            length--;
    }
    return write_record(to, "mtime", text, (size_t)length);
}

/* A long path in two fields, or → 0: it needs a record. */
static int split(struct block *block)
{
    size_t end = block->name_length - 1 < 156 ? block->name_length - 1 : 156;
    const char *slash = memrchr(block->name, '/', end);
    if (slash == NULL || slash == block->name)
        return 0;
    size_t cut = (size_t)(slash - block->name);
    if (block->name_length - cut - 1 > 100)
        return 0;
    block->prefix = block->name;
    block->prefix_length = cut;
    block->name = slash + 1;
    block->name_length -= cut + 1;
    return 1;
}

static uint64_t floor_seconds(int64_t mtime_ns)
{
    return mtime_ns < 0 ? 0 : (uint64_t)(mtime_ns / SECOND); /* an i64 of nanoseconds is below MAX_OCTAL_11 seconds */
}

/* Records in the order of their keys; what has one is zero, or cut short, in the block. */
static size_t write_records(const struct lc_header *header, struct block *block, uint8_t *to)
{
    size_t used = 0;
    int long_path = block->name_length > 100 && !split(block);
    if (header->gid > MAX_OCTAL_7) {
        used += write_number(to + used, "gid", header->gid);
        block->gid = 0;
    }
    if (header->target_length > 100) {
        used += write_record(to + used, "linkpath", header->target, header->target_length);
        block->target_length = 100;
    }
    if (header->mtime_ns % SECOND != 0 || header->mtime_ns < 0)
        used += write_time(to + used, header->mtime_ns);
    if (long_path) {
        used += write_record(to + used, "path", header->name, header->name_length);
        block->name_length = 100;
    }
    if (header->size > MAX_OCTAL_11) {
        used += write_number(to + used, "size", header->size);
        block->size = 0;
    }
    if (header->uid > MAX_OCTAL_7) {
        used += write_number(to + used, "uid", header->uid);
        block->uid = 0;
    }
    return used;
}

/* ─────────────────────────────────────────────────────────────────────────────────────────────────────────────── */

size_t lc_header_room(const struct lc_header *header)
{
    return header->name_length + header->target_length + 512 + 3 * LC_BLOCK;
}

size_t lc_header_write(const struct lc_header *header, uint8_t *to)
{
    struct block block = {
        .name = header->name, .name_length = header->name_length, .type = header->type, .mode = header->mode,
        .target = header->target, .target_length = header->target_length, .uid = header->uid, .gid = header->gid,
        .size = header->size, .seconds = floor_seconds(header->mtime_ns),
    };
    size_t records = write_records(header, &block, to + LC_BLOCK), at = 0;
    if (records > 0) {
        const struct block pax = {.name = "././@PaxHeader", .name_length = 14, .type = 'x', .mode = 0644,
                                  .size = records};
        size_t padding = -records % LC_BLOCK;
        write_block(&pax, to);
        memset(to + LC_BLOCK + records, 0, padding);
        at = LC_BLOCK + records + padding;
    }
    write_block(&block, to + at);
    return at + LC_BLOCK;
}
