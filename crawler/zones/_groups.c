/* Reads a block of a registry's zone file into the columns of its signed delegations.
 *
 *     read(block, suffix, one_of) -> None | (records, delegations, orders, apex, last,
 *                                    domain_ends, domains,
 *                                    ds_starts, ds_ends, ds,
 *                                    ns_starts, ns_ends, ns)
 *
 * An optional accelerator: crawler/zones/plain.py reads the same from the same block, some
 * times slower. It answers None for a block with anything that it does not fully understand:
 * where a line depends on another (blank owners, parentheses, quotes, escapes, comments,
 * directives), delegations with unusual bytes in their names or more than one label below the apex, types that are not listed here, TTLs
 * with units, the root's own records, and, in what it gives out, unusual names of servers, DS with
 * mnemonics or leading zeros.
 *
 * `block` begins with a newline and ends with one. `suffix` is the lower-case ending of every
 * owner below the apex, such as b".com.". A group is a run of NS and DS lines of one owner,
 * whatever stands between them. The columns hold the first group, every group with NS and DS,
 * and the last one (which may be the first), in the layout of Arrow: keys of names, DS as
 * `delegations.SCHEMA` has them, sets sorted and without repetition. If `one_of` is not 0, they
 * hold one in so many groups without DS too (dane/sample.py says which).
 *
 * `records` counts all lines, `delegations` the groups with an NS but the first and the last.
 * `orders` has bit 0 if the owners of the groups ascend as bytes, bit 1 if they do with the dot
 * before every other byte. `apex` are the lines of the apex, `last` is the block's last line.
 *
 * Nothing outside [block, block + length) is read. All that is written goes through `reserve`.
 * The interpreter lock is released.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "_columns.h"

enum { BYTES = 1, LABELS = 2 };
enum { MAX_LINE = 64 * 1024 };
enum { WINDOW = 8 * 1024 }; /* is still in the nearest cache when its lines are read */

typedef struct {
    Py_ssize_t records, delegations;
    uint32_t sampled_below; /* a group without DS is kept if its hash is below; 0: none is */
    int orders;
    Buffer apex;
    const char *last;
    Strings domain;
    Lists ds, ns;
} Result;

static const char SPECIAL[] = "()\";\\\r";
/* What may stand beside delegations and is only counted */
static const char *const COUNTED_TYPES[] = {
    "a", "aaaa", "rrsig", "nsec3", "nsec", "txt", "dnskey", "nsec3param", "cds", "cdnskey",
    "mx", "cname", "dname", "srv", "caa", "ptr", "tlsa", "https", "svcb", "deleg",
};

static int is_word(const char *start, const char *end, const char *word)
{
    return (size_t)(end - start) == strlen(word) && same(start, word, end - start);
}

/* Add a row for the group; whether all of it was understood. */
static int add_group(Result *result, Group *group)
{
    char *out = reserve(&result->domain.text, group->owner_length);
    if (out == NULL)
        return 0;
    size_t length = key(group->owner, group->owner + group->owner_length, out);
    result->domain.text.used += length;
    return length > 0 && end_value(&result->domain) && add_set(&result->ds, group, DS) &&
           add_set(&result->ns, group, NS);
}

static uint32_t CRC_TABLE[256];

static void fill_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        CRC_TABLE[i] = crc;
    }
}

/* As dane/sample.py: CRC-32 of the key, which is the owner in lower case without its last dot. */
static int is_sampled(const Result *result, const Group *group)
{
    uint32_t crc = 0xFFFFFFFFu;
    if (result->sampled_below == 0)
        return 0;
    for (Py_ssize_t i = 0; i < group->owner_length - 1; i++)
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ (unsigned char)lower(group->owner[i])) & 0xFF];
    return (crc ^ 0xFFFFFFFFu) * 2654435761u < result->sampled_below;
}

/* The group's last line was read. */
static int finish(Result *result, Group *group, int is_last)
{
    int is_edge = group->is_first || is_last;
    if (!is_edge)
        result->delegations += group->has_ns;
    int is_kept = is_edge || (group->has_ns && (group->has_ds || is_sampled(result, group)));
    return is_kept ? add_group(result, group) : 1;
}

/* How many bytes two owners have in common. */
static Py_ssize_t common(const char *one, Py_ssize_t one_length, const char *other,
                         Py_ssize_t length)
{
    Py_ssize_t shorter = one_length < length ? one_length : length, i = 0;
    while (i < shorter && lower(one[i]) == lower(other[i]))
        i++;
    return i;
}

/* The orders in which `one` stands strictly before `other`, which differs from byte `i` on. */
static int before(const char *one, Py_ssize_t one_length, const char *other, Py_ssize_t length,
                  Py_ssize_t i)
{
    if (i == one_length || i == length)
        return one_length < length ? BYTES | LABELS : 0;
    unsigned char a = lower(one[i]), b = lower(other[i]);
    return (a < b ? BYTES : 0) | ((b != '.' && (a == '.' || a < b)) ? LABELS : 0);
}

static int begin(Result *result, Group *group, const char *owner, Py_ssize_t length,
                 Py_ssize_t suffix_length)
{
    Py_ssize_t known = 0, label = length - suffix_length;
    if (group->owner != NULL) {
        known = common(group->owner, group->owner_length, owner, length);
        result->orders &= before(group->owner, group->owner_length, owner, length, known);
        if (!finish(result, group, 0))
            return 0;
        Py_ssize_t last_label = group->owner_length - suffix_length;
        if (last_label < known && last_label < label)
            return 0; /* its dot is within the label: a name two labels below the apex */
    }
    for (; known < label; known++) /* the bytes before it were those of the last owner */
        if (NAME_BYTES[(unsigned char)owner[known]] == 0 || owner[known] == '.')
            return 0;
    for (; known < length; known++)
        if (NAME_BYTES[(unsigned char)owner[known]] == 0)
            return 0;
    group->is_first = group->owner == NULL;
    group->owner = owner;
    group->owner_length = length;
    group->lines.used = 0;
    group->has_ns = group->has_ds = 0;
    return 1;
}

/* Seconds; those of more digits may be too many (RFC 2181 section 8). */
static int is_ttl(const char *start, const char *end)
{
    if (end - start > 9)
        return 0;
    while (start < end && *start >= '0' && *start <= '9')
        start++;
    return start == end;
}

static enum kind of_type(const char *start, const char *end)
{
    if (is_word(start, end, "ns"))
        return NS;
    if (is_word(start, end, "ds"))
        return DS;
    for (size_t i = 0; i < sizeof COUNTED_TYPES / sizeof *COUNTED_TYPES; i++)
        if (is_word(start, end, COUNTED_TYPES[i]))
            return COUNTED;
    return NOT_UNDERSTOOD;
}

/* What stood between owner and RDATA in lines before: nearly always one of a few texts. */
typedef struct {
    const char *text;
    Py_ssize_t length;
    enum kind kind;
} Middle;

enum { MIDDLES = 4 };

/* The kind of a line by its middle at `at`, whose end is `*rdata`. */
static enum kind known(const Middle *middles, const char *at, const char *after,
                       const char **rdata)
{
    for (int i = 0; i < MIDDLES && middles[i].text != NULL; i++) {
        Py_ssize_t length = middles[i].length;
        if (after - at > length && memcmp(at, middles[i].text, length) == 0 &&
            !is_blank(at[length])) {
            *rdata = at + length;
            return middles[i].kind;
        }
    }
    return NOT_UNDERSTOOD;
}

/* The kind of a line by TTL, class and type from `at`, where a blank is. */
static enum kind understand(const char *at, const char *after, const char **rdata)
{
    for (int ttls = 0, classes = 0;;) {
        const char *word = after_blanks(at, after);
        at = after_word(word, after);
        if (at == word)
            return NOT_UNDERSTOOD;
        if (is_ttl(word, at)) {
            if (ttls++)
                return NOT_UNDERSTOOD;
        } else if (is_word(word, at, "in")) {
            if (classes++)
                return NOT_UNDERSTOOD;
        } else {
            *rdata = after_blanks(at, after);
            return *rdata == after ? NOT_UNDERSTOOD : of_type(word, at);
        }
    }
}

/* Read a line; `after` is its newline. Its owner ends at `*owner_end`. */
static enum kind kind_of(const char *line, const char *after, const char *suffix,
                         Py_ssize_t suffix_length, const Group *group, Middle *middles,
                         const char **owner_end, const char **rdata)
{
    const char *at = line + group->owner_length;
    if (group->owner == NULL || after - line <= group->owner_length || !is_blank(*at) ||
        memcmp(line, group->owner, group->owner_length) != 0) {
        at = after_word(line, after);
        if (at == line || at == after)
            return NOT_UNDERSTOOD;
        int is_apex = at - line == suffix_length - 1 && same(line, suffix + 1, suffix_length - 1);
        int is_below =
            at - line > suffix_length && same(at - suffix_length, suffix, suffix_length);
        if (is_apex)
            return APEX;
        if (!is_below)
            return NOT_UNDERSTOOD;
    }
    *owner_end = at;
    enum kind kind = known(middles, at, after, rdata);
    if (kind == NOT_UNDERSTOOD) {
        kind = understand(at, after, rdata);
        memmove(middles + 1, middles, (MIDDLES - 1) * sizeof *middles);
        middles[0] = (Middle){at, *rdata - at, kind};
    }
    return kind;
}

/* Whether the bytes up to `end` are those of plain lines. */
static int is_plain(const char *start, const char *end)
{
    for (const char *byte = SPECIAL; *byte; byte++)
        if (memchr(start, *byte, end - start) != NULL)
            return 0;
    return 1;
}

/* Whether all was understood, and there was memory for it. */
static int read_lines(const char *at, const char *end, const char *suffix,
                      Py_ssize_t suffix_length, Group *group, Result *result)
{
    Middle middles[MIDDLES] = {{NULL, 0, NOT_UNDERSTOOD}};
    const char *checked = at;
    while (at < end) {
        if (at >= checked) {
            const char *next = end - at > WINDOW ? at + WINDOW : end;
            if (!is_plain(checked, next))
                return 0;
            checked = next;
        }
        const char *after = memchr(at, '\n', end - at), *owner_end = at, *rdata = at;
        if (after == NULL || after - at > MAX_LINE)
            return 0;
        enum kind kind = kind_of(at, after, suffix, suffix_length, group, middles, &owner_end,
                                 &rdata);
        if (kind == NOT_UNDERSTOOD)
            return 0;
        if (kind == APEX && !append(&result->apex, at, after + 1 - at))
            return 0;
        if (kind == NS || kind == DS) {
            Py_ssize_t length = owner_end - at;
            if ((group->owner_length != length || !same(group->owner, at, length)) &&
                !begin(result, group, at, length, suffix_length))
                return 0;
            Line line = {rdata, after, kind};
            if (!append(&group->lines, &line, sizeof line))
                return 0;
            group->has_ns |= kind == NS;
            group->has_ds |= kind == DS;
        }
        result->records++;
        result->last = at;
        at = after + 1;
    }
    return is_plain(checked, end) && (group->owner == NULL || finish(result, group, 1));
}

static PyObject *columns(const Result *result, const char *end)
{
    const Strings *ds = &result->ds.values, *ns = &result->ns.values;
#define BYTES_OF(buffer) (buffer).start ? (buffer).start : "", (Py_ssize_t)(buffer).used
    return Py_BuildValue(
        "nniy#y#y#y#y#y#y#y#y#y#", result->records, result->delegations, result->orders,
        BYTES_OF(result->apex), result->last, (Py_ssize_t)(end - 1 - result->last),
        BYTES_OF(result->domain.ends), BYTES_OF(result->domain.text),
        BYTES_OF(result->ds.starts), BYTES_OF(ds->ends), BYTES_OF(ds->text),
        BYTES_OF(result->ns.starts), BYTES_OF(ns->ends), BYTES_OF(ns->text));
#undef BYTES_OF
}

static PyObject *read_block(PyObject *module, PyObject *arguments)
{
    Py_buffer block;
    const char *suffix;
    Py_ssize_t suffix_length;
    unsigned int one_of;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y#I:read", &block, &suffix, &suffix_length, &one_of))
        return NULL;
    Group group = {0};
    Result result = {.orders = BYTES | LABELS};
    if (one_of > 0)
        result.sampled_below = one_of == 1 ? UINT32_MAX : (uint32_t)((1ull << 32) / one_of);
    const char *start = block.buf, *end = start + block.len;
    int understood = block.len >= 2 && block.len <= INT32_MAX && start[0] == '\n' &&
                     end[-1] == '\n' && suffix_length >= 1;
    PyObject *found = NULL;
    Py_BEGIN_ALLOW_THREADS
    understood = understood && append_number(&result.domain.ends, 0) &&
                 append_number(&result.ds.starts, 0) && append_number(&result.ds.values.ends, 0) &&
                 append_number(&result.ns.starts, 0) && append_number(&result.ns.values.ends, 0) &&
                 read_lines(start + 1, end, suffix, suffix_length, &group, &result);
    Py_END_ALLOW_THREADS
    if (understood)
        found = columns(&result, end);
    Buffer *const buffers[] = {
        &group.lines, &group.texts, &group.values, &result.apex,
        &result.domain.ends, &result.domain.text,
        &result.ds.starts, &result.ds.values.ends, &result.ds.values.text,
        &result.ns.starts, &result.ns.values.ends, &result.ns.values.text,
    };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        PyMem_RawFree(buffers[i]->start);
    PyBuffer_Release(&block);
    if (understood)
        return found;
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"read", read_block, METH_VARARGS, "Read a block into columns of signed delegations."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_groups", NULL, 0, METHODS,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__groups(void)
{
    fill(NAME_BYTES, "abcdefghijklmnopqrstuvwxyz0123456789-_.");
    fill(HEX_DIGITS, "0123456789abcdef");
    fill_crc_table();
    return PyModule_Create(&MODULE);
}
