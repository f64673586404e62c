/* Drops from a block of a registry's zone file the lines that no signed delegation has.
 *
 *     sieve(block, suffix) -> None | (kept, records, delegations, orders)
 *
 * An optional accelerator of crawler/zones/plain.py: the reader gives the same result for
 * `kept` with `records` and `delegations` added as for the whole block, only later. It drops
 * nothing that it does not fully understand, and answers None where a line depends on
 * another (blank owners, parentheses, quotes, escapes, comments, directives).
 *
 * `block` begins with a newline and ends with one. `suffix` is the lower-case ending of every
 * owner below the apex, such as ".com.". Kept are all lines of
 *   - the first and the last group (a run of NS and DS lines of one owner, whatever stands
 *     between them), and every group with a DS;
 *   - the apex, and every type that is not listed here;
 *   - the last line of the block, which stays the last one.
 * `records` and `delegations` count what is dropped. `orders` has bit 0 if the owners of the
 * groups ascend as bytes, bit 1 if they do with the dot before every other byte.
 *
 * Nothing outside [block, block + length) is read, and nothing is written but `kept`, which
 * is never longer than the block. The interpreter lock is released.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

enum { BYTES = 1, LABELS = 2 };
enum { MAX_LINE = 64 * 1024 };
enum kind { NOT_UNDERSTOOD, KEPT, DROPPED, NS, DS };

typedef struct {
    const char *start, *end; /* of a line, from its first byte to after its newline */
} Line;

typedef struct {
    Line *line;
    Py_ssize_t count, room;
    const char *owner; /* NULL: no group yet */
    Py_ssize_t owner_length;
    int has_ds, is_first;
} Group;

typedef struct {
    char *end; /* of what is kept */
    Py_ssize_t kept, lines, delegations;
    int orders;
} Result;

static const char *const SPECIAL = "()\";\\\r";
static const char *const DROPPED_TYPES[] = {
    "a", "aaaa", "rrsig", "nsec3", "nsec", "txt", "dnskey", "nsec3param", "cds", "cdnskey",
};

static unsigned char lower(unsigned char byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte;
}

static int same(const char *one, const char *other, Py_ssize_t length)
{
    for (Py_ssize_t i = 0; i < length; i++)
        if (one[i] != other[i] && lower(one[i]) != lower(other[i]))
            return 0;
    return 1;
}

static int is_word(const char *start, const char *end, const char *word)
{
    return (size_t)(end - start) == strlen(word) && same(start, word, end - start);
}

/* The orders in which `one` stands strictly before `other`. */
static int before(const char *one, Py_ssize_t one_length, const char *other, Py_ssize_t length)
{
    Py_ssize_t shorter = one_length < length ? one_length : length;
    for (Py_ssize_t i = 0; i < shorter; i++) {
        unsigned char a = lower(one[i]), b = lower(other[i]);
        if (a != b)
            return (a < b ? BYTES : 0) | ((b != '.' && (a == '.' || a < b)) ? LABELS : 0);
    }
    return one_length < length ? BYTES | LABELS : 0;
}

/* Seconds, or numbers with a unit each, such as 1h30m. */
static int is_ttl(const char *start, const char *end)
{
    int digits = 0, units = 0;
    for (; start < end; start++) {
        if (*start >= '0' && *start <= '9') {
            digits++;
        } else if (digits && *start && strchr("smhdwSMHDW", *start)) {
            digits = 0;
            units++;
        } else {
            return 0;
        }
    }
    return units ? digits == 0 : digits > 0;
}

static enum kind of_type(const char *start, const char *end)
{
    if (is_word(start, end, "ns"))
        return NS;
    if (is_word(start, end, "ds"))
        return DS;
    for (size_t i = 0; i < sizeof DROPPED_TYPES / sizeof *DROPPED_TYPES; i++)
        if (is_word(start, end, DROPPED_TYPES[i]))
            return DROPPED;
    return KEPT;
}

/* What stood between owner and RDATA in lines before: nearly always one of a few texts. */
typedef struct {
    const char *text;
    Py_ssize_t length;
    enum kind kind;
} Middle;

enum { MIDDLES = 4 };

static enum kind known(const Middle *middles, const char *at, const char *after)
{
    for (int i = 0; i < MIDDLES && middles[i].text != NULL; i++)
        if (after - at > middles[i].length &&
            memcmp(at, middles[i].text, middles[i].length) == 0 &&
            at[middles[i].length] != '\t' && at[middles[i].length] != ' ')
            return middles[i].kind;
    return NOT_UNDERSTOOD;
}

static void remember(Middle *middles, const char *start, const char *end, enum kind kind)
{
    memmove(middles + 1, middles, (MIDDLES - 1) * sizeof *middles);
    middles[0] = (Middle){start, end - start, kind};
}

/* Understand a line; `after` is its newline. The owner ends at `*owner_end`. */
static enum kind understand(const char *line, const char *after, const char *suffix,
                            Py_ssize_t suffix_length, const Group *group, Middle *middles,
                            const char **owner_end)
{
    const char *at = line;
    if (group->owner != NULL && after - line > group->owner_length &&
        memcmp(line, group->owner, group->owner_length) == 0 &&
        (line[group->owner_length] == '\t' || line[group->owner_length] == ' ')) {
        at += group->owner_length; /* a group's owner is below the apex */
        *owner_end = at;
        enum kind kind = known(middles, at, after);
        if (kind != NOT_UNDERSTOOD)
            return kind;
    } else {
        while (at < after && *at != '\t' && *at != ' ')
            at++;
        *owner_end = at;
    }
    if (at == line || at == after)
        return NOT_UNDERSTOOD;
    int is_below = at - line > suffix_length && same(at - suffix_length, suffix, suffix_length);
    int is_apex = at - line == suffix_length - 1 && same(line, suffix + 1, suffix_length - 1);
    if (suffix_length == 1) { /* the root: every absolute name is below it, and `.` is it */
        is_apex = at - line == 1 && *line == '.';
        is_below = !is_apex && at[-1] == '.';
    }
    if (!is_below && !is_apex)
        return NOT_UNDERSTOOD;
    if (!is_apex) {
        enum kind kind = known(middles, at, after);
        if (kind != NOT_UNDERSTOOD)
            return kind;
    }
    for (int ttls = 0, classes = 0;;) {
        while (at < after && (*at == '\t' || *at == ' '))
            at++;
        const char *word = at;
        while (at < after && *at != '\t' && *at != ' ')
            at++;
        if (at == word)
            return NOT_UNDERSTOOD;
        if (is_ttl(word, at)) {
            if (ttls++)
                return NOT_UNDERSTOOD;
        } else if (is_word(word, at, "in")) {
            if (classes++)
                return NOT_UNDERSTOOD;
        } else {
            enum kind kind = is_apex ? KEPT : of_type(word, at);
            while (at < after && (*at == '\t' || *at == ' '))
                at++;
            if (at == after) /* no RDATA */
                return NOT_UNDERSTOOD;
            if (!is_apex)
                remember(middles, *owner_end, at, kind);
            return kind;
        }
    }
}

static void keep(Result *result, Line line)
{
    memcpy(result->end, line.start, line.end - line.start);
    result->end += line.end - line.start;
    result->kept++;
}

static void finish(Result *result, Group *group, int is_last)
{
    if (group->owner == NULL)
        return;
    if (group->has_ds || group->is_first || is_last) {
        for (Py_ssize_t i = 0; i < group->count; i++)
            keep(result, group->line[i]);
    } else {
        result->delegations++;
    }
}

/* Whether all was understood, and there was memory for the group's lines. */
static int sieve_lines(const char *at, const char *end, const char *suffix,
                       Py_ssize_t suffix_length, Group *group, Result *result)
{
    Line last = {NULL, NULL}; /* if it belongs to no group */
    Middle middles[MIDDLES] = {{NULL, 0, NOT_UNDERSTOOD}};
    while (at < end) {
        const char *after = memchr(at, '\n', end - at), *owner_end;
        if (after == NULL || after - at > MAX_LINE)
            return 0;
        Line line = {at, after + 1};
        enum kind kind = understand(at, after, suffix, suffix_length, group, middles, &owner_end);
        if (kind == NOT_UNDERSTOOD)
            return 0;
        result->lines++;
        if (kind == KEPT || kind == DROPPED) {
            if (line.end == end)
                last = line;
            else if (kind == KEPT)
                keep(result, line);
        } else {
            Py_ssize_t length = owner_end - at;
            if (group->owner == NULL || group->owner_length != length ||
                !same(group->owner, at, length)) {
                if (group->owner != NULL)
                    result->orders &= before(group->owner, group->owner_length, at, length);
                finish(result, group, 0);
                group->is_first = group->owner == NULL;
                group->owner = at;
                group->owner_length = length;
                group->count = group->has_ds = 0;
            }
            if (group->count == group->room) {
                Py_ssize_t room = 2 * group->room + 16;
                Line *lines = PyMem_RawRealloc(group->line, room * sizeof *lines);
                if (lines == NULL)
                    return 0;
                group->line = lines;
                group->room = room;
            }
            group->line[group->count++] = line;
            group->has_ds |= kind == DS;
        }
        at = line.end;
    }
    finish(result, group, 1);
    if (last.start != NULL)
        keep(result, last);
    return 1;
}

static PyObject *sieve(PyObject *module, PyObject *arguments)
{
    const char *block, *suffix;
    Py_ssize_t length, suffix_length;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y#y#:sieve", &block, &length, &suffix, &suffix_length))
        return NULL;
    if (length < 2 || block[0] != '\n' || suffix_length < 1)
        Py_RETURN_NONE;
    PyObject *kept = PyBytes_FromStringAndSize(NULL, length);
    if (kept == NULL)
        return NULL;
    char *start = PyBytes_AS_STRING(kept);
    Group group = {0};
    Result result = {start + 1, 0, 0, 0, BYTES | LABELS};
    int understood = 1;
    Py_BEGIN_ALLOW_THREADS
    *start = '\n';
    for (const char *byte = SPECIAL; *byte && understood; byte++)
        understood = memchr(block, *byte, length) == NULL;
    if (understood)
        understood =
            sieve_lines(block + 1, block + length, suffix, suffix_length, &group, &result);
    PyMem_RawFree(group.line);
    Py_END_ALLOW_THREADS
    if (!understood) {
        Py_DECREF(kept);
        Py_RETURN_NONE;
    }
    if (_PyBytes_Resize(&kept, result.end - start) < 0)
        return NULL;
    return Py_BuildValue("Nnni", kept, result.lines - result.kept, result.delegations,
                         result.orders);
}

static PyMethodDef METHODS[] = {
    {"sieve", sieve, METH_VARARGS, "Drop the lines that no signed delegation has."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_sieve", NULL, 0, METHODS,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__sieve(void)
{
    return PyModule_Create(&MODULE);
}
