"""The compiled loops behind distance, inside and raster, and the plain torch versions that judge them.

`threads`       compiles with Numba and spreads a loop over threads
`vectors`       vectors of three numbers inside compiled loops
`closest`       closest face of points                      (Numba)
`crossings`     signed ray crossings of points and grids    (Numba)
`zbuffer`       z-buffer and occlusion of points            (Numba)
`cuda`          closest face and crossings on a GPU         (Triton; imported only for CUDA tensors)
`dense`         every point against every face              (torch, any device): the reference

Kernels trust their input; the public functions one level up check it.
"""
