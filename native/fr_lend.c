/* Lending the view (shim.c) to a program, without a trace in its environment or in the image.
 *
 *   ld.so   access("/etc/ld.so.preload", R_OK)  ──▶  its text becomes "/proc/self/fd/M", two fds are added, answer 0
 *           open("/proc/self/fd/M")             ──▶  a list of one line: "/proc/self/fd/N"
 *           open("/proc/self/fd/N"), mmap       ──▶  one sealed memfd: the view, and behind it the owner table
 *   view    closes M and N while it is relocated, before any constructor or the program runs
 *
 * glibc names that file nowhere but in its own read-only memory, of which the process has a copy of its own. Programs
 * without that ld.so (static ones, musl, 32-bit), those in another root, ldd, and those of an image that has such a
 * file itself are not lent anything: their calls are notified, as they would be without all this.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fr_super.h"

#define PRELOAD "/etc/ld.so.preload"
#define TRACE "LD_TRACE_LOADED_OBJECTS=" /* ldd(1) */
#define EXECUTABLE 0x10U                 /* MFD_EXEC (6.3) */
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | 0x10 /* F_SEAL_FUTURE_WRITE (5.1) */)
#define VIEW_MAX (1U << 20)

/* --- the file --- */

static int make_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | EXECUTABLE);

    return fd < 0 && errno == EINVAL ? memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

/* The program header that becomes the table's: the build id's note, which nobody needs. 0: not such an object. */
static off_t find_header(const unsigned char *view, size_t length)
{
    Elf64_Ehdr head;
    Elf64_Phdr part;
    off_t found = 0;

    if (length < sizeof head)
        return 0;
    memcpy(&head, view, sizeof head);
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_phentsize != sizeof part || head.e_phoff > length ||
        head.e_phnum > (length - head.e_phoff) / sizeof part)
        return 0;
    for (size_t i = 0; i < head.e_phnum; i++) {
        memcpy(&part, view + head.e_phoff + i * sizeof part, sizeof part);
        if (part.p_type == PT_LOAD && (found != 0 || part.p_vaddr + part.p_memsz > SHARED_VADDR))
            return 0; /* they go by their addresses */
        if (part.p_type == PT_NOTE)
            found = (off_t)(head.e_phoff + i * sizeof part);
    }
    return found;
}

static bool fill(int file, const unsigned char *view, size_t length)
{
    uint64_t at = (length + SHARED_PAGE - 1) / SHARED_PAGE * SHARED_PAGE;
    Elf64_Phdr part = {.p_type = PT_LOAD, .p_flags = PF_R, .p_offset = at, .p_vaddr = SHARED_VADDR,
                       .p_paddr = SHARED_VADDR, .p_filesz = SHARED_SIZE, .p_memsz = SHARED_SIZE,
                       .p_align = SHARED_PAGE};
    off_t header = find_header(view, length);

    return header != 0 && ftruncate(file, (off_t)(at + SHARED_SIZE)) == 0 &&
           pwrite(file, view, length, 0) == (ssize_t)length &&
           pwrite(file, &part, sizeof part, header) == (ssize_t)sizeof part;
}

static bool fits_limit(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= SHARED_SIZE + VIEW_MAX;
}

void fr_open_lender(struct fr_super *super, const void *view, size_t length)
{
    struct fr_lender *lender = &super->lender;
    struct stat st;
    void *region;
    int file;

    if (length == 0 || length > VIEW_MAX || !fits_limit() || (file = make_file("view")) < 0)
        return;
    region = MAP_FAILED;
    if (fill(file, view, length) && fstat(file, &st) == 0)
        region = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, st.st_size - (off_t)SHARED_SIZE);
    /* From here on this mapping alone can change it. */
    if (region == MAP_FAILED || fcntl(file, F_ADD_SEALS, SEALS) < 0 || ot_share(&super->table, region) < 0) {
        if (region != MAP_FAILED)
            munmap(region, SHARED_SIZE);
        close(file);
        return;
    }
    lender->file = file;
    lender->shared = region;
    lender->shared->lent_dev = (uint64_t)st.st_dev;
    lender->shared->lent_ino = st.st_ino;
    super->cred_epoch = 1; /* 0 is what a program begins with, which has not asked */
    fr_publish(super);
}

void fr_publish(struct fr_super *super)
{
    struct ot_shared *shared = super->lender.shared;

    if (shared == NULL)
        return;
    __atomic_store_n(&shared->default_acls, super->default_acls, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->mends, super->overlay && super->upper_fd >= 0, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->cred_epoch, super->cred_epoch, __ATOMIC_RELEASE);
}

void fr_close_lender(struct fr_super *super)
{
    struct fr_lender *lender = &super->lender;

    if (lender->file < 0)
        return;
    for (size_t i = 0; i < SHARED_LISTS; i++)
        if (lender->lists[i] != 0)
            close(lender->lists[i]);
    munmap(lender->shared, SHARED_SIZE);
    close(lender->file);
    lender->file = -1;
}

/* --- one program --- */

static int list_of(struct fr_lender *lender, int number)
{
    char text[32];
    struct stat st;
    int fd, length = snprintf(text, sizeof text, "/proc/self/fd/%d\n", number);

    if (lender->lists[number] != 0)
        return lender->lists[number];
    fd = make_file("list");
    if (fd < 0)
        return -errno;
    if (write(fd, text, (size_t)length) != length || fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_WRITE) < 0 ||
        fstat(fd, &st) < 0) {
        close(fd);
        return -EIO;
    }
    lender->shared->list_inos[number] = st.st_ino;
    return lender->lists[number] = fd;
}

/* Does a list of NUL-ended strings hold one that begins so? */
static bool holds(const char *text, size_t length, const char *begin)
{
    const char *at = text, *end = text + length;

    while (at < end && (size_t)(end - at) > strlen(begin)) {
        if (memcmp(at, begin, strlen(begin)) == 0)
            return true;
        at = memchr(at, 0, (size_t)(end - at));
        if (at == NULL)
            return false;
        at++;
    }
    return false;
}

static bool is_traced(const struct fr_call *call)
{
    char name[32], text[16384];
    ssize_t length;
    int fd;

    snprintf(name, sizeof name, "%d/environ", call->tid);
    fd = openat(call->super->proc_fd, name, O_RDONLY | O_CLOEXEC);
    length = fd >= 0 ? read(fd, text, sizeof text) : -1;
    if (fd >= 0)
        close(fd);
    return length < 0 || holds(text, (size_t)length, TRACE);
}

/* ld.so complains about a library that finds no room; a limit may leave none. */
static bool has_room(const struct fr_call *call)
{
    struct fr_rlimit64 limit;

    return syscall(SYS_prlimit64, call->tid, RLIMIT_AS, NULL, &limit) == 0 && limit.cur == UINT64_MAX;
}

/* The text at `where` is read-only to its process, but not to who may trace it. (What a process may write itself is no
 * text of ld.so's: another program asks.) */
static int open_memory(struct fr_call *call, uint64_t where)
{
    char name[32];
    int fd;

    if (fr_write(call, where, PRELOAD, 1) == 0)
        return -1;
    snprintf(name, sizeof name, "%d/mem", call->tid);
    fd = openat(call->super->proc_fd, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || (fr_still_there(call) && pwrite(fd, PRELOAD, 1, (off_t)where) == 1))
        return fd;
    close(fd);
    return -1;
}

static bool hand_over(struct fr_call *call, uint64_t where)
{
    char text[32];
    int memory = open_memory(call, where), view, list = -1, length;

    if (memory < 0)
        return false;
    view = fr_add_fd(call, call->super->lender.file);
    if (view >= 0 && view < SHARED_LISTS && list_of(&call->super->lender, view) > 0)
        list = fr_add_fd(call, list_of(&call->super->lender, view));
    length = snprintf(text, sizeof text, "/proc/self/fd/%d", list);
    if (list < 0 || (size_t)length >= sizeof PRELOAD || pwrite(memory, text, (size_t)length + 1, (off_t)where) < 0)
        list = -1;
    close(memory);
    return list >= 0;
}

bool fr_lend(struct fr_call *call)
{
    uint64_t where = call->args[call->op == OP_ACCESS ? 0 : 1];
    const char *text;
    struct stat st;
    long error;

    if (call->super->lender.file < 0 || call->super->table.shared == NULL || call->compat ||
        (call->op == OP_FACCESSAT && (int)call->args[0] != AT_FDCWD) || call->op == OP_FACCESSAT2)
        return false;
    text = fr_path(call, where, 0, &error);
    if (text == NULL || strcmp(text, PRELOAD) != 0 || !fr_is_at_home(call) ||
        fr_stat_path(call, AT_FDCWD, PRELOAD, FR_FOLLOW, &st) != -ENOENT || !has_room(call) || is_traced(call))
        return false;
    call->super->unreadable = true; /* it may make such files, unseen */
    return hand_over(call, where);
}
