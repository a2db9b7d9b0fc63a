/* What a picture has that the last one had not, found without NumPy; picture_changes.py says what is written.

An emulator pushes our code out of the caches at every step. Then each of NumPy's calls costs microseconds before it does
anything, and eight of them cost more than the comparison. This is one call.

Only the limited API of Python 3.11 is used, so that one library serves 3.11 and all later versions. */

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

PyDoc_STRVAR(changes_doc,
             "changes(picture, last, last_at, room, room_at, worth, /)\n--\n\n"
             "Write the changes of `picture` since `last[last_at:]`, which becomes the picture, to `room[room_at:]`.\n\n"
             "All are contiguous bytes; `last` has those of whole chunks alone. Returns how many bytes were written;\n"
             "-1 where they would be `worth` or more: then `last` is the picture in part.");

static PyObject *changes(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Py_buffer picture, last, room;
    Py_ssize_t used = -1;
    if (count != 6) {
        PyErr_Format(PyExc_TypeError, "changes() takes 6 arguments, not %zd", count);
        return NULL;
    }
    const Py_ssize_t last_at = PyLong_AsSsize_t(args[2]), room_at = PyLong_AsSsize_t(args[4]);
    const Py_ssize_t worth = PyLong_AsSsize_t(args[5]);
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &picture, PyBUF_SIMPLE) < 0)
        return NULL;
    if (PyObject_GetBuffer(args[1], &last, PyBUF_WRITABLE) < 0)
        goto picture;
    if (PyObject_GetBuffer(args[3], &room, PyBUF_WRITABLE) < 0)
        goto last;
    if (last_at < 0 || room_at < 0 || last_at > last.len - picture.len / CHUNK * CHUNK || worth > room.len - room_at)
        PyErr_Format(PyExc_ValueError, "no room for %zd bytes at %zd of %zd and at %zd of %zd", picture.len, last_at,
                     last.len, room_at, room.len);
    else
        used = write_changes(picture.buf, (char *)last.buf + last_at, (char *)room.buf + room_at, picture.len, worth);
    PyBuffer_Release(&room);
last:
    PyBuffer_Release(&last);
picture:
    PyBuffer_Release(&picture);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(used);
}

static PyMethodDef methods[] = {{"changes", (PyCFunction)(void (*)(void))changes, METH_FASTCALL, changes_doc},
                                {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_changes", "Changes of pictures.", 0, methods, slots,
                                    NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__changes(void)
{
    return PyModuleDef_Init(&module);
}
