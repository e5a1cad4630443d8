/* A tar header of any name, owner, size and time: what a reader of POSIX.1-2017 finds in it is what was written, and
 * not a byte lies beyond the room that was asked for.
 *
 *   input   1 byte type, 4 mode, 4 uid, 4 gid, 8 size, 8 mtime, 2 length of the name; the name; the rest is the target
 */
#define _GNU_SOURCE
#include <string.h>

#include "header.h"
#include "require.h"

#define FIXED 31

struct found {
    const char *name, *target, *prefix;
    size_t name_length, target_length, prefix_length;
    uint64_t mode, uid, gid, size;
    int64_t mtime_ns;
    bool has_time; /* a record told it */
};

static uint64_t digits(const char *at, size_t count, unsigned base)
{
    uint64_t value = 0;

    for (size_t i = 0; i < count; i++) {
        unsigned digit = (unsigned)(at[i] - '0');

        require(digit < base && value <= (UINT64_MAX - digit) / base);
        value = value * base + digit;
    }
    return value;
}

static uint64_t field(const uint8_t *block, size_t at, size_t width)
{
    require(block[at + width - 1] == 0);
    return digits((const char *)block + at, width - 1, 8);
}

static void check_sum(const uint8_t *block)
{
    unsigned sum = 8 * ' ';

    for (size_t i = 0; i < LC_BLOCK; i++)
        sum += i >= 148 && i < 156 ? 0 : block[i];
    require(field(block, 148, 7) == sum && memcmp(block + 257, "ustar\0" "00", 8) == 0);
}

static size_t length_of(const uint8_t *text, size_t room)
{
    const uint8_t *end = memchr(text, 0, room);

    return end != NULL ? (size_t)(end - text) : room;
}

/* "SECONDS[.FRACTION]" */
static int64_t time_of(const char *value, size_t length)
{
    bool negative = length > 0 && value[0] == '-';
    const char *point = memchr(value, '.', length);
    size_t whole = point != NULL ? (size_t)(point - value) : length;
    uint64_t time = digits(value + negative, whole - negative, 10) * 1000000000ULL, part = 100000000;

    for (size_t i = whole + 1; i < length; i++, part /= 10)
        time += digits(value + i, 1, 10) * part;
    return negative ? (int64_t)-time : (int64_t)time;
}

static bool is(const char *key, size_t length, const char *wanted)
{
    return length == strlen(wanted) && memcmp(key, wanted, length) == 0;
}

/* "LENGTH KEY=VALUE\n" → its length */
static size_t read_record(const char *text, size_t room, struct found *found)
{
    const char *blank = memchr(text, ' ', room), *equals, *value;
    size_t length, key, size;

    require(blank != NULL);
    length = (size_t)digits(text, (size_t)(blank - text), 10);
    require(length <= room && length > (size_t)(blank - text) + 1 && text[length - 1] == '\n');
    equals = memchr(blank, '=', length - (size_t)(blank - text));
    require(equals != NULL);
    key = (size_t)(equals - blank) - 1;
    value = equals + 1;
    size = (size_t)(text + length - 1 - value);
    if (is(blank + 1, key, "path"))
        found->name = value, found->name_length = size, found->prefix_length = 0;
    else if (is(blank + 1, key, "linkpath"))
        found->target = value, found->target_length = size;
    else if (is(blank + 1, key, "size"))
        found->size = digits(value, size, 10);
    else if (is(blank + 1, key, "uid"))
        found->uid = digits(value, size, 10);
    else if (is(blank + 1, key, "gid"))
        found->gid = digits(value, size, 10);
    else if (is(blank + 1, key, "mtime"))
        found->mtime_ns = time_of(value, size), found->has_time = true;
    else
        abort();
    return length;
}

static void read_block(const uint8_t *block, struct found *found)
{
    check_sum(block);
    found->name = (const char *)block;
    found->name_length = length_of(block, 100);
    found->prefix = (const char *)block + 345;
    found->prefix_length = length_of(block + 345, 155);
    found->target = (const char *)block + 157;
    found->target_length = length_of(block + 157, 100);
    found->mode = field(block, 100, 8);
    found->uid = field(block, 108, 8);
    found->gid = field(block, 116, 8);
    found->size = field(block, 124, 12);
    found->has_time = false;
}

static void compare(const struct lc_header *header, const struct found *found, uint64_t seconds)
{
    size_t prefix = found->prefix_length;

    require(found->name_length + prefix + (prefix != 0) == header->name_length);
    require(memcmp(header->name, found->prefix, prefix) == 0 && (prefix == 0 || header->name[prefix] == '/'));
    require(memcmp(header->name + prefix + (prefix != 0), found->name, found->name_length) == 0);
    require(found->target_length == header->target_length);
    require(header->target_length == 0 || memcmp(found->target, header->target, header->target_length) == 0);
    require(found->mode == header->mode && found->uid == header->uid && found->gid == header->gid);
    require(found->size == header->size);
    if (found->has_time)
        require(found->mtime_ns == header->mtime_ns);
    else
        require(header->mtime_ns >= 0 && (uint64_t)header->mtime_ns == seconds * 1000000000ULL);
}

static void read_back(const struct lc_header *header, const uint8_t *blocks, size_t size)
{
    const uint8_t *last = blocks + size - LC_BLOCK;
    struct found found;

    require(size >= LC_BLOCK && size % LC_BLOCK == 0);
    read_block(last, &found);
    require((char)last[156] == header->type);
    if (size > LC_BLOCK) {
        size_t records = (size_t)field(blocks, 124, 12);
        const char *at = (const char *)blocks + LC_BLOCK;

        check_sum(blocks);
        require(blocks[156] == 'x' && records <= size - 2 * LC_BLOCK && records + LC_BLOCK > size - 2 * LC_BLOCK);
        for (size_t used = 0; used < records;)
            used += read_record(at + used, records - used, &found);
    }
    compare(header, &found, field(last, 136, 12));
}

static uint64_t number(const uint8_t *at, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

/* No name or target holds a NUL. */
static char *text_of(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    require(text != NULL);
    for (size_t i = 0; i < size; i++)
        text[i] = data[i] == 0 ? '/' : (char)data[i];
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t name_length;
    uint8_t *blocks;

    if (size < FIXED + 1)
        return 0;
    struct lc_header header = {
        .type = "025"[data[0] % 3], .mode = (uint32_t)number(data + 1, 4) & 07777, .uid = (uint32_t)number(data + 5, 4),
        .gid = (uint32_t)number(data + 9, 4), .size = number(data + 13, 8), .mtime_ns = (int64_t)number(data + 21, 8)};
    char *text = text_of(data + FIXED, size - FIXED);

    name_length = 1 + number(data + 29, 2) % (size - FIXED);
    if (header.type == '5')
        text[name_length - 1] = '/';
    header.name = text;
    header.name_length = name_length;
    if (header.type == '2') {
        header.target = text + name_length;
        header.target_length = size - FIXED - name_length;
    }
    blocks = malloc(lc_header_room(&header));
    require(blocks != NULL);
    read_back(&header, blocks, lc_header_write(&header, blocks));
    free(blocks);
    free(text);
    return 0;
}
