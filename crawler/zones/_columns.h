/* Arrow columns of names, DS sets and NS sets, as _groups.c fills them from lines. */

#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 254, MAX_LABEL = 63 }; /* bytes as written; RFC 1035 section 2.3.4 */
enum kind { NOT_UNDERSTOOD, APEX, COUNTED, NS, DS };

typedef struct {
    char *start;
    size_t used, room;
} Buffer;

typedef struct {
    Buffer ends, text; /* 32-bit offsets, of which the first is 0; values one after the other */
} Strings;

typedef struct {
    Buffer starts; /* 32-bit indices of values; the last one is their number */
    Strings values;
} Lists;

typedef struct {
    const char *rdata, *end; /* to the newline */
    enum kind kind;
} Line;

typedef struct {
    const char *start;
    size_t length;
} Text;

typedef struct {
    Buffer lines, texts, values; /* Line, the bytes of one set, Text */
    const char *owner;           /* NULL: no group yet */
    Py_ssize_t owner_length;
    int has_ns, has_ds, is_first;
} Group;

/* The lower-case form of the bytes that plain names and digests are made of, 0 for the others */
static unsigned char NAME_BYTES[256], HEX_DIGITS[256];

static unsigned char lower(unsigned char byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte;
}

static void fill(unsigned char *table, const char *bytes)
{
    for (int byte = 1; byte < 256; byte++)
        if (strchr(bytes, lower(byte)) != NULL)
            table[byte] = lower(byte);
}

static int same(const char *one, const char *other, Py_ssize_t length)
{
    for (Py_ssize_t i = 0; i < length; i++)
        if (one[i] != other[i] && lower(one[i]) != lower(other[i]))
            return 0;
    return 1;
}

static int is_blank(char byte)
{
    return byte == '\t' || byte == ' ';
}

static const char *after_blanks(const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    return at;
}

static const char *after_word(const char *at, const char *end)
{
    while (at < end && !is_blank(*at))
        at++;
    return at;
}

/* Room for `length` more bytes, at the address given; NULL without memory. */
static char *reserve(Buffer *buffer, size_t length)
{
    if (buffer->room - buffer->used < length) {
        size_t room = 2 * (buffer->used + length) + 1024;
        char *start = PyMem_RawRealloc(buffer->start, room);
        if (start == NULL)
            return NULL;
        buffer->start = start;
        buffer->room = room;
    }
    return buffer->start + buffer->used;
}

static int append(Buffer *buffer, const void *bytes, size_t length)
{
    char *at = reserve(buffer, length);
    if (at == NULL)
        return 0;
    memcpy(at, bytes, length);
    buffer->used += length;
    return 1;
}

static int append_number(Buffer *buffer, size_t number)
{
    int32_t value = (int32_t)number; /* `read` takes no block of 2 GiB */
    return append(buffer, &value, sizeof value);
}

/* The value that stands behind the others in `strings->text` ends here. */
static int end_value(Strings *strings)
{
    return append_number(&strings->ends, strings->text.used);
}

/* The key of a name as written, at `out`, which has room for it; its length, 0: unusual. */
static size_t key(const char *at, const char *end, char *out)
{
    Py_ssize_t length = end - at, label = 0;
    if (length < 2 || length > MAX_NAME || end[-1] != '.')
        return 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        unsigned char byte = NAME_BYTES[(unsigned char)at[i]];
        if (byte == 0)
            return 0;
        out[i] = byte;
        if (byte != '.') {
            label++;
        } else if (label == 0 || label > MAX_LABEL) {
            return 0;
        } else {
            label = 0;
        }
    }
    return length - 1;
}

/* The name that is all of an NS line's RDATA. */
static size_t ns_value(const Line *line, char *out)
{
    const char *end = after_word(line->rdata, line->end);
    return after_blanks(end, line->end) == line->end ? key(line->rdata, end, out) : 0;
}

/* Copy a number without leading zeros, and a space; where it ends in the line, NULL: it is not. */
static const char *number(const char *at, const char *end, long limit, char **out)
{
    const char *start = at;
    long value = 0;
    for (; at < end && *at >= '0' && *at <= '9' && value <= limit; at++) {
        value = 10 * value + (*at - '0');
        *(*out)++ = *at;
    }
    if (at == start || at == end || !is_blank(*at) || value > limit)
        return NULL;
    if (*start == '0' && at - start > 1)
        return NULL;
    *(*out)++ = ' ';
    return after_blanks(at, end);
}

/* Key tag, algorithm, digest type and digest of a DS line, never longer than its RDATA. */
static size_t ds_value(const Line *line, char *out)
{
    static const long LIMITS[] = {65535, 255, 255};
    char *to = out;
    const char *at = line->rdata;
    for (int i = 0; i < 3; i++)
        if ((at = number(at, line->end, LIMITS[i], &to)) == NULL)
            return 0;
    char *digest = to;
    for (; at < line->end; at++) {
        unsigned char digit = HEX_DIGITS[(unsigned char)*at];
        if (digit)
            *to++ = digit;
        else if (!is_blank(*at))
            return 0;
    }
    return to > digest && (to - digest) % 2 == 0 ? (size_t)(to - out) : 0;
}

static int by_bytes(const void *one, const void *other)
{
    const Text *a = one, *b = other;
    int order = memcmp(a->start, b->start, a->length < b->length ? a->length : b->length);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

/* Add the set of a group's values of one kind; whether all were understood. */
static int add_set(Lists *lists, Group *group, enum kind kind)
{
    const Line *line = (const Line *)group->lines.start;
    size_t lines = group->lines.used / sizeof *line, room = 0;
    group->texts.used = group->values.used = 0;
    for (size_t i = 0; i < lines; i++)
        room += line[i].end - line[i].rdata;
    char *out = reserve(&group->texts, room);
    if (out == NULL)
        return 0;
    for (size_t i = 0; i < lines; i++) {
        if (line[i].kind != kind)
            continue;
        Text text = {out, kind == DS ? ds_value(&line[i], out) : ns_value(&line[i], out)};
        if (text.length == 0 || !append(&group->values, &text, sizeof text))
            return 0;
        out += text.length;
    }
    Text *value = (Text *)group->values.start;
    size_t values = group->values.used / sizeof *value;
    if (values > 1)
        qsort(value, values, sizeof *value, by_bytes);
    for (size_t i = 0; i < values; i++) {
        if (i > 0 && by_bytes(&value[i - 1], &value[i]) == 0)
            continue;
        if (!append(&lists->values.text, value[i].start, value[i].length) ||
            !end_value(&lists->values))
            return 0;
    }
    return append_number(&lists->starts, lists->values.ends.used / sizeof(int32_t) - 1);
}
