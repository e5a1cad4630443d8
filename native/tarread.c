#define _GNU_SOURCE
#include "tarread.h"

#include "index.h"

#define BLOCK 512
#define MAX_EXTENSIONS ((uint64_t)1 << 20) /* bytes of all of one entry's, headers included */
#define MAX_PATH 4096
#define MAX_NAME 255
#define MAX_ID 0xFFFFFFFE
#define SECOND 1000000000

/* A header, and what stood before it. Texts lie in the part, or in `joined`; what is absent is empty. */
struct entry {
    struct lc_text name, target;
    struct lc_text long_name, long_target;               /* GNU */
    struct lc_text path, linkpath, size, uid, gid, mtime; /* pax */
    char joined[100 + 1 + 155];
};

/* Numbers: each → 1, or 0 for what Python should look at ──────────────────────────────────────────────────────────── */

/* Octal digits among blanks and NULs; none at all are 0. */
static int read_octal(const uint8_t *field, size_t width, uint64_t *value, size_t *digits)
{
    size_t at = 0;
    *value = 0;
    while (at < width && (field[at] == ' ' || field[at] == '\0'))
        at++;
    for (*digits = 0; at < width && field[at] >= '0' && field[at] <= '7'; at++, ++*digits)
        *value = *value << 3 | (uint64_t)(field[at] - '0');
    if (at < width && field[at] == '\0' && *digits > 0)
        return 1; /* whatever follows */
    while (at < width && (field[at] == ' ' || field[at] == '\0'))
        at++;
    return at == width;
}

/* The same, or a positive number of base 256. */
static int read_number(const uint8_t *field, size_t width, uint64_t *value)
{
    size_t digits;
    if (!(field[0] & 0x80))
        return read_octal(field, width, value, &digits);
    if (field[0] & 0x7f)
        return 0;
    *value = 0;
    for (size_t i = 1; i < width; i++) {
        if (*value >> 55)
            return 0;
        *value = *value << 8 | field[i];
    }
    return 1;
}

static int is_digit(char one)
{
    return one >= '0' && one <= '9';
}

/* Up to `most` digits and nothing else. most: 19 at the most. */
static int read_decimal(struct lc_text text, size_t most, uint64_t *value)
{
    *value = 0;
    if (text.length == 0 || text.length > most)
        return 0;
    for (size_t i = 0; i < text.length; i++) {
        if (!is_digit(text.bytes[i]))
            return 0;
        *value = *value * 10 + (uint64_t)(text.bytes[i] - '0');
    }
    return 1;
}

/* Seconds with a fraction → nanoseconds. */
static int read_time(struct lc_text text, int64_t *mtime_ns)
{
    size_t sign = text.length > 0 && text.bytes[0] == '-', at = sign;
    int64_t fraction = 0, scale = SECOND / 10, nanoseconds;
    uint64_t seconds;
    while (at < text.length && is_digit(text.bytes[at]))
        at++;
    if (!read_decimal((struct lc_text){text.bytes + sign, at - sign}, 18, &seconds))
        return 0;
    if (at < text.length && text.bytes[at++] != '.')
        return 0;
    for (; at < text.length; at++, scale /= 10) {
        if (!is_digit(text.bytes[at]))
            return 0;
        fraction += scale * (text.bytes[at] - '0');
    }
    if (__builtin_mul_overflow((int64_t)seconds, SECOND, &nanoseconds) ||
        __builtin_add_overflow(nanoseconds, fraction, &nanoseconds))
        return 0;
    *mtime_ns = sign ? -nanoseconds : nanoseconds;
    return 1;
}

/* Blocks ──────────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Sixteen-bit lanes hold 64 times 2 × 255. */
static uint64_t byte_sum(const uint8_t *block)
{
    const uint64_t lanes = 0x00ff00ff00ff00ff;
    uint64_t sum = 0;
    for (size_t at = 0; at < BLOCK; at += 8) {
        uint64_t word;
        memcpy(&word, block + at, 8);
        sum += (word & lanes) + (word >> 8 & lanes);
    }
    return (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32 & 0xffff) + (sum >> 48);
}

/* The header at `at`, if it is there and its checksum right; a block of zeros has none. */
static const uint8_t *header_at(const struct lc_tar_part *part, uint64_t at)
{
    uint64_t told, sum;
    size_t digits;
    if (at > part->size || part->size - at < BLOCK)
        return NULL;
    const uint8_t *block = part->data + at;
    if (!read_octal(block + 148, 8, &told, &digits) || digits == 0)
        return NULL;
    sum = byte_sum(block) + 8 * ' ';
    for (size_t i = 148; i < 156; i++)
        sum -= block[i];
    return sum == told ? block : NULL;
}

static uint64_t padded(uint64_t size)
{
    return (size + BLOCK - 1) / BLOCK * BLOCK;
}

static struct lc_text text_of(const uint8_t *field, size_t width)
{
    return (struct lc_text){(const char *)field, strnlen((const char *)field, width)};
}

/* Extensions ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int is(struct lc_text key, const char *word)
{
    return key.length == strlen(word) && memcmp(key.bytes, word, key.length) == 0;
}

static int begins(struct lc_text key, const char *word)
{
    return key.length >= strlen(word) && memcmp(key.bytes, word, strlen(word)) == 0;
}

static int keep_record(struct entry *entry, struct lc_text key, struct lc_text value)
{
    struct lc_text *known = is(key, "path") ? &entry->path : is(key, "linkpath") ? &entry->linkpath
                            : is(key, "size") ? &entry->size : is(key, "uid") ? &entry->uid
                            : is(key, "gid") ? &entry->gid : is(key, "mtime") ? &entry->mtime : NULL;
    if (known != NULL)
        *known = value;
    return known != NULL || !(begins(key, "GNU.sparse.") || begins(key, "SCHILY.xattr."));
}

/* "LENGTH KEY=VALUE\n", again and again. */
static int read_records(struct entry *entry, const char *data, size_t size)
{
    static const struct lc_text none;
    entry->path = entry->linkpath = entry->size = entry->uid = entry->gid = entry->mtime = none;
    while (size > 0) {
        const char *space = memchr(data, ' ', size < 8 ? size : 8);
        uint64_t length;
        if (space == NULL || !read_decimal((struct lc_text){data, (size_t)(space - data)}, 7, &length) || length > size)
            return 0;
        size_t head = (size_t)(space - data) + 1;
        if (length < head + 3 || data[length - 1] != '\n') /* a key of one letter, "=", "\n" */
            return 0;
        const char *key = data + head, *equals = memchr(key, '=', length - head - 1);
        if (equals == NULL || equals == key)
            return 0;
        struct lc_text value = {equals + 1, (size_t)(data + length - 1 - (equals + 1))};
        if (!keep_record(entry, (struct lc_text){key, (size_t)(equals - key)}, value))
            return 0;
        data += length;
        size -= length;
    }
    return 1;
}

static int is_extension(uint8_t kind)
{
    return kind == 'x' || kind == 'L' || kind == 'K';
}

/* Those that begin at *at → the header they are of, or NULL. */
static const uint8_t *read_extensions(const struct lc_tar_part *part, uint64_t *at, struct entry *entry)
{
    const uint8_t *block;
    uint64_t all = 0, size;
    while ((block = header_at(part, *at)) != NULL && is_extension(block[156])) {
        const uint8_t *data = block + BLOCK;
        *at += BLOCK;
        if (!read_number(block + 124, 12, &size) || size > MAX_EXTENSIONS || (all += BLOCK + size) > MAX_EXTENSIONS ||
            padded(size) > part->size - *at)
            return NULL;
        if (block[156] == 'x' && !read_records(entry, (const char *)data, size))
            return NULL;
        if (block[156] == 'L')
            entry->long_name = text_of(data, size);
        if (block[156] == 'K')
            entry->long_target = text_of(data, size);
        *at += padded(size);
    }
    return block;
}

/* Names ───────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int has_nul(struct lc_text text)
{
    return text.length > 0 && memchr(text.bytes, '\0', text.length) != NULL;
}

/* The name field, after the prefix where there is one. star keeps two times behind a short prefix. */
static struct lc_text header_name(const uint8_t *block, char *joined)
{
    struct lc_text name = text_of(block, 100), prefix;
    if (memcmp(block + 257, "ustar", 6) != 0)
        return name;
    prefix = text_of(block + 345, memcmp(block + 508, "tar", 4) == 0 ? 131 : 155);
    if (prefix.length == 0)
        return name;
    memcpy(joined, prefix.bytes, prefix.length);
    joined[prefix.length] = '/';
    memcpy(joined + prefix.length + 1, name.bytes, name.length);
    return (struct lc_text){joined, prefix.length + 1 + name.length};
}

static int set_names(struct entry *entry, const uint8_t *block)
{
    entry->name = entry->path.length > 0 ? entry->path : header_name(block, entry->joined);
    entry->target = entry->linkpath.length > 0 ? entry->linkpath : text_of(block + 157, 100);
    if (has_nul(entry->name) || has_nul(entry->target))
        return 0;
    if (entry->long_name.length > 0)
        entry->name = entry->long_name;
    if (entry->long_target.length > 0)
        entry->target = entry->long_target;
    return 1;
}

/* As a path of the image, into MAX_PATH bytes → its length; 0 for the root, and for what Python should look at. */
static size_t clean_path(struct lc_text name, char *path)
{
    size_t used = 0, length;
    if (name.length > MAX_PATH)
        return 0;
    for (size_t at = 0; at < name.length; at += length + 1) {
        const char *part = name.bytes + at, *slash = memchr(part, '/', name.length - at);
        length = slash != NULL ? (size_t)(slash - part) : name.length - at;
        if (length == 0 || (length == 1 && part[0] == '.'))
            continue;
        if (length > MAX_NAME || (length == 2 && memcmp(part, "..", 2) == 0) ||
            (length >= 4 && memcmp(part, ".wh.", 4) == 0))
            return 0;
        if (used > 0)
            path[used++] = '/';
        memcpy(path + used, part, length);
        used += length;
    }
    return used;
}

/* One entry ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* The number of a record where there is one, else of the field. */
static int read_either(struct lc_text record, const uint8_t *field, size_t width, uint64_t *value)
{
    return read_number(field, width, value) && (record.length == 0 || read_decimal(record, 19, value));
}

static int read_kind(const struct entry *entry, uint8_t kind)
{
    switch (kind) {
    case '0':
        return LC_INDEX_FILE;
    case '\0': /* V7 knows a folder by its slash */
        return entry->name.length > 0 && entry->name.bytes[entry->name.length - 1] == '/' ? LC_INDEX_DIRECTORY
                                                                                             : LC_INDEX_FILE;
    case '1':
        return LC_INDEX_LINK;
    case '2':
        return LC_INDEX_SYMLINK;
    case '5':
        return LC_INDEX_DIRECTORY;
    default:
        return -1;
    }
}

static int read_fields(const struct entry *entry, const uint8_t *block, struct lc_index_record *record)
{
    uint64_t mode, uid, gid, seconds;
    int kind = read_kind(entry, block[156]);
    if (kind < 0 || !read_number(block + 100, 8, &mode) || !read_either(entry->uid, block + 108, 8, &uid) ||
        !read_either(entry->gid, block + 116, 8, &gid) || !read_either(entry->size, block + 124, 12, &record->first) ||
        !read_number(block + 136, 12, &seconds) || uid > MAX_ID || gid > MAX_ID || record->first > INT64_MAX ||
        seconds > INT64_MAX / SECOND)
        return 0;
    record->kind = (uint32_t)kind;
    record->mode = kind == LC_INDEX_SYMLINK ? 0777 : (uint32_t)mode & 07777;
    record->uid = (uint32_t)uid;
    record->gid = (uint32_t)gid;
    record->mtime_ns = (int64_t)seconds * SECOND;
    if (kind != LC_INDEX_FILE)
        record->first = 0; /* some writers give folders and hard links a size */
    return entry->mtime.length == 0 || read_time(entry->mtime, &record->mtime_ns);
}

/* → 1, or -1 where there is no memory. target: NULL for none. */
static int add_row(struct lc_tar_rows *rows, const struct lc_index_record *record, struct lc_text path,
                   const struct lc_text *target)
{
    int failed = lc_index_add(&rows->records, record) | lc_bytes_add(&rows->paths, path.bytes, path.length) |
                 lc_bytes_add(&rows->paths, "", 1);
    if (target != NULL)
        failed |= lc_bytes_add(&rows->targets, target->bytes, target->length) | lc_bytes_add(&rows->targets, "", 1);
    return failed ? -1 : 1;
}

/* → 1: taken, 0: left, -1: no memory. */
static int read_entry(const struct lc_tar_part *part, struct lc_tar_rows *rows)
{
    struct entry entry = {0};
    struct lc_index_record record = {0};
    char path[MAX_PATH + 1], target_path[MAX_PATH + 1];
    uint64_t at = rows->end, size, start;
    const uint8_t *block = read_extensions(part, &at, &entry);
    if (block == NULL || !set_names(&entry, block) || !read_fields(&entry, block, &record))
        return 0;
    size_t length = clean_path(entry.name, path);
    struct lc_text target = entry.target;
    if (record.kind == LC_INDEX_LINK)
        target = (struct lc_text){target_path, clean_path(entry.target, target_path)};
    int has_target = record.kind == LC_INDEX_LINK || record.kind == LC_INDEX_SYMLINK;
    if (length == 0 || (has_target && (target.length == 0 || target.length > MAX_PATH)))
        return 0;
    at += BLOCK;
    size = record.first;
    if (__builtin_add_overflow(part->position, at, &start) || size > part->limit || rows->files > part->limit - size ||
        start > part->limit - size)
        return 0;
    if (record.kind == LC_INDEX_FILE)
        record.second = start;
    int taken = add_row(rows, &record, (struct lc_text){path, length}, has_target ? &target : NULL);
    rows->files += size;
    rows->end = at + padded(size);
    rows->spare = (uint32_t)(padded(size) - size);
    return taken;
}

int lc_tar_read(const struct lc_tar_part *part, struct lc_tar_rows *rows)
{
    int taken = 1;
    while (taken == 1 && rows->end < part->size)
        taken = read_entry(part, rows);
    return taken < 0 ? -1 : 0;
}
