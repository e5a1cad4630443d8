/* A 32-bit program of glibc's own, linked dynamically: chown and stat by libc, which chooses the calls. Without headers,
 * which only a 32-bit libc6-dev has. Then it starts the program that is its argument. */
extern int chown(const char *path, unsigned uid, unsigned gid), lchown(const char *path, unsigned uid, unsigned gid);
extern int creat(const char *path, unsigned mode), close(int fd), symlink(const char *target, const char *path);
extern int stat64(const char *path, void *buffer), lstat64(const char *path, void *buffer), access(const char *, int);
extern int getuid(void), setuid(unsigned uid), printf(const char *format, ...), fflush(void *stream);
extern int execl(const char *path, const char *word, ...);
extern void exit(int code) __attribute__((noreturn));

static unsigned char buffer[128]; /* struct stat64: mode at 16, uid at 24, gid at 28 */

static unsigned at(int offset) { return *(unsigned *)(buffer + offset); }

static void show(const char *name, int rc)
{
    if (rc != 0)
        printf("%s: no such file\n", name);
    else
        printf("%s %o %u:%u\n", name, at(16) & 07777U, at(24), at(28));
}

void _start(void) __attribute__((force_align_arg_pointer, noreturn));

void _start(void)
{
    close(creat("/tmp/f", 0644));
    if (chown("/tmp/f", 445605, 4204350) != 0 || symlink("f", "/tmp/l") != 0 || lchown("/tmp/l", 3, 4) != 0)
        exit(1);
    show("f", stat64("/tmp/l", buffer));
    show("l", lstat64("/tmp/l", buffer) == 0 ? 0 : 1);
    show("group", stat64("/etc/group", buffer));
    printf("preloads: %s\n", access("/etc/ld.so.preload", 4) == 0 ? "yes" : "no");
    fflush(0);
    execl("/bin/stat", "stat", "-c", "%n %a %u:%g", "/tmp/f", "/etc/group", (char *)0);
    exit(2);
}
