/* The floor of "nothing changed": a walk with one statx(2) for each entry; prints how many.
 *
 *     statwalk FOLDER */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long count;

static void walk(int fd)
{
    struct dirent *entry;
    DIR *folder = fdopendir(fd);
    if (folder == NULL)
        err(1, "fdopendir");
    while ((entry = readdir(folder)) != NULL) {
        struct statx info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (statx(fd, entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &info) < 0)
            err(1, "%s", entry->d_name);
        count++;
        if (S_ISDIR(info.stx_mode))
            walk(openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    }
    closedir(folder);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: statwalk FOLDER");
    walk(open(argv[1], O_RDONLY | O_DIRECTORY));
    printf("%lu\n", count);
    return 0;
}
