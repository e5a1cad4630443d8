#include "sha256.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

/* FIPS 180-4 §4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t ROUND_CONSTANTS[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* §5.3.3: of the square roots of the first 8. */
static const uint32_t START[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static int always(void)
{
    return 1;
}

/* Scalar ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

static inline uint32_t rotated(uint32_t word, int by)
{
    return word >> by | word << (32 - by);
}

static inline uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* One round, §6.2.2 step 3; the caller renames the eight variables instead of moving them. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                 \
    do {                                                                                                 \
        uint32_t one = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + (g ^ (e & (f ^ g))) +     \
                       ROUND_CONSTANTS[i] + words[(i) % 16];                                             \
        d += one;                                                                                        \
        h = one + (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) | (c & (a | b)));         \
    } while (0)

#define EIGHT_ROUNDS(i)                    \
    do {                                   \
        ROUND(a, b, c, d, e, f, g, h, i);      \
        ROUND(h, a, b, c, d, e, f, g, i + 1);  \
        ROUND(g, h, a, b, c, d, e, f, i + 2);  \
        ROUND(f, g, h, a, b, c, d, e, i + 3);  \
        ROUND(e, f, g, h, a, b, c, d, i + 4);  \
        ROUND(d, e, f, g, h, a, b, c, i + 5);  \
        ROUND(c, d, e, f, g, h, a, b, i + 6);  \
        ROUND(b, c, d, e, f, g, h, a, i + 7);  \
    } while (0)

/* The next 16 words of the schedule over the last 16, §6.2.2 step 1. */
static inline void extend(uint32_t words[16])
{
    for (int i = 0; i < 16; i++) {
        uint32_t near = words[(i + 14) % 16], far = words[(i + 1) % 16];
        words[i] += (rotated(near, 17) ^ rotated(near, 19) ^ near >> 10) + words[(i + 9) % 16] +
                    (rotated(far, 7) ^ rotated(far, 18) ^ far >> 3);
    }
}

static void scalar_blocks(uint32_t state[8], const uint8_t *data, size_t count)
{
    for (; count > 0; count--, data += 64) {
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        uint32_t words[16];
        for (int i = 0; i < 16; i++)
            words[i] = big_endian(data + 4 * i);
        for (int i = 0; i < 64; i += 16) {
            if (i > 0)
                extend(words);
            EIGHT_ROUNDS(i);
            EIGHT_ROUNDS(i + 8);
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
    }
}

static void scalar_both(uint32_t one[8], uint32_t two[8], const uint8_t *data, size_t count)
{
    for (; count > 0; count--, data += 64) {
        scalar_blocks(one, data, 1);
        scalar_blocks(two, data, 1);
    }
}

/* x86 with the SHA extensions ─────────────────────────────────────────────────────────────────────────────────── */

#if defined(__x86_64__)

static int has_sha_ni(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
}

#define SHA_NI static __attribute__((target("sha,sse4.1,ssse3")))

/* The instructions want the halves ABEF and CDGH, highest lane first. */
struct halves {
    __m128i abef, cdgh;
};

SHA_NI inline struct halves loaded(const uint32_t state[8])
{
    __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    return (struct halves){_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0)};
}

SHA_NI inline void stored(struct halves halves, uint32_t state[8])
{
    __m128i feba = _mm_shuffle_epi32(halves.abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(halves.cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Words 4i…4i+3 of the schedule, with their constants, for four rounds; `words` holds the last 16. */
SHA_NI inline __m128i scheduled(__m128i words[4], int i, const uint8_t *data)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i *now = &words[i % 4];
    if (i < 4) {
        *now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), swap);
    } else {
        __m128i last = words[(i + 3) % 4];
        __m128i seven_back = _mm_alignr_epi8(last, words[(i + 2) % 4], 4);
        __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(*now, words[(i + 1) % 4]), seven_back);
        *now = _mm_sha256msg2_epu32(sum, last);
    }
    return _mm_add_epi32(*now, _mm_load_si128((const __m128i *)(ROUND_CONSTANTS + 4 * i)));
}

SHA_NI inline struct halves four_rounds(struct halves now, __m128i input)
{
    now.cdgh = _mm_sha256rnds2_epu32(now.cdgh, now.abef, input);
    now.abef = _mm_sha256rnds2_epu32(now.abef, now.cdgh, _mm_shuffle_epi32(input, 0x0e));
    return now;
}

SHA_NI inline struct halves added(struct halves now, struct halves before)
{
    return (struct halves){_mm_add_epi32(now.abef, before.abef), _mm_add_epi32(now.cdgh, before.cdgh)};
}

SHA_NI void sha_ni_blocks(uint32_t state[8], const uint8_t *data, size_t count)
{
    struct halves now = loaded(state);
    for (; count > 0; count--, data += 64) {
        const struct halves before = now;
        __m128i words[4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            now = four_rounds(now, scheduled(words, i, data));
        now = added(now, before);
    }
    stored(now, state);
}

SHA_NI void sha_ni_both(uint32_t one[8], uint32_t two[8], const uint8_t *data, size_t count)
{
    struct halves now = loaded(one), other = loaded(two);
    for (; count > 0; count--, data += 64) {
        const struct halves before = now, other_before = other;
        __m128i words[4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i input = scheduled(words, i, data);
            now = four_rounds(now, input);
            other = four_rounds(other, input);
        }
        now = added(now, before);
        other = added(other, other_before);
    }
    stored(now, one);
    stored(other, two);
}

#endif

/* ARMv8 with the cryptographic extensions ─────────────────────────────────────────────────────────────────────── */

#if defined(__aarch64__) && defined(__linux__)

static int has_armv8_sha2(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_SHA2) != 0;
}

static __attribute__((target("+crypto"))) void armv8_blocks(uint32_t state[8], const uint8_t *data, size_t count)
{
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);

    for (; count > 0; count--, data += 64) {
        const uint32x4_t abcd_before = abcd, efgh_before = efgh;
        uint32x4_t words[4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) { /* four rounds each */
            uint32x4_t *now = &words[i % 4];
            if (i < 4)
                *now = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
            else
                *now = vsha256su1q_u32(vsha256su0q_u32(*now, words[(i + 1) % 4]), words[(i + 2) % 4],
                                       words[(i + 3) % 4]);
            uint32x4_t input = vaddq_u32(*now, vld1q_u32(ROUND_CONSTANTS + 4 * i));
            uint32x4_t before = abcd;
            abcd = vsha256hq_u32(abcd, efgh, input);
            efgh = vsha256h2q_u32(efgh, before, input);
        }
        abcd = vaddq_u32(abcd, abcd_before);
        efgh = vaddq_u32(efgh, efgh_before);
    }
    vst1q_u32(state, abcd);
    vst1q_u32(state + 4, efgh);
}

static void armv8_both(uint32_t one[8], uint32_t two[8], const uint8_t *data, size_t count)
{
    for (; count > 0; count--, data += 64) {
        armv8_blocks(one, data, 1);
        armv8_blocks(two, data, 1);
    }
}

#endif

/* OpenSSL's, where the CPU has no instructions for SHA-256: its AVX code is twice as fast as our scalar one. Looked for
 * at run time, since Python has it loaded anyway; nothing is linked. ────────────────────────────────────────────── */

/* SHA256_CTX of openssl/sha.h, the same in all of 0.9.8 … 3.x. */
struct openssl_context {
    uint32_t state[8], length_low, length_high, data[16];
    unsigned held, digest_length;
};

typedef int (*openssl_update)(struct openssl_context *context, const void *data, size_t size);

static openssl_update find_openssl(void)
{
    static const char *const NAMES[] = {"libcrypto.so.3", "libcrypto.so.1.1"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        void *library = dlopen(NAMES[i], RTLD_NOW | RTLD_LOCAL); /* never closed: it stays in use */
        void *symbol = library == NULL ? NULL : dlsym(library, "SHA256_Update");
        openssl_update update;
        memcpy(&update, &symbol, sizeof update); /* POSIX has no other way from void * to a function */
        if (update != NULL)
            return update;
    }
    return NULL;
}

static openssl_update openssl; /* written once, by has_openssl */
static pthread_once_t looked_for_openssl = PTHREAD_ONCE_INIT;

static void look_for_openssl(void)
{
    openssl = find_openssl();
}

static int has_openssl(void)
{
    pthread_once(&looked_for_openssl, look_for_openssl);
    return openssl != NULL;
}

static void openssl_blocks(uint32_t state[8], const uint8_t *data, size_t count)
{
    struct openssl_context context = {.digest_length = LC_SHA256_SIZE};
    memcpy(context.state, state, sizeof context.state);
    openssl(&context, data, 64 * count);
    memcpy(state, context.state, sizeof context.state);
}

/* In pieces that stay in the first cache. */
static void openssl_both(uint32_t one[8], uint32_t two[8], const uint8_t *data, size_t count)
{
    while (count > 0) {
        size_t part = count < 256 ? count : 256;
        openssl_blocks(one, data, part);
        openssl_blocks(two, data, part);
        data += 64 * part;
        count -= part;
    }
}

/* ─────────────────────────────────────────────────────────────────────────────────────────────────────────────── */

const struct lc_sha256_kernel lc_sha256_kernels[] = {
#if defined(__x86_64__)
    {"sha-ni", sha_ni_blocks, sha_ni_both, has_sha_ni},
#endif
#if defined(__aarch64__) && defined(__linux__)
    {"armv8", armv8_blocks, armv8_both, has_armv8_sha2},
#endif
    {"openssl", openssl_blocks, openssl_both, has_openssl},
    {"scalar", scalar_blocks, scalar_both, always},
    {NULL, NULL, NULL, NULL},
};

const struct lc_sha256_kernel *lc_sha256_choose(const char *name)
{
    for (const struct lc_sha256_kernel *kernel = lc_sha256_kernels; kernel->name != NULL; kernel++)
        if ((name == NULL || strcmp(name, kernel->name) == 0) && kernel->runs_here())
            return kernel;
    return NULL;
}

void lc_sha256_start(struct lc_sha256 *hash, const struct lc_sha256_kernel *kernel)
{
    hash->kernel = kernel;
    hash->length = 0;
    memcpy(hash->state, START, sizeof START);
}

void lc_sha256_update(struct lc_sha256 *hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    size_t held = hash->length % 64;
    hash->length += size;
    if (held > 0) {
        size_t missing = 64 - held < size ? 64 - held : size;
        memcpy(hash->rest + held, bytes, missing);
        if (held + missing < 64)
            return;
        hash->kernel->blocks(hash->state, hash->rest, 1);
        bytes += missing;
        size -= missing;
    }
    if (size >= 64)
        hash->kernel->blocks(hash->state, bytes, size / 64);
    if (size % 64 > 0)
        memcpy(hash->rest, bytes + size / 64 * 64, size % 64);
}

void lc_sha256_update_both(struct lc_sha256 *one, struct lc_sha256 *two, const void *data, size_t size)
{
    size_t whole = one->length % 64 == 0 && two->length % 64 == 0 ? size / 64 : 0;
    const uint8_t *rest = (const uint8_t *)data + 64 * whole;
    if (whole > 0)
        one->kernel->both(one->state, two->state, data, whole);
    one->length += 64 * whole;
    two->length += 64 * whole;
    lc_sha256_update(one, rest, size - 64 * whole);
    lc_sha256_update(two, rest, size - 64 * whole);
}

void lc_sha256_finish(struct lc_sha256 *hash, uint8_t digest[LC_SHA256_SIZE])
{
    uint64_t bits = hash->length * 8;
    size_t held = hash->length % 64;
    uint8_t tail[72] = {0x80}; /* §5.1.1: a one bit, zeros, the length in the last 8 bytes of a block */
    size_t size = (held < 56 ? 56 : 120) - held;
    for (int i = 0; i < 8; i++)
        tail[size + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    lc_sha256_update(hash, tail, size + 8);
    for (int i = 0; i < LC_SHA256_SIZE; i++)
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}
