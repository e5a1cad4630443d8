/* The floor of COPY: one thread walks a folder, packs it as a tar, hashes the tar with OpenSSL and writes it, in one
 * pass, then fdatasync()s it, as a store has to.
 *
 *     floor FOLDER OUT      the tar of all below FOLDER, or of the file FOLDER
 *
 * The bytes are those of a layer of iechor: sorted, owners 0:0, and a PAX header for a time that is no whole second
 * or a path that is too long. No hard links, no extended attributes: the workloads have none. */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER (1 << 18)

static unsigned char buffer[BUFFER];
static size_t waiting;
static unsigned long long length;
static int out;
static EVP_MD_CTX *hash;

static void flush(void)
{
    EVP_DigestUpdate(hash, buffer, waiting);
    for (size_t done = 0; done < waiting;) {
        ssize_t written = write(out, buffer + done, waiting - done);
        if (written < 0)
            err(1, "write");
        done += (size_t)written;
    }
    waiting = 0;
}

static void put(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    length += size;
    while (size > 0) {
        size_t part = BUFFER - waiting < size ? BUFFER - waiting : size;
        memcpy(buffer + waiting, bytes, part);
        waiting += part;
        bytes += part;
        size -= part;
        if (waiting == BUFFER)
            flush();
    }
}

static void pad(unsigned long long size)
{
    static const char ZEROS[512];
    put(ZEROS, (size_t)(-size % 512));
}

static void block(const char *name, char type, mode_t mode, unsigned long long size, long long seconds,
                  const char *target)
{
    unsigned char head[512] = {0};
    unsigned sum = 0;
    memcpy(head, name, strnlen(name, 100));
    sprintf((char *)head + 100, "%07o", mode & 07777u);
    sprintf((char *)head + 108, "%07o", 0);
    sprintf((char *)head + 116, "%07o", 0);
    sprintf((char *)head + 124, "%011llo", size);
    sprintf((char *)head + 136, "%011llo", seconds);
    memset(head + 148, ' ', 8);
    head[156] = (unsigned char)type;
    memcpy(head + 157, target, strnlen(target, 100));
    memcpy(head + 257, "ustar\00000", 8);
    memcpy(head + 329, "0000000\0000000000", 16);
    for (size_t i = 0; i < sizeof head; i++)
        sum += head[i];
    sprintf((char *)head + 148, "%06o", sum);
    put(head, sizeof head);
}

static int record(char *to, const char *key, const char *value)
{
    int rest = 3 + (int)(strlen(key) + strlen(value)), total = rest + 1;
    while (total != rest + snprintf(NULL, 0, "%d", total))
        total = rest + snprintf(NULL, 0, "%d", total);
    return sprintf(to, "%d %s=%s\n", total, key, value);
}

static void header(const char *path, char type, const struct stat *info, unsigned long long size, const char *target)
{
    static char records[3 * 4096 + 256], number[64];
    int used = 0;
    if (info->st_mtim.tv_nsec != 0) {
        int digits = sprintf(number, "%lld.%09ld", (long long)info->st_mtim.tv_sec, info->st_mtim.tv_nsec);
        while (number[digits - 1] == '0')
            number[--digits] = '\0';
        used += record(records + used, "mtime", number);
    }
    if (strlen(path) > 100)
        used += record(records + used, "path", path);
    if (used > 0) {
        block("././@PaxHeader", 'x', 0644, (unsigned long long)used, 0, "");
        put(records, (size_t)used);
        pad((unsigned long long)used);
    }
    block(path, type, info->st_mode, size, (long long)info->st_mtim.tv_sec, target);
}

static void file(int folder, const char *name, const char *path, const struct stat *info)
{
    unsigned long long left = (unsigned long long)info->st_size;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW);
    if (fd < 0)
        err(1, "%s", path);
    header(path, '0', info, left, "");
    length += left;
    while (left > 0) {
        size_t room = BUFFER - waiting;
        ssize_t got = read(fd, buffer + waiting, left < room ? (size_t)left : room);
        if (got <= 0)
            err(1, "%s", path);
        waiting += (size_t)got;
        left -= (unsigned long long)got;
        if (waiting == BUFFER)
            flush();
    }
    pad((unsigned long long)info->st_size);
    close(fd);
}

static void walk(int fd, char *path, size_t used)
{
    struct dirent **names;
    int count = scandirat(fd, ".", &names, NULL, NULL);
    if (count < 0)
        err(1, "%s", path);
    int compare(const void *a, const void *b)
    {
        return strcmp((*(struct dirent *const *)a)->d_name, (*(struct dirent *const *)b)->d_name);
    }
    qsort(names, (size_t)count, sizeof *names, compare);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        struct stat info;
        char target[4096] = "";
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        size_t end = used + (size_t)sprintf(path + used, "%s", name);
        if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
            err(1, "%s", path);
        if (S_ISDIR(info.st_mode)) {
            int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
            strcpy(path + end, "/");
            header(path, '5', &info, 0, "");
            walk(below, path, end + 1);
            close(below);
        } else if (S_ISLNK(info.st_mode)) {
            if (readlinkat(fd, name, target, sizeof target - 1) < 0)
                err(1, "%s", path);
            info.st_mode |= 0777;
            header(path, '2', &info, 0, target);
        } else if (S_ISREG(info.st_mode)) {
            file(fd, name, path, &info);
        }
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    static const char END[1024];
    static char path[1 << 16];
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct stat info;
    if (argc != 3 || stat(argv[1], &info) < 0)
        errx(2, "usage: floor FOLDER OUT");
    out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    hash = EVP_MD_CTX_new();
    if (out < 0 || hash == NULL || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL))
        err(1, "%s", argv[2]);
    if (S_ISDIR(info.st_mode))
        walk(open(argv[1], O_RDONLY | O_DIRECTORY), path, 0);
    else
        file(AT_FDCWD, argv[1], strrchr(argv[1], '/') ? strrchr(argv[1], '/') + 1 : argv[1], &info);
    put(END, sizeof END);
    flush();
    if (fdatasync(out) < 0)
        err(1, "fdatasync");
    EVP_DigestFinal_ex(hash, digest, NULL);
    for (int i = 0; i < 32; i++)
        printf("%02x", digest[i]);
    printf(" %llu\n", length);
    return 0;
}
