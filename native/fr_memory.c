/* The caller's memory: every length bounded, no page touched that the string does not need. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "fr_super.h"

#define PAGE 4096U /* the smallest page: a read never spans two, so a short one is a fault and nothing else */

int fr_read(const struct fr_call *call, uint64_t from, void *to, size_t length)
{
    struct iovec local = {to, length}, remote = {(void *)(uintptr_t)from, length};

    return process_vm_readv(call->tid, &local, 1, &remote, 1, 0) == (ssize_t)length ? 0 : -EFAULT;
}

int fr_write(const struct fr_call *call, uint64_t to, const void *from, size_t length)
{
    struct iovec local = {(void *)(uintptr_t)from, length}, remote = {(void *)(uintptr_t)to, length};

    return process_vm_writev(call->tid, &local, 1, &remote, 1, 0) == (ssize_t)length ? 0 : -EFAULT;
}

long fr_read_string(const struct fr_call *call, uint64_t from, char *to, size_t room)
{
    size_t length = 0;

    while (length < room) {
        size_t chunk = PAGE - (size_t)((from + length) & (PAGE - 1));
        const char *end;

        if (chunk > room - length)
            chunk = room - length;
        if (length == 0 && chunk > 256) /* most paths are short */
            chunk = 256;
        if (fr_read(call, from + length, to + length, chunk) < 0)
            return -EFAULT;
        end = memchr(to + length, 0, chunk);
        if (end != NULL)
            return end - to;
        length += chunk;
    }
    return -ENAMETOOLONG;
}

const char *fr_path(struct fr_call *call, uint64_t from, int which, long *error)
{
    long length = fr_read_string(call, from, call->super->text[which], FR_PATH_MAX);

    *error = length < 0 ? length : 0;
    return length < 0 ? NULL : call->super->text[which];
}
