"""Visibility-aware generalizable radiance field of two interacting hands.

Paper    X. Huang et al., "3D Visibility-aware Generalizable Neural Radiance Fields for Interacting Hands",
         AAAI 2024 (book/references.bib: huang2024vanerf)
Chapter  book/va_nerf/fusion.md
Units    metres, pixels; colours in [0, 1]; densities in 1 / metre
Frames   world; right hand first everywhere
Signs    a signed distance is negative inside a hand

    observation  what one picture says about a pair: vertices that it sees, where each hand is in it; and
                 what a query point is related to: its nearest vertex p, the other hand's p'
    encoders     feature maps of the picture for geometry and for texture
    fusion       VAFF, Eqs. 2 and 3
    density      Eq. 1 and the bounds that empty space is skipped by
    network      the whole field: picture and query points in, density and colour out
    rendering    pictures of the field, coarse then fine
    losses       Eqs. 4 and 5
    training     pictures as tensors, patches of them, and their loss
    discriminator  VGAL: the network that predicts a visibility map, and its targets
    adversarial  a step of VGAL: what both players are given, and what each of them loses
    baselines    the other methods of Table 1, small
    evaluation   pairs of views, pictures of any method, the scores of every table
    judging, told  what a discriminator can tell; the strongest critic
    without_learning  rules of two lines that every table is held against
    looking      what single query points look at
    editing      taking a hand away, telling what was erased, filling it
    photographs  photographs with annotated joints as the method's input

A batch is made of scenes, each with one picture. Query points come as a flat list in which every point knows
its scene, since empty space leaves a different number of them to each.
"""
