"""Vectors as tuples of three numbers inside compiled loops: they live in registers and allocate nothing."""

import numpy as np

from hands_lib.geometry.kernels.threads import compiled


@compiled()
def row(array, index):
    """Row `index` of an (N, 3) array, in float64."""
    return np.float64(array[index, 0]), np.float64(array[index, 1]), np.float64(array[index, 2])


@compiled()
def subtract(a, b):
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@compiled()
def add_scaled(a, factor, b):
    """a + factor * b"""
    return a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]


@compiled()
def scaled(factor, a):
    return factor * a[0], factor * a[1], factor * a[2]


@compiled()
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled()
def cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@compiled()
def length(a):
    return np.sqrt(dot(a, a))
