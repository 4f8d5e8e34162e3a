"""Decoupled iterative refinement of two interacting hands from one picture (DIR).

Source   Ren et al., "Decoupled Iterative Refinement Framework for Interacting Hands Reconstruction from a
         Single RGB Image", ICCV 2023. Its text and its ablation tables were not at hand: sizes, losses and
         order of operations are those of the authors' released code as far as it was described, and what had
         to be filled in is marked "reconstructed" where it stands.
Chapter  book/refinement/method.md

    hands.py        64 numbers a hand -> joints and surface in space and in the picture
    projecting.py   joint features -> planes of the picture, one a bone (multi-plane feature projecting)
    relations.py    graph convolution within a hand, transformer between the hands
    network.py      backbone, initial estimate, refinement stages
    vertex_attention.py   a baseline: dense attention of vertices
    losses.py       everything that is trained on
    examples.py     pictures with their labels, and their mirror images
    training.py     the loop
    protocols.py    the same predictions under every protocol
    ablation.py     what is compared, and how every network is scored
    shown.py        what the figures of a network are drawn from
    recorded_network.py   a trained network from the record of its run

Conventions of the whole room
Units    metres and radians outside; inside the network lengths are divided by `hands.UNIT`
Frames   camera axes (x right, y down, z forward); each hand about its own wrist, and the offset between
uv       picture coordinates in [-1, 1]: -1 the left (upper) border, +1 the right (lower) border
Order    right hand first everywhere, joints in the library's order
Left     a left hand's numbers are those of a right hand in the MIRRORED picture, so that mirroring a picture
         swaps the two rows and changes nothing else
"""
