/* A 32-bit program with no libc at all: chown and stat by the i386 table, in the three stat layouts. */
typedef unsigned int u32;
typedef unsigned short u16;

static int call(int nr, u32 a, u32 b, u32 c)
{
    int result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}

enum { EXIT = 1, CREAT = 8, CHMOD = 15, LCHOWN16 = 16, SETUID16 = 23, GETUID16 = 24, STAT32 = 106, CHOWN16 = 182,
       STAT64 = 195, GETUID32 = 199, CHOWN32 = 212, SETUID32 = 213, STATX = 383 };

static unsigned char buffer[256];

static u32 at32(int offset) { return *(u32 *)(buffer + offset); }
static u32 at16(int offset) { return *(u16 *)(buffer + offset); }

void _start(void)
{
    u32 path = (u32) "/tmp/i386";
    int code = 0;

    if (call(CREAT, path, 0644, 0) < 0)
        code = 1;
    else if (call(CHOWN32, path, 445605, 4204350) != 0)
        code = 2;
    else if (call(STAT64, path, (u32)buffer, 0) != 0 || at32(24) != 445605 || at32(28) != 4204350)
        code = 3;
    else if (call(STAT32, path, (u32)buffer, 0) != 0 || at16(12) != 65534 || at16(14) != 65534)
        code = 4; /* what does not fit into 16 bits */
    else if (call(CHOWN16, path, 42, 0xffff) != 0)
        code = 5;
    else if (call(STAT64, path, (u32)buffer, 0) != 0 || at32(24) != 42 || at32(28) != 4204350)
        code = 6;
    else if (call(CHMOD, path, 04711, 0) != 0 || call(STAT64, path, (u32)buffer, 0) != 0 || at32(16) != 0104711)
        code = 7;
    else if (call(SETUID32, 70000, 0, 0) != 0 || call(GETUID32, 0, 0, 0) != 70000 || call(GETUID16, 0, 0, 0) != 65534)
        code = 8;
    else if (call(SETUID16, 0, 0, 0) != -1)
        code = 9;
    call(EXIT, (u32)code, 0, 0);
    for (;;) {
    }
}
