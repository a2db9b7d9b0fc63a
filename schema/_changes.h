/* How changes of pictures are found and written; picture_changes.py says what.

An emulator pushes our code out of the caches at every step. Then each of NumPy's calls costs microseconds before it does
anything, and eight of them cost more than the comparison. This is one call.

Only the limited API of Python 3.11 is used, so that one library serves 3.11 and all later versions. */

#ifndef ROLLTAPE_CHANGES_H
#define ROLLTAPE_CHANGES_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define CHUNK 64

static bool differ(const char *a, const char *b)
{
    uint64_t x[CHUNK / 8], y[CHUNK / 8], found = 0;
    memcpy(x, a, CHUNK);
    memcpy(y, b, CHUNK);
    for (int i = 0; i < CHUNK / 8; i++)
        found |= x[i] ^ y[i];
    return found != 0;
}

/* Bytes written to `room`, or -1 where they would be `worth` or more; `last` becomes `picture` as far as was looked. */
static Py_ssize_t write_changes(const char *picture, char *last, char *room, Py_ssize_t nbytes, Py_ssize_t worth)
{
    const Py_ssize_t chunks = nbytes / CHUNK, rest = nbytes % CHUNK;
    char *at = room;
    for (Py_ssize_t i = 0; i < chunks; i++) {
        const char *chunk = picture + i * CHUNK;
        if (!differ(chunk, last + i * CHUNK))
            continue;
        if (at - room + 4 + CHUNK + rest >= worth)
            return -1;
        const uint32_t number = (uint32_t)i;
        memcpy(at, &number, 4);
        memcpy(at + 4, chunk, CHUNK);
        memcpy(last + i * CHUNK, chunk, CHUNK);
        at += 4 + CHUNK;
    }
    if (at - room + rest >= worth)
        return -1;
    memcpy(at, picture + chunks * CHUNK, rest);
    return at - room + rest;
}

#endif
