/* A tar on its way out, of headers, sizes and contents that do not fit each other: nothing is touched out of bounds,
 * a range beyond the file is an error, and digest and length are those of the bytes that were written.
 *
 *   input   some of: 1 byte what, 2 bytes offset, 2 bytes size; the rest is the file whose ranges these are
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "require.h"
#include "tar.h"

#define STEP 5

static int file_of(const uint8_t *data, size_t size)
{
    int fd = memfd_create("content", MFD_CLOEXEC);

    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    return fd;
}

/* Every step that succeeds leaves whole blocks, or what was put. */
static uint64_t steps(struct lc_sink *sink, int content, const uint8_t *data, size_t count, size_t size)
{
    uint64_t expected = 0;

    for (size_t i = 0; i < count; i++, data += STEP) {
        uint64_t offset = data[1] | (uint64_t)data[2] << 8, length = data[3] | (uint64_t)data[4] << 8;
        struct lc_error error;

        if (data[0] % 4 == 0) {
            length %= STEP;
            require(lc_sink_put(sink, data, length, &error) == 0 && lc_sink_pad(sink, length, &error) == 0);
        } else {
            if (data[0] % 4 == 1)
                offset |= (uint64_t)data[2] << 56; /* and absurd ones */
            if (lc_sink_copy(sink, content, offset, length, NULL, 0, &error) < 0)
                return UINT64_MAX; /* what was written is worth nothing: the caller throws it away */
            require(length == 0 || (offset < size && offset + length <= size));
        }
        expected += (length + 511) / 512 * 512;
    }
    return expected;
}

static void compare(int written, uint64_t length, const uint8_t *digest)
{
    uint8_t buffer[4096], again[LC_SHA256_SIZE];
    struct lc_sha256 hash;
    uint64_t at = 0;
    ssize_t got;

    lc_sha256_start(&hash, lc_sha256_choose("scalar"));
    while ((got = pread(written, buffer, sizeof buffer, (off_t)at)) > 0) {
        lc_sha256_update(&hash, buffer, (size_t)got);
        at += (uint64_t)got;
    }
    lc_sha256_finish(&hash, again);
    require(at == length && memcmp(again, digest, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t count = size == 0 ? 0 : data[0] % 8U;
    uint8_t digest[LC_SHA256_SIZE];
    struct lc_error error;
    struct lc_sink sink;
    int content, written;
    uint64_t expected;

    if (size < 1 + count * STEP)
        return 0;
    content = file_of(data + 1 + count * STEP, size - 1 - count * STEP);
    written = memfd_create("tar", MFD_CLOEXEC);
    require(written >= 0 && lc_sink_open(&sink, written, lc_sha256_choose(NULL)) == 0);
    expected = steps(&sink, content, data + 1, count, size - 1 - count * STEP);
    if (expected != UINT64_MAX) {
        require(lc_sink_finish(&sink, digest, &error) == 0 && sink.length == expected + 1024);
        compare(written, sink.length, digest);
    }
    lc_sink_close(&sink);
    close(content);
    close(written);
    return 0;
}
