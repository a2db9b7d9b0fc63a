/* The pictures of one environment in the open fragment, written where `FrameRows` and its `ChangeWriter` write theirs. */

#ifndef ROLLTAPE_FILM_H
#define ROLLTAPE_FILM_H

#include "../schema/_changes.h"

#define MISSES 2 /* as in picture_changes.py */
#define ROOM 2   /* as in frame_rows.py */

/* Their memory, as `FrameRows.memory` says. */
typedef struct {
    Py_buffer block, noted, filled, known, last;
    Py_ssize_t most;
    bool ready;
} Film;

enum { AT, COUNT };     /* filled */
enum { KNOWN, MISSED }; /* known */

#define VISIT_FILM(film)             \
    do {                             \
        Py_VISIT((film).block.obj);  \
        Py_VISIT((film).noted.obj);  \
        Py_VISIT((film).filled.obj); \
        Py_VISIT((film).known.obj);  \
        Py_VISIT((film).last.obj);   \
    } while (0)

static void forget_film(Film *film)
{
    film->ready = false;
    PyBuffer_Release(&film->block);
    PyBuffer_Release(&film->noted);
    PyBuffer_Release(&film->filled);
    PyBuffer_Release(&film->known);
    PyBuffer_Release(&film->last);
}

/* Whether a picture of `size` bytes fits and the fragment is not full then. */
static bool film_has_room(const Film *film, Py_ssize_t size)
{
    const int64_t *filled = film->filled.buf;
    return film->ready && filled[COUNT] + ROOM < film->most && filled[AT] + (ROOM + 1) * size <= film->block.len;
}

/* As `FrameRows.add` and `ChangeWriter.write`; there is room. */
static void film_add(Film *film, const char *picture, Py_ssize_t size, int64_t episode, int64_t t)
{
    int64_t *filled = film->filled.buf, *known = film->known.buf;
    const Py_ssize_t at = filled[AT], count = filled[COUNT];
    const bool tried = known[MISSED] < MISSES && film->last.len >= size / CHUNK * CHUNK;
    char *room = (char *)film->block.buf + at;
    Py_ssize_t used = -1;
    if (tried && known[KNOWN]) {
        used = write_changes(picture, film->last.buf, room, size, size / 2);
        known[MISSED] = used < 0 ? known[MISSED] + 1 : 0;
    }
    if (used < 0) {
        memcpy(room, picture, size);
        if (tried)
            memcpy(film->last.buf, picture, size / CHUNK * CHUNK);
        known[KNOWN] |= tried;
        used = size;
    }
    int64_t *noted = (int64_t *)film->noted.buf + 3 * count;
    noted[0] = at + used;
    noted[1] = episode;
    noted[2] = t;
    filled[AT] = at + used;
    filled[COUNT] = count + 1;
}

#endif
