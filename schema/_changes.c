/* What a picture has that the last one had not, found without NumPy; picture_changes.py says what is written. */

#include "_changes.h"

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
