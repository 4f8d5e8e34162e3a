"""Hand-object reconstruction with feature enhancement and physical constraints.

Paper    Liu, Jiang, Zhang, Wei, Hua, Chen, "Hand-Object Reconstruction Method with Feature Enhancement and
         Physical Constraints". Public are an abstract, a figure and parts of code: what is rebuilt from a
         name alone is called a reconstruction
Chapters book/hand_object/
Units    metres
Frames   world or camera; a hand is a right one, a left one is mirrored with what it holds

    streams.py           MCS-ResNet50: two streams, two pyramids
    augmentation.py      D-BFAM: local and global graph of key points (reconstructed)
    supplementation.py   CFSM: each stream looks into the other (reconstructed)
    pnp.py               weighted perspective-n-point
    network.py           all of it, with the decoders
    examples.py          pictures with their labels, templates of known objects
    losses.py            everything that is trained on
    physics.py           the signed-distance loss
    settling.py          the same without learning, when the network has spoken
    training.py          the loop
    scoring.py           what estimates are worth
    ablation.py          what is compared
    shown.py             what the figures of a network are drawn from
    recorded_network.py  a trained network from the record of its run
"""
