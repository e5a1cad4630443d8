/* The BPF program, built from the table of calls, and its loading.
 *
 *   arch == A? ──▶ [x32 bit? ENOSYS] ──▶ halving by nr ──▶ a few rows: nr == N? [argument test] ─▶ action      … ALLOW
 *   other arch ──▶ kill: a call table we do not know would be a silent hole
 *
 * A call whose sixth argument is FR_MARKED is the preloaded view's (shim.c), which does itself what the supervisor would.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fakeroot.h"
#include "fr_calls.h"
#include "fr_shared.h"

#define LOAD 0x20U      /* BPF_LD | BPF_W | BPF_ABS */
#define JUMP 0x05U      /* BPF_JMP | BPF_JA */
#define JUMP_EQUAL 0x15U /* BPF_JMP | BPF_JEQ | BPF_K */
#define JUMP_FROM 0x35U /* BPF_JMP | BPF_JGE | BPF_K */
#define JUMP_SET 0x45U  /* BPF_JMP | BPF_JSET | BPF_K */
#define RETURN 0x06U    /* BPF_RET | BPF_K */

#define ROWS_MAX 512
#define LEAF 4 /* rows tried one after the other */

#if defined(__x86_64__)
static const enum fr_arch ARCHES[] = {FR_X86_64, FR_I386};
#elif defined(__aarch64__)
static const enum fr_arch ARCHES[] = {FR_AARCH64};
#else
#error "the fakeroot supervisor knows x86-64 (with i386) and aarch64"
#endif

static const uint32_t AUDIT_ARCH[FR_ARCHES] = {FR_ARCH_X86_64, FR_ARCH_I386, FR_ARCH_AARCH64};

struct program {
    struct fr_bpf_insn *at;
    size_t length, room;
};

static void emit(struct program *program, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
    if (program->length < program->room)
        program->at[program->length] = (struct fr_bpf_insn){code, jt, jf, k};
    program->length++;
}

static uint32_t argument(unsigned index)
{
    /* the low half: every flag word and id that is looked at has 32 bits (little endian) */
    return (uint32_t)(offsetof(struct fr_seccomp_data, args) + 8 * index);
}

static void emit_load_nr(struct program *program)
{
    emit(program, LOAD, 0, 0, offsetof(struct fr_seccomp_data, nr));
}

/* Six instructions, and the end. */
static void emit_unless_marked(struct program *program, uint32_t action)
{
    emit(program, LOAD, 0, 0, argument(5));
    emit(program, JUMP_EQUAL, 0, 3, (uint32_t)FR_MARKED);
    emit(program, LOAD, 0, 0, argument(5) + 4);
    emit(program, JUMP_EQUAL, 0, 1, (uint32_t)(FR_MARKED >> 32));
    emit(program, RETURN, 0, 0, FR_RET_ALLOW);
    emit(program, RETURN, 0, 0, action);
}

/* One row, with the call's number in the accumulator before and after. */
static void emit_row(struct program *program, const struct fr_call_rule *rule, int nr, bool fsync)
{
    uint32_t action = FR_RET_USER_NOTIF;

    switch ((enum fr_rule)rule->rule) {
    case RULE_DURABLE:
        if (fsync)
            return;
        action = FR_RET_ERRNO;
        break;
    case RULE_ANSWER_ZERO:
        action = FR_RET_ERRNO;
        break;
    case RULE_NO_CALL:
        action = FR_RET_ERRNO | ENOSYS;
        break;
    default:
        break;
    }
    switch ((enum fr_rule)rule->rule) {
    case RULE_SOCKOPT:
        emit(program, JUMP_EQUAL, 0, 6, (uint32_t)nr);
        emit(program, LOAD, 0, 0, argument(1));
        emit(program, JUMP_EQUAL, 0, 3, 1);
        emit(program, LOAD, 0, 0, argument(2));
        emit(program, JUMP_EQUAL, 0, 1, rule->value);
        emit(program, RETURN, 0, 0, action);
        emit_load_nr(program);
        return;
    case RULE_UNMARKED:
        emit(program, JUMP_EQUAL, 0, 6, (uint32_t)nr);
        emit_unless_marked(program, action);
        return;
    case RULE_BITS_UNMARKED:
        emit(program, JUMP_EQUAL, 0, 9, (uint32_t)nr);
        emit(program, LOAD, 0, 0, argument(rule->arg));
        emit(program, JUMP_SET, 0, 6, rule->value);
        emit_unless_marked(program, action);
        emit_load_nr(program);
        return;
    case RULE_BITS:
    case RULE_EQUAL:
    case RULE_ANSWER_ZERO:
    case RULE_DURABLE:
        if (rule->rule != RULE_DURABLE || rule->value != 0) {
            emit(program, JUMP_EQUAL, 0, 4, (uint32_t)nr);
            emit(program, LOAD, 0, 0, argument(rule->arg));
            emit(program, rule->rule == RULE_BITS || rule->rule == RULE_DURABLE ? JUMP_SET : JUMP_EQUAL, 0, 1,
                 rule->value);
            emit(program, RETURN, 0, 0, action);
            emit_load_nr(program);
            return;
        }
        break;
    default:
        break;
    }
    emit(program, JUMP_EQUAL, 0, 1, (uint32_t)nr);
    emit(program, RETURN, 0, 0, action);
}

/* The rows of an architecture by their numbers; those of one number stay in their order. */
static size_t sort_rows(const struct fr_call_rule **rows, enum fr_arch arch)
{
    size_t count = 0;

    for (size_t i = 0; i < fr_call_rule_count && count < ROWS_MAX; i++) {
        size_t at = count;

        if (fr_call_rules[i].nr[arch] < 0)
            continue;
        for (; at > 0 && rows[at - 1]->nr[arch] > fr_call_rules[i].nr[arch]; at--)
            rows[at] = rows[at - 1];
        rows[at] = &fr_call_rules[i];
        count++;
    }
    return count;
}

static void emit_rows(struct program *program, const struct fr_call_rule **rows, size_t count, enum fr_arch arch,
                      bool fsync)
{
    size_t middle = count / 2, jump;

    while (middle > 0 && middle < count && rows[middle]->nr[arch] == rows[middle - 1]->nr[arch])
        middle++; /* a number's rows stay together */
    if (count <= LEAF || middle == count) {
        for (size_t i = 0; i < count; i++)
            emit_row(program, rows[i], rows[i]->nr[arch], fsync);
        emit(program, RETURN, 0, 0, FR_RET_ALLOW);
        return;
    }
    emit(program, JUMP_FROM, 0, 1, (uint32_t)rows[middle]->nr[arch]);
    jump = program->length;
    emit(program, JUMP, 0, 0, 0); /* a conditional jump reaches no further than 255 */
    emit_rows(program, rows, middle, arch, fsync);
    if (jump < program->room)
        program->at[jump].k = (uint32_t)(program->length - jump - 1);
    emit_rows(program, rows + middle, count - middle, arch, fsync);
}

static void emit_arch(struct program *program, enum fr_arch arch, bool fsync)
{
    const struct fr_call_rule *rows[ROWS_MAX];
    size_t skip;

    emit(program, JUMP_EQUAL, 1, 0, AUDIT_ARCH[arch]);
    skip = program->length;
    emit(program, JUMP, 0, 0, 0);
    emit_load_nr(program);
    if (arch == FR_X86_64) {
        emit(program, JUMP_SET, 0, 1, FR_X32_BIT);
        emit(program, RETURN, 0, 0, FR_RET_ERRNO | ENOSYS);
    }
    emit_rows(program, rows, sort_rows(rows, arch), arch, fsync);
    if (skip < program->room)
        program->at[skip].k = (uint32_t)(program->length - skip - 1);
}

size_t fr_build_filter(struct fr_bpf_insn *at, size_t room, int fsync)
{
    struct program program = {at, 0, room};

    emit(&program, LOAD, 0, 0, offsetof(struct fr_seccomp_data, arch));
    for (size_t i = 0; i < sizeof ARCHES / sizeof ARCHES[0]; i++)
        emit_arch(&program, ARCHES[i], fsync != 0);
    emit(&program, RETURN, 0, 0, FR_RET_KILL_PROCESS);
    return program.length <= room ? program.length : 0;
}

int fr_install_filter(int fsync)
{
    struct fr_bpf_insn program[2048];
    struct fr_bpf_prog header = {0, program};
    unsigned long flags = FR_FILTER_NEW_LISTENER | FR_FILTER_WAIT_KILLABLE_RECV;
    long fd;

    header.len = (uint16_t)fr_build_filter(program, sizeof program / sizeof program[0], fsync);
    if (header.len == 0)
        return -E2BIG;
    fd = syscall(SYS_seccomp, FR_SECCOMP_SET_MODE_FILTER, flags, &header);
    if (fd < 0 && errno == EINVAL)
        fd = syscall(SYS_seccomp, FR_SECCOMP_SET_MODE_FILTER, FR_FILTER_NEW_LISTENER, &header);
    return fd < 0 ? -errno : (int)fd;
}
